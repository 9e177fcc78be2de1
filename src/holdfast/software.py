"""Which version of Holdfast a running daemon of ours is: it says so itself, in the run directory, when it starts.

Installing another version replaces no process. An agent that starts finds out by this which daemons of its node are older.
"""

import re
from contextlib import suppress
from pathlib import Path

from holdfast import __version__

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\+(\d+))?")


def announce(run_dir: str, unit: str) -> None:
    """This process is the unit. Said before anything else; where that cannot be written it counts as older."""
    with suppress(OSError):
        _file(run_dir, unit).write_text(__version__)


def is_current(run_dir: str, unit: str) -> bool:
    """The unit's process is of the version that asks."""
    try:
        return _file(run_dir, unit).read_text() == __version__
    except OSError:
        return False


def older(version: str, than: str) -> bool:
    """By their numbers, `0.1.0+812.g1a2b3c4d`: release, then commits. What is no version of ours is older than none."""
    one, other = (_VERSION.match(text) for text in (version, than))
    return bool(one and other) and _numbers(one) < _numbers(other)


def _numbers(found: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def _file(run_dir: str, unit: str) -> Path:
    return Path(run_dir) / f"{unit}.version"
