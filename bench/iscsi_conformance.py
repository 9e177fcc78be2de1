#!/usr/bin/env python3
"""libiscsi's conformance suite (`iscsi-test-cu`, Debian: libiscsi-bin) against what Holdfast serves.

    .venv/bin/python bench/iscsi_conformance.py --out build/tgt.json
    .venv/bin/python bench/iscsi_conformance.py --engine lio --backing file --out build/lio-file.json
    .venv/bin/python bench/iscsi_conformance.py --report build/tgt.json build/lio-file.json
    .venv/bin/python bench/iscsi_conformance.py --url iscsi://10.0.0.1:3260/iqn.2026-01.example:group1/1

With tgt it needs root: the engine serves a volume of its own on loopback, and each test finds a daemon that has just been
started, since some leave reservations or a broken session behind. With lio, all of it runs in a guest with Debian's kernel,
under software emulation. With --url, any target; **its data are lost**. --report prints runs that were kept side by side.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from iscsi_lio import run_in_guest
from iscsi_report import Record, markdown
from iscsi_reservations import ask_all
from iscsi_suite import INITIATORS, TARGET, Outcome, run, tests
from iscsi_tgt import served

from holdfast.services.iscsi.session import Login


def version(package: str) -> str:
    argv = ["dpkg-query", "-W", "-f=${Version}", package]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30).stdout.strip() or "?"


async def against_tgt(wanted: str, tell: Callable[[str], None]) -> Record:
    outcomes: list[Outcome] = []
    async with served() as volume:
        await volume.fresh()
        reservations = await ask_all(volume.portal, Login(TARGET, INITIATORS[0]), 1)
        for test in tests(wanted):
            outcomes.append(await run(test, await volume.fresh()))
            tell(f"{outcomes[-1].result:<8} {test}")
    return Record("tgt", f"tgt {version('tgt')}", _suite(), platform.release(), outcomes, reservations)


async def against_url(url: str, wanted: str, tell: Callable[[str], None]) -> Record:
    outcomes: list[Outcome] = []
    for test in tests(wanted):
        outcomes.append(await run(test, url))
        tell(f"{outcomes[-1].result:<8} {test}")
    return Record("", url, _suite(), platform.release(), outcomes, {})


def against_lio(backing: str, wanted: str, tell: Callable[[str], None]) -> Record:
    found = run_in_guest(backing, wanted, tell)
    if not found.whole:
        tell("the guest ended before the suite did")
    target = f"LIO, {'fileio' if backing == 'file' else 'iblock'}"
    return Record("lio", target, _suite(), found.kernel, found.outcomes, found.reservations, whole=found.whole)


def _suite() -> str:
    return f"libiscsi-bin {version('libiscsi-bin')}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("tgt", "lio"), default="tgt")
    parser.add_argument("--backing", choices=("file", "device"), default="file", help="of LIO's volume")
    parser.add_argument("--url", default="", help="test this unit and lose its data, instead of one of an engine")
    parser.add_argument("--tests", default="", help="only those whose name matches this expression, e.g. '^Read'")
    parser.add_argument("--out", type=Path, help="keep every outcome as JSON")
    parser.add_argument(
        "--logs", type=Path, help="keep what the suite said of each test that did not pass, in this directory"
    )
    parser.add_argument("--report", type=Path, nargs="+", help="print runs that were kept by --out, and test nothing")
    options = parser.parse_args()
    if options.report:
        print(markdown([Record.parse(json.loads(path.read_text())) for path in options.report]))
        return 0

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if options.url:
        record = asyncio.run(against_url(options.url, options.tests, tell))
    elif options.engine == "lio":
        record = against_lio(options.backing, options.tests, tell)
    else:
        record = asyncio.run(against_tgt(options.tests, tell))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record.as_json(), indent=1) + "\n")
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
        for outcome in record.outcomes:
            if outcome.result != "passed":
                (options.logs / f"{outcome.test}.txt").write_text(outcome.log)
    print(markdown([record]))
    if record.unexplained:
        tell(f"not explained yet: {', '.join(record.unexplained)}")
    return 0 if record.whole and not record.unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
