"""What an error of a call means: certainly not applied, perhaps applied, or refused. In doubt: perhaps applied."""

from dataclasses import dataclass
from enum import Enum

import grpc

from holdfast.errors import (
    Conflict,
    HoldfastError,
    InvalidInput,
    NotFound,
    StoreFull,
    StoreLeaseGone,
    StoreRejected,
    StoreUnavailable,
    StoreUnknownOutcome,
)

AGAIN = "It is asked again by itself; if this lasts, look at `holdfast status` and the log of etcd."
READ_AGAIN = "It may or may not have happened; read again before going on."


class Next(Enum):
    """What the caller of an attempt does next."""

    RAISE = "raise"
    """Tell the user."""
    RETRY = "retry"
    """Certainly not applied: try again, at another endpoint."""
    RENEW = "renew"
    """Certainly not applied, the token is no longer good: authenticate and try again."""


@dataclass(frozen=True, slots=True)
class Failure:
    next: Next
    error: HoldfastError
    blame: bool = False
    """The endpoint (not the request) is at fault; use another one next."""


# Parts of etcd's own messages, which its clients match too. These are refused before anything is proposed.
_FULL = "database space exceeded"
_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")
_CALLER = ("invalid user ID or password", "permission denied", "user name not found")
_ELSEWHERE = (
    "rpc not supported for learner",
    "too many requests",
    "failed to connect to all addresses",  # gRPC's own: there was no connection to send it over
)
_GONE = "requested lease not found"
_WRONG = ("duplicate key given", "too many operations", "request is too large", "key is not provided")
_MEMBERS = (
    "re-configuration failed",
    "unhealthy cluster",
    "can only promote a learner",
    "too many learner",
    "Peer URLs already exists",
    "leader transferee",
    "bad leader transferee",
    "not leader",
)
_CONNECT_REFUSED = {
    "CERTIFICATE_VERIFY_FAILED": (
        "the store's certificate is not signed by this cluster's authority",
        "Check the CA certificate in node.toml [tls], and that the endpoints belong to this cluster.",
    ),
    "is not in peer certificate": (
        "the store's certificate does not name its address",
        "Renew that node's certificate with all its addresses.",
    ),
    "TSI_DATA_CORRUPTED": (
        "the store refused this client's certificate (or that it has none)",
        "Check certificate and key in node.toml [tls]: they must be signed by this cluster's authority.",
    ),
    "create security handshaker": (
        "this client's certificate files cannot be used",
        "Check ca, cert and key in node.toml [tls]: PEM files that belong together.",
    ),
}


def judge(error: grpc.aio.AioRpcError, what: str, *, write: bool) -> Failure:
    """The meaning of a failed attempt that was sent to an endpoint."""
    text = error.details() or ""
    code = error.code()
    if _FULL in text:
        return Failure(Next.RAISE, StoreFull(f"the store is full and refused to {what}", _advice_full()))
    if any(part in text for part in _TOKEN):
        return Failure(Next.RENEW, StoreRejected(f"the store wants a user to {what} ({text})", _advice_user()))
    if any(part in text for part in _CALLER):
        return Failure(Next.RAISE, StoreRejected(f"the store did not permit to {what} ({text})", _advice_user()))
    if any(part in text for part in _ELSEWHERE):
        return Failure(Next.RETRY, StoreUnavailable(f"could not {what}: {text}", AGAIN), blame=True)
    if _GONE in text:
        return Failure(Next.RAISE, StoreLeaseGone(f"could not {what}: the lease is gone", "Ask for a new lease."))
    if any(part in text for part in _WRONG):
        return Failure(Next.RAISE, InvalidInput(f"could not {what}: {text}", "Make the request smaller or mend it."))
    if any(part in text for part in _MEMBERS):
        return Failure(Next.RAISE, Conflict(f"could not {what}: {text}", "Wait until all members are healthy."))
    if "member not found" in text:
        return Failure(Next.RAISE, NotFound(f"could not {what}: {text}", "List the members again."))
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return Failure(Next.RAISE, StoreRejected(f"the store did not permit to {what} ({text})", _advice_user()))
    # An election, the server's own time-out, a broken connection: a write may be on its way or may have been applied.
    blame = "leader" not in text
    if write:
        return Failure(
            Next.RAISE, StoreUnknownOutcome(f"no answer when asked to {what} ({_brief(error)})", READ_AGAIN), blame
        )
    return Failure(Next.RETRY, StoreUnavailable(f"could not {what} ({_brief(error)})", AGAIN), blame)


def judge_connection(text: str, url: str) -> StoreUnavailable | StoreRejected:
    """The meaning of a connection that could not be made; nothing was sent over it."""
    for mark, (message, advice) in _CONNECT_REFUSED.items():
        if mark in text:
            return StoreRejected(f"{message} ({url})", advice)
    reason = text.rsplit(": ", 1)[-1] or "no answer"
    return StoreUnavailable(f"cannot connect to the store at {url} ({reason})", AGAIN)


def _brief(error: grpc.aio.AioRpcError) -> str:
    code = error.code()
    name = code.name if code is not None else "?"
    return f"{name}: {error.details()}" if error.details() else name


def _advice_full() -> str:
    return "Reads work. Compact and defragment etcd, or raise its quota, then disarm the alarm."


def _advice_user() -> str:
    return "Check the store's user name and password, and what that user may read and write."
