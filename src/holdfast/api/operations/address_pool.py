"""Service addresses for gateways: so many free ones of the ranges that an operator gives."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_network
from itertools import islice

from holdfast.api.operations import checks
from holdfast.api.operations.checks import IP
from holdfast.api.operations.draft import Draft
from holdfast.bootstrap.validate import check_address
from holdfast.core.model import NetworkSpec, ServiceAddress, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.store import keys

MAX_ADDRESSES = 4096
FROM_THE_END = 128
"""So many are looked at where none are given."""
AT_ONCE = 16
"""Addresses asked for at the same time: each takes about a second."""


async def choose(
    draft: Draft,
    ranges: Sequence[str],
    network: str,
    count: int,
    probe: checks.Probe | None,
    *,
    option: str = "--addresses",
    but: Collection[str] = (),
) -> list[ServiceAddress]:
    """The first `count` addresses of `ranges` (`ADDRESS` or `FIRST-LAST` each) that nobody has here, and for which nobody
    answers. `but`: those that the same operation gives away elsewhere. Raises InvalidInput for ranges that cannot be used,
    Conflict if there are too few; advice names the `option`."""
    addresses = _all_of(draft, ranges, network, option)
    where = ", ".join(ranges)
    return await _first_free(draft, addresses, network, count, probe, where=where, option=option, but=but)


async def choose_any(
    draft: Draft,
    network: str,
    count: int,
    probe: checks.Probe | None,
    *,
    option: str = "--addresses",
    but: Collection[str] = (),
) -> list[ServiceAddress]:
    """The same where the operator names none: from the end of the network, which is where people seldom begin to number.
    Says in a warning which they are: somebody may use one of them who is off now."""
    given = [text for kind in draft.specs(keys.KINDS, ServiceSpec) for text in kind.config.get("addresses", ())]
    pools = checks.pool(given)
    addresses = [
        address
        for address in _from_the_end(checks.network(draft, network))
        if not any(first.version == address.version and first <= address <= last for first, last in pools)  # type: ignore[operator]
    ]
    where = f"the last {len(addresses)} of network {network}"
    free = await _first_free(draft, addresses, network, count, probe, where=where, option=option, but=but)
    draft.warn(f"Chosen without {option}, and not to be used by anybody else: {', '.join(a.ip for a in free)}.")
    return free


async def _first_free(
    draft: Draft,
    addresses: Sequence[IP],
    network: str,
    count: int,
    probe: checks.Probe | None,
    *,
    where: str,
    option: str,
    but: Collection[str],
) -> list[ServiceAddress]:
    owners = {**checks.address_owners(draft), **{checks.ip(text): "what is being created" for text in but}}
    taken = [f"{address} is used by {owners[address]}" for address in addresses if address in owners]
    candidates = (ServiceAddress(str(address), network) for address in addresses if address not in owners)
    free: list[ServiceAddress] = []
    while len(free) < count:
        asked = list(islice(candidates, min(count - len(free), AT_ONCE)))
        if not asked:
            raise Conflict(
                f"only {len(free)} of the {count} addresses that are needed are free in {where}"
                f"{': ' + '; '.join(taken[:5]) if taken else ''}",
                f"Give a larger range, or another one, with {option}.",
            )
        answers = await asyncio.gather(*(checks.ask(draft, candidate, probe) for candidate in asked))
        for candidate, hardware in zip(asked, answers, strict=True):
            if hardware:
                taken.append(f"{candidate.ip} is answered by the machine {hardware}")
                draft.warn(f"{candidate.ip} was skipped: the machine {hardware} answers there.")
            else:
                free.append(candidate)
    return free


def _from_the_end(network: NetworkSpec) -> list[IP]:
    """Host addresses of its first prefix, the last first."""
    prefix = ip_network(network.cidrs[0])
    last = int(prefix.broadcast_address) - (prefix.version == 4 and prefix.num_addresses > 2)
    first = max(int(prefix.network_address) + 1, last - FROM_THE_END + 1)
    kind = type(prefix.network_address)
    return [kind(number) for number in range(last, first - 1, -1)]


def _all_of(draft: Draft, ranges: Sequence[str], network: str, option: str) -> list[IP]:
    """In the order of the ranges. Both ends of each lie in the network, so everything between does."""
    if not ranges:
        raise InvalidInput("no service addresses are given", f"Give e.g. {option} 10.78.0.151-10.78.0.159.")
    spec = checks.network(draft, network)
    found: dict[IP, None] = {}
    for first, last in checks.pool(ranges):
        check_address(str(first), spec)
        check_address(str(last), spec)
        if int(last) - int(first) >= MAX_ADDRESSES:
            raise InvalidInput(f"{first}-{last} is too large", f"Give at most {MAX_ADDRESSES} addresses.")
        found.update(dict.fromkeys(_between(first, last)))
    return list(found)


def _between(first: IP, last: IP) -> Iterator[IP]:
    for number in range(int(first), int(last) + 1):
        yield type(first)(number)
