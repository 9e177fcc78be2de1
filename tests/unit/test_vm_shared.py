"""What a node's driver of machines does with the shared storage in the background (services/vm/shared.py), and the consoles
that the API reads there."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.api.operations.console import Console
from holdfast.clock import ManualClock
from holdfast.errors import Conflict, NotFound
from holdfast.groups import Groups
from holdfast.services.storage import MARKER, SharedStorage
from holdfast.services.vm.config import console_copy
from holdfast.services.vm.files import Place
from holdfast.services.vm.shared import PERIOD_S, SharedWork


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("run", "log", "shared/vm"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shared" / MARKER).touch()
    return Place("n1", tmp_path / "run", tmp_path / "log", Groups(tmp_path), str(tmp_path / "shared"), "")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the end of a thread, seen only by asking
            await asyncio.sleep(0.005)


async def test_a_lost_storage_is_lost_from_the_first_look_that_failed(place: Place) -> None:
    clock = ManualClock()
    shared = SharedWork(place, SharedStorage(place.shared_root, clock), clock)
    probe = Path(place.shared_root) / MARKER
    others = set(threading.enumerate())
    try:
        assert shared.lost_s() == 0.0
        await clock.advance(PERIOD_S)
        probe.unlink()

        async def looks(wanted: Callable[[float], bool]) -> None:
            async with asyncio.timeout(20):
                while not wanted(shared.lost_s()):
                    # A real disk may be slow: its time is not the clock's, which must not run ahead of a look.
                    await asyncio.sleep(0.01)
                    await until(lambda: not {t for t in threading.enumerate() if t.name == "shared-storage"} - others)
                    await asyncio.sleep(0.01)
                    await clock.advance(PERIOD_S)

        await looks(lambda seconds: seconds > 4 * PERIOD_S)
        probe.touch()
        await looks(lambda seconds: seconds == 0.0)
    finally:
        await shared.close()


async def test_a_console_is_read_from_every_node(place: Place) -> None:
    clock = ManualClock()
    shared = SharedWork(place, SharedStorage(place.shared_root, clock), clock)
    copy = Path(console_copy(place.shared_root, "web"))
    here = Console(place.shared_root, place.log_dir, "n1")
    there = Console(place.shared_root, place.log_dir.parent / "none", "n2")
    with pytest.raises(NotFound, match="written nothing"):
        here.tail("web", "n1", 10)
    with pytest.raises(Conflict, match="is on n1"):
        there.tail("web", "n1", 10)
    place.console("web").write_text("one\n")
    try:
        shared.publish_console("web")
        await until(copy.is_file)
        assert there.tail("web", "n1", 10)["lines"] == ["one"]
        place.console("web").write_text("one\ntwo\nthree\n")
        assert here.tail("web", "n1", 2)["lines"] == ["two", "three"]
        await clock.advance(PERIOD_S)
        shared.publish_console("web")
        await until(lambda: "three" in copy.read_text())
        assert there.tail("web", "", 2)["lines"] == ["two", "three"]
        assert there.tail("web", "n3", 1)["lines"] == ["three"]
    finally:
        await shared.close()
