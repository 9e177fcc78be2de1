"""Which names lead to which addresses, by what the manager sees. Pure.

A gateway is published while it is healthy, at home, and nobody misses its node. Where no gateway of a name is so well, the
next best are: an empty answer would be remembered by resolvers and taken for good by clients, so a name of something that is
wanted never has one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from holdfast.core.dns_model import DnsRecords, ServedZone, UpdateTarget, Zone
from holdfast.core.model import Desired, Goal, InstanceState, NodeSpec
from holdfast.core.view import InstanceView, NodeView, View

_HALF = 1 << 31
_ALL = 1 << 32


class Standing(IntEnum):
    """How good an address is. Of each name the best there are get published."""

    GOOD = 0
    """Healthy, at home, its node not missed. Also every ordinary service address: it follows its instance."""
    AWAY = 1
    """Another node answers for it while its own cannot."""
    UNWELL = 2
    """It does not answer, or starts, or was left alone by an operator; but its node is there. All gateways are so for a
    moment when what stands behind them moves."""
    MISSED = 3
    """Its node, or the node's network, is missed: it may live all the same."""
    DOWN = 4
    """Wanted, but nothing of it runs anywhere at the moment."""
    UNWANTED = 5
    """An operator stopped it: never published."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address under one name, and why it is published or not."""

    name: str
    address: str
    instance: str
    standing: Standing
    why: str
    published: bool = False


def candidates(view: View, now: float) -> tuple[Candidate, ...]:
    """Every address that could be published, sorted by name and address (manager's CLOCK_BOOTTIME, seconds)."""
    found: list[Candidate] = []
    for instance in view.instances.values():
        spec = instance.spec
        if spec.address is not None and spec.names:
            standing, why = _standing(view, instance, now)
            found += (Candidate(normal(name), spec.address.ip, spec.id, standing, why) for name in spec.names)
    best: dict[str, Standing] = {}
    for one in found:
        best[one.name] = min(best.get(one.name, Standing.UNWANTED), one.standing)
    chosen = (_judged(one, best[one.name]) for one in found)
    return tuple(sorted(chosen, key=lambda one: (one.name, one.address)))


def _judged(one: Candidate, best: Standing) -> Candidate:
    published = one.standing is best and best is not Standing.UNWANTED
    why = one.why
    if published and best is not Standing.GOOD:
        why += "; published because no other is better"
    return Candidate(one.name, one.address, one.instance, one.standing, why, published)


def _standing(view: View, instance: InstanceView, now: float) -> tuple[Standing, str]:
    spec = instance.spec
    if instance.deleting:
        return Standing.UNWANTED, "it is being deleted"
    if not spec.home:
        return Standing.GOOD, "its address follows it"
    if spec.desired in (Desired.STOPPED, Desired.DISABLED):
        return Standing.UNWANTED, f"it is to be {spec.desired}"
    placement = instance.placement
    node = view.nodes.get(placement.node) if placement else None
    if placement is None or node is None or placement.goal is Goal.STOP or not instance.executors(view.nodes):
        return Standing.DOWN, "it runs nowhere at the moment"
    missed = _missed(view, instance, node, now)
    if missed:
        return Standing.MISSED, missed
    unwell = _unwell(instance, node)
    if unwell:
        return Standing.UNWELL, unwell
    if placement.node != spec.home:
        return Standing.AWAY, f"it runs on {placement.node} instead of {spec.home}"
    return Standing.GOOD, f"healthy on {spec.home}"


def _missed(view: View, instance: InstanceView, node: NodeView, now: float) -> str:
    """Why a client's packets may reach nobody where it is placed; "" if they do."""
    address = instance.spec.address
    if not node.up(view.timing, now):
        return f"{node.id} is {node.state(view.timing, now)}"
    if address is not None and address.network in node.lost_networks:
        return f"{node.id} is missed on the network {address.network}"
    return ""


def _unwell(instance: InstanceView, node: NodeView) -> str:
    """Why it may serve nobody though it is reached; "" if all is well."""
    word = instance.word
    if word is None or word.state is not InstanceState.RUNNING:
        return f"it is {word.state if word else 'not heard of yet'} on {node.id}"
    if not word.healthy:
        return f"it does not answer on {node.id}{': ' + word.detail if word.detail else ''}"
    return ""


def names_of(found: Iterable[Candidate]) -> dict[str, tuple[str, ...]]:
    """Name → published addresses. A name of which nothing is wanted stays, with no address: it exists all the same."""
    names: dict[str, list[str]] = {}
    for one in found:
        addresses = names.setdefault(one.name, [])
        if one.published and one.address not in addresses:
            addresses.append(one.address)
    return {name: tuple(addresses) for name, addresses in sorted(names.items())}


def served(zones: Iterable[Zone], management: Iterable[str], nodes: Mapping[str, NodeSpec]) -> tuple[ServedZone, ...]:
    """Each zone with its name servers: one on each management node, whether or not it is well. A resolver finds the one
    that answers, and a set of servers that changed with every failure would not match what the parent zone says."""
    return tuple(
        ServedZone(
            zone.apex,
            zone.hostmaster,
            zone.ttl_s,
            zone.minimum_s,
            {
                **{server_name(zone.apex, node): (address,) for node, address in _servers(zone, management, nodes)},
                **{normal(name): () for name in zone.servers},
            },
        )
        for zone in sorted(zones, key=lambda zone: zone.apex)
    )


def _servers(zone: Zone, management: Iterable[str], nodes: Mapping[str, NodeSpec]) -> Iterator[tuple[str, str]]:
    for name in sorted(management):
        address = nodes[name].addresses.get(zone.network) if name in nodes else None
        if address is not None:
            yield name, address


def server_name(apex: str, node: str) -> str:
    """The name server of a zone on a node."""
    return f"ns-{node}.{apex}"


def normal(name: str) -> str:
    """One spelling of a name: small letters, without the final dot."""
    return name.rstrip(".").lower()


def zone_of(name: str, apexes: Iterable[str]) -> str:
    """The zone that a name lies in; "" if it is in none of them."""
    fitting = [apex for apex in apexes if name == apex or name.endswith(f".{apex}")]
    return max(fitting, key=len, default="")


# --- serials -------------------------------------------------------------------------------------------------------


def newer(serial: int, than: int) -> bool:
    """RFC 1982, 32 bits: does `serial` come after `than`?"""
    return 0 < (serial - than) % _ALL < _HALF


def next_serial(last: int, wall_s: int) -> int:
    """A serial after `last`. It is the wall clock's seconds where those are newer, so that it grows also when the store was
    restored from a backup and `last` is an old one again."""
    wall = wall_s % _ALL
    if newer(wall, last) and wall:
        return wall
    return (last + 1) % _ALL or 1


# --- the record ----------------------------------------------------------------------------------------------------


def changed(known: DnsRecords | None, names: Mapping[str, tuple[str, ...]], zones: tuple[ServedZone, ...]) -> bool:
    """Is what is published another thing now?"""
    return known is None or known.names != dict(names) or known.zones != zones


def names_for(target: UpdateTarget, names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What is sent to an update target."""
    return {name: addresses for name, addresses in names.items() if zone_of(name, [target.zone])}
