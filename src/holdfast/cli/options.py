"""Options that several commands read, and how their texts are understood."""

import re
import sys
from pathlib import Path

from holdfast.errors import InvalidInput


def names(texts: list[str]) -> list[str]:
    """`a,b` and repeated options alike."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def content(file: str | Path, what: str = "file") -> str:
    """The text of a file; `-`: of standard input. Raises InvalidInput."""
    try:
        return sys.stdin.read() if str(file) == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        problem = "it is not text"
    except OSError as error:
        problem = error.strerror or str(error)
    raise InvalidInput(f"the {what} {file} cannot be read: {problem}", "Check its name and permissions.")


def pairs(texts: list[str], what: str, example: str) -> dict[str, str]:
    """KEY=VALUE options. Raises InvalidInput."""
    result: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InvalidInput(f"{what} `{text}` is not understood", f"Write it like {example}.")
        if key.strip() in result:
            raise InvalidInput(f"{what} `{key.strip()}` is given twice", "Give it once.")
        result[key.strip()] = value.strip()
    return result


def device(text: str) -> dict[str, object]:
    """`NAME,TYPE,option=value,…` → a fence device. `password-file=FILE` reads the password from a file, so that it stands
    in no process list. Raises InvalidInput."""
    example = "bmc,redfish,url=https://10.79.0.102,username=admin,password-file=/root/bmc.pw"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or "=" in parts[0] or "=" in parts[1]:
        raise InvalidInput(f"fence device `{text}` is not understood", f"Write it like {example}.")
    options = pairs(parts[2:], "fence device option", "username=admin")
    file = options.pop("password-file", "")
    if file:
        lines = content(file, "password file").splitlines()
        if not lines:
            raise InvalidInput(f"the password file {file} is empty", "Write the password into its first line.")
        options["password"] = lines[0]
    return {"name": parts[0], "type": parts[1], "options": options}


def slots(texts: list[str]) -> dict[str, int | None]:
    """`vm=40,nfs=none` → {vm: 40, nfs: None}. Raises InvalidInput."""
    found: dict[str, int | None] = {}
    for kind, count in pairs(names(texts), "slots", "vm=40").items():
        if count != "none" and not count.isdecimal():
            raise InvalidInput(
                f"`{kind}={count}` is no number of slots", "Write it like vm=40, or vm=none for no limit."
            )
        found[kind] = None if count == "none" else int(count)
    return found


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def size(text: str) -> int:
    """`10GiB`, `500M` (powers of 1024) → bytes. Raises InvalidInput."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise InvalidInput(f"`{text}` is not a size", "Write it like 10GiB or 500MiB.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def memory_mib(text: str) -> int:
    """The same as MiB, which is also what a bare number means. Raises InvalidInput."""
    return int(text) if text.strip().isdigit() else size(text) >> 20
