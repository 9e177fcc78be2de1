"""docs/install.md, followed: `make test-install`, or
`.venv/bin/python tests/install [guide | upgrade | downgrade] [--package DEB] [--former DEB]`.

Three fresh machines with Debian's own systemd, in namespaces of this machine. *guide*: install, create, join, high
availability, services; then the node that serves dies, and the services go on elsewhere; then a node is removed and purged.
*upgrade*: the same cluster made by an older package, upgraded as the guide says while a client writes.
*downgrade*: the same cluster made by this package, taken back to an older one (which needs `--former`), in the same way.
HOLDFAST_LAB_LOGS: a directory that keeps the machines' journals after a failure.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import base
import guide
from follow import follow_guide
from machines import Failed, Machines, options, say

from holdfast.lab import LabClient

ROOT = Path(__file__).parents[2]
FORMER = "ba7a9a8"
"""The commit whose package is upgraded from."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="guide", choices=["guide", "upgrade", "downgrade"])
    parser.add_argument("--package", type=Path, help="a finished package; default: build one")
    parser.add_argument("--former", type=Path, help=f"the package to upgrade from; default: build that of {FORMER}")
    arguments = parser.parse_args()
    package = arguments.package or build()
    say(f"package {package.name}, base {base.root()}")
    with LabClient(f"t{os.getpid()}i") as lab:
        lab.up(options(base.root()))
        machines = Machines(lab)
        try:
            machines.wait_booted()
            if arguments.part == "guide":
                follow_guide(machines, guide.read(), package)
            else:
                from upgrade import upgrade

                former = arguments.former or build("--rev", FORMER)
                first, then = (former, package) if arguments.part == "upgrade" else (package, former)
                upgrade(machines, guide.read(), first, then, arguments.part)
        except Failed as failure:
            say(f"FAILED: {failure}")
            if logs := os.environ.get("HOLDFAST_LAB_LOGS"):
                machines.keep_journals(Path(logs, "install"))
            return 1
    say("the guide leads where it says")
    return 0


def build(*words: str) -> Path:
    command = [str(ROOT / "packaging/build-deb"), *words]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
