"""What a request's path names, and whose it is. Pure.

A repository's path begins with its owner's name, so nobody can write a path into another's: there is no option to allow it.
Stored files lie where restic's own local, S3 and SFTP back-ends look for them.
"""

import re
from dataclasses import dataclass

KINDS = ("data", "keys", "locks", "snapshots", "index")
CONFIG = "config"
_RESERVED = {*KINDS, CONFIG}
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a repository."""

    repository: str
    """OWNER[/NAME…]"""
    kind: str
    """One of KINDS, or CONFIG."""
    name: str = ""
    """The SHA-256 of its content; empty for the configuration."""

    @property
    def path(self) -> str:
        """Below the back-end's root."""
        return f"{directory(self.repository, self.kind, self.name)}/{self.name or CONFIG}"


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a kind."""

    repository: str
    kind: str


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository itself."""

    repository: str


Target = Stored | Listing | Repository


def directory(repository: str, kind: str, name: str = "") -> str:
    """Where files of a kind lie. Packs are many: they are spread by the first byte of their name."""
    if kind == CONFIG:
        return repository
    return f"{repository}/{kind}/{name[:2]}" if kind == "data" and name else f"{repository}/{kind}"


def parse(path: str) -> Target | None:
    """What a decoded request path names; None: nothing that could exist."""
    if not path.startswith("/"):
        return None
    parts = path[1:].split("/")
    if parts[-1] == CONFIG:
        return _stored(parts[:-1], CONFIG, "")
    if len(parts) >= 2 and parts[-2] in KINDS:
        if parts[-1] == "":
            owner = _repository(parts[:-2])
            return Listing(owner, parts[-2]) if owner else None
        return _stored(parts[:-2], parts[-2], parts[-1]) if _HASH.fullmatch(parts[-1]) else None
    found = _repository(parts[:-1] if parts[-1] == "" else parts)
    return Repository(found) if found else None


def owner(target: Target) -> str:
    """The one user who may reach it."""
    return target.repository.partition("/")[0]


def _stored(parts: list[str], kind: str, name: str) -> Stored | None:
    repository = _repository(parts)
    return Stored(repository, kind, name) if repository else None


def _repository(parts: list[str]) -> str | None:
    """Segments that begin with a dot are the gateway's own, and `..` is one of them."""
    if not 1 <= len(parts) <= _MAX_DEPTH:
        return None
    usable = all(_SEGMENT.fullmatch(part) and part not in _RESERVED for part in parts)
    return "/".join(parts) if usable else None
