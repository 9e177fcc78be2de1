"""A machine as libvirt's domain XML, and an existing domain's XML as a machine. Pure.

Format: https://libvirt.org/formatdomain.html. The XML is the same on every node (files.py says how), so that a live
migration needs no translation.
"""

import math
import uuid
import xml.etree.ElementTree as ET
from dataclasses import replace

from holdfast.core.model import InstanceSpec
from holdfast.errors import InvalidInput
from holdfast.services.vm.config import (
    AGENT_PORT,
    HEARTBEAT_PORT,
    Disk,
    Nic,
    VmConfig,
    check_name,
    new_mac,
)
from holdfast.services.vm.files import EMULATOR, beat_path, console_path
from holdfast.services.vm.imported import OURS, check_contained, check_depth, drop_labels

_LIMIT = 1 << 20
"""Bytes; a domain's XML has some thousand."""
_DIGITS = 5
"""Of a number of cores."""


def domain_xml(instance: InstanceSpec, config: VmConfig, *, kvm: bool) -> str:
    """What libvirt is told. Raises InvalidInput if an imported XML cannot be used."""
    root = _imported(config.xml) if config.xml else _new(kvm)
    _set(root, "name", instance.service)
    _set(root, "uuid", config.uuid)
    memory = str(instance.memory_mib)
    for tag in ("memory", "currentMemory"):
        _set(root, tag, memory, unit="MiB")
    vcpu = _set(root, "vcpu", str(max(1, math.ceil(instance.cpu))))
    vcpu.set("placement", "static")
    # A crash ends QEMU, so that what follows is decided in one place; a reboot by the guest itself stays inside QEMU.
    for tag, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _set(root, tag, action)
    _boot(root, config)
    devices = root.find("devices")
    if devices is None:
        devices = ET.SubElement(root, "devices")
    for tag in OURS:
        for element in devices.findall(tag):
            devices.remove(element)
    _devices(devices, instance.service, config)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _new(kvm: bool) -> ET.Element:
    root = ET.Element("domain", type="kvm" if kvm else "qemu")
    hvm = ET.SubElement(ET.SubElement(root, "os"), "type", arch="x86_64", machine="q35")
    hvm.text = "hvm"
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if not kvm:
        # Translated code; by itself QEMU would let it grow to a gigabyte.
        ET.SubElement(ET.SubElement(features, "tcg"), "tb-cache", unit="MiB").text = "64"
    # host-model names what this node's processor has, and a migration checks it; emulation has the same on every node.
    ET.SubElement(root, "cpu", {"mode": "host-model"} if kvm else {"mode": "maximum", "migratable": "on"})
    clock = ET.SubElement(root, "clock", offset="utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="hpet", present="no")
    devices = ET.SubElement(root, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="virtio")
    rng = ET.SubElement(devices, "rng", model="virtio")
    ET.SubElement(rng, "backend", model="random").text = "/dev/urandom"
    return root


def _boot(root: ET.Element, config: VmConfig) -> None:
    system = root.find("os")
    if system is None:
        raise InvalidInput("the domain's XML has no <os>", "Export it with `virsh dumpxml --inactive`.")
    for tag, value in (("kernel", config.kernel), ("initrd", config.initrd), ("cmdline", config.cmdline)):
        if value:
            _set(system, tag, value)
    if system.find("boot") is None and not config.kernel:
        ET.SubElement(system, "boot", dev="hd")


def _devices(devices: ET.Element, name: str, config: VmConfig) -> None:
    ET.SubElement(devices, "emulator").text = EMULATOR
    for index, disk in enumerate(config.disks):
        devices.append(_disk(index, disk))
    for nic in config.networks:
        interface = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(interface, "mac", address=nic.mac)
        ET.SubElement(interface, "source", bridge=nic.bridge)
        ET.SubElement(interface, "model", type="virtio")
        # No boot ROM: nothing boots from the network, and it costs memory and time.
        ET.SubElement(interface, "rom", enabled="no")
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=console_path(name), append="on")
    ET.SubElement(serial, "target", port="0")
    present = {target.get("name") for target in devices.findall("channel/target")}
    if config.heartbeat == "port" and HEARTBEAT_PORT not in present:
        _channel(devices, HEARTBEAT_PORT, beat_path(name))
    if AGENT_PORT not in present and config.heartbeat == "agent":
        _channel(devices, AGENT_PORT, "")


def _disk(index: int, disk: Disk) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    # Without the host's cache: what the guest was told is written is on the shared storage, and a migration finds it there.
    # On an error the machine stops instead of telling its guest: what follows is its owner's policy.
    policy = {"cache": "none", "io": "threads", "error_policy": "stop", "rerror_policy": "stop", "discard": "unmap"}
    ET.SubElement(element, "driver", {"name": "qemu", "type": disk.format, **policy})
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
    return element


def _channel(devices: ET.Element, name: str, path: str) -> None:
    channel = ET.SubElement(devices, "channel", type="unix")
    if path:
        ET.SubElement(channel, "source", mode="bind", path=path)
    ET.SubElement(channel, "target", type="virtio", name=name)


def _set(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = parent.find(tag)
    if element is None:
        element = ET.SubElement(parent, tag)
    element.clear()
    element.text = text
    element.attrib.update(attributes)
    return element


# --- import ------------------------------------------------------------------------------------------------------------


def import_domain(xml: str, *, contained: bool = False, **settings: str | float) -> tuple[str, VmConfig, float, int]:
    """Name, settings, cores and MiB of an existing domain (`virsh dumpxml --inactive`). `settings` are fields of VmConfig
    that the XML does not have (heartbeat, on_hang, …). `contained`: nothing in it may reach beyond the guest. Raises
    InvalidInput."""
    root = _imported(xml)
    _refuse_passwords(root)
    if contained:
        drop_labels(root)
        check_contained(root)
        xml = ET.tostring(root, encoding="unicode")
    name, identity = root.findtext("name", ""), root.findtext("uuid", "")
    check_name(name)
    if not identity:
        identity = str(uuid.uuid4())
    disks = tuple(_imported_disk(element) for element in root.findall("devices/disk") if _is_disk(element))
    nics = tuple(_imported_nic(index, identity, each) for index, each in enumerate(root.findall("devices/interface")))
    kernel, initrd, cmdline = (root.findtext(f"os/{tag}", "").strip() for tag in ("kernel", "initrd", "cmdline"))
    config = VmConfig(identity, disks, nics, kernel, initrd, cmdline, xml)
    config = replace(config, **settings)  # type: ignore[arg-type]  # names and values are the caller's, validated later
    return name, config, float(_cores(root)), _memory_mib(root)


def _cores(root: ET.Element) -> int:
    text = (root.findtext("vcpu") or "1").strip()
    if not text.isdecimal() or len(text) > _DIGITS:
        raise InvalidInput("the domain's XML does not say how many cores it has", "Correct <vcpu>.")
    return int(text)


def _imported(xml: str) -> ET.Element:
    # No document type: it could make a small text large, or read files.
    if len(xml) > _LIMIT or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InvalidInput("the domain's XML is too large or has a document type", "Export it with `virsh dumpxml`.")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - see above
    except ET.ParseError as error:
        raise InvalidInput(f"the domain's XML cannot be read: {error}", "Export it with `virsh dumpxml`.") from None
    if root.tag != "domain" or root.get("type") not in ("kvm", "qemu"):
        raise InvalidInput("this is not the XML of a QEMU domain", "Export it with `virsh dumpxml --inactive NAME`.")
    check_depth(root)
    return root


def _refuse_passwords(root: ET.Element) -> None:
    """The XML is shown, and kept as it is (`virsh dumpxml` leaves them out, too, unless it is asked for them)."""
    if any("passwd" in element.attrib for element in root.iter()):
        raise InvalidInput(
            "the domain's XML holds a password, which would be kept in clear",
            "Export it without: `virsh dumpxml --inactive`, without --security-info.",
        )


def _is_disk(element: ET.Element) -> bool:
    return element.get("device", "disk") == "disk"


def _imported_disk(element: ET.Element) -> Disk:
    source, driver = element.find("source"), element.find("driver")
    path = source.get("file", "") if source is not None else ""
    kind = driver.get("type", "raw") if driver is not None else "raw"
    if not path:
        raise InvalidInput(
            "the domain has a disk that is not a file", "Copy it to a file on the shared storage, and name that."
        )
    if kind == "qcow2":
        return Disk(path, "qcow2")
    if kind == "raw":
        return Disk(path, "raw")
    raise InvalidInput(f"the disk {path} has the format {kind}", "Convert it: qemu-img convert -O qcow2.")


def _imported_nic(index: int, identity: str, element: ET.Element) -> Nic:
    source, mac = element.find("source"), element.find("mac")
    bridge = source.get("bridge", "") if source is not None else ""
    if element.get("type") != "bridge" or not bridge:
        raise InvalidInput(
            f"network card {index} of the domain is not on a bridge",
            "Join it to a bridge that every node has, and export it again.",
        )
    return Nic(bridge, mac.get("address", "").lower() if mac is not None else new_mac(identity, index))


_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20}
_UNITS |= {"GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40, "TiB": 1 << 40}


def _memory_mib(root: ET.Element) -> int:
    element = root.find("memory")
    try:
        assert element is not None
        assert len(element.text or "") < _DIGITS * 4
        return math.ceil(int((element.text or "").strip()) * _UNITS[element.get("unit", "KiB")] / (1 << 20))
    except (AssertionError, KeyError, ValueError):
        raise InvalidInput("the domain's XML does not say how much memory it has", "Add <memory>.") from None
