"""Virtual machines that are being made: copying a disk takes longer than a request may.

They live in this process: when it ends, the copy is broken off and nothing was created.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from holdfast.api.operations.draft import Outcome
from holdfast.errors import Conflict, HoldfastError, NotFound

_log = structlog.get_logger()

Work = Callable[[Callable[[float], None]], Awaitable[Outcome]]
"""Does it, and tells how far it is (percent)."""
KEPT = 100
"""So many that have ended are remembered."""


@dataclass(slots=True)
class Creation:
    """How far one is."""

    name: str
    percent: float = 0.0
    outcome: Outcome | None = None
    error: HoldfastError | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def ended(self) -> bool:
        return self.outcome is not None or self.error is not None


class Creations:
    """By the machine's name."""

    def __init__(self) -> None:
        self._known: dict[str, Creation] = {}

    def begin(self, name: str, work: Work) -> Creation:
        """Raises Conflict while one of that name is under way."""
        known = self._known.get(name)
        if known is not None and not known.ended:
            raise Conflict(f"`{name}` is being created", f"It is at {known.percent:.0f} %. Wait for it.")
        creation = Creation(name)
        self._known.pop(name, None)
        self._known[name] = creation
        creation.task = asyncio.create_task(self._run(creation, work))
        for old in [key for key, value in self._known.items() if value.ended][:-KEPT]:
            del self._known[old]
        return creation

    def of(self, name: str) -> Creation:
        """Raises NotFound."""
        if name not in self._known:
            raise NotFound(
                f"no creation of `{name}` is under way on the node that answers",
                "If it was begun, the node that did it has ended, and nothing was created: repeat it.",
            )
        return self._known[name]

    async def _run(self, creation: Creation, work: Work) -> None:
        def told(percent: float) -> None:
            creation.percent = percent

        try:
            creation.outcome = await work(told)
        except HoldfastError as error:
            creation.error = error
        except Exception as error:
            _log.exception("creation-failed", name=creation.name)
            creation.error = HoldfastError(f"`{creation.name}` could not be created: {error!r}", "See the panel's log.")
