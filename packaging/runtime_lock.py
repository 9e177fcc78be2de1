"""Prints the part of requirements.lock that runs in production: what `holdfast` itself needs, and what that needs.

`uv pip compile` notes below each package who wants it ("via"). A package is wanted here if `holdfast` itself wants it, not
one of its groups for developers, or another one that is wanted here. Versions and hashes stay as they are locked.
"""

import re
import sys
from pathlib import Path

OURS = "holdfast (pyproject.toml)"
_BEGIN = re.compile(r"(?m)^(?=[a-z0-9])")
_NAME = re.compile(r"[a-z0-9-]+")
_VIA = re.compile(r"(?m)^    #(?: via)? +(\S.*)$")


def runtime(lock: str) -> str:
    """The lock file's blocks of the packages that are needed to run. A package may have several, with different markers."""
    blocks = _BEGIN.split(lock)[1:]
    wants = [(_name(block), set(_VIA.findall(block))) for block in blocks]
    found: set[str] = set()
    ahead = {OURS}
    while ahead:
        ahead = {name for name, users in wants if users & ahead} - found
        found |= ahead
    return "".join(block for block in blocks if _name(block) in found)


def _name(block: str) -> str:
    found = _NAME.match(block)
    assert found, f"not a requirement: {block[:40]!r}"
    return found[0]


if __name__ == "__main__":
    sys.stdout.write(runtime(Path(sys.argv[1]).read_text()))
