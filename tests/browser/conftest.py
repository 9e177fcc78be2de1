"""Fixtures of the browser tests. One browser serves all of a process, so they share one event loop (loop_scope session)."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kinds_person import Person
from kinds_world import KindsWorld
from panel_machines import Lived, add_machines, node_returns
from panel_pki import make_pki, pin_of
from panel_server import Panel, Panels
from panel_visitor import ARGS, CHROMIUM, OpenWindow, Visitor, Windows, profile
from panel_world import Failure, World
from playwright.async_api import async_playwright, expect

from holdfast.clock import SystemClock

expect.set_options(timeout=60000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest_asyncio.fixture(loop_scope="session")
async def world(clock: SystemClock) -> World:
    made = World(clock)
    await made.fill()
    return made


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of the server."""
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def port() -> int:
    """Of the panel that a test begins with: always the same, so that the browser knows its files already."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest_asyncio.fixture(loop_scope="session")
async def panels(world: World, clock: SystemClock, pki: tuple[Path, Path]) -> AsyncIterator[Panels]:
    async with AsyncExitStack() as stack:
        yield Panels(world, clock, *pki, stack)


@pytest_asyncio.fixture(loop_scope="session")
async def panel(panels: Panels, port: int) -> Panel:
    return await panels.start("n1", port)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def windows(pki: tuple[Path, Path]) -> AsyncIterator[Windows]:
    trust = f"--ignore-certificate-errors-spki-list={pin_of(pki[0])}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, trust], headless=True)
        yield Windows(browser, await profile(browser))
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_window(windows: Windows) -> AsyncIterator[OpenWindow]:
    """open_window(dark=False, viewport=DESK, alone=False)"""
    opened: list[Visitor] = []

    async def open_one(**how: Any) -> Visitor:
        opened.append(await windows.open(**how))
        return opened[-1]

    yield open_one
    for visitor in opened:
        await windows.close(visitor)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(open_window: OpenWindow, panel: Panel) -> Visitor:
    """Signed in at the panel of n1, with the live picture before them."""
    made = await open_window()
    await made.arrive(panel)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def person(
    windows: Windows, pki: tuple[Path, Path], port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Person]:
    """One server and one window for all tests of a module."""
    clock = SystemClock()
    world = KindsWorld(clock, tmp_path_factory.mktemp("shared"))
    await world.fill()
    async with AsyncExitStack() as stack:
        panel = await Panels(world, clock, *pki, stack, world.tools).start("n1", port)
        visitor = await windows.open()
        await visitor.arrive(panel)
        yield Person(visitor, panel, world)
        await windows.close(visitor)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lived(windows: Windows, pki: tuple[Path, Path], port: int) -> AsyncIterator[Lived]:
    """One server and one window for all tests of a module."""
    clock = SystemClock()
    world = World(clock)
    await world.fill()
    await add_machines(world)
    await Failure(world).whole()
    await node_returns(world)
    async with AsyncExitStack() as stack:
        panel = await Panels(world, clock, *pki, stack).start("n1", port)
        visitor = await windows.open()
        await visitor.arrive(panel)
        yield Lived(visitor, world)
        await windows.close(visitor)
