"""Pages: what they show and do, by mouse and keyboard."""

import json
import re

import pytest
from panel_machines import Lived
from panel_visitor import Visitor
from panel_world import World
from playwright.async_api import expect

from holdfast.core.history import GuaranteeWord
from holdfast.core.model import NodeSpec
from holdfast.core.policy import InstanceLock, Maintenance
from holdfast.store import codec, keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def visitor(lived: Lived) -> Visitor:
    return lived.visitor


@pytest.fixture(scope="module")
def world(lived: Lived) -> World:
    return lived.world


async def test_what_if_by_keyboard(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.go("what-if", "What if")
    await page.get_by_role("checkbox", name="n2 fails").focus()
    await page.keyboard.press("Space")
    said = page.get_by_test_id("what-if")
    await expect(said).to_contain_text("Everything finds a place")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("Fails")
    await expect(page.locator("[data-route='vm/db-1']")).to_have_count(1)
    await expect(page.locator("tr[data-key='vm/db-1']")).to_contain_text("Starts elsewhere")
    for name in ("n3", "n4"):
        await page.get_by_role("checkbox", name=f"{name} fails").focus()
        await page.keyboard.press("Space")
    await expect(said).to_contain_text("not fit")
    await expect(page.locator(".unplaced").first).to_contain_text("refused by 4 nodes")
    await expect(page.locator(".unplaced")).to_contain_text("memory left")
    await expect(page).to_have_url(re.compile("#/what-if.fail=n2,n3,n4$"))
    await page.get_by_role("button", name="Choose none").click()
    await expect(page.locator("#page")).to_contain_text("No node chosen")


async def test_the_guarantee_in_words_and_one_failure_more(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("", "Overview")
    await expect(page.get_by_test_id("guarantee")).to_contain_text("Survives any 1 of 4 nodes")
    await page.get_by_role("button", name="And if 2 nodes failed?").click()
    await expect(page.get_by_test_id("guarantee").locator(".beyond")).to_be_visible()
    held = world.guarantee
    world.guarantee = GuaranteeWord(1, False, ("n2",), ("vm/db-1",))
    await world.view()
    await expect(page.get_by_test_id("guarantee")).to_contain_text("If n2 fails, vm/db-1 does not fit.")
    world.guarantee = held
    await world.view()


async def test_an_instance_is_explained_and_locked(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("instances/vm/db-1", "vm/db-1")
    await expect(page.locator("[data-verdict='n4']")).to_contain_text("memory")
    await expect(page.locator("[data-verdict='n2']")).to_contain_text("it is there now")
    await page.get_by_role("button", name="Lock…").click()
    await page.get_by_role("dialog").get_by_label("Why").fill("a backup runs")
    await page.get_by_role("dialog").get_by_role("button", name="Lock").click()
    await expect(page.locator("#page")).to_contain_text("a backup runs")
    entry = await world.store.get(keys.lock("vm/db-1"))
    assert entry is not None and codec.decode(entry.value, InstanceLock).reason == "a backup runs"
    await page.get_by_role("button", name="Unlock…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Unlock").click()
    await expect(page.get_by_role("button", name="Lock…")).to_be_visible()


async def test_a_change_shows_its_effect_before_it_is_saved(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("nodes/n1", "n1")
    await page.get_by_role("button", name="Slots and domain…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_test_id("effect")).to_contain_text("Nothing is changed yet")
    await dialog.get_by_label("VM slots").fill("5")
    effect = dialog.get_by_test_id("effect")
    await expect(effect).to_contain_text("slots 5 for vm")
    await expect(effect).to_contain_text("Afterwards the cluster survives the failure of any one node")
    assert await slots_of_n1(world) == {"vm": 10}
    await dialog.get_by_label("VM slots").fill("6")
    await expect(effect).to_contain_text("slots 6 for vm")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    assert await slots_of_n1(world) == {"vm": 6}


async def slots_of_n1(world: World) -> dict[str, int]:
    entry = await world.store.get(keys.node_spec("n1"))
    assert entry is not None
    return codec.decode(entry.value, NodeSpec).slots


async def test_maintenance_with_precheck_and_end(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("maintenance", "Maintenance")
    await page.get_by_role("button", name="Maintenance… n4").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_test_id("precheck")).to_contain_text("vm/mail")
    await expect(dialog.get_by_test_id("precheck")).to_contain_text("live, without interruption")
    await expect(dialog.get_by_test_id("precheck")).to_contain_text("Meanwhile the cluster survives")
    await visitor.shot("precheck", whole=False)
    await dialog.get_by_role("button", name="Begin maintenance").click()
    begun = page.locator("[data-maintenance='n4']")
    await expect(begun).to_contain_text("Being freed")
    await expect(begun).to_contain_text("0 of 2 instances moved off")
    for machine, node in {"vm/mail": "n1", "nfs/scratch": "n2"}.items():
        await world.place(machine, node, "n4 is in maintenance")
        await world.running(machine, node)
    await world.put(keys.maintenance("n4"), Maintenance("admin", True, ("vm/mail", "nfs/scratch")))
    await expect(begun).to_contain_text("Free: you may work on it")
    await begun.get_by_role("button", name="End maintenance…").click()
    await expect(dialog).to_contain_text("vm/mail, nfs/scratch")
    await dialog.get_by_role("button", name="End maintenance").click()
    await expect(page.locator("#page")).to_contain_text("Being filled again")
    assert await world.store.get(keys.bring_back("n4")) is not None


async def test_an_incident_is_taken_along(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.go("incidents", "Incidents")
    await page.get_by_role("link", name="n2").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("n2 failed")
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="JSON").click()
    incident = json.loads((await (await saved.value).path()).read_text())
    assert incident["id"] == "i-0001" and len(incident["steps"]) == 10
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="Markdown").click()
    text = (await (await saved.value).path()).read_text()
    assert "- Proof: P1: The power was switched off" in text
    assert "| 1.842 | Recovered (slowest) | nfs/home:" in text


async def test_the_skip_link_and_the_title_of_each_page(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.go("nodes", "Nodes")
    await expect(page).to_have_title("Nodes · harbour · Holdfast")
    await page.get_by_role("link", name="Skip to the content").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Nodes")


async def test_a_table_of_thousands_stays_quick(visitor: Visitor, world: World) -> None:
    """Only a leaf of it is drawn, whatever is filtered and sorted."""
    page = visitor.page
    for start in range(0, 3000, 500):
        await world.many_machines("n4", range(start, start + 500))
    await visitor.go("services", "All services")
    await expect(page.locator(".counted")).to_contain_text("3,011 instances")
    assert await page.locator("tr[data-instance]").count() == 50
    await page.get_by_label("Filter Instances").fill("many-2999")
    await expect(page.locator("tr[data-instance]")).to_have_count(1)
    await expect(page.get_by_label("Filter Instances")).to_be_focused()
    await page.get_by_label("Filter Instances").fill("")
    await page.get_by_role("button", name="Next").click()
    await expect(page.locator(".pager")).to_contain_text("51–100 of 3,011")
    assert visitor.faults == []
