"""A machine as libvirt's XML, and back: holdfast.services.vm.domain and config."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.errors import InvalidInput
from holdfast.services.vm.config import (
    HEARTBEAT_PORT,
    Disk,
    Nic,
    VmConfig,
    from_instance,
    instance_spec,
    new_config,
    new_mac,
    new_uuid,
)
from holdfast.services.vm.domain import domain_xml, import_domain
from holdfast.services.vm.files import EMULATOR

IMPORTED = """
<domain type='kvm'>
  <name>web-1</name><uuid>5540c61a-e7f0-5d5a-a8b3-59aca7cd0050</uuid>
  <title>the shop</title>
  <memory unit='KiB'>2097152</memory><vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/></os>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='writeback'/><source file='/shared/vm/web-1/a.qcow2'/>
      <target dev='sda' bus='sata'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
    <interface type='bridge'><mac address='52:54:00:AA:BB:CC'/><source bridge='br0'/></interface>
    <video><model type='virtio'/></video>
  </devices>
</domain>
"""


def machine(**more: object) -> InstanceSpec:
    config = new_config("c1", "a", [Disk("/shared/vm/a/a.raw", "raw"), Disk("/shared/vm/a/b.qcow2")], ["br-public"])
    return instance_spec("a", replace(config, **more), cpu=1.5, memory_mib=512)  # type: ignore[arg-type]


def parsed(instance: InstanceSpec, *, kvm: bool = False) -> ET.Element:
    return ET.fromstring(domain_xml(instance, from_instance(instance), kvm=kvm))


def test_the_instance_is_what_the_planner_and_the_protocol_need() -> None:
    made = machine()
    assert (made.id, made.kind, made.exclusivity, made.role) == ("vm/a", "vm", Exclusivity.STRICT, Role.COMPUTE)
    assert (made.cpu, made.memory_mib, made.address) == (1.5, 512, None)
    assert instance_spec("a", from_instance(made), cpu=1.5, memory_mib=512) == made


def test_an_identity_is_stable_and_its_own() -> None:
    assert new_uuid("c1", "a") == new_uuid("c1", "a") != new_uuid("c1", "b") != new_uuid("c2", "b")
    mac = new_mac(new_uuid("c1", "a"), 0)
    assert mac.startswith("52:54:00:")
    assert mac == new_mac(new_uuid("c1", "a"), 0) != new_mac(new_uuid("c1", "a"), 1)


def test_a_new_machine() -> None:
    root = parsed(machine(heartbeat="port"))
    assert root.get("type") == "qemu"
    assert parsed(machine(), kvm=True).get("type") == "kvm"
    assert root.findtext("name") == "a"
    assert root.findtext("vcpu") == "2", "a part of a core is a core for the guest"
    assert (root.findtext("memory"), root.find("memory").get("unit")) == ("512", "MiB")  # type: ignore[union-attr]
    assert root.findtext("devices/emulator") == EMULATOR
    assert root.findtext("on_poweroff") == root.findtext("on_crash") == "destroy"
    disks = root.findall("devices/disk")
    assert [disk.find("target").get("dev") for disk in disks] == ["vda", "vdb"]  # type: ignore[union-attr]
    for disk in disks:
        driver = disk.find("driver")
        assert driver is not None
        assert (driver.get("cache"), driver.get("error_policy"), driver.get("rerror_policy")) == (
            "none",
            "stop",
            "stop",
        )
    assert [target.get("name") for target in root.findall("devices/channel/target")] == [HEARTBEAT_PORT]
    assert not parsed(machine()).findall("devices/channel")


def test_direct_boot() -> None:
    root = parsed(machine(kernel="/shared/k", initrd="/shared/i", cmdline="console=ttyS0 a=<b>"))
    assert [root.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")] == [
        "/shared/k",
        "/shared/i",
        "console=ttyS0 a=<b>",
    ]


def test_an_imported_domain_keeps_what_is_its_own() -> None:
    name, config, cpu, memory = import_domain(IMPORTED, on_hang="ignore")
    assert (name, cpu, memory, config.on_hang) == ("web-1", 2.0, 2048, "ignore")
    assert config.uuid == "5540c61a-e7f0-5d5a-a8b3-59aca7cd0050"
    assert config.disks == (Disk("/shared/vm/web-1/a.qcow2", "qcow2"),)
    assert config.networks == (Nic("br0", "52:54:00:aa:bb:cc"),)
    instance = instance_spec(name, config, cpu=cpu, memory_mib=memory)
    root = parsed(instance)
    assert root.get("type") == "kvm"
    assert root.findtext("title") == "the shop"
    assert root.find("os/type").get("machine") == "pc-q35-7.2"  # type: ignore[union-attr]
    assert root.find("devices/video") is not None
    assert root.findtext("devices/emulator") == EMULATOR
    assert root.findtext("on_crash") == "destroy"
    assert len(root.findall("devices/disk")) == len(root.findall("devices/interface")) == 1
    assert root.find("devices/disk/driver").get("cache") == "none"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "xml",
    [
        "no xml",
        "<network/>",
        "<domain type='xen'><name>a</name></domain>",
        "<!DOCTYPE domain [<!ENTITY a 'b'>]><domain type='kvm'/>",
        IMPORTED.replace("<name>web-1</name>", "<name>Web 1</name>"),
        IMPORTED.replace("file='/shared/vm/web-1/a.qcow2'", "dev='/dev/sdb'"),
        IMPORTED.replace("type='qcow2'", "type='vmdk'"),
        IMPORTED.replace("type='bridge'><mac", "type='network'><mac"),
        IMPORTED.replace("<memory unit='KiB'>2097152</memory>", ""),
    ],
)
def test_what_cannot_be_imported_is_refused_with_advice(xml: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        import_domain(xml)
    assert refused.value.advice


@pytest.mark.parametrize(
    "config",
    [
        VmConfig("not a uuid"),
        VmConfig(new_uuid("c", "a"), (Disk("relative"),)),
        VmConfig(new_uuid("c", "a"), (Disk("/shared/../etc/shadow"),)),
        VmConfig(new_uuid("c", "a"), (Disk("/a"), Disk("/a"))),
        VmConfig(new_uuid("c", "a"), initrd="/i"),
        VmConfig(new_uuid("c", "a"), networks=(Nic("br0", "zz"),)),
        VmConfig(new_uuid("c", "a"), networks=(Nic("a bridge", "52:54:00:00:00:01"),)),
        VmConfig(new_uuid("c", "a"), hang_s=1.0),
    ],
)
def test_settings_that_cannot_be(config: VmConfig) -> None:
    with pytest.raises(InvalidInput):
        instance_spec("a", config, cpu=1, memory_mib=64)


def test_settings_of_another_shape_are_named() -> None:
    with pytest.raises(InvalidInput, match="on_hang"):
        from_instance(replace(machine(), config={"uuid": new_uuid("c", "a"), "on_hang": "explode"}))
