"""Checks of what people typed, shared by all operations. Every refusal names the thing and what to do."""

import difflib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from holdfast.api.operations.draft import Draft
from holdfast.api.status import build_status
from holdfast.bootstrap.validate import check_address
from holdfast.core.model import NetworkSpec, NodeSpec, NodeState, Role, ServiceAddress
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.store import keys

Probe = Callable[[ServiceAddress], Awaitable[str]]
"""Asks the network who has an address: "" or the hardware address that answered (port Addresses.probe)."""

IP = IPv4Address | IPv6Address

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def name(text: str, what: str) -> str:
    """A name that is safe in keys, paths and host names."""
    if not _NAME.fullmatch(text):
        raise InvalidInput(
            f"`{text}` cannot be the name of a {what}",
            "Use 1 to 63 small letters, digits and hyphens, with a letter or digit first and last, e.g. `vol1`.",
        )
    return text


def not_found(what: str, wanted: str, known: Iterable[str]) -> NotFound:
    """Names the nearest known one, and all of them while they are few."""
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=2, cutoff=0.5)
    # Among `n1` to `n4` none is nearer to `n9` than the others: a guess would name a wrong node for a destructive command.
    clear = near and (len(near) == 1 or _likeness(wanted, near[0]) > _likeness(wanted, near[1]))
    hint = f"Did you mean `{near[0]}`? " if clear else ""
    if not names:
        return NotFound(f"{what} `{wanted}` does not exist", f"There is no {what} yet.")
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return NotFound(f"{what} `{wanted}` does not exist", f"{hint}Known: {listed}.")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()


def node(draft: Draft, node_id: str) -> NodeSpec:
    nodes = draft.nodes
    if node_id not in nodes:
        raise not_found("node", node_id, nodes)
    return nodes[node_id]


def nodes(draft: Draft, node_ids: Sequence[str]) -> list[NodeSpec]:
    """All of them exist, and none is named twice."""
    twice = sorted({node_id for node_id in node_ids if list(node_ids).count(node_id) > 1})
    if twice:
        raise InvalidInput(f"node `{twice[0]}` is named twice", "Name each node once.")
    return [node(draft, node_id) for node_id in node_ids]


async def node_state(draft: Draft, node_id: str, *, rely: bool = False) -> NodeState:
    """How the node stands: the leading manager's word, else what its own records say. `rely`: the commit fails if the
    node's beat or fence record has changed meanwhile."""
    found = [
        await draft.fetch(keys.MANAGER_TERM),
        await draft.fetch(keys.MANAGER_VIEW),
        await draft.fetch(keys.beat(node_id), rely=rely),
        await draft.fetch(keys.fence(node_id), rely=rely),
        draft.entry(keys.node_spec(node_id)),
    ]
    status = build_status([entry for entry in found if entry is not None]).node(node_id)
    return status.state if status else NodeState.NEVER_SEEN


async def require_up(draft: Draft, spec: NodeSpec, purpose: str) -> None:
    state = await node_state(draft, spec.id)
    if state is not NodeState.UP:
        words = "in maintenance" if state is NodeState.MAINTENANCE else state
        raise Conflict(
            f"node `{spec.id}` is {words}, but {purpose} needs it up",
            f"Look at `holdfast node show {spec.id}`, bring it up first or choose another node.",
        )


def require_role(spec: NodeSpec, role: Role, purpose: str) -> None:
    if role not in spec.roles:
        roles = ", ".join(spec.roles) or "none"
        raise Conflict(
            f"node `{spec.id}` has not the role `{role}`, which {purpose} needs",
            f"Its roles: {roles}. Choose another node, or give it the role.",
        )


# --- addresses ---


def ip(text: str) -> IP:
    try:
        return ip_address(text.strip())
    except ValueError:
        raise InvalidInput(f"`{text}` is not an IP address", "Write it like 10.78.0.101 or fd78::101.") from None


def network(draft: Draft, network_name: str) -> NetworkSpec:
    networks = {spec.name: spec for spec in draft.cluster.networks}
    if network_name not in networks:
        raise not_found("network", network_name, networks)
    return networks[network_name]


def address_owners(draft: Draft) -> dict[IP, str]:
    """Every address that is spoken for → by whom, in words."""
    owners: dict[IP, str] = {}
    for spec in draft.nodes.values():
        for where, text in spec.addresses.items():
            owners[ip_address(text)] = f"node `{spec.id}` on the network `{where}`"
    for instance in draft.instances.values():
        if instance.address is not None:
            owners[ip_address(instance.address.ip)] = f"`{instance.id}`"
    if draft.management.virtual_ip:
        owners[ip_address(draft.management.virtual_ip)] = "the admin panel (virtual IP)"
    return owners


async def free_address(draft: Draft, text: str, network_name: str, probe: Probe | None) -> ServiceAddress:
    """A service address that may be given away: valid, inside the network, used by nobody here, and answered by nobody."""
    address = check_address(text.strip(), network(draft, network_name))
    owner = address_owners(draft).get(address)
    if owner:
        raise Conflict(f"the address {address} is already used by {owner}", "Choose another address.")
    result = ServiceAddress(str(address), network_name)
    answered = await ask(draft, result, probe)
    if answered:
        raise Conflict(
            f"the address {address} is answered on the network `{network_name}` by the machine {answered}",
            "Choose another address, or take it away from that machine first.",
        )
    return result


async def ask(draft: Draft, address: ServiceAddress, probe: Probe | None) -> str:
    """Probe; where that is not possible the start will probe again, so it is only a warning here."""
    if probe is None:
        return ""
    try:
        return await probe(address)
    except HoldfastError as error:
        draft.warn(f"Whether {address.ip} is in use could not be probed from here: {error.message}.")
        return ""


def pool(texts: Sequence[str]) -> list[tuple[IP, IP]]:
    """Ranges `first-last` or single addresses → (first, last) pairs. Raises InvalidInput."""
    ranges = []
    for text in texts:
        first_text, dash, last_text = text.partition("-")
        first = ip(first_text)
        last = ip(last_text) if dash else first
        if first.version != last.version:
            raise InvalidInput(f"`{text}` mixes IPv4 and IPv6", "Give both ends of a range in the same family.")
        if int(last) < int(first):
            raise InvalidInput(f"`{text}` ends before it begins", "Write ranges as FIRST-LAST.")
        ranges.append((first, last))
    return ranges
