"""Service addresses for gateways: so many free ones of the ranges that an operator gives."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

from holdfast.api.operations import checks
from holdfast.api.operations.checks import IP
from holdfast.api.operations.draft import Draft
from holdfast.bootstrap.validate import check_address
from holdfast.core.model import ServiceAddress
from holdfast.errors import Conflict, InvalidInput

MAX_ADDRESSES = 4096
AT_ONCE = 16
"""Addresses asked for at the same time: each takes about a second."""


async def choose(
    draft: Draft, ranges: Sequence[str], network: str, count: int, probe: checks.Probe | None
) -> list[ServiceAddress]:
    """The first `count` addresses of `ranges` (`ADDRESS` or `FIRST-LAST` each) that nobody has here, and for which nobody
    answers. Raises InvalidInput for ranges that cannot be used, Conflict if there are too few."""
    addresses = _all_of(draft, ranges, network)
    owners = checks.address_owners(draft)
    taken = [f"{address} is used by {owners[address]}" for address in addresses if address in owners]
    candidates = (ServiceAddress(str(address), network) for address in addresses if address not in owners)
    free: list[ServiceAddress] = []
    while len(free) < count:
        asked = list(islice(candidates, min(count - len(free), AT_ONCE)))
        if not asked:
            raise Conflict(
                f"only {len(free)} of the {count} addresses that are needed are free in {', '.join(ranges)}"
                f"{': ' + '; '.join(taken[:5]) if taken else ''}",
                "Give a larger range, or another one, with --addresses.",
            )
        answers = await asyncio.gather(*(checks.ask(draft, candidate, probe) for candidate in asked))
        for candidate, hardware in zip(asked, answers, strict=True):
            if hardware:
                taken.append(f"{candidate.ip} is answered by the machine {hardware}")
                draft.warn(f"{candidate.ip} was skipped: the machine {hardware} answers there.")
            else:
                free.append(candidate)
    return free


def _all_of(draft: Draft, ranges: Sequence[str], network: str) -> list[IP]:
    """In the order of the ranges. Both ends of each lie in the network, so everything between does."""
    if not ranges:
        raise InvalidInput("no service addresses are given", "Give e.g. --addresses 10.78.0.151-10.78.0.159.")
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
