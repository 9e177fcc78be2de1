"""The one form: what is typed is not lost, what is refused stands at its field; and forms that no other test uses."""

from dataclasses import replace

import pytest
from kinds_person import Person
from playwright.async_api import expect

from holdfast.bootstrap import pki
from holdfast.bootstrap.trust import first_trust
from holdfast.core.model import Exclusivity, FenceDeviceSpec, Role
from holdfast.core.policy import ComputeSpec
from holdfast.store import keys

pytestmark = pytest.mark.asyncio(loop_scope="session")

XML = """<domain type='kvm'><name>old</name><memory unit='GiB'>1</memory><vcpu>2</vcpu>
<os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{disk}'/><target dev='vda'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface></devices></domain>"""


async def test_what_was_typed_is_not_lost_by_a_slip(person: Person) -> None:
    page, dialog = person.page, person.dialog
    await person.go("nfs", "NFS volumes")
    await person.press("New NFS volume")
    await page.keyboard.press("Escape")  # nothing was typed
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("button", name="New NFS volume")).to_be_focused()
    await person.press("New NFS volume")
    await page.keyboard.type("photos")
    await page.keyboard.press("Escape")
    await expect(dialog).to_contain_text("not saved")
    await expect(dialog.get_by_role("button", name="Go on typing")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog.locator("#field-name")).to_be_focused()
    await expect(dialog.locator("#field-name")).to_have_value("photos")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()


async def test_the_focus_stays_in_the_form(person: Person) -> None:
    page, dialog = person.page, person.dialog
    await person.go("settings", "Settings")
    await person.press("Change… Dead nodes")
    for _ in range(8):
        await page.keyboard.press("Tab")
        inside = "() => document.activeElement === document.body || !!document.activeElement.closest('#dialog')"
        assert await page.evaluate(inside)
    await dialog.get_by_role("switch").press("Space")
    await page.keyboard.press("Enter")  # a form is sent by Enter
    await expect(dialog).to_be_hidden()
    await expect(page.locator(".settings")).to_contain_text("stay off")


async def test_a_machine_is_imported(person: Person) -> None:
    dialog, world = person.dialog, person.world
    await world.put(keys.COMPUTE, ComputeSpec(("n1", "n2", "n3", "n4"), tolerate=1))
    for number in range(1, 5):
        spec = await world.node_spec(f"n{number}")
        await world.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.COMPUTE)))
    await person.go("vm", "Virtual machines")
    await person.press("Import…")
    await person.fill(xml="<network/>")
    await person.wrong("xml", "virsh dumpxml")
    await person.fill(xml=XML.format(disk="/somewhere/else.qcow2"))
    await person.wrong("xml", "is no file below")  # by the server, at its field
    await person.fill(xml=XML.format(disk=f"{world.root}/images/debian.qcow2"))
    await person.fine()
    await expect(dialog.get_by_label("Start it at once")).not_to_be_checked()
    await person.confirm("Import")
    await expect(person.page.locator("h1")).to_have_text("old")
    made = await world.spec("vm/old")
    assert (made.cpu, made.memory_mib, made.exclusivity) == (2.0, 1024, Exclusivity.STRICT)
    await expect(person.page.locator("#toasts")).to_contain_text("undefine it there")


async def test_a_node_is_added_by_a_token_that_is_shown_once(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await world.put(keys.TRUST, first_trust(pki.create_authority("harbour")))
    await person.go("nodes", "Nodes")
    await person.press("Add node…")
    await person.fill(id="n1")
    await person.wrong("id", "There is a node n1 already")
    await person.fill(**{"id": "n5", "address-management": "10.77.0.300"})
    await person.wrong("address-management", "Write an address")
    await person.fill(**{"address-management": "10.99.0.15"})
    await person.refused("Add node", "address-management", "10.99.0.15")
    await person.fill(**{"address-management": "10.77.0.15", "failure_domain": "rack b"})
    await dialog.locator("#field-device_type").select_option("redfish")
    await person.refused("Add node", "url", "This is needed")
    await dialog.locator("#field-device_type").select_option("")
    await dialog.get_by_role("button", name="Add node", exact=True).click()
    command = dialog.get_by_label("Run this on n5", exact=True)
    await expect(command).to_contain_text("holdfast node join --token ")
    text = await command.inner_text()
    await page.keyboard.press("Escape")
    await expect(command).to_be_visible()  # not lost by a slip
    await dialog.get_by_role("button", name="Copy Run this on n5").click()
    await expect(dialog.get_by_role("button", name="Copy Run this on n5")).to_have_text("Copied")
    assert await page.evaluate("() => navigator.clipboard.readText()") == text
    await dialog.get_by_role("button", name="I have it").click()
    await expect(dialog).to_be_hidden()
    token = text.split()[-1]
    assert token not in await page.content() and not await world.holds(token)
    await expect(page.locator("tr[data-node-row='n5']")).to_contain_text("Never seen")


async def test_fence_devices_are_tested_set_and_removed(person: Person) -> None:
    page, dialog, world = person.page, person.dialog, person.world
    world.fences.states["https://10.79.0.1/"] = "on"
    broken = FenceDeviceSpec("bmc", "redfish", {"url": "https://10.79.0.2/"})
    await world.put(keys.node_spec("n2"), replace(await world.node_spec("n2"), fence_devices=(broken,)))
    await person.go("nodes/n1", "n1")
    await page.get_by_role("button", name="Test devices").click()
    await expect(page.locator(".device-result.tone-ok")).to_contain_text("on")
    await expect(page.locator(".proof-list")).to_contain_text("1 device of 1 answered as expected")
    await person.go("nodes/n2", "n2")
    await page.get_by_role("button", name="Test devices").click()
    await expect(page.locator(".device-result.tone-bad")).to_contain_text("does not answer")
    await expect(page.locator(".proof-list")).to_contain_text("0 devices of 1 answered as expected")

    await person.go("nodes/n4", "n4")
    await expect(page.get_by_role("button", name="Test devices")).to_have_count(0)
    await person.press("Add device…")
    await person.fill(url="https://10.79.0.104", username="root", password="very-secret-bmc", more="timeout 5")
    await person.wrong("more", "Write name=value in each line")
    await person.fill(more="timeout=5")
    await person.confirm("Set device")
    await expect(page.locator(".devices")).to_contain_text("bmc")
    found = (await world.node_spec("n4")).fence_devices
    assert [(device.name, device.type, device.options["timeout"]) for device in found] == [("bmc", "redfish", "5")]
    assert not await world.holds("very-secret-bmc")
    await person.press("Remove bmc")
    await expect(dialog).to_contain_text("n4 cannot be switched off any more when it fails")
    await person.confirm("Remove")
    await expect(page.locator(".proof-list")).to_contain_text("No device can switch it off")
    assert person.visitor.faults == []
