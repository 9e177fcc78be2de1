"""Disk images on the shared storage: looked at, made and copied with qemu-img, on the node that serves the API."""

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from holdfast.errors import Conflict, DriverError, InvalidInput
from holdfast.services.storage import OWNED
from holdfast.services.vm.config import KIND

FORMATS = ("qcow2", "raw")
PARTIAL = ".part"
"""In the name of a file that is being made: it gets its own when it is complete."""
TIMEOUT_S = 60.0
"""For looking at an image and for making an empty one."""
MACHINERY = ("consoles", "leases")
"""Directories beside those of machines that hold no disks."""
_PROGRESS = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


@dataclass(frozen=True, slots=True)
class Image:
    path: str
    """Without symbolic links."""
    format: str
    size: int
    """What the guest sees, bytes."""


class QemuImages:
    """Port `api.operations.vm.Images`."""

    def __init__(self, program: str = "qemu-img") -> None:
        self._program = program

    async def inspect(self, path: str, root: str) -> Image:
        """An image below `root`, and everything that it is made of too. Raises InvalidInput."""
        real = await asyncio.to_thread(_real, path, root)
        # Without a lock: it may be in use.
        text = await self._run("info", "--force-share", "--backing-chain", "--output=json", real)
        chain: list[dict[str, Any]] = msgspec.json.decode(text)
        for layer in chain[1:]:
            await asyncio.to_thread(_real, str(layer["filename"]), root)
        first = chain[0]
        if first["format"] not in FORMATS:
            raise InvalidInput(
                f"{path} has the format {first['format']}", f"Copy it (--copy), or convert it: {' or '.join(FORMATS)}."
            )
        if first.get("format-specific", {}).get("data", {}).get("data-file"):
            raise InvalidInput(f"{path} keeps its data in another file", "Convert it: qemu-img convert -O qcow2.")
        return Image(real, first["format"], int(first["virtual-size"]))

    async def locate(self, path: str, root: str) -> str:
        """Any file below `root`, without symbolic links. Raises InvalidInput."""
        return await asyncio.to_thread(_real, path, root)

    async def create(self, path: str, size: int) -> None:
        """An empty qcow2 image of `size` bytes. Raises Conflict if there is such a file."""
        partial = await asyncio.to_thread(_partial, path)
        try:
            await self._run("create", "-q", "-f", "qcow2", partial, str(size))
            await asyncio.to_thread(_finish, partial, path)
        finally:
            await asyncio.to_thread(Path(partial).unlink, missing_ok=True)

    async def copy(self, source: str, path: str, progress: Callable[[float], None]) -> None:
        """A qcow2 copy that needs no other file. `progress` is told percent. Raises Conflict if there is such a file."""
        partial = await asyncio.to_thread(_partial, path)
        try:
            await self._convert(source, partial, progress)
            await asyncio.to_thread(_finish, partial, path)
        finally:
            await asyncio.to_thread(Path(partial).unlink, missing_ok=True)

    async def remove(self, path: str) -> None:
        """Gone afterwards; its directory too, if nothing else is in it."""
        await asyncio.to_thread(_remove, Path(path))

    async def _convert(self, source: str, target: str, progress: Callable[[float], None]) -> None:
        process = await self._start("convert", "-p", "-O", "qcow2", source, target)
        assert process.stdout is not None and process.stderr is not None
        said = asyncio.create_task(process.stderr.read())
        try:
            while chunk := await process.stdout.read(4096):
                found = _PROGRESS.findall(chunk)
                if found:
                    progress(float(found[-1]))
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise _failed(await said)

    async def _run(self, *arguments: str) -> bytes:
        process = await self._start(*arguments)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                out, err = await process.communicate()
        except TimeoutError:
            raise DriverError(
                f"qemu-img did not answer within {TIMEOUT_S:g} s", "Does the shared storage hang on this node?"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise _failed(err)
        return out

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise DriverError(
                "qemu-img is not installed on the node that serves the API", "Install qemu-utils there."
            ) from None


def _failed(err: bytes) -> InvalidInput:
    words = err.decode(errors="replace").strip().removeprefix("qemu-img: ").splitlines()
    return InvalidInput(
        f"qemu-img: {words[-1] if words else 'it failed'}", "Look at the image and the storage's space."
    )


def _real(path: str, root: str) -> str:
    try:
        real, base = Path(path).resolve(strict=True), Path(root).resolve(strict=True)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or path} cannot be found on the node that serves the API", "Put it on the shared storage."
        ) from None
    if not real.is_relative_to(base) or not real.is_file():
        raise InvalidInput(
            f"{path} is no file below {root}",
            "Every node must see a machine's disks: put it on the shared storage.",
        )
    if base != Path("/"):
        _refuse_owned(real.relative_to(base).parts, path)
    return str(real)


def _refuse_owned(parts: tuple[str, ...], path: str) -> None:
    """Whoever may make machines does not read, overwrite or delete what other services keep on the same storage, nor the
    mark that says it is there."""
    owner = parts[0]
    machinery = owner == KIND and any(part in MACHINERY for part in parts[1:2])
    if (owner in OWNED and owner != KIND) or owner.startswith(".") or machinery:
        raise InvalidInput(
            f"{path} belongs to another service, or to Holdfast itself", "Copy it elsewhere if it is a disk."
        )


def _partial(path: str) -> str:
    target = Path(path)
    if target.exists():
        raise Conflict(f"the file {path} exists already", "Use it with --disk, or remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    return f"{path}{PARTIAL}-{secrets.token_hex(4)}"


def _finish(partial: str, path: str) -> None:
    # A link, unlike a rename, never replaces what somebody has put there meanwhile.
    try:
        Path(path).hardlink_to(partial)
    except FileExistsError:
        raise Conflict(f"the file {path} exists already", "Use it with --disk, or remove it.") from None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
