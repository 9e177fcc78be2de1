"""What the store holds of people and programs that may ask: accounts, sessions, tokens, failed logins, the audit.

Kept in memory by the watch of `StatusCache`, so that a request is judged without asking the store and also while it is away.
None of it is part of the picture that `GET /status` shows.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.bootstrap.users import User
from holdfast.errors import StoreError
from holdfast.ports import Change
from holdfast.store import codec, keys

TOKEN_PREFIX = "holdfast_"  # noqa: S105 - what everybody may know of a token
"""Begins every API token, so that scanners of source code find leaked ones."""


def later(wall: str, seconds: float) -> str:
    """A time of the wall clock plus so many seconds, in the same form, so that texts compare as times."""
    moment = datetime.fromisoformat(wall) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def digest(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in (key sessions/<sha256 of the token>), while its lease lives."""

    user: str
    wall: str
    """When it began."""
    lease: int = 0
    stamp: str = ""
    """The account's when it began."""
    id: str = ""
    """Names it in lists; opens nothing."""
    address: str = ""
    """Where it began."""
    agent: str = ""
    """What the browser called itself then."""
    ends: str = ""
    """The end of its absolute life, however much it is used. Wall clock: a lease would live longer with each new leader of
    the store. Empty: begun by a version without this limit."""


@dataclass(frozen=True, slots=True)
class Token:
    """An API token (key tokens/<sha256 of it>)."""

    id: str
    """Names it in lists; opens nothing."""
    name: str
    owner: str
    scopes: tuple[str, ...]
    created: str
    expires: str = ""
    """Wall clock; empty: never."""


@dataclass(frozen=True, slots=True)
class TokenUse:
    """When a token was used last, some minutes late (key token-uses/<its id>)."""

    wall: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Failures:
    """Wrong passwords without a long pause between them (key login-failures/<what>/<hash>), until its lease ends."""

    count: int
    account: str = ""
    """Empty: of any account."""
    address: str = ""
    """Empty: from anywhere."""
    wall: str = ""


_KINDS: dict[str, type[Any]] = {
    keys.USERS: User,
    keys.SESSIONS: Session,
    keys.TOKENS: Token,
    keys.TOKEN_USES: TokenUse,
    keys.LOGIN_FAILURES: Failures,
}


class People:
    """The records by what follows their prefix. What cannot be decoded counts as absent."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, Token] = {}
        self.token_uses: dict[str, TokenUse] = {}
        self.failures: dict[str, Failures] = {}
        self.audit: dict[str, bytes] = {}
        """Not decoded: thousands of records that are seldom looked at."""
        self._places: dict[str, dict[str, Any]] = {
            keys.USERS: self.users,
            keys.SESSIONS: self.sessions,
            keys.TOKENS: self.tokens,
            keys.TOKEN_USES: self.token_uses,
            keys.LOGIN_FAILURES: self.failures,
            keys.AUDIT: self.audit,
        }

    def clear(self) -> None:
        for place in self._places.values():
            place.clear()

    def sessions_of(self, name: str) -> list[dict[str, object]]:
        """For people: the newest first, without what opens them."""
        mine = [session for session in self.sessions.values() if session.user == name]
        mine.sort(key=lambda session: session.wall, reverse=True)
        return [{"id": s.id, "began": s.wall, "ends": s.ends, "address": s.address, "agent": s.agent} for s in mine]

    def take(self, change: Change) -> bool:
        """Apply a change of the store; False: it concerns something else."""
        prefix = change.key.partition("/")[0] + "/"
        place = self._places.get(prefix)
        if place is None:
            return False
        name = change.key.removeprefix(prefix)
        place.pop(name, None)
        if change.entry is not None:
            kind = _KINDS.get(prefix)
            with suppress(StoreError):
                place[name] = codec.decode(change.entry.value, kind, change.key) if kind else change.entry.value
        return True
