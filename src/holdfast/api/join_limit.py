"""How often anybody may try to join: the one thing that people without a name may send with a body of meaning."""

from holdfast.api.origin import network
from holdfast.errors import NotPermitted
from holdfast.ports import Clock

PER_ADDRESS = 20
ALTOGETHER = 200
"""Tries within WINDOW_S. A secret of 256 bits is not guessed; this keeps the store and the processor from idle work."""
WINDOW_S = 60.0


class TooManyJoins(NotPermitted):
    """Refused unread."""

    http_status = 429

    def __init__(self, wait_s: float) -> None:
        wait = int(wait_s) + 1
        super().__init__("too many tries to join", f"Wait {wait} seconds, then try again.")
        self.retry_after_s = wait


class JoinLimit:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: list[tuple[float, str]] = []

    def check(self, address: str) -> None:
        """Counts this try. Raises TooManyJoins."""
        now = self._clock.now()
        self._tries = [(at, source) for at, source in self._tries if at > now - WINDOW_S]
        mine = [at for at, source in self._tries if source == network(address)]
        for tries, most in ((mine, PER_ADDRESS), ([at for at, _ in self._tries], ALTOGETHER)):
            if len(tries) >= most:
                raise TooManyJoins(tries[0] + WINDOW_S - now)
        self._tries.append((now, network(address)))

    def succeeded(self, address: str) -> None:
        self._tries = [(at, source) for at, source in self._tries if source != network(address)]
