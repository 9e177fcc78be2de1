"""Fast detection on one node: sends its datagrams, listens to its targets', reports to the managers. Hints only."""

from collections.abc import Callable

import structlog

from holdfast.config import BEAT_PORT, REPORT_PORT
from holdfast.core.model import Beat, Fence, ManagementSpec, NodeSpec
from holdfast.core.observers import MANAGEMENT, Tracker, observers_of, targets_of
from holdfast.core.timing import Detection
from holdfast.core.view import is_member
from holdfast.net.messages import BeatMessage, ReportMessage, decode_beat, encode
from holdfast.ports import Clock, DatagramBus
from holdfast.store import keys
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

CHECKS_PER_PERIOD = 4
"""How often per sending period the observer looks at its targets."""


class Beacon:
    """`last_commit()` is when this node's last committed beat was sent; `on_isolated` and `on_healed` tell the executor,
    `on_missing(address)` the store's client that a member at that management address is very likely dead; `refuses(address)`
    asks a silent node's kernel whether it lives."""

    def __init__(
        self,
        node: str,
        boot_id: str,
        bus: DatagramBus,
        clock: Clock,
        mirror: Mirror,
        last_commit: Callable[[], float],
        hurry: Callable[[], None],
        on_isolated: Callable[[bool], None],
        on_healed: Callable[[], None],
        on_missing: Callable[[str], None] = lambda _address: None,
        refuses: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        self._node = node
        self._boot_id = boot_id
        self._bus = bus
        self._clock = clock
        self._mirror = mirror
        self._last_commit = last_commit
        self._hurry = hurry
        self._on_isolated = on_isolated
        self._on_healed = on_healed
        self._on_missing = on_missing
        self._refuses = refuses
        self._detection = Detection()
        self._tracker = Tracker(self._detection)
        self._sequence = 0
        self._missing_most_since: float | None = None
        self._said: dict[str, dict[str, bool]] = {}
        self._said_self = False
        self._reported_at = self._asked_at = float("-inf")
        self._destinations: list[tuple[str, str]] = []
        self._managers: list[str] = []
        self._addresses: dict[str, str] = {}
        bus.on_receive(self._received)

    async def run(self) -> None:
        """For ever."""
        step = self._detection.period / CHECKS_PER_PERIOD
        turn = 0
        next_at = self._clock.now()
        while True:
            if turn % CHECKS_PER_PERIOD == 0:
                self._refresh()
                self._send()
            self._check()
            turn += 1
            next_at += step
            now = self._clock.now()
            if next_at < now - self._detection.period:
                next_at = now  # we were paused: do not send a burst
            await self._clock.sleep(max(0.0, next_at - now))

    def _refresh(self) -> None:
        """Who observes us, whom we observe, and where the managers are: from what the store says now."""
        specs: dict[str, NodeSpec] = {}
        for entry in list(self._mirror.below(keys.NODE_SPECS)):
            spec = self._mirror.read(entry.key, NodeSpec)
            assert spec is not None
            specs[keys.last_part(entry.key)] = spec
        domains = {name: spec.failure_domain for name, spec in specs.items() if self._member(name)}
        self._addresses = {name: spec.addresses[MANAGEMENT] for name, spec in specs.items()}
        own = specs.get(self._node)
        if own is None:
            return
        count = self._detection.observers
        observers = observers_of(self._node, {**domains, self._node: own.failure_domain}, count)
        self._destinations = [
            (network, specs[observer].addresses[network])
            for observer in observers
            for network in own.addresses
            if network in specs[observer].addresses
        ]
        targets = targets_of(self._node, {**domains, self._node: own.failure_domain}, count)
        self._tracker.expect(
            {
                name: [net for net in specs[name].addresses if net in own.addresses]
                for name in targets
                if name in domains
            }
        )
        management = self._mirror.read(keys.MANAGEMENT, ManagementSpec)
        if management is not None:
            self._managers = [specs[name].addresses[MANAGEMENT] for name in management.nodes if name in specs]

    def _member(self, name: str) -> bool:
        return is_member(self._mirror.read(keys.beat(name), Beat), self._mirror.read(keys.fence(name), Fence))

    def _send(self) -> None:
        self._sequence += 1
        for network, address in self._destinations:
            message = BeatMessage(network=network, sequence=self._sequence, boot_id=self._boot_id)
            self._bus.send(encode(message), address, BEAT_PORT)

    def _received(self, payload: bytes, sender: str, _address: str) -> None:
        message = decode_beat(payload)
        if message is not None:
            self._tracker.heard(sender, message.network, self._clock.now())

    def _check(self) -> None:
        """Look at the targets; report at each change and now and then."""
        now = self._clock.now()
        self._ask_silent(now)
        observations = self._tracker.observations(now)
        missing = {node: {net: ms >= 0 for net, ms in nets.items()} for node, nets in observations.items()}
        suspects_self = self._suspects_self(now)
        changed = missing != self._said or suspects_self != self._said_self
        if changed and self._healed(missing):
            self._on_healed()
        for node, networks in missing.items():
            if networks.get(MANAGEMENT) and not self._said.get(node, {}).get(MANAGEMENT) and node in self._addresses:
                self._on_missing(self._addresses[node])
        if changed or now - self._reported_at >= self._detection.report_period:
            self._said, self._said_self, self._reported_at = missing, suspects_self, now
            report = encode(ReportMessage(observer=self._node, self_suspect=suspects_self, targets=observations))
            for address in self._managers:
                self._bus.send(report, address, REPORT_PORT)

    def _ask_silent(self, now: float) -> None:
        """Tell a dead node from a dead agent."""
        if now - self._asked_at < self._detection.ask_period:
            return
        self._asked_at = now
        for node in self._tracker.silent(now):
            if node in self._addresses and self._refuses(self._addresses[node]):
                self._tracker.refused(node, now)

    def _healed(self, missing: dict[str, dict[str, bool]]) -> bool:
        return any(
            was and missing.get(node, {}).get(net) is False
            for node, nets in self._said.items()
            for net, was in nets.items()
        )

    def _suspects_self(self, now: float) -> bool:
        """We miss most of our targets: it is us, unless a beat of ours was committed since it began."""
        if not self._tracker.misses_most(now):
            self._missing_most_since = None
            self._on_isolated(False)
            return False
        if self._missing_most_since is None:
            self._missing_most_since = now
            self._hurry()
        if self._last_commit() >= self._missing_most_since:
            self._on_isolated(False)
            return False
        if now - self._missing_most_since > self._detection.miss_after:
            self._on_isolated(True)
        return True
