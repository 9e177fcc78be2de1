"""The real application on loopback with TLS, over a store in memory, and Debian's Chromium."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from panel_pki import make_pki
from panel_world import PASSWORD, World
from playwright.async_api import Browser, Page, async_playwright

from holdfast.api.app import create_app
from holdfast.api.context import make_context
from holdfast.clock import SystemClock
from holdfast.panel.web import mount
from holdfast.store.memory import MemoryCluster, MemoryStore

SHOTS = Path("/tmp/holdfast-shots")
CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1360, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Panel:
    """A panel process's server, in this process."""

    node: str
    port: int
    end: Callable[[], Awaitable[None]]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
async def world(clock: SystemClock) -> World:
    made = World(MemoryStore(MemoryCluster(clock), clock), clock)
    await made.fill()
    return made


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of the server."""
    return make_pki(tmp_path_factory.mktemp("pki"))


StartPanel = Callable[..., Awaitable[Panel]]


@pytest.fixture
async def start_panel(world: World, clock: SystemClock, pki: tuple[Path, Path]) -> AsyncIterator[StartPanel]:
    """start_panel(node, port=0): serve the panel as that node would."""
    async with AsyncExitStack() as stack:

        async def start(node: str = "n1", port: int = 0) -> Panel:
            inner = AsyncExitStack()
            listener = socket.create_server(("127.0.0.1", port))
            await inner.enter_async_context(_serving(node, world, clock, pki, listener))
            stack.push_async_callback(inner.aclose)
            return Panel(node, listener.getsockname()[1], inner.aclose)

        yield start


@asynccontextmanager
async def _serving(
    node: str, world: World, clock: SystemClock, pki: tuple[Path, Path], listener: socket.socket
) -> AsyncIterator[None]:
    store = MemoryStore(world.store.cluster, clock)  # type: ignore[attr-defined]
    context = make_context(node, store, clock, session=f"{node}-{clock.now()}")
    app = create_app(context)
    mount(app, context)
    config = uvicorn.Config(
        app,
        ssl_certfile=str(pki[0]),
        ssl_keyfile=str(pki[1]),
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=0,
    )
    server = uvicorn.Server(config)
    follow = asyncio.create_task(context.cache.run())
    serve = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serve
        follow.cancel()
        with suppress(asyncio.CancelledError):
            await follow


@pytest.fixture
async def panel(start_panel: StartPanel) -> Panel:
    return await start_panel("n1")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS, headless=True)
        yield launched
        await launched.close()


@dataclass
class Visitor:
    """A person's browser window; collects what goes wrong in it."""

    page: Page
    faults: list[str]

    async def shot(self, name: str, *, whole: bool = True) -> Path:
        SHOTS.mkdir(exist_ok=True)
        path = SHOTS / f"{name}.png"
        await self.page.wait_for_timeout(350)  # let transitions end, for the picture only
        await self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    async def sign_in(self, panel: Panel, password: str = PASSWORD) -> None:
        await self.page.goto(panel.url)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()


OpenWindow = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def open_window(browser: Browser) -> OpenWindow:
    """open_window(dark=False, viewport=…): a new window that knows nobody."""

    async def open_(*, dark: bool = False, viewport: dict[str, int] | None = None, calm: bool = False) -> Visitor:
        context = await browser.new_context(
            ignore_https_errors=True,
            color_scheme="dark" if dark else "light",
            viewport=viewport or VIEWPORT,  # type: ignore[arg-type]
            reduced_motion="reduce" if calm else "no-preference",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(15000)
        page = await context.new_page()
        visitor = Visitor(page, [])
        page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        page.on("console", lambda message: visitor.faults.append(message.text) if _is_fault(message.text) else None)
        return visitor

    return open_


def _is_fault(text: str) -> bool:
    return "Content Security Policy" in text or "Uncaught" in text


@pytest.fixture
async def visitor(open_window: OpenWindow, panel: Panel) -> Visitor:
    """Signed in at the panel of n1."""
    made = await open_window()
    await made.sign_in(panel)
    await made.page.get_by_test_id("connection").get_by_text("Live").wait_for()
    return made


@pytest.fixture
def ca(pki: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
