"""The open page follows the panel to another node, without signing in again."""

import pytest
from panel_cable import Cable
from panel_server import Panel, Panels
from panel_visitor import OpenWindow, Visitor
from panel_world import World
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_page_follows_to_another_node(visitor: Visitor, panel: Panel, panels: Panels, world: World) -> None:
    page = visitor.page
    await page.evaluate("() => { window.samePage = true }")
    await panel.end()
    await expect(page.get_by_test_id("connection")).to_contain_text("Reconnecting…")
    await expect(page.get_by_test_id("banner-reconnecting")).to_contain_text("last served by n1")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("Up")  # the last picture stays
    await visitor.shot("reconnecting")

    await world.place("panel/admin", "n2", "n1 is suspect; the panel does not wait for a claim.")
    await world.running("panel/admin", "n2")
    await world.event("note", "written while nobody served")
    await panels.start("n2", panel.port)
    await expect(page.get_by_test_id("banner-moved")).to_contain_text("Now served by n2 (was n1)")
    await expect(page.get_by_test_id("banner-moved")).to_contain_text("written while nobody served")
    await expect(page.get_by_test_id("connection")).to_contain_text("Live")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("this page")
    await expect(page.locator(visitor.token("n2", "panel/admin"))).to_contain_text("from n1")
    await visitor.shot("moved")
    assert await page.evaluate("() => window.samePage")

    await world.event("note", "seen after the move")
    await expect(page.locator("#events")).to_contain_text("seen after the move")
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.get_by_test_id("banner-moved")).to_have_count(0)
    assert visitor.faults == []


async def test_a_restart_on_the_same_node_is_no_move(visitor: Visitor, panel: Panel, panels: Panels) -> None:
    await panel.end()
    await expect(visitor.page.get_by_test_id("connection")).to_contain_text("Reconnecting…")
    await panels.start("n1", panel.port)
    await expect(visitor.page.get_by_test_id("connection")).to_contain_text("Live")
    await expect(visitor.page.get_by_test_id("banner-moved")).to_have_count(0)


async def test_a_request_during_the_outage_says_that_its_outcome_is_unknown(visitor: Visitor, panel: Panel) -> None:
    page = visitor.page
    await visitor.go("services", "All services")
    await page.get_by_role("button", name="Stop… nfs/home").click()
    await panel.end()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("not known whether")


async def test_a_session_that_was_ended_elsewhere_leads_to_the_sign_in(
    visitor: Visitor, panel: Panel, panels: Panels, world: World
) -> None:
    await world.end_sessions()
    await panel.end()
    await panels.start("n2", panel.port)
    await expect(visitor.page).to_have_url(f"{panel.url}/login?expired")
    await expect(visitor.page.locator("main")).to_contain_text("Your session is over")


async def test_a_node_that_falls_silent_is_noticed_though_no_connection_breaks(
    open_window: OpenWindow, panels: Panels, panel: Panel, world: World
) -> None:
    cable = Cable(panel.port)
    await cable.open()
    try:
        visitor = await open_window()
        page = visitor.page
        await visitor.arrive(Panel("n1", cable.port, cable.close))
        other = await panels.start("n2")
        cable.silence()
        await expect(page.get_by_test_id("connection")).to_contain_text("Reconnecting…")
        cable.attach(other.port)
        await expect(page.get_by_test_id("banner-moved")).to_contain_text("Now served by n2 (was n1)")
        await world.event("note", "seen after the silence")
        await expect(page.locator("#events")).to_contain_text("seen after the silence")
    finally:
        await cable.close()


async def test_a_quick_move_is_noticed_without_any_outage(
    open_window: OpenWindow, panels: Panels, panel: Panel
) -> None:
    cable = Cable(panel.port)
    await cable.open()
    try:
        visitor = await open_window()
        await visitor.arrive(Panel("n1", cable.port, cable.close))
        cable.attach((await panels.start("n2")).port)
        await expect(visitor.page.get_by_test_id("banner-moved")).to_contain_text("Now served by n2 (was n1)")
    finally:
        await cable.close()
