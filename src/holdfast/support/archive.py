"""One compressed archive, item by item, bounded in size; what cannot be had is written down instead of failing the rest."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError
from holdfast.support.redact import Redactor

ITEM_BYTES = 4 * 1024 * 1024
"""Of one item; of a longer one its end is kept."""
TOTAL_BYTES = 128 * 1024 * 1024
"""Of all items, before they are compressed."""
CUT = "… the beginning was cut off …\n"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the archive."""

    name: str
    make: Callable[[], str | object]
    """Text as it is, anything else as JSON. May raise HoldfastError or OSError."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an archive."""

    path: Path
    items: int
    size_bytes: int
    missing: dict[str, str]
    """Item → why it could not be had."""


def write(
    path: Path,
    items: Iterable[Item],
    redactor: Redactor,
    progress: Callable[[str], None],
    about: dict[str, Any],
    *,
    item_bytes: int = ITEM_BYTES,
    total_bytes: int = TOTAL_BYTES,
) -> Written:
    """Write all items without secrets, then `contents.json`. The file is readable by its owner only and appears
    when it is complete. Raises ConfigError."""
    top = path.name.partition(".tar")[0]
    new = path.with_name(f".{path.name}.new")
    contents: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    clock = SystemClock()
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
            total = 0
            for item in items:
                progress(item.name)
                began = clock.now()
                try:
                    content = _bounded(_redacted(item.make(), redactor), item_bytes)
                    if total + len(content) > total_bytes:
                        raise HoldfastError("the bundle is full", "Ask for less, e.g. with --no-logs.")
                except (HoldfastError, OSError, ValueError) as error:
                    missing[item.name] = redactor.text(str(error) or type(error).__name__)
                    continue
                total += len(content)
                _add(tar, f"{top}/{item.name}", content)
                took = round(clock.now() - began, 3)
                contents.append({"name": item.name, "bytes": len(content), "seconds": took})
            listed = {**about, "items": contents, "missing": missing}
            _add(tar, f"{top}/contents.json", json.dumps(redactor.data(listed), indent=1).encode())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", "Give another file name.") from error
    return Written(path, len(contents), path.stat().st_size, missing)


def _redacted(made: str | object, redactor: Redactor) -> str:
    if isinstance(made, str):
        return redactor.text(made)
    return json.dumps(redactor.data(made), indent=1, ensure_ascii=False)


def _bounded(text: str, limit: int) -> bytes:
    content = text.encode(errors="replace")
    if len(content) <= limit:
        return content
    return CUT.encode() + content[-limit:].decode(errors="replace").encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    tar.addfile(info, io.BytesIO(content))
