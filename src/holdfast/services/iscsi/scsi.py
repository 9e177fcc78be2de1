"""SCSI commands as bytes, and what comes back as values (SPC-4, SBC-3). No I/O.

Only what a client of a disk needs here: who is it, how large, is it ready, read, write, which path is active, reservations.
"""

import enum
import struct
from dataclasses import dataclass

from holdfast.errors import DriverError


class Direction(enum.IntEnum):
    """Which way a command's data goes; the numbers are libiscsi's (enum scsi_xfer_dir)."""

    NONE = 0
    FROM_TARGET = 1
    TO_TARGET = 2


@dataclass(frozen=True, slots=True)
class Command:
    """A command descriptor block with what it sends, or how many bytes it may be answered with."""

    name: str
    cdb: bytes
    expects: int = 0
    data: bytes = b""

    @property
    def direction(self) -> Direction:
        if self.data:
            return Direction.TO_TARGET
        return Direction.FROM_TARGET if self.expects else Direction.NONE


class SenseKey(enum.IntEnum):
    """The few that a caller tells apart (SPC-4, table 56)."""

    NOT_READY = 2
    ILLEGAL_REQUEST = 5
    UNIT_ATTENTION = 6
    ABORTED_COMMAND = 0xB


STATUS_GOOD = 0x00
STATUS_CHECK_CONDITION = 0x02
STATUS_BUSY = 0x08
STATUS_RESERVATION_CONFLICT = 0x18
STATUS_TASK_SET_FULL = 0x28
STATUS_TASK_ABORTED = 0x40
_STATUS_NAMES = {
    STATUS_CHECK_CONDITION: "check condition",
    STATUS_BUSY: "busy",
    STATUS_RESERVATION_CONFLICT: "reservation conflict",
    STATUS_TASK_SET_FULL: "task set full",
    STATUS_TASK_ABORTED: "task aborted",
}
_TRANSITION = (0x04, 0x0A)
_LUN_NOT_SUPPORTED = 0x25


class ScsiError(DriverError):
    """The target answered a command with an error: it did not do what was asked."""

    def __init__(self, where: str, command: str, status: int, key: int = 0, asc: int = 0, ascq: int = 0) -> None:
        self.status, self.key, self.asc, self.ascq = status, key, asc, ascq
        what = _STATUS_NAMES.get(status, f"status {status:#04x}")
        if status == STATUS_CHECK_CONDITION:
            what = f"sense {key:x}/{asc:02x}/{ascq:02x}"
        super().__init__(f"{command} on {where} was answered with {what}", "SPC-4, annex F says what the numbers mean.")

    @property
    def unit_attention(self) -> bool:
        """Something happened to the unit (reset, new path states); the command was not executed and may be sent again."""
        return self.key == SenseKey.UNIT_ATTENTION

    @property
    def not_this_path(self) -> bool:
        """Another path may serve, as Linux judges it: this one is not ready (standby, unavailable, without medium), or the
        unit is not behind it."""
        not_ready = self.key == SenseKey.NOT_READY and not self._in_transition
        return not_ready or (self.key == SenseKey.ILLEGAL_REQUEST and self.asc == _LUN_NOT_SUPPORTED)

    @property
    def try_again(self) -> bool:
        """The same path may serve in a moment: it is changing its state, had no room, or gave the command up."""
        busy = self.status in (STATUS_BUSY, STATUS_TASK_SET_FULL, STATUS_TASK_ABORTED)
        return busy or self._in_transition or self.key == SenseKey.ABORTED_COMMAND

    @property
    def _in_transition(self) -> bool:
        return self.key == SenseKey.NOT_READY and (self.asc, self.ascq) == _TRANSITION


class BadAnswer(DriverError):
    """The target's answer does not have the form the standard gives it."""


# --- who is it, how large, is it ready --------------------------------------------------------------------------------

VPD_SERIAL, VPD_IDENTIFICATION = 0x80, 0x83
NO_DEVICE = 0x1F
"""Device type of a number behind which there is no unit."""


def test_unit_ready() -> Command:
    return Command("TEST UNIT READY", bytes(6))


def inquiry(page: int | None = None, length: int = 1024) -> Command:
    """The standard data, or a page of vital product data."""
    return Command("INQUIRY", struct.pack(">BBBHB", 0x12, page is not None, page or 0, length, 0), expects=length)


def read_capacity() -> Command:
    return Command("READ CAPACITY(16)", struct.pack(">BBQIBB", 0x9E, 0x10, 0, 32, 0, 0), expects=32)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Standard INQUIRY data, as far as it matters."""

    vendor: str
    product: str
    device_type: int
    """0: a disk. 31: there is no unit of that number."""
    tpgs: int
    """Access states by target port group: 0 none, 1 implicit, 2 explicit, 3 both."""


def parse_inquiry(data: bytes) -> Inquiry:
    _at_least(data, 36, "INQUIRY")
    return Inquiry(
        vendor=data[8:16].decode("ascii", "replace").strip(),
        product=data[16:32].decode("ascii", "replace").strip(),
        device_type=data[0] & 0x1F,
        tpgs=data[5] >> 4 & 3,
    )


def parse_serial(data: bytes) -> str:
    """Of VPD page 80h."""
    _page(data, VPD_SERIAL)
    return data[4 : 4 + int.from_bytes(data[2:4])].decode("ascii", "replace").strip()


@dataclass(frozen=True, slots=True)
class Identification:
    """Of VPD page 83h: what the unit is called, and through which port it was asked."""

    wwid: str
    """As in multipath's tools: the designator's type, then its hexadecimal digits (`3…` for NAA) or its text."""
    port_group: int | None
    """Target port group of the port the question came through."""


_T10, _EUI, _NAA, _PORT_GROUP, _NAME = 1, 2, 3, 5, 8
_PREFERENCE = (_NAA, _EUI, _NAME, _T10)


def parse_identification(data: bytes) -> Identification:
    """Prefers what Linux prefers: the longest NAA name (a short one may be made up from the LUN's number), then EUI-64,
    then a name, then the vendor's own. Raises BadAnswer without any."""
    _page(data, VPD_IDENTIFICATION)
    names: list[tuple[int, int, str]] = []
    group = None
    at, end = 4, min(len(data), 4 + int.from_bytes(data[2:4]))
    while at + 4 <= end:
        binary, kind, length = data[at] & 0x0F == 1, data[at + 1] & 0x0F, data[at + 3]
        of_port = data[at + 1] >> 4 & 3 == 1
        value = data[at + 4 : at + 4 + length]
        if kind == _PORT_GROUP and of_port and len(value) == 4:
            group = int.from_bytes(value[2:])
        elif kind in _PREFERENCE and not of_port and any(value):
            text = value.hex() if binary else value.decode("utf-8", "replace").strip("\0 ")
            names.append((_PREFERENCE.index(kind), -length, f"{kind}{text}"))
        at += 4 + length
    if not names:
        raise BadAnswer("The unit does not say who it is (VPD page 83h names nothing)", "Give it a serial number.")
    return Identification(min(names)[2], group)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Blocks, and bytes of each."""

    blocks: int
    block_bytes: int


def parse_capacity(data: bytes) -> Capacity:
    _at_least(data, 12, "READ CAPACITY(16)")
    last, size = struct.unpack_from(">QI", data)
    return Capacity(last + 1, size)


@dataclass(frozen=True, slots=True)
class Caching:
    """How a write becomes one that survives a power loss."""

    write_back: bool
    """Writes are acknowledged before they are on the medium (WCE)."""
    fua: bool
    """A single command may ask to be on the medium when it is acknowledged (DPOFUA)."""


_CACHING_PAGE = 0x08


def sense_caching() -> Command:
    return Command("MODE SENSE(6)", struct.pack(">BBBBBB", 0x1A, 0x08, _CACHING_PAGE, 0, 192, 0), expects=192)


def parse_caching(data: bytes) -> Caching:
    _at_least(data, 4, "MODE SENSE(6)")
    page = data[4 + data[3] :]
    if len(page) < 3 or page[0] & 0x3F != _CACHING_PAGE:
        return Caching(write_back=True, fua=bool(data[2] & 0x10))
    return Caching(write_back=bool(page[2] & 0x04), fua=bool(data[2] & 0x10))


# --- read and write -----------------------------------------------------------------------------------------------------

_FUA = 0x08


def read(lba: int, blocks: int, block_bytes: int, *, fua: bool = False) -> Command:
    """FUA: from the medium, not from a cache that may be older."""
    cdb = struct.pack(">BBQIBB", 0x88, _FUA if fua else 0, lba, blocks, 0, 0)
    return Command("READ(16)", cdb, expects=blocks * block_bytes)


def write(lba: int, data: bytes, block_bytes: int, *, fua: bool = False) -> Command:
    """FUA: acknowledged only when it is on the medium. `data` is a whole number of blocks, at least one."""
    blocks, rest = divmod(len(data), block_bytes)
    assert blocks and not rest, f"{len(data)} bytes are no whole number of blocks of {block_bytes}"
    cdb = struct.pack(">BBQIBB", 0x8A, _FUA if fua else 0, lba, blocks, 0, 0)
    return Command("WRITE(16)", cdb, data=data)


def synchronize_cache() -> Command:
    """All that was acknowledged goes to the medium."""
    return Command("SYNCHRONIZE CACHE(16)", struct.pack(">BBQIBB", 0x91, 0, 0, 0, 0, 0))


# --- access states of paths ---------------------------------------------------------------------------------------------


class Access(enum.IntEnum):
    """Asymmetric access state of a target port group (SPC-4, table 167)."""

    OPTIMIZED = 0x0
    NON_OPTIMIZED = 0x1
    STANDBY = 0x2
    UNAVAILABLE = 0x3
    LBA_DEPENDENT = 0x4
    OFFLINE = 0xE
    TRANSITIONING = 0xF

    @property
    def serves(self) -> bool:
        return self in (Access.OPTIMIZED, Access.NON_OPTIMIZED)


def report_target_port_groups(length: int = 1024) -> Command:
    return Command("REPORT TARGET PORT GROUPS", struct.pack(">BB4xIBB", 0xA3, 0x0A, length, 0, 0), expects=length)


def parse_target_port_groups(data: bytes) -> dict[int, Access]:
    """Access state of each group."""
    _at_least(data, 4, "REPORT TARGET PORT GROUPS")
    groups: dict[int, Access] = {}
    at, end = 4, min(len(data), 4 + int.from_bytes(data[:4]))
    while at + 8 <= end:
        state = data[at] & 0x0F
        known = state in Access.__members__.values()
        groups[int.from_bytes(data[at + 2 : at + 4])] = Access(state) if known else Access.UNAVAILABLE
        at += 8 + 4 * data[at + 7]
    return groups


# --- persistent reservations --------------------------------------------------------------------------------------------


class Reserve(enum.IntEnum):
    """Service actions of PERSISTENT RESERVE OUT (SPC-4, table 207)."""

    REGISTER = 0
    RESERVE = 1
    RELEASE = 2
    CLEAR = 3
    PREEMPT = 4
    PREEMPT_AND_ABORT = 5
    REGISTER_AND_IGNORE = 6


class ReservationType(enum.IntEnum):
    NONE = 0
    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS = 5
    EXCLUSIVE_ACCESS_REGISTRANTS = 6


_READ_KEYS, _READ_RESERVATION = 0, 1


def read_reservation_keys() -> Command:
    return _reserve_in(_READ_KEYS)


def read_reservation() -> Command:
    return _reserve_in(_READ_RESERVATION)


def _reserve_in(action: int, length: int = 4096) -> Command:
    return Command("PERSISTENT RESERVE IN", struct.pack(">BB5xHB", 0x5E, action, length, 0), expects=length)


def reserve_out(
    action: Reserve, *, key: int = 0, new_key: int = 0, kind: ReservationType = ReservationType.NONE
) -> Command:
    """`key`: ours as it is registered. `new_key`: the one to register, or the victim's of a preemption."""
    parameters = struct.pack(">QQ8x", key, new_key)
    cdb = struct.pack(">BBB2xIB", 0x5F, action, kind, len(parameters), 0)
    return Command("PERSISTENT RESERVE OUT", cdb, data=parameters)


def parse_reservation_keys(data: bytes) -> list[int]:
    _at_least(data, 8, "PERSISTENT RESERVE IN")
    length = min(int.from_bytes(data[4:8]), len(data) - 8)
    return [int.from_bytes(data[at : at + 8]) for at in range(8, 8 + length - length % 8, 8)]


@dataclass(frozen=True, slots=True)
class Reservation:
    key: int
    kind: int


def parse_reservation(data: bytes) -> Reservation | None:
    """None: nobody has reserved it."""
    _at_least(data, 8, "PERSISTENT RESERVE IN")
    if int.from_bytes(data[4:8]) == 0:
        return None
    _at_least(data, 22, "PERSISTENT RESERVE IN")
    return Reservation(int.from_bytes(data[8:16]), data[21] & 0x0F)


def _at_least(data: bytes, length: int, what: str) -> None:
    if len(data) < length:
        raise BadAnswer(f"The answer to {what} has {len(data)} bytes, at least {length} were expected")


def _page(data: bytes, page: int) -> None:
    _at_least(data, 4, f"INQUIRY of page {page:02x}h")
    if data[1] != page:
        raise BadAnswer(f"INQUIRY was answered with page {data[1]:02x}h, asked was {page:02x}h")
