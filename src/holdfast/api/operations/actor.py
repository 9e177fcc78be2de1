"""Who asks for a change, and on what terms."""

from dataclasses import dataclass

from holdfast.api.operations.terms import ORDINARY, Terms
from holdfast.api.permissions import Role, covers, held


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: recorded with what was done."""

    name: str
    via: str = ""
    """`socket`, `session`, `token:<name>` or `setup`."""
    address: str = ""
    """From where; empty: this node."""
    role: Role = Role.ADMIN
    scopes: tuple[str, ...] = ()
    """What an API token is limited to; empty: all of the role."""
    terms: Terms = ORDINARY
    """How this request asks for what it asks for."""

    def may(self, need: str) -> bool:
        """Whether role and scopes hold it (`permissions.TABLE` says what routes need; this is for single wishes)."""
        return covers(held(self.role), need) and (not self.scopes or covers(self.scopes, need))
