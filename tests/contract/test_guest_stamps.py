"""The guest's writer (lab/guest/stamps.c) finds what is wrong: run here on a file that is tampered with behind its back."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.lab import guest

BLOCK, BLOCKS = 4096, 8
SOURCE = Path(guest.__file__).parent / "stamps.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


class Writer:
    def __init__(self, directory: Path) -> None:
        program, self.file = directory / "stamps", directory / "disk"
        subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Werror", "-o", program, SOURCE], check=True, timeout=60)
        with self.file.open("wb") as file:
            file.truncate(BLOCK * BLOCKS)
        self.process = subprocess.Popen([program, "w", self.file, str(BLOCKS), "5"], stdout=subprocess.PIPE, text=True)

    def until(self, acked: int) -> None:
        assert self.process.stdout is not None
        while json.loads(self.process.stdout.readline())["acked"] < acked:
            pass

    def tamper(self, how: Callable[[bytearray], None]) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        content = bytearray(self.file.read_bytes())
        how(content)
        with self.file.open("r+b") as file:
            file.write(content)
            os.fsync(file.fileno())
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in said.splitlines()]


@pytest.fixture
def writer() -> Iterator[Writer]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:  # /tmp may be in memory, without direct I/O
        made = Writer(Path(directory))
        yield made
        made.process.kill()
        made.process.wait()


def test_a_file_that_nobody_touches_keeps_everything(writer: Writer) -> None:
    writer.until(50)
    writer.tamper(lambda content: None)
    status, said = writer.end()
    found = said[-1]
    assert status == 0
    assert (found["lost"], found["torn"], found["stale"], found["errors"]) == (0, 0, 0, 0)
    assert found["acked"] >= 50
    assert found["read_back"] >= found["acked"] // 5 + BLOCKS


def test_old_mixed_and_missing_blocks_are_told_apart(writer: Writer) -> None:
    old = bytearray()
    writer.until(20)
    old += writer.file.read_bytes()
    writer.until(60)

    def tamper(content: bytearray) -> None:
        content[0:BLOCK] = old[0:BLOCK]
        content[BLOCK : BLOCK + 512] = old[BLOCK : BLOCK + 512]
        content[2 * BLOCK : 3 * BLOCK] = bytes(BLOCK)
        content[3 * BLOCK + 700] ^= 1
        content[4 * BLOCK : 5 * BLOCK] = content[5 * BLOCK : 6 * BLOCK]

    writer.tamper(tamper)
    status, said = writer.end()
    assert status == 3
    found = {line["block"]: line["wrong"] for line in said if line.get("event") == "wrong"}
    # A write that was under way when the file was changed may have put its block right again.
    expected = {0: "stale", 1: "torn", 2: "lost", 3: "torn", 4: "lost"}
    assert found.items() <= expected.items()
    assert len(found) >= len(expected) - 1
