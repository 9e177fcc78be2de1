"""A person who fills in forms of the panel."""

import re
from dataclasses import dataclass

from kinds_world import KindsWorld
from panel_server import Panel
from panel_visitor import Visitor
from playwright.async_api import Locator, Page, expect


@dataclass
class Person:
    visitor: Visitor
    panel: Panel
    world: KindsWorld

    @property
    def page(self) -> Page:
        return self.visitor.page

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def effect(self) -> Locator:
        return self.dialog.get_by_test_id("effect")

    async def go(self, path: str, title: str) -> None:
        """By the address, as a link does. A test that failed in the middle of a form must not take the next ones with it."""
        await self.page.evaluate(f"() => {{ document.getElementById('dialog').close(); location.hash = '#/{path}' }}")
        await expect(self.page.locator("h1")).to_have_text(title)

    async def press(self, name: str) -> None:
        """A button of the page, by its whole name."""
        await self.page.locator("#page").get_by_role("button", name=name, exact=True).click()
        await expect(self.dialog).to_be_visible()

    async def fill(self, **fields: str) -> None:
        """Fields by their names in the request."""
        for name, text in fields.items():
            await self.dialog.locator(f"#field-{name}").fill(text)

    async def choose(self, field: str, *codes: str) -> None:
        """Exactly these of several."""
        await self.dialog.locator(f"#field-{field}").evaluate(
            "(field, codes) => [...field.querySelectorAll('input')]"
            ".filter(box => box.checked !== codes.includes(box.value) && (box.type === 'checkbox' || !box.checked))"
            ".forEach(box => box.click())",
            codes,
        )

    async def unfold(self, section: str) -> None:
        await self.dialog.locator("summary", has_text=section).click()

    async def confirm(self, button: str) -> None:
        """Press the button, and be done."""
        await self.dialog.get_by_role("button", name=button, exact=True).click()
        await expect(self.dialog).to_be_hidden()
        await self.world.settle()

    async def refused(self, button: str, field: str, words: str) -> None:
        """Press the button, and be told at this field."""
        await self.dialog.get_by_role("button", name=button, exact=True).click()
        await self.wrong(field, words)

    async def wrong(self, field: str, words: str) -> None:
        await expect(self.dialog.locator(f"#field-{field}-error")).to_contain_text(words)

    async def fine(self) -> None:
        """It is shown that this breaks no guarantee."""
        await expect(self.effect).to_have_class(re.compile("tone-ok"))

    async def secrets(self) -> dict[str, str]:
        """What is shown once: label → value. Closes it."""
        boxes = self.dialog.locator(".copy-box")
        await expect(boxes.first).to_be_visible()
        await self.page.keyboard.press("Escape")
        await expect(boxes.first).to_be_visible()  # not lost by a slip
        found = {
            await box.locator("span").inner_text(): await box.locator("pre").inner_text() for box in await boxes.all()
        }
        await self.dialog.get_by_role("button", name="Copy").last.click()
        await self.dialog.get_by_role("button", name="I have stored it").click()
        await expect(self.dialog).to_be_hidden()
        return found

    def row(self, key: str) -> Locator:
        return self.page.locator(f"tr[data-row='{key}']")
