"""The one tree of errors. A message says what happened, to what, and what to do next.

Every error a person may see derives from HoldfastError and carries an `advice`; command line, API and panel
print both and never a traceback.
"""

from collections.abc import Mapping


class HoldfastError(Exception):
    """Base of all errors meant for people.

    `message` says what happened and to what; `advice` says what to do next (may be empty where nothing can be done).
    """

    #: HTTP status the API answers with.
    http_status = 500
    #: Seconds after which it is worth asking again; 0: nobody can tell.
    retry_after_s = 0
    #: What programs want to know, beside the words (extension members of the API's problem details).
    members: Mapping[str, object] = {}

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class InvalidInput(HoldfastError):
    """The request itself is wrong; nothing was changed."""

    http_status = 422


class NotFound(HoldfastError):
    """The named thing does not exist."""

    http_status = 404


class Conflict(HoldfastError):
    """The request contradicts the present state (duplicate name, address in use, lost race); nothing was changed."""

    http_status = 409


class NotPermitted(HoldfastError):
    """Wrong credentials or missing rights."""

    http_status = 403


class ConfigError(HoldfastError):
    """A configuration file cannot be used. Names file, key and line where known."""

    http_status = 422


class StoreError(HoldfastError):
    """Base of the store's errors."""

    http_status = 503


class StoreUnavailable(StoreError):
    """The operation was certainly NOT applied (nothing was sent, or the store refused it before applying)."""


class StoreUnknownOutcome(StoreError):
    """The operation may or may not have been applied. Whoever asked must re-read before drawing any conclusion."""


class StoreLeaseGone(StoreUnavailable):
    """A write named a lease that has ended; nothing was applied. Ask for a new lease."""


class StoreFull(StoreUnavailable):
    """The store refuses writes because its space quota is used up (etcd alarm NOSPACE). Reads still work."""

    http_status = 507


class StoreRejected(StoreError):
    """The store refused the caller: wrong certificate, wrong user, no permission, or another cluster's store."""

    http_status = 502


class DriverError(HoldfastError):
    """A service driver could not do what it was asked to do."""


class AddressInUse(DriverError):
    """A service address is answered by somebody else on the network."""


class FenceError(HoldfastError):
    """A fence device could not be used, or did not do what it said."""

    http_status = 502
