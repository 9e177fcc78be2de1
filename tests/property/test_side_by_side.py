"""Plans that are said to hold side by side do: put together they break no rule and overload no node."""

from collections.abc import Mapping
from itertools import combinations

from small_clusters import UNLIMITED, Cluster, domain_of, random_cluster, view_of

from holdfast.core.plan import Planner
from holdfast.core.side_by_side import SideBySide


def wrong(cluster: Cluster, failed: tuple[str, ...], placed: Mapping[str, str]) -> str:
    """Straight from the words of the rules."""
    on = {name: placed.get(name, guest.node) for name, guest in cluster.guests.items()}
    on = {name: node for name, node in on.items() if node not in failed or cluster.guests[name].ha}
    if not set(failed).isdisjoint(on.values()):
        return "something is on a failed node"
    for node, (memory, cores) in cluster.nodes.items():
        here = [cluster.guests[name] for name, where in on.items() if where == node]
        if sum(guest.memory for guest in here) > memory or sum(guest.cores for guest in here) > cores:
            return f"{node} carries more than it can"
        if sum(guest.live for guest in here) > cluster.slots.get(node, UNLIMITED):
            return f"{node} has not so many slots"
    if any(
        len({on[name] for name in some if name in on}) < len([n for n in some if n in on]) for some in cluster.apart
    ):
        return "two that must be apart are not"
    for some in cluster.far:
        domains = [domain_of(cluster, on[name]) for name in some if name in on]
        if len(set(domains)) < len(domains):
            return "two that must be in different failure domains are not"
    if any(len({on[name] for name in some}) > 1 for some in cluster.together):
        return "a group is not together"
    if any(name in on and on[name] not in nodes for name, nodes in cluster.only_on):
        return "something is on a node that its rule does not name"
    return ""


def test_what_holds_side_by_side_holds_together() -> None:
    fine = asked = 0
    for seed in range(120):
        cluster = random_cluster(seed, (7, 12), (7, 22), slots=seed % 3 == 0, domains=seed % 2 == 0)
        view = view_of(cluster)
        planner = Planner(view)
        units = [(name,) for name in sorted(cluster.nodes)]
        plans = [planner.evacuate(unit) for unit in units]
        whole = [None if plan.shortfall else plan.placements for plan in plans]
        specs = {name: instance.spec for name, instance in view.instances.items()}
        beside = SideBySide(planner.fleet, units, whole, specs)
        for size in (2, 3):
            for some in combinations(range(len(units)), size):
                asked += 1
                companions = beside.companions(some[:-1])
                if companions is None or not companions[some[-1]]:
                    continue
                fine += 1
                failed = tuple(units[number][0] for number in some)
                together = {name: node for number in some for name, node in (whole[number] or {}).items()}
                assert wrong(cluster, failed, together) == "", (seed, failed)
    assert asked > fine > asked / 20, "too few to say anything"
