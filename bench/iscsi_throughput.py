"""A volume through the tgt engine against its own file, on the same storage: `bench/iscsi.py throughput`. Needs root.

One client for both, `qemu-img bench`: it has an iSCSI initiator of its own, and reads and writes files with O_DIRECT. The
target and the client share this machine's processors and its loopback device, so the ratios are the worst a user sees of
the target and say nothing of a network.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from iscsi_suite import INITIATORS, TARGET
from iscsi_tgt import Served, served

SIZE_BYTES = 512 << 20
HANG_S = 300
_GOLDEN = 0.6180339887
"""Requests this part of the volume apart reach every block once, and none is near the one before (with an odd number of
blocks between them, in a volume whose number of blocks is a power of two)."""


@dataclass(frozen=True)
class Load:
    """What is asked of the volume."""

    name: str
    block_bytes: int
    depth: int
    """Requests under way at a time."""
    write: bool
    random: bool

    def arguments(self, count: int) -> list[str]:
        blocks = SIZE_BYTES // self.block_bytes
        step = (int(blocks * _GOLDEN) | 1) * self.block_bytes if self.random else self.block_bytes
        words = ["-s", str(self.block_bytes), "-S", str(step), "-d", str(self.depth), "-c", str(count)]
        return [*words, "-w", "--pattern=90"] if self.write else words


LOADS = tuple(
    Load(f"{what} {verb}, {depth} at a time", size, depth, verb == "write", random)
    for what, size, random, depths in (
        ("4 KiB random", 4096, True, (1, 16)),
        ("1 MiB sequential", 1 << 20, False, (1, 4)),
    )
    for verb in ("read", "write")
    for depth in depths
)


@dataclass
class Way:
    """How the volume's bytes are reached."""

    name: str
    image: str
    cache: str = "none"
    """qemu-img's word: none is O_DIRECT, directsync empties the storage's cache after each write too."""
    mib_s: dict[Load, list[float]] = field(default_factory=dict)


async def measure(rounds: int, seconds: float, directory: Path, tell: Callable[[str], None]) -> str:
    """Markdown. In each round every way gets every load once, one right after the other."""
    async with served(directory, SIZE_BYTES) as volume:
        await volume.fresh()
        await _fill(volume.path)
        file, written_through, target = ways = _ways(volume)
        counts = {load: await _calibrate(load, ways, seconds) for load in LOADS}
        for number in range(rounds):
            for load in LOADS:
                for index in range(len(ways)):
                    way = ways[(index + number) % len(ways)]  # none is always the first
                    if load.write or way is not written_through:
                        way.mib_s.setdefault(load, []).append(await _run(load, way, counts[load]))
            tell(f"round {number + 1} of {rounds}")
    return "\n".join(_table(file, written_through, target))


def _ways(volume: Served) -> tuple[Way, Way, Way]:
    raw = f"driver=raw,file.driver=file,file.aio=native,file.filename={volume.path}"
    unit = f"file.portal={volume.portal},file.target={TARGET},file.lun=1,file.initiator-name={INITIATORS[0]}"
    iscsi = f"driver=raw,file.driver=iscsi,file.transport=tcp,{unit}"
    return Way("file", raw), Way("file, written through", raw, "directsync"), Way("target", iscsi)


async def _fill(path: Path) -> None:
    """Every block is written once: a file with holes is another thing."""
    words = ["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={SIZE_BYTES >> 20}", "conv=notrunc,fsync"]
    await _output([*words, "status=none"])


async def _calibrate(load: Load, ways: tuple[Way, ...], seconds: float) -> int:
    """How many requests keep the slowest way busy for so long."""
    count = 32 * load.depth
    slowest = min([await _run(load, way, count) for way in ways])
    return max(count, int(slowest * seconds * (1 << 20) / load.block_bytes))


async def _run(load: Load, way: Way, count: int) -> float:
    """MiB/s."""
    words = ["qemu-img", "bench", "--image-opts", "-t", way.cache, *load.arguments(count), way.image]
    said = await _output(words)
    found = re.search(r"Run completed in ([\d.]+) seconds", said)
    assert found, said
    return count * load.block_bytes / float(found[1]) / (1 << 20)


async def _output(words: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(HANG_S):
        said = (await process.communicate())[0].decode("utf-8", "replace")
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed: {said}")
    return said


def _table(file: Way, written_through: Way, target: Way) -> list[str]:
    lines = ["| | file, MiB/s | through the target, MiB/s | ratio | ratio to the file written through |"]
    lines.append("|---|--:|--:|--:|--:|")
    for load in LOADS:
        through = written_through.mib_s.get(load)
        cells = [_spread(file.mib_s[load], 1), _spread(target.mib_s[load], 1), _ratio(target, file, load)]
        lines.append(
            f"| {load.name} | {' | '.join(cells)} | {_ratio(target, written_through, load) if through else ''} |"
        )
    return lines


def _ratio(one: Way, other: Way, load: Load) -> str:
    """Of the same round."""
    return _spread([a / b for a, b in zip(one.mib_s[load], other.mib_s[load], strict=True)], 2)


def _spread(values: list[float], digits: int) -> str:
    return f"{min(values):.{digits}f} / **{median(values):.{digits}f}** / {max(values):.{digits}f}"
