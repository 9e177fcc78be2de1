"""How many UDP answers one network gets: whoever forges a victim's address gets little to send it."""

import ipaddress
from collections import OrderedDict
from enum import Enum

ANSWERS_PER_S = 100.0
"""For each client network: far above what resolvers ask with a TTL of seconds."""
BURST = 300.0
NETWORKS = 10_000
"""Networks remembered; the ones longest silent are forgotten."""
SLIP = 2
"""Of the answers above the limit, every second one says `come back by TCP`; the others are not sent."""
_PREFIX = {4: 24, 6: 56}


class Verdict(Enum):
    ANSWER = "answer"
    TRUNCATE = "truncate"
    DROP = "drop"


class AnswerLimit:
    """One token bucket per client network (/24, or /56 of IPv6). `now` is the caller's CLOCK_BOOTTIME in seconds."""

    def __init__(self, rate: float = ANSWERS_PER_S, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[int, tuple[float, float, int]] = OrderedDict()
        """Network → tokens, when they were counted, answers withheld since."""

    def judge(self, client: str, now: float) -> Verdict:
        network = network_of(client)
        tokens, at, withheld = self._buckets.pop(network, (self._burst, now, 0))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        verdict = Verdict.ANSWER
        if tokens >= 1:
            tokens, withheld = tokens - 1, 0
        else:
            withheld += 1
            verdict = Verdict.DROP if withheld % SLIP else Verdict.TRUNCATE
        self._buckets[network] = (tokens, now, withheld)
        if len(self._buckets) > NETWORKS:
            self._buckets.popitem(last=False)
        return verdict


def network_of(client: str) -> int:
    """A number that clients of one network have in common."""
    address = ipaddress.ip_address(client.partition("%")[0])
    bits = address.max_prefixlen - _PREFIX[address.version]
    return int(address) >> bits << 4 | address.version
