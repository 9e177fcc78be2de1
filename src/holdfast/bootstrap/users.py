"""People who may log in to API and panel, and how their passwords are kept."""

import sys
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from holdfast.errors import InvalidInput

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 1000
"""A bound on the work that hashing takes, not on anybody's imagination."""


@dataclass(frozen=True, slots=True)
class User:
    """One account (key users/<name>)."""

    name: str
    password_hash: str
    """argon2id in its own text form, which names its parameters."""
    role: str = "admin"


def make_user(name: str, password: str, role: str = "admin") -> User:
    """An account with the password hashed (argon2id). Raises InvalidInput."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InvalidInput(
            f"the password for {name!r} has {len(password)} characters, it needs at least {MIN_PASSWORD_LENGTH}",
            "Choose a longer one, for example four random words.",
        )
    if len(password) > MAX_PASSWORD_LENGTH:
        raise InvalidInput(f"the password for {name!r} is longer than {MAX_PASSWORD_LENGTH} characters", "Shorten it.")
    return User(name, PasswordHasher().hash(password), role)


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
