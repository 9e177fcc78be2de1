"""What the XML of an imported domain may hold beside what is replaced by ours. Pure.

QEMU runs as root (files.py), and libvirt's XML can give a guest any file, device or socket of its host: a directory shared
with it, the API's own socket as a serial port, options for QEMU's command line. Who may import machines is no root on the
nodes because of that. So of a domain that somebody else than root imports each element is known here, and nothing in it is
a path. Format: https://libvirt.org/formatdomain.html.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from holdfast.errors import InvalidInput

MAX_DEPTH = 20
"""Elements within one another; libvirt's format has about ten."""

OURS = ("emulator", "disk", "interface", "serial", "console")
"""Devices that are replaced by ours."""

_TOP = {
    "name", "uuid", "genid", "title", "description", "metadata", "memory", "currentMemory", "maxMemory", "vcpu", "vcpus",
    "iothreads", "cputune", "memtune", "numatune", "memoryBacking", "resource", "sysinfo", "os", "features", "cpu", "clock",
    "pm", "on_poweroff", "on_reboot", "on_crash", "devices",
}  # fmt: skip
_OS = {"type", "boot", "bootmenu", "smbios", "bios", "firmware", "loader", "kernel", "initrd", "cmdline"}
_DEVICES = {
    "controller", "input", "graphics", "video", "sound", "audio", "watchdog", "memballoon", "rng", "panic", "hub", "channel",
    "redirdev", "vsock", "iommu",
}  # fmt: skip
_TYPES = {
    "input": ("mouse", "tablet", "keyboard"),
    "graphics": ("vnc", "spice"),
    "audio": ("none", "spice"),
    "channel": ("unix", "spicevmc"),
    "redirdev": ("spicevmc",),
}
"""Device → what its attribute `type` may say."""
_PLACES = {"path", "file", "socket", "dir"}
"""Attributes that name a file even where the name has no slash."""
_FREE = {"title", "description", "metadata", "clock", "kernel", "initrd", "cmdline"}
"""Elements whose text is no path for QEMU, or is looked at elsewhere (`kernel`, `initrd`)."""
_RANDOM = ("/dev/random", "/dev/urandom")
_FIRMWARE = "/usr/share/"


def check_depth(root: ET.Element) -> None:
    """Raises InvalidInput for what only somebody's program has made: whoever goes through it would fail."""
    rest = [(root, 1)]
    while rest:
        element, depth = rest.pop()
        if depth > MAX_DEPTH:
            raise InvalidInput("the domain's XML is nested too deeply", "Export it with `virsh dumpxml --inactive`.")
        rest += [(child, depth + 1) for child in element]


def check_contained(root: ET.Element) -> None:
    """Raises InvalidInput if anything in it could reach beyond the guest."""
    for what in _reaching_out(root):
        raise InvalidInput(
            f"the domain's XML has {what}, which may reach beyond the guest",
            "Take it out (virsh edit), or have root import it on a management node.",
        )


def drop_labels(root: ET.Element) -> None:
    """Take out what libvirt writes anew for each start: where it lies on the former host says nothing here."""
    for label in root.findall("seclabel"):
        root.remove(label)
    for source in root.findall("devices/channel[@type='unix']"):
        for place in source.findall("source"):
            source.remove(place)


def _reaching_out(root: ET.Element) -> Iterator[str]:
    tags = [element.tag for element in root]
    yield from (f"<{tag}>" for tag in tags if tag not in _TOP)
    yield from (f"more than one <{tag}>" for tag in sorted(set(tags)) if tags.count(tag) > 1)
    yield from (f"<{element.tag}> in <os>" for element in root.findall("os/*") if element.tag not in _OS)
    for device in root.findall("devices/*"):
        if device.tag in OURS:
            continue
        if device.tag not in _DEVICES:
            yield f"the device <{device.tag}>"
        elif device.tag in _TYPES and device.get("type") not in _TYPES[device.tag]:
            yield f"a <{device.tag}> of the type {device.get('type')!r}"
        else:
            yield from _paths(device)
    for element in root:
        if element.tag not in _FREE and element.tag != "devices":
            yield from _paths(element)


def _paths(top: ET.Element) -> Iterator[str]:
    """Values that could be paths, of an element and of what is in it."""
    for element in top.iter():
        if element.tag in _FREE:
            continue
        for value in (element.text or "", *element.attrib.values()):
            text = value.strip()
            if "/" in text and not _harmless(element.tag, text):
                yield f"the path `{text[:100]}` in <{element.tag}>"
        yield from (f"`{name}` in <{element.tag}>" for name in sorted(_PLACES & set(element.attrib)))


def _harmless(tag: str, text: str) -> bool:
    return (tag == "backend" and text in _RANDOM) or (
        tag == "loader" and text.startswith(_FIRMWARE) and ".." not in text.split("/")
    )
