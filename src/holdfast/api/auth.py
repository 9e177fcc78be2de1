"""Who may ask: passwords, sessions, and the limit on guessing.

A session is a random token; the store keeps only its SHA-256, with an expiry by lease (a lease is good enough for clean-up
of sessions; nothing of the safety protocol hangs on it). Every panel process sees all sessions through its watch, so a
fail-over asks nobody to log in again, and pages can still be read while the store is away.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.api.operations.checks import not_found
from holdfast.api.operations.draft import Actor
from holdfast.bootstrap.users import User, make_user
from holdfast.errors import HoldfastError, NotPermitted, StoreError
from holdfast.ports import Clock, Compare, Delete, Put, Store
from holdfast.store import codec, keys

COOKIE = "holdfast_session"
CSRF_HEADER = "x-holdfast-request"
"""Any value will do: a page of another site cannot set it without a CORS permission, which is never given."""

SESSION_TTL_S = 12 * 3600
"""A session lasts this long after its last renewal."""
RENEW_AFTER_S = 600
"""A session in use is renewed at most this often."""

FAILURES = 5
WINDOW_S = 60.0
"""After FAILURES wrong passwords from one address within this time further ones are refused unread."""
TRACKED = 10_000


class NotLoggedIn(NotPermitted):
    """No session, or one that is over."""

    http_status = 401

    def __init__(self) -> None:
        super().__init__("you are not logged in", "Log in with `holdfast login`, or in the panel at /login.")


class TooManyAttempts(NotPermitted):
    """The login is refused unread."""

    http_status = 429


@dataclass(frozen=True, slots=True)
class Session:
    """What the store keeps of a session (key sessions/<sha256 of the token>)."""

    user: str
    wall: str
    """When it began, for people only."""
    lease: int = 0


class Attempts:
    """Counts failed logins in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}

    def check(self, *sources: str) -> None:
        """Raises TooManyAttempts."""
        for source in sources:
            recent = self._recent(source)
            if len(recent) >= FAILURES:
                wait = int(WINDOW_S - (self._clock.now() - recent[0])) + 1
                raise TooManyAttempts("too many wrong passwords", f"Wait {wait} seconds, then try again.")

    def failed(self, *sources: str) -> None:
        if len(self._failures) > TRACKED:
            self._failures.clear()
        for source in sources:
            self._failures[source] = [*self._recent(source), self._clock.now()]

    def succeeded(self, *sources: str) -> None:
        for source in sources:
            self._failures.pop(source, None)

    def _recent(self, source: str) -> list[float]:
        limit = self._clock.now() - WINDOW_S
        return [at for at in self._failures.get(source, ()) if at > limit]


class Authenticator:
    """Logs people in and out and tells who a token belongs to."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._attempts = Attempts(clock)
        self._hashing = asyncio.Semaphore(2)  # argon2id takes 64 MiB and a core each
        self._hasher = PasswordHasher()
        self._nobody: str | None = None
        self.sessions: dict[str, Session] = {}
        """Token hash → session, as the watch last delivered them (kept by StatusCache)."""
        self._ended: set[str] = set()
        self._renewed: dict[str, float] = {}

    async def login(self, name: str, password: str, *, address: str = "") -> str:
        """A new session's token. Raises NotPermitted, without a hint whether name or password was wrong."""
        await self.check_password(name, password, address=address)
        token = secrets.token_urlsafe(32)
        lease = await self._store.lease(SESSION_TTL_S)
        session = Session(name, self._clock.wall(), lease)
        key = keys.session(_digest(token))
        result = await self._store.txn([Compare(key, 0)], [Put(key, codec.encode(session), lease)])
        assert result.succeeded, "a random token was there before"
        self.sessions[_digest(token)] = session
        return token

    async def check_password(self, name: str, password: str, *, address: str = "") -> None:
        """Raises NotPermitted or TooManyAttempts."""
        # Counted per account *and* address, so that a stranger cannot lock an administrator out from afar.
        sources = (f"{name} from {address}", f"address {address}")
        self._attempts.check(*sources)
        self._attempts.failed(*sources)  # until proven otherwise, so that guesses in parallel count as well
        if not await self._right(name, password):
            raise NotPermitted("wrong name or password", "Try again; root on a node can set it: holdfast password.")
        self._attempts.succeeded(*sources)

    async def _right(self, name: str, password: str) -> bool:
        entry = await self._store.get(keys.user(name)) if _plain(name) else None
        user = codec.decode(entry.value, User, entry.key) if entry else None
        if self._nobody is None:
            self._nobody = await asyncio.to_thread(self._hasher.hash, secrets.token_urlsafe(16))
        async with self._hashing:
            # An unknown name costs as much time as a known one.
            right = await asyncio.to_thread(self._verify, user.password_hash if user else self._nobody, password)
        return right and user is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def logout(self, token: str) -> None:
        digest = _digest(token)
        self._ended.add(digest)
        self.sessions.pop(digest, None)
        key = keys.session(digest)
        await self._store.txn([], [Delete(key)])

    async def whose(self, token: str) -> Actor:
        """The actor a token belongs to. Raises NotLoggedIn; StoreError if that cannot be told now."""
        digest = _digest(token)
        if digest in self._ended:
            raise NotLoggedIn
        session = self.sessions.get(digest)
        if session is None:
            # Perhaps it began a moment ago on another node and the watch lags behind.
            entry = await self._store.get(keys.session(digest))
            if entry is None:
                raise NotLoggedIn
            session = codec.decode(entry.value, Session, entry.key)
        await self._renew(digest, session)
        return Actor(session.user, "session")

    async def _renew(self, digest: str, session: Session) -> None:
        now = self._clock.now()
        if now - self._renewed.setdefault(digest, now) < RENEW_AFTER_S:
            return
        self._renewed[digest] = now
        try:
            await self._store.keep_alive(session.lease, timeout=1.0)
        except StoreError:
            del self._renewed[digest]  # try again with the next request


async def set_password(store: Store, name: str, password: str, *, create: bool = False) -> None:
    """Set an account's password, and end all its sessions. Raises InvalidInput, NotFound."""
    entry = await store.get(keys.user(name)) if _plain(name) else None
    if entry is None and not (create and _plain(name)):
        known = [keys.last_part(e.key) for e in (await store.list(keys.USERS)).entries]
        raise not_found("user", name, known)
    role = codec.decode(entry.value, User, entry.key).role if entry else "admin"
    user = await asyncio.to_thread(make_user, name, password, role)
    sessions = (await store.list(keys.SESSIONS)).entries
    mine = [e for e in sessions if codec.decode(e.value, Session, e.key).user == name]
    result = await store.txn(
        [Compare(keys.user(name), entry.mod_revision if entry else 0)], [Put(keys.user(name), codec.encode(user))]
    )
    if not result.succeeded:
        raise HoldfastError(f"the account {name} was changed by somebody else meanwhile", "Try again.")
    for session in mine:
        await store.txn([], [Delete(session.key)])


def _plain(name: str) -> bool:
    """Can be a key's last part."""
    return bool(name) and "/" not in name and name.isprintable() and len(name) <= 64


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
