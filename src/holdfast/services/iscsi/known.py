"""What this node has been told to serve, remembered over restarts of the agent: an engine knows targets and units, not what
they are called, and what is no longer wanted must still be found to be put away.

A file in the node's run directory, which a reboot empties, as it empties the engines.
"""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from holdfast.services.iscsi.config import Attached
from holdfast.services.storage import write_atomically

log = structlog.get_logger("holdfast.iscsi")


@dataclass(slots=True)
class _Content:
    targets: dict[str, str] = field(default_factory=dict)
    """Name → engine."""
    volumes: dict[str, Attached] = field(default_factory=dict)
    """Instance → what it was last."""


class Known:
    """Written before anything is done that it must remember."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = self._load()

    def _load(self) -> _Content:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return _Content()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what this node served is forgotten", file=str(self._path), error=str(error))
            return _Content()

    @property
    def targets(self) -> dict[str, str]:
        return dict(self._content.targets)

    @property
    def volumes(self) -> dict[str, Attached]:
        return dict(self._content.volumes)

    def at(self, target: str, lun: int) -> str:
        """The instance that is served there; a name made up from the place if nobody knows."""
        for name, attached in self._content.volumes.items():
            if (attached.volume.target, attached.volume.lun) == (target, lun):
                return name
        return f"iscsi/{target}/{lun}"

    def add_target(self, name: str, engine: str) -> None:
        if self._content.targets.get(name) != engine:
            self._content.targets[name] = engine
            self._save()

    def add(self, attached: Attached) -> None:
        if self._content.volumes.get(attached.instance) != attached:
            self._content.volumes[attached.instance] = attached
            self._save()

    def forget_target(self, name: str) -> None:
        if self._content.targets.pop(name, None) is not None:
            self._save()

    def forget(self, instance: str) -> None:
        if self._content.volumes.pop(instance, None) is not None:
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, msgspec.json.encode(self._content))
