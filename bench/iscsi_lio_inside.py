"""Runs in a guest (see iscsi_lio.py): the suite against a volume of the LIO engine; one line of JSON per outcome."""

import asyncio
import json
import subprocess
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from inside import ShellRunner, yes
from iscsi_reservations import ask_all
from iscsi_suite import INITIATORS, SIZE_BYTES, TARGET, run, tests

from holdfast.clock import SystemClock
from holdfast.services.iscsi.engine import Portal, Target, Volume
from holdfast.services.iscsi.lio import LioEngine
from holdfast.services.iscsi.session import Login

HANG_S = 90.0
"""The emulated machine is ten times slower."""
PORTAL = Portal("127.0.0.1")
LOG_BYTES = 6000


async def main(backing: str, wanted: str) -> None:
    engine, volume = LioEngine(ShellRunner(), SystemClock()), _volume(backing)
    await _serve(engine, volume)
    answers = await ask_all(str(PORTAL), Login(TARGET, INITIATORS[0]), volume.lun)
    print(f"reservations: {json.dumps(answers)}", flush=True)
    fresh = True
    for test in tests(wanted):
        if not fresh:
            await _serve(engine, volume)
        outcome = await run(test, f"iscsi://{PORTAL}/{TARGET}/{volume.lun}", hang_s=HANG_S)
        fresh = outcome.passed
        kernel = _dmesg()
        log = "" if outcome.result == "passed" else f"{outcome.log[-LOG_BYTES:]}\n{kernel[-LOG_BYTES:]}"
        print(f"outcome: {json.dumps(asdict(replace(outcome, log=log)))}", flush=True)
    print("outcomes: all", flush=True)


def _dmesg() -> str:
    """What the kernel said since the last time."""
    return subprocess.run(["dmesg", "-c"], check=True, capture_output=True, text=True, timeout=60).stdout


def _volume(backing: str) -> Volume:
    if backing == "device":
        path, size = "/dev/ram0", int(Path("/sys/block/ram0/size").read_text()) * 512
    else:
        path, size = "/volumes/volume", SIZE_BYTES
        with Path(path).open("wb") as file:
            file.truncate(size)
    return Volume(TARGET, 1, str(uuid.uuid4()), path, size)


async def _serve(engine: LioEngine, volume: Volume) -> None:
    """Anew: nothing that a test left behind is there any more."""
    await engine.halt()
    await engine.remove(volume)
    await engine.configure(Target(TARGET, (PORTAL,), initiators=INITIATORS))
    await engine.prepare(volume)
    await engine.promote(volume, yes)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
