"""Clusters, names, rules and the panel itself through the panel's forms: created, looked at, changed, deleted; secrets."""

import pytest
from kinds_person import Person
from playwright.async_api import expect

from holdfast.core.model import ManagementSpec
from holdfast.services.backup_gateway.cluster import BackupCluster
from holdfast.store import codec, keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_networks_and_names(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("networks", "Networks and names")
    await expect(page.get_by_test_id("empty")).to_contain_text("No names are kept yet")
    await person.page.locator(".page-head").get_by_role("button", name="New zone").click()
    await person.fill(apex="lan")
    await person.wrong("apex", "fully qualified")
    await person.fill(apex="example.lan")
    await person.confirm("Create zone")
    await expect(person.row("example.lan")).to_contain_text("ns-n1.example.lan")
    await person.press("Give a name…")
    await dialog.locator("#field-instance").select_option("nfs/home")
    await person.fill(name="home.example.lan")
    await person.confirm("Give it this name")
    await expect(person.row("home.example.lan nfs/home")).to_have_count(0)  # rows are told apart by the name alone
    await expect(person.row("home.example.lan")).to_contain_text("10.78.0.101")
    await person.press("Add a secondary…")
    await person.fill(name="office", addresses="192.0.2.53", key_name="office-key")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    secrets = await person.secrets()
    assert len(secrets["Secret"]) == 44 and not await world.holds(secrets["Secret"])
    await expect(person.row("office")).to_contain_text("office-key")


async def test_s3(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("s3", "S3 object storage")
    await expect(page.get_by_test_id("empty")).to_contain_text("No S3 cluster yet")
    await page.get_by_test_id("empty").get_by_role("button", name="New S3 cluster").click()
    await person.choose("nodes", "n1", "n2", "n3")
    await person.fill(
        name="main",
        domain="s3.example.lan",
        gateway_addresses="10.78.0.151-10.78.0",
        server_addresses="10.77.0.151-10.77.0.189",
    )
    await person.wrong("gateway_addresses", "FIRST-LAST")
    await person.fill(gateway_addresses="10.78.0.151-10.78.0.152")
    await person.effect.get_by_role("button", name="Check now").click()
    await person.wrong("gateway_addresses", "Only 2 of the 3")
    await person.fill(gateway_addresses="10.78.0.151-10.78.0.159")
    await person.effect.get_by_role("button", name="Check now").click()
    await person.fine()
    await person.confirm("Create S3 cluster")
    await expect(page.get_by_test_id("ha")).to_contain_text("Highly available")
    await expect(page.locator("table[aria-label='Parts']")).to_contain_text("gw-n1")
    await person.press("New user…")
    await person.fill(name="alice")
    await dialog.get_by_role("button", name="Create user").click()
    secrets = await person.secrets()
    assert not await world.holds(secrets["Secret key"])
    await expect(person.row("alice")).to_contain_text(secrets["Access key"])
    assert secrets["Secret key"] not in await page.content()
    await person.press("New key… main/alice")
    await dialog.get_by_role("button", name="Make a new key").click()
    fresh = await person.secrets()
    assert fresh["Secret key"] != secrets["Secret key"] and not await world.holds(fresh["Secret key"])
    await expect(person.row("alice")).to_contain_text(fresh["Access key"])
    await expect(person.row("alice")).not_to_contain_text(secrets["Access key"])  # the old one was not kept
    await person.press("Disable… main/alice")
    await person.confirm("Disable")
    await expect(person.row("alice")).to_contain_text("Disabled")
    await person.press("Release… main/n3")
    await person.fine()
    await person.confirm("Release")
    await expect(page.get_by_test_id("ha")).to_contain_text("of the 3 that are needed")
    await person.press("Delete…")
    await expect(dialog).to_contain_text("alice")
    await person.fill(typed="main")
    await person.confirm("Delete S3 cluster")
    await expect(page.get_by_test_id("empty")).to_be_visible()


async def test_backup_gateways(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("backup", "Backup gateways")
    await page.get_by_test_id("empty").get_by_role("button", name="New backup cluster").click()
    await person.choose("nodes", "n1", "n2")
    await person.fill(name="vault", domain="backup.example.lan", addresses="10.78.0.171-10.78.0.179")
    await person.choose("backend", "sftp")
    await person.refused("Create backup cluster", "place_sftp", "This is needed")
    await person.choose("backend", "s3")
    await person.fill(place_s3="https://objects.example.lan/closed", access_key="AK", secret_key="very-secret-key")
    await dialog.get_by_role("button", name="Create backup cluster").click()
    await person.wrong("place_s3", "permission denied")
    await person.fill(place_s3="https://objects.example.lan/bucket")
    await person.confirm("Create backup cluster")
    assert world.backends.asked[-1][1] == {"access_key": "AK", "secret_key": "very-secret-key"}
    assert not await world.holds("very-secret-key") and "very-secret-key" not in await page.content()
    await expect(page.locator("h1")).to_have_text("vault")
    await expect(page.get_by_test_id("ha")).to_contain_text("Highly available")
    await person.press("New user…")
    await person.fill(name="data")
    await person.wrong("name", "meaning of its own")
    await person.fill(name="web-1")
    await dialog.get_by_role("button", name="Create user").click()
    secrets = await person.secrets()
    assert secrets["User"] == "web-1" and not await world.holds(secrets["Password"])
    await expect(page.locator(".copy-boxes")).to_contain_text("RESTIC_REST_USERNAME=web-1")
    await person.press("Change…")
    await dialog.get_by_label("Append-only").check()
    await person.confirm("Save")
    await expect(person.row("web-1")).to_contain_text("delete nothing")
    await expect(page.locator(".event-list")).to_contain_text("backup cluster vault: append only changed")
    entry = await world.store.get(keys.backup_cluster("vault"))
    assert entry is not None and codec.decode(entry.value, BackupCluster).append_only
    await person.press("Delete…")
    await expect(dialog).to_contain_text("What was backed up stays in s3:https://objects.example.lan/bucket")
    await person.fill(typed="vault")
    await person.confirm("Delete backup cluster")
    await expect(page.get_by_test_id("empty")).to_be_visible()


async def test_placement_rules(person: Person) -> None:
    page, dialog = person.page, person.dialog
    await person.go("rules", "Placement rules")
    await page.get_by_test_id("empty").get_by_role("button", name="New rule").click()
    await person.choose("instances", "nfs/home")
    await person.fill(name="apart")
    await person.refused("Create rule", "instances", "Choose two at least")
    await person.choose("instances", "nfs/home", "nfs/media")
    await person.fine()
    await person.confirm("Create rule")
    await expect(person.row("apart")).to_contain_text("nfs/home and nfs/media must not share a node")
    await person.press("New rule")
    await person.choose("kind", "affinity")
    await person.choose("instances", "nfs/home", "nfs/media")
    await person.fill(name="together")
    await person.wrong("instances", "cannot be kept")
    await dialog.get_by_role("button", name="Cancel").click()
    await dialog.get_by_role("button", name="Discard").click()
    await person.press("Delete… apart")
    await person.confirm("Delete rule")
    await expect(page.get_by_test_id("empty")).to_be_visible()


async def test_the_admin_panel(person: Person) -> None:
    page, world = person.page, person.world
    await person.go("panel", "Admin panel")
    await expect(page.locator(".facts-list")).to_contain_text("10.77.0.100")
    await person.press("Change…")
    await person.choose("nodes", "n1", "n2")
    await person.refused("Save", "nodes", "Choose 3 or 5")
    await person.choose("nodes", "n1", "n2", "n4")
    await person.fill(virtual_ip="10.99.0.1")
    await person.wrong("virtual_ip", "10.99.0.1")
    await person.fill(virtual_ip="10.77.0.110")
    await person.dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(person.dialog).to_be_hidden()
    await expect(page.locator("table[aria-label='Members of the store']")).to_contain_text("Being added")
    await expect(page.locator("table[aria-label='Members of the store']")).to_contain_text("Being removed")
    await world.settle()
    await expect(page.locator("table[aria-label='Members of the store']")).not_to_contain_text("Being")
    await person.press("Disable…")
    await person.fill(typed="one node")
    await person.confirm("Disable")
    await expect(page.get_by_test_id("ha")).to_contain_text("While it is down nothing is recovered")
    await person.press("Enable high availability")
    await person.choose("nodes", "n1", "n2", "n3")
    await person.fill(virtual_ip="10.77.0.100")
    await person.confirm("Enable")
    await expect(page.get_by_test_id("ha")).to_contain_text("Highly available")
    entry = await world.store.get(keys.MANAGEMENT)
    assert entry is not None and codec.decode(entry.value, ManagementSpec).virtual_ip == "10.77.0.100"
    assert person.visitor.faults == []
