"""Who may use a gateway. Passwords are checked by argon2 once, and by a fast keyed hash from then on."""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections import OrderedDict
from pathlib import Path

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from holdfast.errors import ConfigError
from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.services.backup_gateway.config import users_from_bytes

_log = structlog.get_logger("holdfast.backup")

REMEMBERED = 4096
AT_ONCE = 2
"""Computations of argon2 under way; each takes 64 MiB and a processor for some 50 ms, and anybody may ask for one."""


class Users:
    """The users file, read again whenever it has changed."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, BackupUser] = {}
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        """Keyed hash of (stored hash, password) → whether they belong together. Nothing in it outlives the process."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def load(self) -> None:
        """Raises ConfigError."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp == self._stamp:
                return
            users = users_from_bytes(self._path.read_bytes(), str(self._path))
        except OSError as error:
            raise ConfigError(f"the users file cannot be read: {error}", "Restart the gateway.") from error
        self._users, self._stamp = {user.name: user for user in users}, stamp

    async def authenticate(self, authorization: str) -> BackupUser | None:
        """The user of an `Authorization` header. An unusable users file leaves the users that were there before."""
        try:
            self.load()
        except ConfigError as error:
            _log.error("users file", error=str(error))
        name, password = _basic(authorization) or ("", b"")
        user = self._users.get(name)
        if not name:
            return None
        right = await self._matches(user.password_hash if user else self._nobody, password)
        return user if user and right else None

    async def _matches(self, stored: str, password: bytes) -> bool:
        key = hmac.digest(self._key, stored.encode() + b"\0" + password, "sha256")
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        async with self._slots:
            right = self._known.get(key)
            if right is None:
                right = await asyncio.to_thread(self._verify, stored, password)
        self._known[key] = right
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return right

    def _verify(self, stored: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False


def _basic(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
