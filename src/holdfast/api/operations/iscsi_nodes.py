"""Which nodes can serve an iSCSI target group, on which addresses, and by which engine."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Draft
from holdfast.core.model import NodeSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.services.iscsi.client_config import ENGINES
from holdfast.services.iscsi.config import TargetGroup, parse_portal
from holdfast.services.iscsi.report import NodeReport


def portals(
    draft: Draft, specs: Sequence[NodeSpec], wanted: Mapping[str, Sequence[str]], networks: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Those `wanted`, or without any the nodes' addresses on `networks`. Only addresses of the node's own: on another one it
    could not listen, and on all of them it must not."""
    strangers = sorted(set(wanted) - {spec.id for spec in specs})
    if strangers:
        raise InvalidInput(
            f"a portal is given for `{strangers[0]}`, which is not of the group", "Name it with --nodes."
        )
    found: dict[str, tuple[str, ...]] = {}
    for spec in specs:
        given = wanted.get(spec.id, ())
        if wanted and not given:
            raise InvalidInput(f"no portal is given for `{spec.id}`", "Give one for each node, or none at all.")
        found[spec.id] = _given(spec, given) if given else _default(draft, spec, networks)
    return found


def _given(spec: NodeSpec, texts: Sequence[str]) -> tuple[str, ...]:
    found = [parse_portal(text) for text in texts]
    for portal in found:
        if portal.address not in spec.addresses.values():
            own = ", ".join(spec.addresses.values())
            raise InvalidInput(f"{portal.address} is not an address of the node `{spec.id}`", f"Use one of {own}.")
    return tuple(dict.fromkeys(map(str, found)))


def _default(draft: Draft, spec: NodeSpec, networks: Sequence[str]) -> tuple[str, ...]:
    for network in networks:
        checks.network(draft, network)
        if network not in spec.addresses:
            raise Conflict(
                f"node `{spec.id}` has no address on the network `{network}`, where the target is served",
                "Choose another node, or another network with --network.",
            )
    return tuple(dict.fromkeys(str(parse_portal(spec.addresses[network])) for network in networks))


def networks(specs: Sequence[NodeSpec], listening: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Where the nodes listen. The same for each: where clients reach one path they reach all, and a node that has lost these
    networks serves nobody. Raises InvalidInput."""
    found: dict[str, set[str]] = {}
    for spec in specs:
        there = {parse_portal(portal).address for portal in listening[spec.id]}
        found[spec.id] = {network for network, address in spec.addresses.items() if address in there}
    first = next(iter(found.values()))
    other = next((node for node, there in found.items() if there != first), "")
    if other:
        raise InvalidInput(
            f"`{other}` would listen on other networks ({', '.join(sorted(found[other]))}) than `{specs[0].id}`",
            f"Give it portals on the same ones: {', '.join(sorted(first))}.",
        )
    return tuple(sorted(first))


def tags(others: Iterable[TargetGroup], nodes: Sequence[str]) -> dict[str, int]:
    """A node has the same number in all its groups, and keeps it."""
    known = {node: tag for group in others for node, tag in group.tags.items()}
    free = (tag for tag in count(1) if tag not in known.values())
    return {node: known[node] if node in known else next(free) for node in nodes}


def engine(
    specs: Sequence[NodeSpec],
    reports: Mapping[str, NodeReport],
    wanted: str,
    others: Iterable[TargetGroup],
    listening: Mapping[str, tuple[str, ...]],
) -> str:
    """The first that every node can run. Raises Conflict with what stands in the way of each."""
    for spec in specs:
        if spec.id not in reports:
            raise Conflict(
                f"node `{spec.id}` has not said yet which iSCSI engines it can run",
                f"It says so soon after it is up and has the shared storage: look at `holdfast node show {spec.id}`.",
            )
    groups, asked = list(others), [wanted] if wanted else ENGINES
    refusals = {
        name: [
            f"{spec.id}: {why}"
            for spec in specs
            if (why := _why_not(name, reports[spec.id], groups, listening[spec.id]))
        ]
        for name in ENGINES
    }
    chosen = next((name for name in asked if not refusals[name]), "")
    if not chosen:
        said = "; ".join(f"{name} ({', '.join(refusals[name])})" for name in asked)
        raise Conflict(f"not every node can run the same engine: {said}", "Correct that, or choose other nodes.")
    return chosen


def _why_not(engine: str, report: NodeReport, others: Sequence[TargetGroup], own: tuple[str, ...]) -> str:
    why = report.engines.get(engine, "its agent does not know it")
    if why:
        return why.rstrip(".")
    for other in others:
        if report.node in other.portals:
            if other.engine != engine:
                return f"it serves the target group {other.name} with {other.engine}"
            if engine == "tgt" and set(other.portals[report.node]) != set(own):
                served = ", ".join(other.portals[report.node])
                return f"tgt serves all its target groups on the same portals, {other.name} on {served}"
    return ""
