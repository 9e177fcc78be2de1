"""Machines and volumes through the panel's forms: created, looked at, changed, deleted; wrong input, refusals."""

import pytest
from kinds_person import Person
from playwright.async_api import expect

from holdfast.core.policy import ComputeSpec
from holdfast.services.iscsi.config import TargetGroup, VolumeRecord
from holdfast.services.nfs import config as nfs
from holdfast.store import codec, keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


GOOD: dict[str, list[str]] = {
    "ip": ["10.78.0.1", "fd78::1", "::1", "fd00:1:2:3:4:5:6:7", "::ffff:10.0.0.1"],
    "range": ["10.78.0.1", "10.78.0.1-10.78.0.9", "fd78::1-fd78::9"],
    "endpoint": ["10.0.0.1:53", "[fd00::1]:53", "fd00::1"],
    "prefix": ["10.0.0.0/8", "fd78::/64", "192.0.2.53"],
    "domain": ["s3.example.lan", "example.lan."],
    "name": ["vol1", "a", "web-1"],
    "size": ["100GiB", "1.5T", "500 MB"],
    "diskSize": ["1GiB", "512"],
    "initiator": ["iqn.2026-01.com.example:client1", "eui.02004567A425678D"],
    "chapSecret": ["correct.horse.12"],
}
BAD: dict[str, list[str]] = {
    "ip": ["10.78.0", "10.78.0.256", "010.1.1.1", "fd78", "fd78:::1", "1::2::3", "fd78::12345"],
    "range": ["10.78.0.1-", "a-b", "10.78.0.1-2-3"],
    "endpoint": ["10.0.0.1:99999", "host:53"],
    "prefix": ["10.0.0.0/33", "10.0.0.0/8/9", "*"],
    "domain": ["lan", "a..b", "-a.b"],
    "name": ["-a", "Web", "a_b", "a" * 64],
    "size": ["huge", "0", "1XiB"],
    "diskSize": ["1000"],
    "initiator": ["client one", "iqn.2026-13.com.example:c"],
    "chapSecret": ["short", "has spaces in it"],
}


async def test_what_is_checked_while_typing(person: Person) -> None:
    page = person.page
    script = await page.locator("script[type=module]").get_attribute("src") or ""
    found = await page.evaluate(
        """async ([url, cases]) => {
            const checks = await import(url);
            return cases.map(([check, text]) => [check, text, checks[check](text) === ""]);
        }""",
        [
            script.replace("app.js", "form/checks.js"),
            [[check, text] for cases in (GOOD, BAD) for check, texts in cases.items() for text in texts],
        ],
    )
    assert [case for case in found if case[2] is not (case[1] in GOOD[case[0]])] == []


async def test_virtual_machines(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("vm", "Virtual machines")
    await expect(page.get_by_test_id("empty")).to_contain_text("No compute cluster yet")
    await person.press("Create the compute cluster")
    await person.fill(tolerate="9")
    await person.wrong("tolerate", "4 nodes cannot survive")
    await person.fill(tolerate="1")
    await expect(person.effect).to_contain_text("Afterwards the cluster survives the failure of any one node")
    await person.confirm("Create")
    entry = await world.store.get(keys.COMPUTE)
    assert entry is not None and codec.decode(entry.value, ComputeSpec).tolerate == 1

    await person.press("New machine")
    await expect(dialog).to_contain_text("If its node fails, it is started on another node")
    await person.fill(name="Web 1", memory="lots")
    await person.wrong("name", "Use small letters")
    await person.wrong("memory", "Write it like 2GiB")
    await person.fill(name="web-1", memory="4GiB", images_copy=f"{world.root}/images/nothing.qcow2")
    await person.wrong("images_copy", "is no file")
    await person.choose("disk", "new")
    await person.fill(sizes="20GiB")
    await person.choose("networks", "public")
    await expect(person.effect).to_contain_text("survives the failure of any one node")
    await person.confirm("Create machine")
    await expect(page.locator("h1")).to_have_text("web-1")
    await expect(page.get_by_test_id("ha")).to_contain_text("Highly available")
    await expect(page.locator(".facts-list")).to_contain_text("4 GiB")
    await expect(page.get_by_test_id("explain")).to_be_visible()
    spec = await world.spec("vm/web-1")
    assert (spec.memory_mib, spec.config["networks"][0]["bridge"]) == (4096, "br0")

    await person.press("Change…")
    await expect(dialog).to_contain_text("stop it to change them")
    await person.fill(priority="2000")
    await person.refused("Save", "priority", "Choose 0 to 1000")
    await person.fill(priority="900")
    await person.confirm("Save")
    await expect(page.locator(".facts-list")).to_contain_text("900")
    said = page.locator(".toast div", has_text="priority 900")
    await expect(said).to_have_text("Virtual machine web-1: priority 900")  # what was left as it is is not sent
    assert (await world.spec("vm/web-1")).cpu == 1.0


async def test_admission_refuses_and_can_be_overruled(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    for node in ("n1", "n2", "n3"):
        await world.machine(f"big-{node}", node, 20)
    await person.go("vm", "Virtual machines")
    await person.press("New machine")
    await person.choose("disk", "new")
    await person.fill(name="one-more", memory="20GiB", sizes="10GiB")
    await expect(person.effect).to_contain_text("Refused: it would break the guarantee")
    await expect(person.effect.locator(".lacking")).to_contain_text("Worst failure")
    await expect(person.effect.locator(".lacking")).to_contain_text("vm/")
    await dialog.get_by_role("button", name="Create machine").click()
    await expect(person.effect).to_contain_text("Refused")
    assert await world.store.get(keys.instance("vm/one-more")) is None
    await person.effect.get_by_role("checkbox").check()
    await person.confirm("Create machine")
    await expect(page.locator("#toasts")).to_contain_text("Done by force")
    await person.press("Delete…")
    await person.fill(typed="one-mor")
    await person.refused("Delete machine", "typed", "Type exactly one-more")
    await person.fill(typed="one-more")
    await dialog.get_by_label("Delete its disks too").check()
    assert f"{world.root}/vm/one-more/disk0.qcow2" in world.images.files
    await person.confirm("Delete machine")
    await expect(person.row("one-more")).to_have_count(0)
    await person.go("tasks", "Tasks")
    deleting = page.get_by_role("row", name="virtual machine one-more is being deleted, and then its disks")
    await expect(deleting).to_contain_text("Done")
    assert f"{world.root}/vm/one-more/disk0.qcow2" not in world.images.files


async def test_nfs_volumes(person: Person) -> None:
    page, world = person.page, person.world
    await person.go("nfs", "NFS volumes")
    await expect(person.row("home")).to_contain_text("10.78.0.101")
    await person.press("New NFS volume")
    await person.fill(name="home")
    await person.wrong("name", "There is a volume `home` already".replace("`", ""))
    await person.fill(name="backups", size="huge", access="10.78.0.0/24,rx")
    await person.wrong("size", "Write it like 100GiB")
    await person.wrong("access", "rx is not known")
    await person.fill(size="", access="10.78.0.0/24,rw", address="10.78.0.103")
    await person.wrong("address", "already used by nfs/media")
    await person.fill(address="10.78.0.66")
    await person.wrong("address", "is answered on the network")
    await person.fill(address="")
    await person.fine()
    await person.confirm("Create volume")
    await expect(page.locator("h1")).to_have_text("backups")
    await expect(page.locator(".copy-box").first).to_contain_text(
        "mount -t nfs -o vers=4.2,hard,proto=tcp 10.78.0.105:/backups /mnt"
    )
    await person.press("Access…")
    await person.fill(access="10.78.0.0/24,ro,all_squash\n*,none")
    await person.confirm("Save rules")
    await expect(page.locator(".facts-list")).to_contain_text("10.78.0.0/24,ro,all_squash")
    rules = nfs.from_instance(await world.spec("nfs/backups")).access
    assert [rule.access for rule in rules] == ["ro", "none"]
    await person.press("Delete…")
    await expect(person.dialog).to_contain_text("The files stay")
    await person.fill(typed="backups")
    await person.confirm("Delete volume")
    await expect(person.row("backups")).to_have_count(0)
    assert await world.store.get(keys.instance("nfs/backups")) is None


async def test_iscsi(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await person.go("iscsi", "iSCSI volumes")
    await expect(page.get_by_test_id("empty")).to_contain_text("No target group yet")
    await page.get_by_test_id("empty").get_by_role("button", name="New target group").click()
    await person.choose("nodes", "n1")
    await person.fill(name="disks", initiators="client one")
    await person.wrong("initiators", "Write client one like iqn")
    await person.refused("Create target group", "nodes", "Choose at least 2")
    await person.choose("nodes", "n1", "n2", "n3")
    await person.fill(initiators="iqn.2026-01.com.example:client1")
    await person.confirm("Create target group")
    await expect(page.locator("h1")).to_have_text("disks")
    await expect(page.locator(".copy-boxes")).to_contain_text("iscsiadm --mode node --targetname")

    await person.press("CHAP…")
    await person.choose("ask", "on")
    await person.fill(user="client", secret="short")
    await person.wrong("secret", "12 to 64 characters")
    await person.fill(secret="correct.horse.12")
    await person.confirm("Save")
    await expect(page.locator(".facts-list")).to_contain_text("initiators prove to be client")
    assert "correct.horse.12" not in await page.content()

    await person.go("iscsi", "iSCSI volumes")
    await person.press("New volume")
    await person.fill(name="vol1", size="1000")
    await person.wrong("size", "multiple of 512")
    await person.fill(size="1MiB")
    await person.confirm("Create volume")
    await expect(page.get_by_test_id("ha")).to_contain_text("attached to no target group")
    await person.press("Attach…")
    await person.fill(lun="900")
    await person.refused("Attach", "lun", "Choose 1 to 255")
    await person.fill(lun="")
    await person.confirm("Attach")
    await expect(page.locator(".facts-list")).to_contain_text("LUN")
    await expect(page.get_by_test_id("explain")).to_be_visible()
    await person.press("Resize…")
    await person.fill(size="512KiB")
    await person.refused("Resize", "size", "would be made smaller under its clients")
    await person.fill(size="2MiB")
    await person.confirm("Resize")
    await expect(page.locator(".facts-list")).to_contain_text("2 MiB")
    entry = await world.store.get(keys.iscsi_volume("vol1"))
    assert entry is not None and codec.decode(entry.value, VolumeRecord).size_bytes == 2 << 20
    await person.press("Detach…")
    await person.confirm("Detach")
    await person.press("Delete…")
    await expect(dialog).to_contain_text("All its data, for ever: 2 MiB")
    await person.fill(typed="vol1")
    await person.confirm("Delete volume")
    await person.row("disks").get_by_role("button", name="Delete… disks").click()
    await person.fill(typed="disks")
    await person.confirm("Delete target group")
    await expect(page.get_by_test_id("empty")).to_be_visible()
    assert [codec.decode(e.value, TargetGroup) for e in (await world.store.list(keys.ISCSI_GROUPS)).entries] == []
