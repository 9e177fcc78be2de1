"""How a caller asks for a change: for real or for trial, once or again, and of which state of the object.

`transact` (draft.py) honours all of it, inside the one transaction that makes the change.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.history import GuaranteeWord
from holdfast.errors import ConfigError, Conflict, InvalidInput
from holdfast.ports import Entry
from holdfast.store import codec, keys

ANSWERS_TTL_S = 24 * 3600
"""So long the answer to a request with an idempotency key is kept."""
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation has committed."""

    text: str
    """One sentence for people."""
    revision: int = 0
    """Store revision of the commit: a picture at least this new shows the change. 0: nothing was committed (a dry run)."""
    warnings: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    """What a program wants to know, e.g. the address that was chosen."""
    guarantee: GuaranteeWord | None = None
    """What the cluster survives afterwards; None: there is no compute cluster, or the operation cannot change it."""
    task: str = ""
    """Id of the task that says how far it is; empty: it was done with the commit."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request with an idempotency key (key idempotency/<sha256 of user and key>), by a lease of
    ANSWERS_TTL_S."""

    fingerprint: str
    """Empty. An earlier version wrote the request's here, in clear."""
    answer: str
    """The request's fingerprint, a line break, the answer. Locked with the cluster secret: answers may hold what is shown
    only once, and whoever has a copy of the store could guess at a password by the fingerprint of a request with it."""
    wall: str
    """For people only."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The request may come again, and is then answered as before."""

    key: str
    """Where its answer is kept."""
    fingerprint: str
    """SHA-256 of method, path and body of the request."""
    lock: Callable[[bytes], str]
    unlock: Callable[[str], bytes]

    @classmethod
    def of(
        cls, user: str, key: str, request: bytes, lock: Callable[[bytes], str], unlock: Callable[[str], bytes]
    ) -> "Idempotency":
        """`request`: everything that makes two requests the same. Raises InvalidInput."""
        if not key.isprintable() or len(key) > MAX_KEY:
            raise InvalidInput("the idempotency key cannot be used", f"Send up to {MAX_KEY} printable characters.")
        digest = hashlib.sha256(f"{user}\0{key}".encode()).hexdigest()
        return cls(keys.answered(digest), hashlib.sha256(request).hexdigest(), lock, unlock)

    def record(self, outcome: Outcome, wall: str) -> Answered:
        return Answered("", self.lock(f"{self.fingerprint}\n".encode() + codec.encode(outcome)), wall)

    def first_answer(self, entry: Entry) -> Outcome:
        """What was answered when the request came first. Raises KeyReused, AnswerLost."""
        record = codec.decode(entry.value, Answered, entry.key)
        try:
            opened = self.unlock(record.answer)
        except ConfigError:
            raise AnswerLost from None
        fingerprint, answer = record.fingerprint, opened
        if not fingerprint:
            first, _, answer = opened.partition(b"\n")
            fingerprint = first.decode()
        if fingerprint != self.fingerprint:
            raise KeyReused
        # The record was written by the very transaction that it tells about.
        return replace(codec.decode(answer, Outcome, entry.key), revision=entry.mod_revision)


@dataclass(frozen=True, slots=True)
class Terms:
    dry_run: bool = False
    """Check everything, commit nothing."""
    if_match: str = ""
    """The tag that the object must have (`tag`); `*`: it must exist; empty: whatever."""
    matched: tuple[str, ...] = ()
    """Keys under spec/ that are the object; one that ends with `/` stands for all below it."""
    idempotency: Idempotency | None = None
    task: str = ""
    """The change is the end of this task's work: the task goes on to follow it."""


ORDINARY = Terms()


class Replayed(Exception):
    """No error: the request came before, and `outcome` was its answer."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


class KeyReused(InvalidInput):
    """Another request had the same idempotency key."""

    def __init__(self) -> None:
        super().__init__(
            "another request was sent with this idempotency key", "Use a new key for each thing that is to be done."
        )


class AnswerLost(Conflict):
    """A request with this idempotency key was done, and what it was answered can be opened no more."""

    def __init__(self) -> None:
        super().__init__(
            "a request with this idempotency key was done already, and the cluster's secret has changed since: what it was "
            "answered is lost",
            "Look at what there is; what was shown only once has to be made anew.",
        )


class PreconditionFailed(Conflict):
    """The object is not in the state that the caller has seen."""

    http_status = 412

    def __init__(self, present: str) -> None:
        found = "it was changed meanwhile" if present else "it does not exist"
        super().__init__(f"the object is not as you saw it: {found}", "Look at it again, then repeat the change.")
        self.etag = present
        self.members = {"etag": present}


def tag(revisions: Iterable[int]) -> str:
    """The tag of an object that consists of keys of these revisions; empty if there is none.

    The newest revision and how many keys there are tell any two states apart: a put brings a revision that never was, and
    between puts keys only become fewer.
    """
    found = [revision for revision in revisions if revision]
    if not found:
        return ""
    return f'"{max(found)}"' if len(found) == 1 else f'"{max(found)}-{len(found)}"'


def fits(if_match: str, present: str) -> bool:
    """RFC 9110, section 13.1.1: a list of strong tags, or `*`."""
    if not present:
        return False
    return if_match.strip() == "*" or present in [one.strip() for one in if_match.split(",")]
