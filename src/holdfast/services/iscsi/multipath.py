"""Several paths to one logical unit, used as one disk that goes on while a path is left.

What multipathd does on a Linux client, in user space, for tests and benches: each path is kept up and looked at by a task
of its own; a command goes over the best path and, when that fails, over another, until one served it or patience is over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from holdfast.clock import SystemClock
from holdfast.errors import DriverError, HoldfastError
from holdfast.ports import Clock
from holdfast.services.iscsi.initiator import NoSuchUnit, Path, open_path
from holdfast.services.iscsi.scsi import Access, Caching, Capacity, ScsiError
from holdfast.services.iscsi.session import Login, PathLost, check_portal

T = TypeVar("T")


class NoPath(DriverError):
    """No path served the command within the patience. It may or may not have been executed."""


class WrongUnit(DriverError):
    """A path leads to another unit than the others. It is not used."""


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. A silent path is noticed after at most `check` + `answer`."""

    patience: float = 60.0
    """How long a command is tried again before it fails."""
    command: float = 5.0
    """How long a path has for a command before it counts as lost."""
    check: float = 0.5
    """Between two looks at a path that seems well."""
    answer: float = 2.0
    """How long a path has for a login or a look; less took busy targets for dead ones."""
    retry: float = 0.1
    """Between two attempts to log in, and between two looks while no path serves."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a command was served. Times in seconds."""

    portal: str
    began: float
    """CLOCK_BOOTTIME."""
    took: float
    attempts: int


@dataclass(slots=True, eq=False)
class PathView:
    """One path as it was seen last."""

    portal: str
    path: Path | None = None
    access: Access | None = None
    """Without access states at the target: OPTIMIZED if the unit is ready, else UNAVAILABLE. None: no connection."""
    problem: str = "it was not tried yet"
    """Why it does not serve; empty if it does."""
    refused: bool = False
    """It leads to another unit."""
    logins: int = 0
    look: asyncio.Event = field(default_factory=asyncio.Event)
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def serves(self) -> bool:
        return (
            self.path is not None and self.access is not None and self.access.serves and not self.path.session.problem
        )


class MultipathClient:
    """A disk behind several portals. Commands may run concurrently; each raises NoPath when the patience is over, and
    ScsiError when the unit itself refuses.

    `wwid`: the unit that is meant; without it, the one the first path shows. Paths to another are refused.
    """

    def __init__(
        self,
        portals: Sequence[str],
        login: Login,
        lun: int,
        *,
        wwid: str = "",
        timing: Timing | None = None,
        clock: Clock | None = None,
    ) -> None:
        for portal in portals:
            check_portal(portal)
        assert portals, "a disk has at least one path"
        self.paths = tuple(PathView(portal) for portal in portals)
        self.login, self.lun, self.wwid = login, lun, wwid
        self.timing = timing or Timing()
        self.last: Served | None = None
        self.longest: Served | None = None
        """The command that took longest: the stall a user of the disk felt."""
        self.switches = 0
        """How often a command was served by another path than the one before."""
        self._clock = clock or SystemClock()
        self._capacity: Capacity | None = None
        self._caching = Caching(write_back=True, fua=False)
        self._changed = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._current: PathView | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Returns when each path was tried and one serves. Raises NoPath, or WrongUnit if paths lead to different units."""
        assert not self._keepers, "it is open"
        self._keepers = [asyncio.create_task(self._keep(view)) for view in self.paths]
        for keeper in self._keepers:
            keeper.add_done_callback(lambda _: self._changed.set())
        ends = self._clock.now() + self.timing.patience
        await asyncio.gather(*(view.tried.wait() for view in self.paths))
        refused = next((view for view in self.paths if view.refused), None)
        if refused:
            raise WrongUnit(
                refused.problem, "Check portals and LUN, and that each volume has a serial number of its own."
            )
        await self._best(ends)

    async def close(self) -> None:
        """Log out everywhere. Never raises."""
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    @property
    def capacity(self) -> Capacity:
        assert self._capacity is not None, "no path was open yet"
        return self._capacity

    async def read(self, lba: int, blocks: int) -> bytes:
        return await self.run(lambda path: path.read(lba, blocks, self.capacity.block_bytes))

    async def write(self, lba: int, data: bytes) -> None:
        """When this returns, `data` is on the medium: by FUA where the unit knows it, by emptying its cache where not."""

        async def stable(path: Path) -> None:
            await path.write(lba, data, self.capacity.block_bytes, fua=self._caching.fua)
            if self._caching.write_back and not self._caching.fua:
                await path.synchronize_cache()

        await self.run(stable)

    async def synchronize_cache(self) -> None:
        await self.run(lambda path: path.synchronize_cache())

    async def run(self, what: Callable[[Path], Awaitable[T]]) -> T:
        """Over the best path, again and again until one serves. `what` may be executed more than once."""
        began, attempts = self._clock.now(), 0
        while True:
            view = await self._best(began + self.timing.patience)
            assert view.path is not None
            attempts += 1
            try:
                result = await what(view.path)
            except PathLost:
                pass  # its keeper knows already, and says when there is a new one
            except ScsiError as error:
                if error.try_again:
                    await self._clock.sleep(self.timing.retry)
                elif error.not_this_path:
                    view.access, view.problem = Access.UNAVAILABLE, error.message
                else:
                    raise
            else:
                self._note(view, began, attempts)
                return result
            self._look_at_all(but=view)

    # --- the choice --------------------------------------------------------------------------------------------------

    async def _best(self, ends: float) -> PathView:
        """Active/optimized first, then the one that was used last, then in the order they were given."""
        while True:
            self._changed.clear()
            assert self._keepers, "it is closed"
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()  # a keeper ends only by a mistake of ours, which must not look like a dead path
            serving = [view for view in self.paths if view.serves]
            if serving:
                return min(serving, key=lambda view: (view.access != Access.OPTIMIZED, view is not self._current))
            left = ends - self._clock.now()
            if left <= 0:
                found = "; ".join(f"{view.portal}: {view.problem}" for view in self.paths)
                raise NoPath(
                    f"No path served LUN {self.lun} of {self.login.target} for {self.timing.patience:g} s ({found})",
                    "See where the volume is active, and whether its node can be reached.",
                )
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(left):
                    await self._changed.wait()

    def _note(self, view: PathView, began: float, attempts: int) -> None:
        self.last = Served(view.portal, began, self._clock.now() - began, attempts)
        if self.longest is None or self.last.took > self.longest.took:
            self.longest = self.last
        if self._current not in (None, view):
            self.switches += 1
        self._current = view

    def _look_at_all(self, but: PathView) -> None:
        """Not at the one that just failed: it would say again what it said before."""
        for view in self.paths:
            if view is not but:
                view.look.set()

    # --- keeping paths -----------------------------------------------------------------------------------------------

    async def _keep(self, view: PathView) -> None:
        """Log in, look after the path until it is lost, again."""
        while True:
            try:
                async with open_path(
                    view.portal, self.login, self.lun, timeout_s=self.timing.answer, clock=self._clock
                ) as path:
                    await self._look_after(view, path)
            except HoldfastError as error:
                view.problem = error.message
            finally:
                view.path = view.access = None
                view.tried.set()
            self._changed.set()
            await self._clock.sleep(self.timing.retry)

    async def _look_after(self, view: PathView, path: Path) -> None:
        """Ends with an error only: the path is lost."""
        commands = Path(path.session, self.lun, self.timing.command)
        path.session.on_end = view.look.set
        view.logins += 1
        while True:
            view.look.clear()
            access, problem = await self._look(view, path)
            view.path, view.access, view.problem = commands, access, problem
            view.tried.set()
            self._changed.set()
            serving = any(other.serves for other in self.paths)
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(self.timing.check if serving else self.timing.retry):
                    await view.look.wait()

    async def _look(self, view: PathView, path: Path) -> tuple[Access, str]:
        """The path's state, and why it does not serve. Who is there is asked each time: a number may get another unit."""
        try:
            identity = await path.identify()
            self.wwid = self.wwid or identity.wwid
            view.refused = identity.wwid != self.wwid
            if view.refused:
                return Access.UNAVAILABLE, f"{path.portal} leads to {identity.wwid} and not to {self.wwid}"
            if identity.tpgs and identity.port_group is not None:
                access = (await path.port_groups()).get(identity.port_group, Access.UNAVAILABLE)
            else:
                await path.test_unit_ready()
                access = Access.OPTIMIZED
            if not access.serves:
                return access, f"{path.portal} is {access.name.lower()}"
            self._capacity, self._caching = await path.capacity(), await path.caching()
        except (ScsiError, NoSuchUnit) as error:
            return Access.UNAVAILABLE, error.message
        return access, ""
