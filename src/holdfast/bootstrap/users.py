"""People who may log in to API and panel, and how their passwords are kept."""

import sys
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher, Type

from holdfast.errors import InvalidInput

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 1000
"""A bound on the work that hashing takes, not on anybody's imagination."""

HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4, hash_len=32, salt_len=16, type=Type.ID)
"""argon2id with 64 MiB: the second recommendation of RFC 9106, section 4. A login renews a hash made with others."""


@dataclass(frozen=True, slots=True)
class User:
    """One account (key users/<name>)."""

    name: str
    password_hash: str
    """argon2id in its own text form, which names its parameters."""
    role: str = "admin"
    disabled: bool = False
    """Nobody can log in, and its tokens open nothing."""
    created: str = ""
    stamp: str = ""
    """Changes with password, role and disabling: a session holds only while the account has the stamp that it began with."""
    familiar: tuple[str, ...] = ()
    """Networks from which its password was right: they may log in while strangers guess (api/attempts.py)."""


def hash_password(name: str, password: str, hasher: PasswordHasher = HASHER) -> str:
    """The password's argon2id hash. Raises InvalidInput for a password that cannot be one."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InvalidInput(
            f"the password for {name!r} has {len(password)} characters, it needs at least {MIN_PASSWORD_LENGTH}",
            "Choose a longer one, for example four random words.",
        )
    if len(password) > MAX_PASSWORD_LENGTH:
        raise InvalidInput(f"the password for {name!r} is longer than {MAX_PASSWORD_LENGTH} characters", "Shorten it.")
    try:
        return hasher.hash(password)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the password for {name!r} has characters that are none", "Send it as UTF-8.") from error


def make_user(name: str, password: str, role: str = "admin") -> User:
    """An account with the password hashed. Raises InvalidInput."""
    return User(name, hash_password(name, password), role)


def read_password_file(path: str) -> str:
    """The password from a file's first line; `-` reads standard input. Raises InvalidInput."""
    try:
        text = sys.stdin.readline() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"the password file {path} cannot be read: {error}", "Check its name and permissions."
        ) from error
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise InvalidInput("no password was given", f"Write it into the first line of {path}." if path != "-" else "")
    return lines[0]
