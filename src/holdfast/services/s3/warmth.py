"""Swift in the page cache of a node where a part may have to start: cold, reading it takes longer than loading it."""

import contextlib
import importlib.util
import os
from pathlib import Path

PACKAGES = ("swift", "eventlet", "greenlet", "paste", "lxml", "pyeclib", "xattr", "dns", "requests")
"""What Swift's servers load, beside Python's own library, which every agent has loaded."""
_SUFFIXES = (".pyc", ".so")


def require_swift() -> None:
    """Raises ImportError where the parts' program could not run. (This process itself needs nothing of Swift.)"""
    if importlib.util.find_spec("swift") is None:
        raise ImportError("the Python package swift is not installed")


def warm() -> None:
    """Ask the kernel to have it in memory. Nothing is loaded into this process."""
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for root in found.submodule_search_locations or () if found else ():
            for directory, _, names in os.walk(root):
                for name in names:
                    if name.endswith(_SUFFIXES):
                        _read_ahead(Path(directory) / name)


def _read_ahead(path: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)
