"""Names of iSCSI targets and initiators, and what a volume's UUID says about it to a client. Pure.

Names: RFC 7143, section 4.2.7; the characters that are left after preparation (RFC 3722) of what people write.
"""

import ipaddress
import re
import uuid

from holdfast.errors import InvalidInput

MAX_BYTES = 223
KINDS = ("iqn.", "eui.", "naa.")
_IQN = re.compile(r"iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[a-z0-9.:_-]+)?")
_EUI = re.compile(r"eui\.[0-9A-F]{16}")
_NAA = re.compile(r"naa\.([0-9A-F]{16}|[0-9A-F]{32})")
_NAA_COMPANY = "6001405"
"""NAA type 6, and the company number LIO uses: with both engines a volume has the same name."""


def check_name(name: str, what: str) -> None:
    """An `iqn.`, `eui.` or `naa.` name in its normal form: lower case, hexadecimal digits of eui and naa in upper case.
    Raises InvalidInput."""
    fits = _IQN.fullmatch(name) or _EUI.fullmatch(name) or _NAA.fullmatch(name)
    if not fits or len(name.encode()) > MAX_BYTES:
        raise InvalidInput(
            f"{name!r} is not the name of an iSCSI {what}",
            "Write it like iqn.2026-01.com.example:name (lower case), eui.02004567A425678D or naa.52004567BA64678D, "
            f"{MAX_BYTES} characters at most.",
        )


def check_address(address: str) -> None:
    """An IP address, in the form in which it is compared. Raises InvalidInput."""
    try:
        normal = str(ipaddress.ip_address(address))
    except ValueError:
        normal = ""
    if normal != address:
        raise InvalidInput(f"{address!r} is not an IP address", f"Write it like {normal or '10.0.0.1'}.")


def serial(volume: str) -> str:
    """Unit serial number of the volume with this UUID: its 32 hexadecimal digits. Raises InvalidInput."""
    try:
        digits = uuid.UUID(volume)
    except ValueError:
        digits = None
    if digits is None or str(digits) != volume:
        raise InvalidInput(f"{volume!r} is not the UUID of a volume", "Write it like Python's uuid4() does.")
    return digits.hex


def wwid(volume: str) -> str:
    """NAA identifier of the volume, 32 hexadecimal digits; a Linux client calls it `3` and these. The same on every node
    and for ever, since it comes from the UUID alone. Raises InvalidInput."""
    return (_NAA_COMPANY + serial(volume))[:32]
