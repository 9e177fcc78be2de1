"""What a person sees: a quiet cluster, a failover, a hold, in light and dark and on a phone."""

import pytest
from panel_server import Panel
from panel_visitor import PHONE, OpenWindow, Visitor
from panel_world import Failure, World
from playwright.async_api import expect

from holdfast.core.model import InstanceState, NodeState

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_quiet_cluster(visitor: Visitor) -> None:
    page = visitor.page
    await expect(page.get_by_test_id("verdict")).to_contain_text("Everything runs")
    await expect(page.get_by_test_id("leader")).to_contain_text("n3")
    await expect(page.locator(visitor.node("n1"))).to_contain_text("this page")
    await expect(page.locator(visitor.node("n3"))).to_contain_text("leads")
    for node in ("n1", "n2", "n3", "n4"):
        await expect(page.locator(visitor.node(node))).to_contain_text("Up")
        await expect(page.locator(visitor.node(node))).to_contain_text("watchdog 6 s")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("bmc (redfish)")
    await expect(page.locator(visitor.node("n4"))).to_contain_text("no power fencing")
    await expect(page.locator(visitor.token("n2", "nfs/home"))).to_contain_text("Running")
    await expect(page.locator("#events")).to_contain_text("n4 joined the cluster")
    await expect(page.get_by_test_id("guarantee")).to_contain_text("as long as another node with its role is up")
    assert "secret-of-bmc" not in await page.content()
    await visitor.shot("overview")
    await visitor.go("services", "All services")
    row = page.locator("tr[data-instance='nfs/home']")
    for text in ("n2", "10.78.0.101", "Running", "the most room among the storage nodes"):
        await expect(row).to_contain_text(text)
    assert visitor.faults == []


async def test_a_failover_is_seen_live(visitor: Visitor, world: World) -> None:
    page, failure = visitor.page, Failure(world)
    incident = page.locator("[data-incident='i-0001']")

    await failure.suspect()
    await expect(page.locator(visitor.node("n2"))).to_contain_text("Suspect")
    await expect(page.locator(visitor.node("n2"))).to_contain_text("miss its beats")
    await expect(page.locator(visitor.token("n2", "nfs/home"))).to_contain_text("Unknown")
    await expect(page.get_by_test_id("verdict")).to_contain_text("1 incident running")
    await expect(incident).to_contain_text("n2 failed")
    await expect(incident).to_contain_text("+0.612 s")
    await expect(incident.get_by_test_id("proof")).to_have_count(0)
    await expect(incident).to_contain_text("no proof yet")
    await expect(page).to_have_title("⚠ n2 failed · Overview · harbour · Holdfast")
    await expect(page.locator("#announce")).to_contain_text("n2 is suspect")
    stages = page.locator(visitor.node("n2")).locator(".stage")
    await expect(stages.filter(has=page.locator("[class~=icon-check]"))).to_have_count(1)

    await failure.fencing()
    await failure.claimed()
    await expect(page.locator(visitor.node("n2"))).to_contain_text("Dead, claimed")
    await expect(incident.get_by_test_id("proof")).to_have_text("P1 Power off, verified")
    await expect(page.locator("#announce")).to_contain_text("n2 is proven dead, Power off, verified. n2 is claimed")
    await expect(stages.filter(has=page.locator("[class~=icon-check]"))).to_have_count(3)

    await failure.placed()
    moved = page.locator(visitor.token("n3", "nfs/home"))
    await expect(moved).to_contain_text("from n2")
    await expect(moved).to_contain_text("Starting")
    await expect(page.locator(visitor.token("n2", "nfs/home"))).to_have_count(0)
    await expect(page.locator(visitor.node("n2"))).to_contain_text("nfs/home")  # the trace it left: "nfs/home → n3"
    await expect(incident.locator(".affected")).to_contain_text("being recovered")
    route = page.locator("[data-route='nfs/home']")  # the line from where it was to where it is
    await expect(route).to_have_class("route")
    await failure.recovered("nfs/home", 1.842)
    await expect(moved).to_contain_text("Running")
    await expect(incident.locator(".affected")).to_contain_text("back on n3")
    await expect(route).to_have_class("route done")
    await visitor.shot("failover")

    await failure.recovered("nfs/projects", 1.977)
    await failure.closed(1.981)
    await expect(page.locator("#incidents [data-incident]")).to_have_count(0)
    past = page.locator("#past [data-incident='i-0001']")
    await expect(past).to_contain_text("2 instances back in 1.98 s")
    await past.click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("n2 failed")
    await expect(page.locator(".slowest")).to_contain_text("nfs/home")
    await expect(page.locator("#page")).to_contain_text("bmc reads the power state as off")
    await expect(page.locator(".phases")).to_contain_text("Recover 1.07 s")
    await expect(page.locator("tr[data-key='nfs/projects']")).to_contain_text("+1.977 s")
    await visitor.shot("failover-done")
    assert visitor.faults == []


async def test_the_moved_instance_travels_between_the_cards(visitor: Visitor, world: World) -> None:
    page = visitor.page
    watch = """() => { window.travelled = []; new MutationObserver(changes => changes.forEach(change => {
        const t = change.target; if (t.classList?.contains('travelling')) window.travelled.push(t.dataset.token) }))
        .observe(document.getElementById('nodes'), {subtree: true, attributes: true, attributeFilter: ['class']}) }"""
    await page.evaluate(watch)
    await world.place("nfs/media", "n4", "An operator moved it.")
    await expect(page.locator(visitor.token("n4", "nfs/media"))).to_contain_text("from n3")
    await page.wait_for_function("() => window.travelled.includes('nfs/media')")


async def test_a_person_at_work_is_not_disturbed_by_updates(visitor: Visitor, world: World) -> None:
    page = visitor.page
    await visitor.go("services", "All services")
    button = page.get_by_role("button", name="Move… nfs/scratch")
    await button.focus()
    await world.event("note", "something happened")
    await world.place("nfs/media", "n4", "An operator moved it.")
    await expect(page.locator("tr[data-instance='nfs/media']")).to_contain_text("from n3")
    await expect(button).to_be_focused()


async def test_hold_waiting_and_failed_are_explained(visitor: Visitor, world: World) -> None:
    page = visitor.page
    world.hold = (
        "3 of 4 nodes are suspect at once: nothing is moved until the manager can see again, or an operator decides."
    )
    world.states.update(n2=NodeState.SUSPECT, n3=NodeState.SUSPECT, n4=NodeState.SUSPECT)
    world.waiting["nfs/home"] = (
        "n2 is suspect and nothing proves its death: it has no fence device that answers and no attested watchdog. "
        "Switch it off and say so with `holdfast node confirm-dead n2`."
    )
    await world.place("nfs/scratch", "n1", "Moved by an operator.")
    await world.status("nfs/scratch", "n1", InstanceState.FAILED, detail="ganesha.nfsd ended with exit status 2")
    await world.view()
    await expect(page.get_by_test_id("banner-hold")).to_contain_text("Holding: nothing is moved")
    await expect(page.get_by_test_id("banner-hold")).to_contain_text("3 of 4 nodes are suspect")
    await expect(page.locator(visitor.token("n1", "nfs/scratch"))).to_contain_text("Failed")
    await visitor.shot("hold")
    await visitor.go("services", "All services")
    await expect(page.locator("tr[data-instance='nfs/home']")).to_contain_text("confirm-dead n2")
    await expect(page.locator("tr[data-instance='nfs/scratch']")).to_contain_text("exit status 2")


async def test_an_instance_without_a_node_is_shown_waiting(visitor: Visitor, world: World) -> None:
    await world.unplace("nfs/home", "No storage node has room for it: it is placed as soon as one has.")
    await expect(visitor.page.locator(visitor.token("", "nfs/home"))).to_contain_text("Waiting for a node")
    await visitor.go("instances/nfs/home", "nfs/home")
    await expect(visitor.page.get_by_test_id("waiting")).to_contain_text("as soon as one has")


async def test_dark_and_the_choice_is_kept(open_window: OpenWindow, panel: Panel, world: World) -> None:
    visitor = await open_window(dark=True)
    await visitor.arrive(panel)
    page = visitor.page
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(background) == "rgb(11, 16, 20)"
    await visitor.shot("overview-dark")
    failure = Failure(world)
    await failure.suspect()
    await failure.fencing()
    await failure.claimed()
    await failure.placed()
    await failure.recovered("nfs/home", 1.842)
    await expect(page.locator(visitor.token("n3", "nfs/home"))).to_contain_text("Running")
    await visitor.shot("failover-dark")
    await page.get_by_role("button", name="Switch between dark and light").click()
    assert await page.evaluate(background) == "rgb(244, 246, 248)"
    await page.reload()
    await expect(page.get_by_test_id("connection")).to_contain_text("Live")
    assert await page.evaluate(background) == "rgb(244, 246, 248)"
    assert visitor.faults == []


async def test_on_a_phone_nothing_is_cut_off(open_window: OpenWindow, panel: Panel, world: World) -> None:
    visitor = await open_window(viewport=PHONE)
    await visitor.sign_in(panel, "wrong password")
    await visitor.page.get_by_role("alert").wait_for()
    await visitor.shot("login-phone")
    await visitor.arrive(panel)
    failure = Failure(world)
    await failure.suspect()
    await failure.fencing()
    await failure.claimed()
    await failure.placed()
    await expect(visitor.page.locator(visitor.token("n3", "nfs/home"))).to_contain_text("from n2")
    await visitor.shot("phone")
    for part in ("summary", "nodes"):
        await visitor.page.locator(f"#{part}").evaluate("element => element.scrollIntoView()")
        await visitor.shot(f"phone-{part}", whole=False)
    assert await visitor.too_wide() == []
    await visitor.page.get_by_role("button", name="Menu").click()
    await visitor.page.get_by_role("dialog").get_by_role("link", name="All services").click()
    await expect(visitor.page.locator("tr[data-instance='nfs/home']")).to_contain_text("n3")
    assert await visitor.too_wide() == []
    await visitor.page.get_by_role("button", name="Move… nfs/home").click()
    await visitor.shot("phone-form", whole=False)
    assert await visitor.too_wide() == []


WATCH = """() => {
    window.ran = [];
    const note = event => window.ran.push(`${event.type} ${event.target.className}`);
    for (const kind of ['animationstart', 'transitionrun']) document.addEventListener(kind, note, true);
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...how) {
        window.ran.push(`animate ${this.className}`);
        return animate.apply(this, how);
    };
}"""


@pytest.mark.parametrize("wish", ["reduce", "no-preference"])
async def test_nothing_moves_for_who_wants_that(open_window: OpenWindow, panel: Panel, world: World, wish: str) -> None:
    """Neither what appears, nor what travels over the map, nor what changes its colour; for others it does."""
    visitor = await open_window()
    page = visitor.page
    await page.emulate_media(reduced_motion=wish)  # type: ignore[arg-type]
    await visitor.arrive(panel)
    await page.evaluate(WATCH)
    await world.place("nfs/media", "n4", "An operator moved it.")
    await expect(page.locator(visitor.token("n4", "nfs/media"))).to_contain_text("from n3")
    await visitor.go("services", "All services")
    await page.get_by_role("button", name="Stop… nfs/media").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.locator(".toast")).to_be_visible()
    ran = await page.evaluate("() => window.ran")
    assert (ran == []) is (wish == "reduce"), ran
