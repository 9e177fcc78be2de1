"""What a person does with the page: sign in, start, stop, move, confirm a death."""

import pytest
from panel_server import Panel
from panel_visitor import OpenWindow, Visitor
from panel_world import PASSWORD, Failure, World
from playwright.async_api import expect

from holdfast.core.model import DeathConfirmation, InstanceSpec, MoveRequest, NodeState
from holdfast.store import codec, keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_sign_in_wrong_then_right(open_window: OpenWindow, panel: Panel) -> None:
    visitor = await open_window()
    page = visitor.page
    await page.goto(panel.url)
    await expect(page).to_have_url(panel.url + "/login")
    await expect(page.get_by_role("heading")).to_have_text("Sign in to harbour")
    await visitor.shot("login")
    await visitor.sign_in(panel, "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("Wrong name or password")
    await expect(page).to_have_url(panel.url + "/login")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("connection")).to_contain_text("Live")
    assert visitor.faults == []


async def test_signed_out_means_out(visitor: Visitor, panel: Panel) -> None:
    await visitor.page.get_by_role("button", name="Sign out").click()
    await expect(visitor.page).to_have_url(panel.url + "/login")
    await visitor.page.goto(panel.url)
    await expect(visitor.page).to_have_url(panel.url + "/login")


async def test_move_an_instance(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("services", "All services")
    await page.get_by_role("button", name="Move… nfs/home").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("It runs on n2 now")
    await dialog.get_by_label("To").select_option("n4")
    await visitor.shot("move", whole=False)
    await dialog.get_by_role("button", name="Move").click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator("tr[data-instance='nfs/home']")).to_contain_text("moving to n4")
    entry = await world.store.get(keys.move("nfs/home"))
    assert entry is not None
    assert codec.decode(entry.value, MoveRequest) == MoveRequest("n4", "admin")


async def test_stop_and_start(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("services", "All services")
    await page.get_by_role("button", name="Stop… nfs/home").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.locator("#toasts")).to_contain_text("nfs/home is to be stopped")
    entry = await world.store.get(keys.instance("nfs/home"))
    assert entry is not None
    assert codec.decode(entry.value, InstanceSpec).desired == "stopped"
    await page.get_by_role("button", name="Start… nfs/home").click()
    await expect(page.get_by_test_id("effect")).to_contain_text("This can be done")
    await page.get_by_role("dialog").get_by_role("button", name="Start", exact=True).click()
    await expect(page.get_by_role("button", name="Stop… nfs/home")).to_be_visible()


async def test_a_dialog_is_left_by_the_keyboard_and_does_nothing(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("services", "All services")
    button = page.get_by_role("button", name="Stop… nfs/home")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(button).to_be_focused()
    entry = await world.store.get(keys.instance("nfs/home"))
    assert entry is not None
    assert codec.decode(entry.value, InstanceSpec).desired == "started"


async def test_confirm_dead_names_what_could_be_corrupted(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await Failure(world).suspect()
    await page.locator(visitor.node("n2")).get_by_role("button", name="Confirm dead").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("if n2 is in fact alive", ignore_case=True)
    await expect(dialog.locator(".at-risk")).to_contain_text("nfs/home")
    await expect(dialog.locator(".at-risk")).to_contain_text("10.78.0.101")
    await expect(dialog.locator(".at-risk")).to_contain_text("nfs/projects")
    await visitor.shot("confirm-dead", whole=False)
    confirm = dialog.get_by_role("button", name="n2 is dead")
    await confirm.click()
    await expect(dialog).to_contain_text("This is needed")
    await dialog.get_by_label("Type n2 to confirm").fill("n3")
    await confirm.click()
    await expect(dialog).to_contain_text("Type exactly n2")
    assert await world.store.get(keys.death_confirmation("n2")) is None
    await dialog.get_by_label("Type n2 to confirm").fill("n2")
    await dialog.get_by_label("How do you know").fill("pulled both power cords")
    await confirm.click()
    await expect(dialog).to_be_hidden()
    entry = await world.store.get(keys.death_confirmation("n2"))
    assert entry is not None
    written = codec.decode(entry.value, DeathConfirmation)
    assert (written.operator, written.reason) == ("admin", "pulled both power cords")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("confirmed dead by an operator")


async def test_confirm_dead_that_came_too_late_is_refused(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await Failure(world).suspect()
    await page.locator(visitor.node("n2")).get_by_role("button", name="Confirm dead").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Type n2 to confirm").fill("n2")
    world.states["n2"] = NodeState.UP
    await world.view()
    await dialog.get_by_role("button", name="n2 is dead").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("is up")
    assert await world.store.get(keys.death_confirmation("n2")) is None


async def test_texts_of_the_store_are_never_markup(visitor: Visitor, world: World) -> None:
    text = "<img src=x onerror=alert(1)> `<b>not bold</b>`"
    await world.event("note", text)
    await expect(visitor.page.locator("#events")).to_contain_text("<img src=x onerror=alert(1)>")
    assert await visitor.page.locator("#events img, #events b").count() == 0
    assert visitor.faults == []
