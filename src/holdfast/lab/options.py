"""What the person who starts a lab can choose."""

from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast.errors import InvalidInput

RESET_ACTIONS = ("reboot", "off")


@dataclass(frozen=True, slots=True)
class LabOptions:
    """One lab's options. They are kept in its state directory."""

    nodes: int = 4
    profile: str = "default"
    """Timing profile of the cluster that is brought up."""
    power_fencing: bool = True
    """Register each node's BMC as its fence device."""
    watchdog: bool = True
    """Nodes have /dev/watchdog."""
    ha: bool = True
    """Make management highly available on the first three nodes."""
    cluster: bool = True
    """Create the cluster; False leaves bare nodes without Holdfast."""
    password: str = ""
    """The admin password; generated if empty."""
    clock_offsets: dict[str, float] = field(default_factory=dict)
    """Node → seconds added to its CLOCK_BOOTTIME and CLOCK_MONOTONIC (whole seconds)."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Node → (cores, MiB of memory) that it believes to have; the others show the machine's own."""
    emulated: list[str] = field(default_factory=list)
    """Nodes that are machines of their own with Debian's kernel, under software emulation (see `emulated`). Storage only."""
    shared_disks: dict[str, int] = field(default_factory=dict)
    """Name → MiB of a block device that all emulated nodes see."""
    shared_mib: int = 0
    """The shared storage is a file system of its own of so many MiB, which can be full; 0: a directory of the machine's."""
    watchdog_reset: str = "reboot"
    """What a fired watchdog does after the reset: `reboot` the node, or leave it `off`."""
    reboot_delay_s: float = 2.0
    """Between a watchdog reset and the next boot: the time the firmware would take."""

    base: str = ""
    """Directory with the root of a Debian that has systemd: nodes are fresh machines of that kind, instead of this machine
    with the lab's own init. Goes with `cluster=False`."""
    panel_port: int = 0
    """Port on the machine's 127.0.0.1 that leads to the panel; 0: none."""

    def __post_init__(self) -> None:
        if self.watchdog_reset not in RESET_ACTIONS:
            raise InvalidInput(f"`{self.watchdog_reset}` is not a watchdog action", "Use " + " or ".join(RESET_ACTIONS))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse_clock_offset(text: str) -> tuple[str, float]:
    """`n2=+3600` → ("n2", 3600.0). Raises InvalidInput."""
    node, equals, seconds = text.partition("=")
    try:
        if not (node and equals):
            raise ValueError
        return node, float(int(seconds))
    except ValueError:
        raise InvalidInput(
            f"`{text}` is not a clock offset", "Write NODE=SECONDS, e.g. n2=+3600 (whole seconds)."
        ) from None


def parse_size(text: str) -> tuple[str, tuple[int, int]]:
    """`n1=4:4096` → ("n1", (4, 4096)). Raises InvalidInput."""
    node, _, size = text.partition("=")
    cores, _, memory = size.partition(":")
    try:
        amounts = int(cores), int(memory)
    except ValueError:
        amounts = 0, 0
    if not node or min(amounts) < 1:
        raise InvalidInput(f"`{text}` is not a node's size", "Write NODE=CORES:MIB, e.g. n1=4:4096.")
    return node, amounts
