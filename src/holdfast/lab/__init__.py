"""The lab: real nodes, made of namespaces on one Linux machine, that can be killed in every way.

>>> lab = LabClient()
>>> lab.up(LabOptions(nodes=3))
>>> lab.exec("n1", ["ip", "addr"]).stdout; lab.fail("n2", "power"); lab.heal("n2"); lab.down()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.lab.client import LabClient
    from holdfast.lab.options import LabOptions
    from holdfast.lab.watcher import Watcher, WatchReport

__all__ = ["LabClient", "LabOptions", "WatchReport", "Watcher"]

_HOME = {"LabClient": "client", "LabOptions": "options", "WatchReport": "watcher", "Watcher": "watcher"}


def __getattr__(name: str) -> Any:
    """Import lazily: the processes that become nodes load this package too and must start quickly."""
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(import_module(f"holdfast.lab.{_HOME[name]}"), name)
