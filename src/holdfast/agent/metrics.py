"""What an agent tells Prometheus of its node. docs/monitoring.md explains each figure."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from holdfast import metrics
from holdfast.agent.context import Order
from holdfast.agent.executor import Executor
from holdfast.agent.session import Session
from holdfast.agent.tally import Tally
from holdfast.core.validity import SessionState
from holdfast.ports import Clock, GuardLink
from holdfast.store.figures import store_families
from holdfast.store.measured import MeasuredStore


class AgentMetrics:
    """Made once the parts of the agent are there."""

    def __init__(
        self, clock: Clock, session: Session, guard: GuardLink, executor: Executor, tally: Tally, store: MeasuredStore
    ) -> None:
        self._clock = clock
        self._session = session
        self._guard = guard
        self._executor = executor
        self._tally = tally
        self._store = store

    def families(self) -> Iterator[Metric]:
        yield metrics.build_info("agent")
        yield from self._protocol()
        yield from self._work()
        yield from store_families(self._store)

    def _protocol(self) -> Iterator[Metric]:
        now, session = self._clock.now(), self._session
        states = {(state.value,): float(state is session.state) for state in SessionState}
        yield metrics.gauge("agent_session", "Where the node's session stands: 1 for its state.", ("state",), states)
        beaten = session.last_commit > float("-inf")
        age = now - session.last_commit if beaten else None
        yield metrics.single("agent_beat_age_seconds", "Since the last committed beat was sent.", age)
        margin = session.validity.deadline - now if beaten else None
        yield metrics.single(
            "agent_validity_margin_seconds",
            "Until the node's deadline, at which it stops what is strict; +Inf while high availability is paused.",
            margin,
        )
        yield metrics.single("agent_fence_epoch", "The fence epoch that the node acknowledges.", session.fence_epoch)
        watchdog = session.attested_watchdog
        yield metrics.single(
            "agent_watchdog_attested", "1: the last beat attested a watchdog.", float(watchdog is not None)
        )
        timeout = watchdog.timeout_s if watchdog is not None else None
        yield metrics.single("agent_watchdog_timeout_seconds", "Of the watchdog that was attested.", timeout)
        yield metrics.single("agent_guard_connected", "1: the guard is there.", float(self._guard.connected))
        refused = bool(session.problem)
        yield metrics.single("agent_join_refused", "1: the node cannot join; its log says why.", float(refused))

    def _work(self) -> Iterator[Metric]:
        orders: Counter[tuple[str, str]] = Counter()
        running: Counter[tuple[str]] = Counter()
        for spec, order, runs in self._executor.duties():
            orders[spec.kind, order.value] += 1
            running[(spec.kind,)] += runs
        wanted = {(kind, order.value): orders[kind, order.value] for (kind,) in running for order in Order}
        yield metrics.gauge(
            "agent_instances_ordered", "Instances by what is asked of this node.", ("kind", "order"), wanted
        )
        yield metrics.gauge("agent_instances_present", "Instances of which something may be here.", ("kind",), running)
        names = ("kind", "action", "result")
        yield metrics.counter("agent_actions", "What drivers and probes were asked to do.", names, self._tally.counts)
        yield metrics.counter("agent_action_seconds", "Time that took, in all.", names, self._tally.seconds)
