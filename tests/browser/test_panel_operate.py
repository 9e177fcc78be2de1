"""Alarms, tasks, drills, accounts, API tokens, audit and settings through the panel."""

import asyncio

import pytest
from kinds_person import Person
from panel_visitor import OpenWindow
from panel_world import NODES
from playwright.async_api import expect

from holdfast.bootstrap.users import User, make_user
from holdfast.core.alarm_model import Alarm, AlarmKind, AlarmState, Receiver, alarm_id
from holdfast.core.drill import DrillAnswer, DrillRequest
from holdfast.core.history import Severity
from holdfast.core.model import ClusterSpec, ShutdownPolicy
from holdfast.ports import Put, Store
from holdfast.store import codec, keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_alarm_is_seen_acknowledged_and_over(person: Person) -> None:
    page, world = person.page, person.world
    await person.go("alarms", "Alarms")
    await expect(page.locator("#page")).to_contain_text("No alarm")
    name = alarm_id(AlarmKind.FENCE_TEST_FAILED, "n4")
    advice = "Look at its cable and password, then `holdfast node fence test n4`."
    alarm = Alarm(
        name,
        AlarmKind.FENCE_TEST_FAILED,
        "n4",
        Severity.ERROR,
        "bmc of n4 does not answer",
        advice,
        AlarmState.RAISED,
        world.clock.wall(),
    )
    await world.put(keys.alarm(name), alarm)
    row = page.locator(f"[data-alarm='{name}']")
    await expect(row).to_contain_text("Bmc of n4 does not answer")
    await expect(row).to_contain_text("Look at its cable and password")
    await expect(page.locator("#nav a[href='#/alarms'] .badge")).to_have_text("1 raised")
    await person.press("Acknowledge… n4")
    await person.fill(note="new controller ordered")
    await person.confirm("I look after it")
    await expect(row).to_contain_text("admin looks after it")
    await expect(row).to_contain_text("new controller ordered")
    entry = await world.store.get(keys.alarm(name))
    assert entry is not None
    assert codec.decode(entry.value, Alarm).state is AlarmState.ACKNOWLEDGED


async def test_accounts_tokens_and_the_audit_that_tells_of_them(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("users", "Users and tokens")
    await expect(page.locator("tr[data-row='admin']")).to_contain_text("you")
    await person.press("New user")
    await person.fill(name="olga", password="short")
    await person.refused("Create user", "password", "At least ten characters")
    await person.fill(password="a longer password")
    await person.confirm("Create user")
    await expect(page.locator("tr[data-row='olga']")).to_contain_text("Operator")
    await person.press("Change… olga")
    await person.choose("role", "viewer")
    await person.confirm("Save")
    await expect(page.locator("tr[data-row='olga']")).to_contain_text("Viewer")
    entry = await world.store.get(keys.user("olga"))
    assert entry is not None
    assert codec.decode(entry.value, User).role == "viewer"

    await person.press("New token")
    await person.fill(name="prometheus")
    await dialog.get_by_label("metrics").check()
    await dialog.get_by_role("button", name="Make token").click()
    token = (await person.secrets())["Token"]
    assert token.startswith("holdfast_")
    await expect(page.locator("tr[data-row='prometheus']")).to_contain_text("metrics")
    assert token not in await page.content()
    await expect(page.get_by_role("table", name="My sessions")).to_contain_text("this page")

    await person.go("audit", "Audit log")
    row = page.get_by_role("row", name="olga").filter(has_text="viewer").first
    await row.locator("summary").click()
    await expect(row).to_contain_text('"operator"')
    await expect(row).to_contain_text("127.0.0.1")
    assert "argon2" not in await page.content()
    await page.get_by_role("button", name="Login", exact=True).click()
    await expect(page.get_by_role("table", name="Audit log").locator("tbody")).not_to_contain_text("record changed")


async def test_a_viewer_is_offered_nothing_that_is_refused(open_window: OpenWindow, person: Person) -> None:
    await person.world.put(keys.user("vera"), make_user("vera", "a longer password", "viewer"))
    visitor = await open_window(alone=True)
    page = visitor.page
    await page.goto(person.panel.url)
    await page.get_by_label("Name").fill("vera")
    await page.get_by_label("Password").fill("a longer password")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_test_id("connection")).to_contain_text("Live")
    await visitor.go("users", "Users and tokens")
    await expect(page.get_by_role("table", name="My sessions")).to_be_visible()
    await expect(page.get_by_role("button", name="New user")).to_have_count(0)
    await expect(page.locator("#nav a[href='#/audit']")).to_have_count(0)
    await visitor.go("audit", "Audit log")
    await expect(page.get_by_role("alert")).to_contain_text("`administer`".strip("`"))
    await visitor.go("settings", "Settings")
    await expect(page.locator(".settings")).to_contain_text("Dead nodes")
    await expect(page.locator("#page").get_by_role("button", name="Change")).to_have_count(0)
    assert visitor.faults == []


async def test_settings_and_who_is_told_of_alarms(person: Person) -> None:
    page, world = person.page, person.world
    await person.go("settings", "Settings")
    await person.press("Change… Nodes that are shut down")
    await person.choose("policy", "migrate")
    await person.confirm("Save")
    await expect(page.locator(".settings")).to_contain_text("Migrate")
    entry = await world.store.get(keys.CLUSTER)
    assert entry is not None
    assert codec.decode(entry.value, ClusterSpec).shutdown_policy is ShutdownPolicy.MIGRATE

    await person.press("New receiver")
    await person.fill(name="on-call", url="http://alerts.example.com/hook")
    await person.refused("Add receiver", "url", "https")
    await person.fill(url="https://alerts.example.com/hook/very-secret-path")
    await person.confirm("Add receiver")
    await expect(page.locator("tr[data-row='on-call']")).to_contain_text("alerts.example.com")
    assert "very-secret-path" not in await page.content()
    entry = await world.store.get(keys.receiver("on-call"))
    assert entry is not None
    assert b"very-secret-path" not in entry.value
    assert codec.decode(entry.value, Receiver).min_severity is Severity.WARNING
    await person.press("Remove… on-call")
    await person.confirm("Remove")
    await expect(page.locator("tr[data-row='on-call']")).to_have_count(0)


async def agents_answer(store: Store, *nodes: str) -> None:
    """The agents of these nodes find that the shared storage is well."""
    async for batch in store.watch(keys.DRILL_REQUESTS):
        for change in batch.changes:
            node = keys.last_part(change.key)
            if change.entry is not None and node in nodes:
                request = codec.decode(change.entry.value, DrillRequest)
                answer = DrillAnswer(request.drill, steps={"write": 0.01, "read": 0.001, "remove": 0.001})
                await store.txn([], [Put(keys.drill_answer(node), codec.encode(answer))])


async def test_a_drill_and_the_tasks(person: Person) -> None:
    page, dialog = person.page, person.dialog
    person.world.fences.states["https://10.79.0.1/"] = "off"
    agents = asyncio.create_task(agents_answer(person.world.store, *NODES))
    await person.go("drill", "Drill")
    await expect(page.locator("#page")).to_contain_text("No drill yet")
    await person.press("Start a drill…")
    await dialog.get_by_role("button", name="Start", exact=True).click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator(".drill[data-state='done']")).to_be_visible()
    agents.cancel()
    # They say *off* of nodes that are up: a drill must not call that fine.
    await expect(page.get_by_role("region", name="Fence devices").locator("[data-grade='failed']")).to_have_count(3)
    await expect(page.get_by_role("region", name="Shared storage").locator("[data-grade='ok']")).to_have_count(4)
    await expect(page.get_by_role("region", name="Watchdogs").locator("[data-grade='ok']").first).to_be_visible()
    await expect(page.get_by_role("table", name="Drills")).to_contain_text("Failed")
    await person.go("tasks", "Tasks")
    await expect(page.locator("#page .table-block")).to_be_visible()
    assert person.visitor.faults == []
