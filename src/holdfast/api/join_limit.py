"""How often anybody may try to join: the one thing that people without a name may send with a body of meaning."""

from holdfast.errors import NotPermitted
from holdfast.ports import Clock

PER_ADDRESS = 20
ALTOGETHER = 200
"""Tries within WINDOW_S. A secret of 256 bits is not guessed; this keeps the store and the processor from idle work."""
WINDOW_S = 60.0


class TooManyJoins(NotPermitted):
    """Refused unread."""

    http_status = 429


class JoinLimit:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: list[tuple[float, str]] = []

    def check(self, address: str) -> None:
        """Counts this try. Raises TooManyJoins."""
        now = self._clock.now()
        self._tries = [(at, source) for at, source in self._tries if at > now - WINDOW_S]
        mine = sum(1 for _, source in self._tries if source == address)
        if mine >= PER_ADDRESS or len(self._tries) >= ALTOGETHER:
            raise TooManyJoins("too many tries to join", "Wait a minute, then try again.")
        self._tries.append((now, address))

    def succeeded(self, address: str) -> None:
        self._tries = [(at, source) for at, source in self._tries if source != address]
