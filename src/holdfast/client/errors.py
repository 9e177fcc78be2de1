"""What can go wrong between a client and the API."""

from collections.abc import Mapping

from holdfast.errors import HoldfastError


class ApiUnreachable(HoldfastError):
    """Nothing answers; it may be a moment of a fail-over."""


class ApiRefused(HoldfastError):
    """The API's own refusal, with its own words."""

    def __init__(self, status: int, message: str, advice: str, members: Mapping[str, object] | None = None) -> None:
        super().__init__(message, advice)
        self.status = status
        self.members = members or {}
        """The whole problem details: `type`, `worst`, `unplaced`, `etag` …"""
