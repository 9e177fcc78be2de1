"""Kinds whose instances cannot be handed over while they run: they move by a stop and a start."""

from collections.abc import Callable

from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError


class ColdDriver:
    """The part of the Driver port that such a driver does not have."""

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        """Raises DriverError, always."""
        raise _cannot(instance)

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        """Raises DriverError, always."""
        raise _cannot(instance)


def _cannot(instance: InstanceSpec) -> DriverError:
    return DriverError(f"{instance.id} cannot be migrated live", "Move it without that: it is stopped and started.")
