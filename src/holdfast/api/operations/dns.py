"""DNS: the operator's zones, servers of the operator's that are updated, and secondaries that copy our zones."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast import locks
from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.dns_model import DEFAULT_TTL_S, TSIG_ALGORITHMS, Secondary, TsigKey, UpdateTarget, Zone
from holdfast.core.dns_records import normal, server_name
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys

Secret = Callable[[], bytes]
"""The cluster secret. Raises ConfigError."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
MAX_TTL_S = 86400


@dataclass(frozen=True, slots=True)
class NewKey:
    """A TSIG key as the operator gives it."""

    name: str
    secret: str
    """Base64."""
    algorithm: str = "hmac-sha256"


# --- zones ---------------------------------------------------------------------------------------------------------


async def create_zone(
    store: Store,
    actor: Actor,
    *,
    apex: str,
    network: str = "",
    hostmaster: str = "",
    ttl_s: int = DEFAULT_TTL_S,
    minimum_s: int = DEFAULT_TTL_S,
    servers: Sequence[str] = (),
) -> Outcome:
    """Every management node serves it from then on."""
    apex = domain(apex, "zone")
    _ttl(ttl_s, "TTL")
    _ttl(minimum_s, "time for which a name's absence is remembered")
    mail = hostmaster or f"hostmaster@{apex}"
    user, at, where = mail.partition("@")
    if not at or not user or not user.isascii() or not user.isprintable() or len(user) > 63:
        raise InvalidInput(f"`{mail}` is not a mail address", f"Write it like hostmaster@{apex}.")
    domain(where, "mail address")
    others = tuple(dict.fromkeys(domain(name, "name server") for name in servers))

    async def operation(draft: Draft) -> str:
        for other in draft.specs(keys.DNS_ZONES, Zone):
            if apex == other.apex:
                raise Conflict(f"the zone {apex} exists already", "Look at it with `holdfast dns show`.")
            if apex.endswith(f".{other.apex}") or other.apex.endswith(f".{apex}"):
                raise Conflict(
                    f"the zone {apex} and the zone {other.apex} lie in one another",
                    f"Names below {max(apex, other.apex, key=len)} are served in the other one already.",
                )
        zone = Zone(apex, mail, _network(draft, network), ttl_s, minimum_s, others)
        own = _own_servers(draft, zone)
        for instance in draft.instances.values():
            for name in instance.names:
                if normal(name) in own:
                    raise Conflict(f"{name} is a name of `{instance.id}`", "The name server would have the same one.")
        draft.put(keys.dns_zone(apex), zone)
        draft.data.update(zone=apex, servers=own)
        draft.warn(
            f"Clients find it once it is delegated: let the zone above {apex} name {', '.join(sorted(own))} with their "
            "addresses. Check it with `holdfast dns test`."
        )
        return f"zone {apex} is served by {', '.join(sorted(own.values()))}"

    return await transact(store, actor, operation)


async def delete_zone(store: Store, actor: Actor, apex: str) -> Outcome:
    """No server of ours answers for it any more."""
    apex = normal(apex)

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.dns_zone(apex), Zone) is None:
            raise checks.not_found("zone", apex, [zone.apex for zone in draft.specs(keys.DNS_ZONES, Zone)])
        draft.delete(keys.dns_zone(apex))
        draft.warn(f"Take its delegation out of the zone above {apex} too.")
        return f"zone {apex} is deleted"

    return await transact(store, actor, operation)


def _network(draft: Draft, name: str) -> str:
    known = [network.name for network in draft.cluster.networks]
    if not name:
        return "public" if "public" in known else "management"
    return checks.network(draft, name).name


def _own_servers(draft: Draft, zone: Zone) -> dict[str, str]:
    """Name server → address. Raises Conflict where there would be none."""
    found = {}
    for name in draft.management.nodes:
        node = draft.nodes.get(name)
        if node is not None and zone.network in node.addresses:
            found[server_name(zone.apex, name)] = node.addresses[zone.network]
    if not found:
        raise Conflict(
            f"no management node has an address on the network `{zone.network}`",
            "Choose another one with --network.",
        )
    if len(found) == 1:
        draft.warn("There is one management node, so one name server: when it fails nobody answers. See `holdfast ha`.")
    return found


# --- update targets ------------------------------------------------------------------------------------------------


async def add_target(
    store: Store,
    actor: Actor,
    secret: Secret,
    *,
    name: str,
    server: str,
    zone: str,
    key: NewKey,
    port: int = 53,
    ttl_s: int = DEFAULT_TTL_S,
) -> Outcome:
    """The leading manager keeps the names of this zone up to date there."""
    checks.name(name, "update target")
    address, apex, locked = str(checks.ip(server)), domain(zone, "zone"), _lock(key, secret)
    _ttl(ttl_s, "TTL")
    _port(port)

    async def operation(draft: Draft) -> str:
        for other in draft.specs(keys.DNS_TARGETS, UpdateTarget):
            if other.name == name:
                raise Conflict(f"an update target `{name}` exists already", "Remove it first, or choose another name.")
            if (other.server, other.port, other.zone) == (address, port, apex):
                raise Conflict(f"`{other.name}` updates {apex} on {address} already", "One of them is enough.")
        draft.put(keys.dns_target(name), UpdateTarget(name, address, apex, locked, port, ttl_s))
        return f"update target {name}: {apex} on {address}"

    return await transact(store, actor, operation)


async def remove_target(store: Store, actor: Actor, name: str) -> Outcome:
    """What was written there stays there."""

    async def operation(draft: Draft) -> str:
        target = draft.spec(keys.dns_target(name), UpdateTarget)
        if target is None:
            known = [other.name for other in draft.specs(keys.DNS_TARGETS, UpdateTarget)]
            raise checks.not_found("update target", name, known)
        draft.delete(keys.dns_target(name))
        if await draft.fetch(keys.dns_state(name)) is not None:
            draft.delete(keys.dns_state(name))
        draft.warn(f"The records in {target.zone} on {target.server} stay as they are; remove them there.")
        return f"update target {name} is removed"

    return await transact(store, actor, operation)


# --- secondaries ---------------------------------------------------------------------------------------------------


async def add_secondary(
    store: Store,
    actor: Actor,
    secret: Secret,
    *,
    name: str,
    addresses: Sequence[str],
    notify: Sequence[str] = (),
    key: NewKey | None = None,
) -> Outcome:
    """It may copy all zones. `notify`: `ADDRESS[:PORT]`, told of each change; empty: all of its single addresses."""
    checks.name(name, "secondary")
    prefixes = tuple(dict.fromkeys(_prefix(text) for text in addresses))
    if not prefixes:
        raise InvalidInput("no address of the secondary is given", "Give it with --address.")
    told = tuple(_endpoint(text) for text in notify or [text for text in prefixes if "/" not in text])
    locked = _lock(key, secret) if key is not None else None

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.dns_secondary(name), Secondary) is not None:
            raise Conflict(f"a secondary `{name}` exists already", "Remove it first, or choose another name.")
        draft.put(keys.dns_secondary(name), Secondary(name, prefixes, told, locked))
        if locked is None:
            draft.warn("Without a key everybody who can use its address can copy the zones. See --key.")
        return f"secondary {name}: {', '.join(prefixes)} may copy the zones"

    return await transact(store, actor, operation)


async def remove_secondary(store: Store, actor: Actor, name: str) -> Outcome:
    async def operation(draft: Draft) -> str:
        if draft.spec(keys.dns_secondary(name), Secondary) is None:
            raise checks.not_found("secondary", name, [s.name for s in draft.specs(keys.DNS_SECONDARIES, Secondary)])
        draft.delete(keys.dns_secondary(name))
        return f"secondary {name} is removed"

    return await transact(store, actor, operation)


# --- checks --------------------------------------------------------------------------------------------------------


def domain(text: str, what: str) -> str:
    """A host name in small letters without the final dot. Raises InvalidInput."""
    name = normal(text.strip())
    labels = name.split(".")
    well_formed = len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels)
    if len(name) > 200 or not well_formed or labels[-1].isdecimal():  # the last is an address (RFC 3696, section 2)
        raise InvalidInput(
            f"`{text}` cannot be the name of a {what}", "Write a fully qualified name, like s3.example.lan."
        )
    return name


def _ttl(seconds: int, what: str) -> None:
    if not 1 <= seconds <= MAX_TTL_S:
        raise InvalidInput(f"a {what} of {seconds} s is not possible", f"Choose 1 to {MAX_TTL_S}; 5 is a good choice.")


def _port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"{port} is no port", "Ports are 1 to 65535.")
    return port


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(
            f"`{text}` is neither an address nor a prefix", "Write it like 192.0.2.53 or 192.0.2.0/28."
        ) from None


def _endpoint(text: str) -> tuple[str, int]:
    """`192.0.2.53`, `192.0.2.53:5353`, `fd00::1`, `[fd00::1]:5353`."""
    address, port = text, "53"
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not port.isdecimal():
        raise InvalidInput(f"`{text}` is no address with a port", "Write it like 192.0.2.53:53.")
    return str(checks.ip(address)), _port(int(port))


def _lock(key: NewKey, secret: Secret) -> TsigKey:
    name = normal(key.name)
    if not name or len(name) > 200 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidInput(f"`{key.name}` cannot be the name of a key", "Use letters, digits, hyphens and dots.")
    if key.algorithm.lower() not in TSIG_ALGORITHMS:
        raise InvalidInput(
            f"there is no algorithm `{key.algorithm}` here", f"Choose from {', '.join(TSIG_ALGORITHMS)}."
        )
    try:
        length = len(base64.b64decode(key.secret, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if not 8 <= length <= 512:
        raise InvalidInput(
            "the key's secret is not Base64 of 8 to 512 bytes", "Make one with `tsig-keygen` or `keymgr -t`."
        )
    return TsigKey(name, locks.lock(key.secret.encode(), secret()), key.algorithm.lower())
