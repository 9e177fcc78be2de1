"""Health of a virtual machine (port HealthProbe).

A machine has no address that Holdfast knows of, so no client can be played from elsewhere. Its own node judges: the domain
runs, its disks work, its guest's heart beats. The driver there writes what it found each second (a file in run_dir), and the
probe reads it. On any other node it has nothing to say: there the status counts that the machine's node has written.
"""

import json
from pathlib import Path

from holdfast.core.model import InstanceSpec
from holdfast.ports import Clock
from holdfast.services.vm.config import KIND

STALE_S = 10.0
"""A finding older than this says only that nobody looks any more."""


class VmProbe:
    """See the module's text."""

    kind = KIND

    def __init__(self, run_dir: str, clock: Clock) -> None:
        self._directory = Path(run_dir) / "vm" / "health"
        self._clock = clock

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """See the port. Takes no time: it reads one small file of this node."""
        try:
            found = json.loads((self._directory / f"{instance.service}.json").read_text())
            problem, age = str(found["problem"]), self._clock.now() - float(found["at"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"what this node found about {instance.id} cannot be read: {error}"
        return problem or (f"nobody has looked after {instance.id} for {age:.0f} s" if age > STALE_S else "")
