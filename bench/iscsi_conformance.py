#!/usr/bin/env python3
"""libiscsi's conformance suite (`iscsi-test-cu`, Debian: libiscsi-bin) against what Holdfast serves.

    .venv/bin/python bench/iscsi_conformance.py --out build/iscsi-conformance.json
    .venv/bin/python bench/iscsi_conformance.py --url iscsi://10.0.0.1:3260/iqn.2026-01.example:group1/1

Without --url it needs root: the tgt engine serves a volume of its own on loopback, and each test finds a daemon that has
just been started, since some leave reservations or a broken session behind. With --url, any target; **its data are lost**.
"""

import argparse
import asyncio
import collections
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from iscsi_failures import EXPLAINED

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.services.iscsi.engine import Portal, Target, Volume
from holdfast.services.iscsi.tgt import TgtEngine

SUITE = "iscsi-test-cu"
INITIATORS = ("iqn.2026-01.test.holdfast:one", "iqn.2026-01.test.holdfast:two")
TARGET = "iqn.2026-01.test.holdfast:conformance"
SIZE_BYTES = 4 << 20
HANG_S = 30
_WORDS = {
    "failed": re.compile(r"\[FAILED\] *(.*)|^ +1\. (\S+ .*)$", re.M),
    "skipped": re.compile(r"\[SKIPPED\] *(.*)"),
}
"""What the suite says of a test, or where its assertion stands."""


@dataclass(frozen=True)
class Outcome:
    test: str
    """Family and name."""
    result: str
    """passed, failed, skipped (the target does not have it) or hung."""
    said: str = ""
    """The suite's first word about it."""

    @property
    def family(self) -> str:
        return self.test.partition(".")[0]


def tests(wanted: str) -> list[str]:
    """`Family.Test` of everything the suite has, and whose name matches."""
    done = subprocess.run([SUITE, "--list"], check=True, capture_output=True, text=True, timeout=HANG_S)
    names = [line.removeprefix("ALL.") for line in done.stdout.split() if re.fullmatch(r"ALL\.\w+\.[\w-]+", line)]
    return [name for name in names if re.search(wanted, name)]


async def run(test: str, url: str) -> Outcome:
    """One test, in a process of its own."""
    names = (f"-{flag}{name}" for flag, name in zip("iI", INITIATORS, strict=True))
    argv = ["--dataloss", "--fail", "--Verbose-scsi", *names]
    process = await asyncio.create_subprocess_exec(
        SUITE, *argv, f"--test=ALL.{test}", url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(HANG_S):
            said = (await process.communicate())[0].decode("utf-8", "replace")
    except TimeoutError:
        process.kill()
        await process.wait()
        return Outcome(test, "hung", f"no end after {HANG_S} s")
    ran = re.search(r"^ +tests +\d+ +1 +1 +0 ", said, re.M)
    result = "failed" if not ran or process.returncode != 0 else "skipped" if "[SKIPPED]" in said else "passed"
    word = _WORDS[result].search(said) if result in _WORDS else None
    return Outcome(test, result, next(filter(None, word.groups()), "") if word else "")


# --- a volume of the tgt engine -----------------------------------------------------------------------------------------


class Served:
    """A volume that is served by a new daemon whenever it is asked for."""

    def __init__(self, directory: Path, group: Path) -> None:
        path = directory / "volume"
        with path.open("wb") as file:
            file.truncate(SIZE_BYTES)
        self._volume = Volume(TARGET, 1, str(uuid.uuid4()), str(path), SIZE_BYTES)
        config = NodeConfig("n1", "bench", {"management": "127.0.0.1"}, (), cgroup=str(group), log_dir=str(directory))
        self.runner = CgroupRunner(config)
        self.engine = TgtEngine(directory, self.runner, SystemClock())
        self._ports = itertools.cycle(range(33260, 33360))

    async def fresh(self) -> str:
        """Its URL."""
        await self.engine.halt()
        portal = Portal("127.0.0.1", next(self._ports))  # another one: sockets of the last one may linger
        await self.engine.configure(Target(TARGET, (portal,), initiators=INITIATORS))
        await self.engine.promote(self._volume, lambda: True)
        return f"iscsi://{portal}/{TARGET}/1"


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = root / f"holdfast-bench-iscsi-{os.getpid()}"
    directory = Path(tempfile.mkdtemp(prefix="hf-conformance-"))
    made = Served(directory, group)
    try:
        yield made
    finally:
        await made.engine.halt()
        made.runner.close()
        Cgroup(group).remove()
        shutil.rmtree(directory)


# --- report -------------------------------------------------------------------------------------------------------------


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: counts per family, then what did not pass and was not skipped, by reason."""
    families: dict[str, collections.Counter[str]] = {}
    for outcome in outcomes:
        families.setdefault(outcome.family, collections.Counter())[outcome.result] += 1
    kinds = ("passed", "failed", "hung", "skipped")
    lines = ["| family | " + " | ".join(kinds) + " |", "|---|" + "--:|" * len(kinds)]
    for family, counts in sorted(families.items()):
        lines.append(f"| {family} | " + " | ".join(str(counts[kind] or "") for kind in kinds) + " |")
    total = collections.Counter(outcome.result for outcome in outcomes)
    lines.append("| **all** | " + " | ".join(f"**{total[kind]}**" for kind in kinds) + " |")
    reasons: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.result in ("failed", "hung"):
            reasons.setdefault(explained(outcome.test) or "not explained yet", []).append(outcome)
    lines += ["", "| did not pass | the suite says | because |", "|---|---|---|"]
    for reason, found in reasons.items():
        names = ", ".join(f"{outcome.test} ({outcome.result})" for outcome in found)
        lines.append(f"| {names} | {found[0].said} | {reason} |")
    return "\n".join(lines)


def explained(test: str) -> str:
    """By its own name or its family's; "" if nobody has looked into it yet."""
    return EXPLAINED.get(test) or EXPLAINED.get(test.partition(".")[0]) or ""


def version(package: str) -> str:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", package], check=False, capture_output=True, text=True, timeout=HANG_S
    )
    return done.stdout.strip() or "?"


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="test this unit and lose its data, instead of one of the tgt engine")
    parser.add_argument("--tests", default="", help="only those whose name matches this expression, e.g. '^Read'")
    parser.add_argument("--out", type=Path, help="keep every outcome as JSON")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    if options.url:
        outcomes = [await run(test, options.url) for test in tests(options.tests)]
    else:
        async with served() as volume:
            for test in tests(options.tests):
                outcomes.append(await run(test, await volume.fresh()))
                print(f"{outcomes[-1].result:<8} {test}", file=sys.stderr, flush=True)
    if options.out:
        about = {"target": options.url or f"tgt {version('tgt')}", "suite": f"libiscsi-bin {version('libiscsi-bin')}"}
        about["kernel"] = platform.release()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        found = [{**asdict(outcome), "because": explained(outcome.test)} for outcome in outcomes]
        options.out.write_text(json.dumps({**about, "outcomes": found}, indent=1) + "\n")
    print(table(outcomes))
    unexplained = [o.test for o in outcomes if o.result in ("failed", "hung") and not explained(o.test)]
    if unexplained:
        print(f"not explained yet: {', '.join(unexplained)}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
