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

    @property
    def kind(self) -> str:
        """What sort of refusal it is, e.g. `not-found`, `conflict`, `precondition-failed`: words change from version to
        version, this does not. Empty where it was not the API that refused."""
        head, _, kind = str(self.members.get("type", "")).rpartition(":")
        return kind if head == "urn:holdfast:error" else ""
