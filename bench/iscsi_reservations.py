"""What a unit answers to every command about reservations. Standard library only: it runs in a guest too."""

import struct

from holdfast.services.iscsi.initiator import Path, open_path
from holdfast.services.iscsi.scsi import Command, ReservationType, Reserve, ScsiError, reserve_out
from holdfast.services.iscsi.session import Login

KEY = 0x486F6C6466617374


def _reserve_in(action: int) -> Command:
    return Command("PERSISTENT RESERVE IN", struct.pack(">BB5xHx", 0x5E, action, 512), expects=512)


COMMANDS = {
    "PERSISTENT RESERVE IN, READ KEYS": _reserve_in(0),
    "PERSISTENT RESERVE IN, READ RESERVATION": _reserve_in(1),
    "PERSISTENT RESERVE IN, REPORT CAPABILITIES": _reserve_in(2),
    "PERSISTENT RESERVE IN, READ FULL STATUS": _reserve_in(3),
    "PERSISTENT RESERVE OUT, REGISTER with APTPL": Command(
        "PERSISTENT RESERVE OUT", struct.pack(">BBB2xIB", 0x5F, 0, 0, 24, 0), data=struct.pack(">QQ4xB3x", 0, KEY, 1)
    ),
    "PERSISTENT RESERVE OUT, REGISTER": reserve_out(Reserve.REGISTER, new_key=KEY),
    "PERSISTENT RESERVE OUT, RESERVE": reserve_out(Reserve.RESERVE, key=KEY, kind=ReservationType.WRITE_EXCLUSIVE),
    "PERSISTENT RESERVE OUT, CLEAR": reserve_out(Reserve.CLEAR, key=KEY),
    "RESERVE(6)": Command("RESERVE(6)", bytes((0x16, 0, 0, 0, 0, 0))),
    "RELEASE(6)": Command("RELEASE(6)", bytes((0x17, 0, 0, 0, 0, 0))),
    "RESERVE(10)": Command("RESERVE(10)", bytes((0x56, *[0] * 9))),
    "RELEASE(10)": Command("RELEASE(10)", bytes((0x57, *[0] * 9))),
}


async def ask(path: Path, command: Command) -> str:
    """GOOD with the data in hexadecimal, or status and sense."""
    try:
        return f"GOOD {(await path.run(command))[:24].hex()}".strip()
    except ScsiError as error:
        return f"status {error.status:#04x}, sense {error.key:x}/{error.asc:02x}/{error.ascq:02x}"


async def ask_all(portal: str, login: Login, lun: int, *, timeout_s: float = 10.0) -> dict[str, str]:
    """Leaves no reservation behind."""
    async with open_path(portal, login, lun, timeout_s=timeout_s) as path:
        await path.inquiry()
        return {name: await ask(path, command) for name, command in COMMANDS.items()}
