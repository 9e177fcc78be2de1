"""The periodic test of every fence device: the leading manager reads its power state. Nothing is ever switched."""

import asyncio

import structlog

from holdfast.core.alarm_model import FenceTest
from holdfast.core.view import NodeView, View
from holdfast.fencing.power.check import check_device
from holdfast.ports import Clock, PowerFences

log = structlog.get_logger("holdfast.manager")

FIRST_S = 20.0
"""After the begin of a term: recovery goes before."""
PERIOD_S = 900.0
AGAIN_S = 60.0
"""A device that failed is tested again so soon."""
TIMEOUT_S = 10.0
AT_ONCE = 4
"""So many nodes are tested side by side."""


class FenceTester:
    """One per manager. `results` hold what was found in this term."""

    def __init__(self, clock: Clock, devices: PowerFences) -> None:
        self._clock = clock
        self._devices = devices
        self._next: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._first = float("-inf")
        self.results: dict[str, tuple[FenceTest, ...]] = {}

    def begin_term(self) -> None:
        self.stop()
        self._first = self._clock.now() + FIRST_S

    def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        self._running.clear()
        self._next.clear()
        self.results.clear()

    def observe(self, view: View, now: float) -> None:
        """Begin what is due. Only nodes that are up are tested: what fences another one needs its device now."""
        for gone in set(self.results) - set(view.nodes):
            del self.results[gone]
        if now < self._first:
            return
        for node in view.nodes.values():
            if len(self._running) >= AT_ONCE:
                return
            quiet = node.up(view.timing, now) and not node.power_running and node.id not in self._running
            if node.spec.fence_devices and quiet and now >= self._next.get(node.id, now):
                self._running[node.id] = asyncio.create_task(self._test(node))

    async def _test(self, node: NodeView) -> None:
        before = {test.device: test for test in self.results.get(node.id, ())}
        found = []
        for device in node.spec.fence_devices:
            try:
                check = await check_device(device, self._devices, up=True, timeout=TIMEOUT_S)
                ok, text, lies = check.ok, check.text, check.lies
            except Exception as error:  # a device's bug must not end the tests of all others
                ok, text, lies = False, f"unexpected failure: {error!r}", False
            failures = 0 if ok else before.get(device.name, FenceTest(device.name, True, "")).failures + 1
            if not ok:
                log.warning("fence device failed its test", node=node.id, device=device.name, text=text)
            found.append(FenceTest(device.name, ok, text, failures, lies))
        self.results[node.id] = tuple(found)
        bad = any(not test.ok for test in found)
        self._next[node.id] = self._clock.now() + (AGAIN_S if bad else PERIOD_S)
        self._running.pop(node.id, None)
