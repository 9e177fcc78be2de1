"""A person with a browser window: Debian's Chromium, driven by Playwright."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from panel_server import Panel
from panel_world import PASSWORD
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, ViewportSize, expect

SHOTS = os.environ.get("HOLDFAST_SHOTS", "")
"""Directory for pictures of pages; empty: none are taken."""
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
DESK = ViewportSize(width=1360, height=900)
PHONE = ViewportSize(width=360, height=780)


@dataclass
class Visitor:
    """`faults` collects script errors and violations of the content security policy."""

    page: Page
    faults: list[str]

    async def shot(self, name: str, *, whole: bool = True) -> None:
        """A picture for people, where they want some."""
        if not SHOTS:
            return
        Path(SHOTS).mkdir(exist_ok=True)
        if whole:
            await self.page.evaluate("() => scrollTo(0, 0)")
        await self.page.wait_for_timeout(1000)  # transitions end, what moves arrives
        await self.page.screenshot(path=Path(SHOTS, f"{name}.png"), full_page=whole)

    async def sign_in(self, panel: Panel, password: str = PASSWORD) -> None:
        await self.page.goto(panel.url)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    async def arrive(self, panel: Panel) -> None:
        """Signed in (by what the form sends) before the live picture."""
        body, headers = {"name": "admin", "password": PASSWORD}, {"X-Holdfast-Request": "1"}
        answer = await self.page.request.post(
            f"{panel.url}/api/v1/login", data=body, headers=headers, ignore_https_errors=True
        )
        assert answer.ok, await answer.text()
        await self.page.goto(panel.url)
        await expect(self.page.get_by_test_id("connection")).to_contain_text("Live")

    async def go(self, path: str, title: str) -> None:
        """Open the page at `#/path`, which has this title."""
        await self.page.evaluate("path => { location.hash = `#/${path}` }", path)
        await expect(self.page.get_by_role("heading", level=1)).to_contain_text(title)

    async def too_wide(self) -> list[str]:
        """What does not fit into the window. (Wires of the map may reach out of their cards.)"""
        script = """() => [...document.querySelectorAll('body *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .filter(e => !e.closest('.hidden, .wires, svg, dialog:not([open])'))
            .map(e => `${e.tagName}.${e.className}`)"""
        found: list[str] = await self.page.evaluate(script)
        return found

    def node(self, name: str) -> str:
        """Selector of the node's card."""
        return f".node[data-node='{name}']"

    def token(self, node: str, instance: str) -> str:
        """Selector of the instance on the node's card."""
        return f"{self.node(node)} [data-token='{instance}']"


OpenWindow = Callable[..., Awaitable[Visitor]]


@dataclass
class Windows:
    """The windows of one browser. Usual ones share a profile, so that what the panel is made of is fetched and compiled once
    for all tests of a process."""

    browser: Browser
    usual: BrowserContext

    async def open(self, *, dark: bool = False, viewport: ViewportSize = DESK, alone: bool = False) -> Visitor:
        """A window that knows nobody: whoever was signed in in another usual one is so no more. `alone`: of a profile of its
        own, as all are that are dark or of another size."""
        own = alone or dark or viewport != DESK
        context = await profile(self.browser, dark=dark, viewport=viewport) if own else self.usual
        await context.clear_cookies()
        visitor = Visitor(await context.new_page(), [])

        def on_console(message: ConsoleMessage) -> None:
            if "Content Security Policy" in message.text or "Uncaught" in message.text:
                visitor.faults.append(message.text)

        def on_error(error: Error) -> None:
            visitor.faults.append(str(error))

        visitor.page.on("console", on_console)
        visitor.page.on("pageerror", on_error)
        return visitor

    async def close(self, visitor: Visitor) -> None:
        await visitor.page.close()
        if visitor.page.context is not self.usual:
            await visitor.page.context.close()


async def profile(browser: Browser, *, dark: bool = False, viewport: ViewportSize = DESK) -> BrowserContext:
    context = await browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport=viewport,
        device_scale_factor=1,
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(60000)
    return context
