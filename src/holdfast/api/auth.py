"""Who asks: sessions of people who logged in, and API tokens of programs.

A session is a random token; the store keeps only its SHA-256, with an expiry by lease when it is not used (a lease is good
enough for clean-up of sessions; nothing of the safety protocol hangs on it) and an end of its absolute life by the wall
clock. Every panel process sees all sessions through its watch, so a fail-over asks nobody to log in again, and pages can
still be read while the store is away. An API token looks different, is sent as a bearer only, and holds its scopes as far
as its owner's role does.
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.api.attempts import Attempts, TooManyAttempts, with_familiar
from holdfast.api.audit import Trail
from holdfast.api.operations.actor import Actor
from holdfast.api.operations.audited import plain
from holdfast.api.origin import network
from holdfast.api.people import TOKEN_PREFIX, People, Session, Token, TokenUse, digest, later
from holdfast.api.permissions import Role
from holdfast.bootstrap.users import HASHER, User
from holdfast.errors import NotPermitted, StoreError
from holdfast.ports import Clock, Compare, Delete, Put, Store
from holdfast.store import codec, keys

__all__ = ["COOKIE", "CSRF_HEADER", "Authenticator", "NotLoggedIn", "TooManyAttempts"]

COOKIE = "__Host-holdfast"
"""The prefix makes browsers refuse it unless it is Secure, for this host alone and for all paths."""
CSRF_HEADER = "x-holdfast-request"
"""Any value will do: a page of another site cannot set it without a CORS permission, which is never given."""

SESSION_TTL_S = 12 * 3600
"""A session lasts this long after its last renewal."""
SESSION_LIFE_S = 7 * 24 * 3600
"""And never longer than this, however much it is used."""
RENEW_AFTER_S = 600
"""A session in use is renewed at most this often."""
USE_EVERY_S = 300.0
"""The last use of an API token is written at most this often."""
QUEUE = 40
"""Passwords that wait to be looked at: about two seconds' work. More are refused, not queued."""
LOOKUPS = 10
"""Tokens that are not in memory are looked up in the store at most so often per address and second."""


class NotLoggedIn(NotPermitted):
    """No session, or one that is over."""

    http_status = 401

    def __init__(self, message: str = "you are not logged in") -> None:
        super().__init__(message, "Log in with `holdfast login`, or in the panel at /login.")


class Authenticator:
    """Logs people in and out and tells who a token belongs to."""

    def __init__(self, store: Store, clock: Clock, hasher: PasswordHasher = HASHER) -> None:
        self._store = store
        self._clock = clock
        self.hasher = hasher
        self.people = People()
        """As the watch last delivered it (kept by StatusCache)."""
        self.trail = Trail(store, clock)
        self.attempts = Attempts(store, clock, self.people)
        self._hashing = asyncio.Semaphore(2)  # argon2id takes 64 MiB and a core each
        self._waiting = 0
        self._nobody: str | None = None
        self._ended: set[str] = set()
        self._renewed: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._lookups: dict[str, list[float]] = {}

    async def login(self, name: str, password: str, *, address: str = "", agent: str = "") -> str:
        """The token of a new session. Raises NotPermitted, without a hint whether name or password was wrong."""
        user = await self.check_password(name, password, address=address)
        user = await self._refreshed(user, password, address)
        token = await self._begin_session(user, address, agent)
        actor = Actor(user.name, "session", address, Role(user.role))
        await self.trail.note(actor, "login", f"{user.name} logged in")
        return token

    async def renewed_session(self, name: str, *, address: str, agent: str) -> str:
        """The token of a session for somebody who has just proven who they are, and whose former sessions have ended."""
        entry = await self._store.get(keys.user(name))
        if entry is None:
            raise NotLoggedIn
        return await self._begin_session(codec.decode(entry.value, User, entry.key), address, agent)

    async def _begin_session(self, user: User, address: str, agent: str) -> str:
        token = secrets.token_urlsafe(32)
        lease = await self._store.lease(SESSION_TTL_S)
        session = Session(
            user.name,
            self._clock.wall(),
            lease,
            stamp=user.stamp,
            id=secrets.token_hex(4),
            address=address,
            agent=plain(agent, 200),
            ends=later(self._clock.wall(), SESSION_LIFE_S),
        )
        key = keys.session(digest(token))
        result = await self._store.txn([Compare(key, 0)], [Put(key, codec.encode(session), lease)])
        assert result.succeeded, "a random token was there before"
        self.people.sessions[digest(token)] = session
        return token

    def session_id(self, token: str) -> str:
        """What names the session in lists; empty where it is not known (yet)."""
        session = self.people.sessions.get(digest(token))
        return session.id if session else ""

    async def check_password(self, name: str, password: str, *, address: str = "") -> User:
        """The account. Raises NotPermitted or TooManyAttempts."""
        try:
            self.attempts.begin(name, address)
        except TooManyAttempts:
            await self.trail.note(self._unknown(name, address), "login-refused", "a login was refused unread")
            raise
        user = await self._right(name, password)
        if user is None:
            await self.attempts.failed(name, address)
            await self.trail.note(self._unknown(name, address), "login-failed", "wrong name or password")
            raise NotPermitted("wrong name or password", "Try again; root on a node can set it: holdfast password.")
        self.attempts.succeeded(name, address)
        return user

    def _unknown(self, name: str, address: str) -> Actor:
        """Somebody who says so. A name that is no account may be a password in the wrong field, so it is kept nowhere."""
        return Actor(name if name in self.people.users else "", "login", address, Role.VIEWER)

    async def _right(self, name: str, password: str) -> User | None:
        entry = await self._store.get(keys.user(name)) if can_be_name(name) else None
        user = codec.decode(entry.value, User, entry.key) if entry else None
        if self._nobody is None:
            self._nobody = await asyncio.to_thread(self.hasher.hash, secrets.token_urlsafe(16))
        if self._waiting >= QUEUE:
            raise TooManyAttempts("too many people log in at once", 5.0)
        self._waiting += 1
        try:
            # An unknown or disabled name costs as much time as a known one.
            async with self._hashing:
                right = await asyncio.to_thread(self._verify, user.password_hash if user else self._nobody, password)
        finally:
            self._waiting -= 1
        return user if right and user is not None and not user.disabled else None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self.hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    async def _refreshed(self, user: User, password: str, address: str) -> User:
        """The account with this network as familiar, and its hash renewed where the parameters have changed."""
        new = replace(user, familiar=with_familiar(user, address))
        if self.hasher.check_needs_rehash(user.password_hash):
            new = replace(new, password_hash=await asyncio.to_thread(self.hasher.hash, password))
        if new == user:
            return user
        entry = await self._store.get(keys.user(user.name))
        if entry is not None and codec.decode(entry.value, User, entry.key) == user:
            compare = [Compare(entry.key, entry.mod_revision)]
            await self._store.txn(compare, [Put(entry.key, codec.encode(new))])  # lost: the next login does it
        return new

    async def logout(self, token: str) -> None:
        hashed = digest(token)
        self._ended.add(hashed)
        self.people.sessions.pop(hashed, None)
        await self._store.txn([], [Delete(keys.session(hashed))])

    async def whose(self, token: str, *, address: str = "") -> Actor:
        """The actor a bearer belongs to. Raises NotLoggedIn; StoreError if that cannot be told now."""
        if token.startswith(TOKEN_PREFIX):
            return await self._whose_token(token, address)
        return await self.whose_session(token, address=address)

    async def whose_session(self, token: str, *, address: str = "") -> Actor:
        """The same for what only a session may open: a cookie. Raises NotLoggedIn; StoreError."""
        hashed = digest(token)
        if hashed in self._ended:
            raise NotLoggedIn
        session = self.people.sessions.get(hashed)
        if session is None:
            # Perhaps it began a moment ago on another node and the watch lags behind.
            self._allow_lookup(address)
            entry = await self._store.get(keys.session(hashed))
            if entry is None:
                raise NotLoggedIn
            session = codec.decode(entry.value, Session, entry.key)
        if session.ends and self._clock.wall() >= session.ends:
            raise NotLoggedIn("your session has reached the end of its life")
        user = await self._account(session.user)
        if user is None or user.disabled or user.stamp != session.stamp:
            raise NotLoggedIn
        await self._renew(hashed, session)
        return Actor(session.user, "session", address, Role(user.role))

    async def _account(self, name: str) -> User | None:
        known = self.people.users.get(name)
        if known is not None:
            return known
        entry = await self._store.get(keys.user(name))
        return codec.decode(entry.value, User, entry.key) if entry else None

    async def _whose_token(self, text: str, address: str) -> Actor:
        hashed = digest(text)
        token = self.people.tokens.get(hashed)
        if token is None:
            self._allow_lookup(address)
            entry = await self._store.get(keys.token(hashed))
            if entry is None:
                raise NotLoggedIn("this API token does not exist (any more)")
            token = codec.decode(entry.value, Token, entry.key)
        if token.expires and self._clock.wall() >= token.expires:
            raise NotLoggedIn("this API token has expired")
        owner = await self._account(token.owner)
        if owner is None or owner.disabled:
            raise NotLoggedIn("the account that this API token belongs to is closed")
        await self._note_use(token, address)
        return Actor(token.owner, f"token:{token.name}", address, Role(owner.role), token.scopes)

    async def _note_use(self, token: Token, address: str) -> None:
        now = self._clock.now()
        if now - self._used.get(token.id, -USE_EVERY_S) < USE_EVERY_S:
            return
        self._used[token.id] = now
        with suppress(StoreError):  # a use that is not noted harms nobody
            use = TokenUse(self._clock.wall(), address)
            await self._store.txn([], [Put(keys.token_use(token.id), codec.encode(use))], timeout=1.0)

    def _allow_lookup(self, address: str) -> None:
        """Somebody who sends invented tokens must not keep the store busy. Raises TooManyAttempts."""
        now = self._clock.now()
        if len(self._lookups) > LOOKUPS * 1000:
            self._lookups.clear()
        source = network(address)
        recent = self._lookups[source] = [at for at in self._lookups.get(source, ()) if at > now - 1.0]
        if len(recent) >= LOOKUPS:
            raise TooManyAttempts("too many unknown sessions", 1.0)
        recent.append(now)

    async def _renew(self, hashed: str, session: Session) -> None:
        now = self._clock.now()
        if now - self._renewed.setdefault(hashed, now) < RENEW_AFTER_S:
            return
        self._renewed[hashed] = now
        try:
            await self._store.keep_alive(session.lease, timeout=1.0)
        except StoreError:
            del self._renewed[hashed]  # try again with the next request


def can_be_name(name: str) -> bool:
    """Can be a key's last part."""
    return bool(name) and "/" not in name and name.isprintable() and len(name) <= 64
