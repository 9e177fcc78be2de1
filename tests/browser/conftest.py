"""Fixtures of the browser tests. One browser serves them all, so they share one event loop (loop_scope session)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from kinds_person import Person
from kinds_world import KindsWorld
from panel_pki import make_pki
from panel_server import Panel, Panels
from panel_visitor import ARGS, CHROMIUM, OpenWindow, Visitor
from panel_visitor import open_window as open_browser_window
from panel_world import World
from playwright.async_api import Browser, async_playwright, expect

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


@pytest_asyncio.fixture(loop_scope="session")
async def panels(world: World, clock: SystemClock, pki: tuple[Path, Path]) -> AsyncIterator[Panels]:
    async with AsyncExitStack() as stack:
        yield Panels(world, clock, *pki, stack)


@pytest_asyncio.fixture(loop_scope="session")
async def panel(panels: Panels) -> Panel:
    return await panels.start("n1")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS, headless=True)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_window(browser: Browser) -> AsyncIterator[OpenWindow]:
    """open_window(dark=False, viewport=DESK)"""
    yield partial(open_browser_window, browser)
    for context in list(browser.contexts):
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(open_window: OpenWindow, panel: Panel) -> Visitor:
    """Signed in at the panel of n1, with the live picture before them."""
    made = await open_window()
    await made.arrive(panel)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def person(
    browser: Browser, pki: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Person]:
    """One server and one window for all tests of a module."""
    clock = SystemClock()
    world = KindsWorld(clock, tmp_path_factory.mktemp("shared"))
    await world.fill()
    async with AsyncExitStack() as stack:
        panel = await Panels(world, clock, *pki, stack, world.tools).start("n1")
        visitor = await open_browser_window(browser)
        await visitor.arrive(panel)
        yield Person(visitor, panel, world)
        await visitor.page.context.close()
