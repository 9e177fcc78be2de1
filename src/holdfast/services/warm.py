"""Keeping warm what could come to a node: the parts of the Driver port that most kinds share."""

from collections.abc import Awaitable, Callable, Sequence

from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError


async def each(instances: Sequence[InstanceSpec], prepare: Callable[[InstanceSpec], Awaitable[None]]) -> dict[str, str]:
    """One after the other; instance id → why it could not be prepared."""
    problems: dict[str, str] = {}
    for instance in instances:
        try:
            await prepare(instance)
        except HoldfastError as error:
            problems[instance.id] = str(error)
    return problems


class NothingWarm:
    """What such a driver keeps warm, if anything, is not in the strict group."""

    async def put_away(self) -> None:
        """Nothing to do."""
