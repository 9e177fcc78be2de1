"""Writes this node's report for people, when it has something new to say."""

from collections.abc import Mapping, Sequence

import structlog

from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.services.iscsi import report
from holdfast.services.iscsi.report import Guest, NodeReport
from holdfast.services.storage import SharedStorage

log = structlog.get_logger("holdfast.iscsi")

STORAGE_S = 3.0


class Reporter:
    """See the module's text. It never stands in the way of what it reports about."""

    def __init__(self, node: str, shared_root: str, clock: Clock) -> None:
        self._node = node
        self._shared_root = shared_root
        self._clock = clock
        self._storage = SharedStorage(shared_root, clock)
        self._said: NodeReport | None = None
        self._problem = ""

    async def report(
        self,
        engines: Mapping[str, str],
        problems: Mapping[str, str],
        paths: Mapping[str, Mapping[int, str]],
        connections: Sequence[Guest],
    ) -> None:
        """See `NodeReport` for what is what. Never raises."""
        states = {group: dict(units) for group, units in paths.items()}
        new = NodeReport(self._node, dict(engines), dict(problems), states, tuple(connections), self._clock.wall())
        if new.same(self._said):
            return
        try:
            await self._storage.check(timeout=STORAGE_S)
            await self._storage.run(
                lambda: report.write(self._shared_root, new), timeout=STORAGE_S, what="writing the report on iSCSI"
            )
            self._said, self._problem = new, ""
        except HoldfastError as error:
            if str(error) != self._problem:
                log.warning("iSCSI paths not reported", error=str(error))
            self._problem = str(error)
