"""What serves logical units on one node: the contract of an engine (contract tests: tests/contract/test_iscsi_engine.py).

A **target** is one node's share of a target group: it has the group's name, and portals of its own. A **volume** is a
logical unit of a group. A node has a **path** to it, *active* (it serves) or *standby* (no READ and no WRITE can succeed).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Protocol

from holdfast.errors import InvalidInput
from holdfast.services.iscsi import names

PORT = 3260
BLOCK_BYTES = 512
MAX_LUN = 255
"""Flat and peripheral addressing agree up to it; tgt keeps number 0 for itself."""
MAX_TAG = 65535
_USER = re.compile(r"[A-Za-z0-9@._:-]{1,63}")
_SECRET = re.compile(r"[!-+\--~]{12,64}")
_PATH = re.compile(r"/[^,\s]+")


class PathState(StrEnum):
    ABSENT = "absent"
    """The engine has nothing of it. With tgt that is what a standby path is."""
    STANDBY = "standby"
    ACTIVE = "active"
    CHANGING = "changing"
    """Half-way between the two: commands may still be under way."""


@dataclass(frozen=True, slots=True)
class Portal:
    """Where a node listens."""

    address: str
    port: int = PORT

    def __post_init__(self) -> None:
        names.check_address(self.address)
        if not 0 < self.port < 65536:
            raise InvalidInput(f"{self.port} is not a TCP port", f"Use one from 1 to 65535, usually {PORT}.")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Account:
    """A CHAP account. The lower bound of the secret is RFC 7143's (96 bits)."""

    user: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user):
            raise InvalidInput(
                f"{self.user!r} cannot be a CHAP user", "Use 1 to 63 of the characters A-Z a-z 0-9 @._:-"
            )
        if not _SECRET.fullmatch(self.secret):
            raise InvalidInput(
                f"the CHAP secret of {self.user} cannot be used",
                "Use 12 to 64 printable ASCII characters, no space and no comma (Windows takes 12 to 16).",
            )


@dataclass(frozen=True, slots=True)
class Target:
    """One node's share of a target group."""

    name: str
    """The group's, the same on every node."""
    portals: tuple[Portal, ...]
    """This node's."""
    tag: int = 1
    """Target portal group tag and ALUA group of this node, 1 to MAX_TAG, another one on each node of the group."""
    initiators: tuple[str, ...] = ()
    """Who may log in. Empty: nobody."""
    chap: Account | None = None
    """What initiators must prove to know. None: nothing."""
    mutual: Account | None = None
    """What the target proves to know."""

    def __post_init__(self) -> None:
        names.check_name(self.name, "target")
        for initiator in self.initiators:
            names.check_name(initiator, "initiator")
        if not self.portals:
            raise InvalidInput(f"{self.name} has no portal on this node", "Give it an address of the node.")
        if not 0 < self.tag <= MAX_TAG:
            raise InvalidInput(f"{self.tag} is not a target portal group tag", f"Use one from 1 to {MAX_TAG}.")
        if self.mutual and not self.chap:
            raise InvalidInput(f"{self.name}: mutual CHAP without CHAP", "Give the initiators an account as well.")
        same = (
            self.mutual and self.chap and (self.mutual.user == self.chap.user or self.mutual.secret == self.chap.secret)
        )
        if same:
            raise InvalidInput(
                f"{self.name}: both directions of CHAP have the same user or secret",
                "Choose another (RFC 7143, 9.2.1).",
            )


@dataclass(frozen=True, slots=True)
class Volume:
    """A logical unit of a target group."""

    target: str
    """Name of the group's target."""
    lun: int
    uuid: str
    """Serial number and WWID come from it."""
    path: str
    """A file on the shared storage, or a block device that all nodes of the group see."""
    size_bytes: int

    def __post_init__(self) -> None:
        names.check_name(self.target, "target")
        names.serial(self.uuid)
        if not 0 < self.lun <= MAX_LUN:
            raise InvalidInput(f"{self.lun} is not a LUN that can be used", f"Use one from 1 to {MAX_LUN}.")
        if not _PATH.fullmatch(self.path) or ".." in PurePosixPath(self.path).parts:
            raise InvalidInput(
                f"the path {self.path!r} is not usable", "Use an absolute one without .., comma or space."
            )
        if self.size_bytes <= 0 or self.size_bytes % BLOCK_BYTES:
            raise InvalidInput(
                f"a volume cannot have {self.size_bytes} bytes", f"Give it a multiple of {BLOCK_BYTES} bytes."
            )

    @property
    def serial(self) -> str:
        return names.serial(self.uuid)

    @property
    def wwid(self) -> str:
        return names.wwid(self.uuid)

    def __str__(self) -> str:
        return f"LUN {self.lun} of {self.target}"


@dataclass(frozen=True, slots=True)
class Connection:
    """An initiator that is logged in."""

    target: str
    initiator: str
    address: str = ""
    """Where it comes from; empty where the engine does not say."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What an engine serves, read from reality and never remembered."""

    targets: frozenset[str] = frozenset()
    paths: dict[tuple[str, int], PathState] = field(default_factory=dict)
    """(target, LUN) → state."""
    connections: tuple[Connection, ...] = ()

    def path(self, volume: Volume) -> PathState:
        return self.paths.get((volume.target, volume.lun), PathState.ABSENT)


class Engine(Protocol):
    """Every method is idempotent and may raise DriverError; what it promises holds only when it returns.

    Order: `configure` the target, `prepare` its volumes, then `promote` and `demote` them as the manager says. An engine
    starts with no active path, whatever it served before.
    """

    name: str

    def available(self) -> str:
        """ "" if this node can run the engine, else the reason why not, with what to do."""
        ...

    async def configure(self, target: Target) -> None:
        """Let exactly these initiators log in, here, with these accounts. Sessions of others are ended."""
        ...

    async def withdraw(self, target: str) -> None:
        """Nothing of the target is left. All its volumes must have been removed."""
        ...

    async def prepare(self, volume: Volume, *, standby: bool = True) -> None:
        """All is there that `promote` needs. `standby`: a path that is active is demoted; else it is left as it is, for an
        agent that adopts what a former one made."""
        ...

    async def promote(self, volume: Volume, allowed: Callable[[], bool]) -> None:
        """The path is active. `allowed` is asked right before the step with which it begins to serve; that step can only
        reach the very engine that was there when it was asked, so that an engine's end is the end of a late promotion."""
        ...

    async def demote(self, volume: Volume) -> None:
        """The path is standby, and no command is under way any more: whatever initiators have sent has reached the volume,
        or never will. If that cannot be confirmed in time: DriverError, and then `halt` is what is left."""
        ...

    async def remove(self, volume: Volume) -> None:
        """As `demote`, and the engine has nothing of it left. The data stay."""
        ...

    async def status(self) -> EngineStatus: ...

    async def halt(self) -> None:
        """End every path of this node at once: returns when it is certain that none is active."""
        ...
