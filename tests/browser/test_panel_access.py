"""Every page: shown at all, accessible in light and in dark, and whole on a phone."""

import re

import pytest
from axe_playwright_python.async_playwright import Axe
from axe_playwright_python.base import AxeResults
from panel_machines import Lived
from panel_visitor import DESK, PHONE, Visitor
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

DETAILS = ("nodes/n1", "instances/vm/db-1", "what-if?fail=n2,n3", "incidents/i-0001", "nodes/nobody", "no-such-page")
"""Pages that the navigation does not lead to, beside those that it does."""


async def paths(visitor: Visitor) -> list[str]:
    links = await visitor.page.locator("#nav a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    return [*(str(link).removeprefix("#/") for link in links), *DETAILS]


async def open_page(visitor: Visitor, path: str) -> None:
    await visitor.page.evaluate("path => { location.hash = `#/${path}` }", path)
    await expect(visitor.page.locator("#page h1, #page .banner").first).to_be_visible()
    await expect(visitor.page.locator("#page .waiting")).to_have_count(0)
    strange = path in ("no-such-page", "nodes/nobody")
    await expect(visitor.page.locator("#page", has_text=re.compile("cannot be shown|There is no such"))).to_have_count(
        int(strange)
    )


async def checked(page: Page, options: dict[str, list[str]]) -> str:
    """What axe finds wrong; empty: nothing."""
    result = AxeResults(await page.evaluate("options => axe.run(options)", options))
    return str(result.generate_report()) if result.violations_count else ""


@pytest.mark.timeout(300)
async def test_every_page_is_accessible_in_light_and_in_dark_and_fits_a_phone(lived: Lived) -> None:
    visitor = lived.visitor
    page, found = visitor.page, {}
    still = "* { transition: none !important; animation: none !important }"  # colours half way are nobody's
    await page.evaluate(
        "text => { const s = new CSSStyleSheet(); s.replaceSync(text); document.adoptedStyleSheets = [s] }", still
    )
    await page.evaluate(Axe().axe_script)  # once: all pages are one document
    theme = "theme => { document.documentElement.dataset.theme = theme }"
    for path in await paths(visitor):
        await open_page(visitor, path)
        await page.evaluate(theme, "light")
        if faults := await checked(page, {"resultTypes": ["violations"]}):
            found[path, "light"] = faults
        await page.evaluate(theme, "dark")
        if faults := await checked(page, {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}):
            found[path, "dark"] = faults
        await page.set_viewport_size(PHONE)
        if wide := await visitor.too_wide():
            found[path, "phone"] = f"too wide: {wide[:5]}"
        await page.set_viewport_size(DESK)
    await page.evaluate("() => { delete document.documentElement.dataset.theme }")
    assert not found, "\n\n".join(f"{where}: {what}" for where, what in found.items())
    assert visitor.faults == []
