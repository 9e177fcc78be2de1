"""libiscsi's conformance suite, one test at a time. Standard library only: it runs in a guest too (iscsi_lio_inside.py)."""

import asyncio
import re
import subprocess
from dataclasses import dataclass

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
_OF_THE_TEST = re.compile(r"\n  Test: \S+ \.\.\.(.*?)(?:^|(?<=\.\.\.))passed", re.S | re.M)
"""Before and after it the suite looks at what the target has, and says what it skips then too."""


@dataclass(frozen=True)
class Outcome:
    test: str
    """Family and name."""
    result: str
    """passed, failed, skipped (the target does not have it) or hung."""
    said: str = ""
    """The suite's first word about it."""
    log: str = ""
    """All that it said."""

    @property
    def family(self) -> str:
        return self.test.partition(".")[0]

    @property
    def passed(self) -> bool:
        return self.result in ("passed", "skipped")


def tests(wanted: str) -> list[str]:
    """`Family.Test` of everything the suite has, and whose name matches."""
    done = subprocess.run([SUITE, "--list"], check=True, capture_output=True, text=True, timeout=4 * HANG_S)
    names = [line.removeprefix("ALL.") for line in done.stdout.split() if re.fullmatch(r"ALL\.\w+\.[\w-]+", line)]
    return [name for name in names if re.search(wanted, name)]


async def run(test: str, url: str, *, hang_s: float = HANG_S) -> Outcome:
    """One test, in a process of its own."""
    names = (f"-{flag}{name}" for flag, name in zip("iI", INITIATORS, strict=True))
    argv = ["--dataloss", "--fail", "--Verbose-scsi", *names]
    process = await asyncio.create_subprocess_exec(
        SUITE, *argv, f"--test=ALL.{test}", url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    log = bytearray()
    try:
        async with asyncio.timeout(hang_s):
            while more := await process.stdout.read(1 << 16):
                log += more
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Outcome(test, "hung", f"no end after {hang_s:g} s", log.decode("utf-8", "replace"))
    said = log.decode("utf-8", "replace")
    ran = re.search(r"^ +tests +\d+ +1 +1 +0 ", said, re.M)
    test_said = found[1] if (found := _OF_THE_TEST.search(said)) else ""
    result = "failed" if not ran or process.returncode != 0 else "skipped" if "[SKIPPED]" in test_said else "passed"
    word = _WORDS[result].search(said if result == "failed" else test_said) if result in _WORDS else None
    return Outcome(test, result, next(filter(None, word.groups()), "") if word else "", said)
