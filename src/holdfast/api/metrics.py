"""What the panel's processes tell Prometheus of the cluster, from the picture in memory: each process tells the same.

docs/monitoring.md explains each figure.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from prometheus_client.metrics_core import Metric

from holdfast import metrics
from holdfast.api.status import ClusterStatus
from holdfast.core.alarm import seconds_between
from holdfast.core.alarm_model import Alarm, Delivery, ManagerHealth, NodeReport, Receiver
from holdfast.core.history import Incident, IncidentStep
from holdfast.core.model import KINDS, InstanceState, NodeState, Proof
from holdfast.store import keys
from holdfast.store.figures import family, store_families
from holdfast.store.measured import Histogram, MeasuredStore
from holdfast.store.view import Source

T = TypeVar("T")

STEP_BOUNDS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""Of the steps of an incident."""
STATES = (*(state.value for state in InstanceState), "unplaced", "unknown")


def families(status: ClusterStatus, source: Source, store: MeasuredStore | None = None) -> Iterator[Metric]:
    """`store`: the client of this process, for its own latencies."""
    yield metrics.build_info("panel")
    yield metrics.single("picture_current", "1: this picture follows the store.", float(not status.store_problem))
    yield from _manager(status, source)
    yield from _nodes(status)
    yield from _instances(status)
    yield from _guarantee(status)
    yield from _incidents(source)
    yield from _health(source)
    yield from _alarms(source)
    if store is not None:
        yield from store_families(store)


# --- manager, nodes, instances ----------------------------------------------------------------------------------------


def _manager(status: ClusterStatus, source: Source) -> Iterator[Metric]:
    leader = status.manager
    leads = {(node,): float(node == leader.node) for node in status.management.nodes}
    yield metrics.gauge("manager_leads", "1 for the management node whose manager leads.", ("node",), leads)
    yield metrics.single("manager_term", "Grows with each change of the leading manager.", leader.term)
    yield metrics.single("manager_holds", "1: nothing is recovered; `holdfast status` says why.", bool(status.hold))
    yield metrics.single("ha_paused", "1: high availability is paused.", float(status.pause is not None))


def _nodes(status: ClusterStatus) -> Iterator[Metric]:
    states = Counter(node.state for node in status.nodes)
    count = {(state.value,): states[state] for state in NodeState}
    yield metrics.gauge("nodes", "Nodes by state.", ("state",), count)
    per = {(node.id, node.state.value): 1.0 for node in status.nodes}
    yield metrics.gauge("node_state", "1 for the state that the node is in.", ("node", "state"), per)
    up = {(node.id,): float(node.state.up) for node in status.nodes}
    yield metrics.gauge("node_up", "1: it beats and nobody misses it.", ("node",), up)
    dogs = {(node.id,): float(node.watchdog is not None) for node in status.nodes}
    yield metrics.gauge("node_watchdog", "1: it attests a watchdog.", ("node",), dogs)
    there = [node for node in status.nodes if node.cpu]
    cores = {(node.id,): node.cpu for node in there}
    yield metrics.gauge("node_cpu_cores", "Cores of the machine.", ("node",), cores)
    memory = {(node.id,): node.memory_mib * 2.0**20 for node in there}
    yield metrics.gauge("node_memory_bytes", "Memory of the machine.", ("node",), memory)
    used_cpu, used_memory = dict[str, float](), Counter[str]()
    for instance in status.instances:
        used_cpu[instance.node] = used_cpu.get(instance.node, 0.0) + instance.cpu
        used_memory[instance.node] += instance.memory_mib
    used = {(node.id,): used_cpu.get(node.id, 0.0) for node in status.nodes}
    yield metrics.gauge("node_cpu_placed_cores", "Cores that what is placed there needs.", ("node",), used)
    held = {(node.id,): used_memory[node.id] * 2.0**20 for node in status.nodes}
    yield metrics.gauge("node_memory_placed_bytes", "Memory that what is placed there needs.", ("node",), held)


def _instances(status: ClusterStatus) -> Iterator[Metric]:
    kinds = sorted({instance.kind for instance in status.instances} & set(KINDS))
    states = Counter((instance.kind, instance.state) for instance in status.instances)
    count = {(kind, state): states[kind, state] for kind in kinds for state in STATES}
    yield metrics.gauge("instances", "Instances by kind and state.", ("kind", "state"), count)
    well = Counter(instance.kind for instance in status.instances if instance.healthy)
    healthy = {(kind,): well[kind] for kind in kinds}
    yield metrics.gauge("instances_healthy", "Instances that answer at their address.", ("kind",), healthy)
    asked = Counter(instance.kind for instance in status.instances if instance.desired == "started")
    wanted = {(kind,): asked[kind] for kind in kinds}
    yield metrics.gauge("instances_wanted", "Instances that are to run.", ("kind",), wanted)
    late = Counter(instance.kind for instance in status.instances if instance.waiting)
    waiting = {(kind,): late[kind] for kind in kinds}
    yield metrics.gauge("instances_waiting", "Instances that wait, for room above all.", ("kind",), waiting)
    placed = Counter((instance.node, instance.kind) for instance in status.instances if instance.node)
    there = {(node.id, kind): placed[node.id, kind] for node in status.nodes for kind in kinds}
    yield metrics.gauge("node_instances", "Instances placed on the node.", ("node", "kind"), there)


def _guarantee(status: ClusterStatus) -> Iterator[Metric]:
    word = status.guarantee
    holds = None if word is None else float(word.holds)
    yield metrics.single("guarantee_holds", "1: any `tolerate` node failures leave room for everything.", holds)
    tolerate = None if status.compute is None else status.compute.tolerate
    yield metrics.single("guarantee_tolerate", "So many failures are to be survived.", tolerate)
    left = None
    if word is not None:
        left = word.tolerate if word.holds else 0 if word.waiting else max(0, len(word.worst) - 1)
    text = "So many node failures, whichever, leave room for everything (at least)."
    yield metrics.single("guarantee_remaining_failures", text, left)
    unplaced = None if word is None else len(word.unplaced)
    yield metrics.single("guarantee_unplaced_instances", "Without room after the worst of them, 100 at most.", unplaced)


# --- incidents --------------------------------------------------------------------------------------------------------


def _incidents(source: Source) -> Iterator[Metric]:
    """From the incidents that the store keeps: every process counts the same, also one that has just begun."""
    incidents = [one for key in source.keys_below(keys.INCIDENTS) if (one := source.read(key, Incident)) is not None]
    opened = sum(one.state == "open" for one in incidents)
    yield metrics.single("incidents_open", "Incidents that are not over.", opened)
    over = Counter((one.proof.value if one.proof else "none",) for one in incidents if one.state != "open")
    known: dict[tuple[str], int] = {(proof.value,): over[(proof.value,)] for proof in Proof} | {
        ("none",): over[("none",)]
    }
    yield metrics.counter("incidents", "Incidents that are over, by the proof of the node's death.", ("proof",), known)
    steps: dict[str, dict[tuple[str, ...], Histogram]] = {name: {} for name in _TEXTS}
    for incident in incidents:
        for name, labels, seconds in _timings(incident):
            steps[name].setdefault(labels, Histogram(STEP_BOUNDS_S)).add(seconds)
    for name, found in steps.items():
        text, names = _TEXTS[name]
        yield family(f"incident_{name}_seconds", text, names, found)


_TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "detection": ("From the first missed beat until the node was suspect.", ()),
    "proof": ("From suspect until it was proven dead, the time that fencing took included.", ("proof",)),
    "claim": ("From the first missed beat until the claim was committed.", ("proof",)),
    "recovery": ("From the first missed beat until an instance answered a client again.", ("kind", "proof")),
}


def _timings(incident: Incident) -> Iterator[tuple[str, tuple[str, ...], float]]:
    first: dict[str, IncidentStep] = {}
    for step in incident.steps:
        first.setdefault(step.name, step)
    proof = incident.proof.value if incident.proof else "none"
    suspect, proven, claimed = first.get("suspect"), first.get("proven-dead"), first.get("claimed")
    if suspect is not None:
        yield "detection", (), suspect.at
    if suspect is not None and proven is not None:
        yield "proof", (proof,), max(0.0, proven.at - suspect.at)
    if claimed is not None:
        yield "claim", (proof,), claimed.at
    for step in incident.steps:
        kind = step.instance.partition("/")[0]
        if step.name == "recovered" and kind in KINDS:
            yield "recovery", (kind, proof), step.at


# --- what the leading manager and the nodes say of themselves ---------------------------------------------------------


def _health(source: Source) -> Iterator[Metric]:
    health = source.read(keys.MANAGER_HEALTH, ManagerHealth) or ManagerHealth("", 0)
    text = "Of the leading manager's last transactions."
    latency = {("median",): health.store_latency_s, ("worst",): health.store_worst_s} if health.term else {}
    yield metrics.gauge("manager_store_latency_seconds", text, ("of",), latency)
    members = health.members
    up = {(one.node,): float(one.answers) for one in members}
    yield metrics.gauge("store_member_up", "1: the member of the store answers.", ("node",), up)
    there = [one for one in members if one.answers]
    size = {(one.node,): one.db_bytes for one in there}
    yield metrics.gauge("store_member_db_bytes", "Size of its database, which the quota limits.", ("node",), size)
    used = {(one.node,): one.db_used_bytes for one in there}
    yield metrics.gauge(
        "store_member_db_used_bytes", "What of it is in use; defragmenting frees the rest.", ("node",), used
    )
    quota = {(one.node,): one.quota_bytes for one in there if one.quota_bytes}
    yield metrics.gauge("store_member_quota_bytes", "At this size it refuses writes.", ("node",), quota)
    tests = {(node, one.device): one for node, found in health.fence_tests.items() for one in found}
    good = {labels: float(one.ok) for labels, one in tests.items()}
    yield metrics.gauge(
        "fence_test_ok", "1: the device told the power state when it was tested.", ("node", "device"), good
    )
    bad = {labels: one.failures for labels, one in tests.items()}
    yield metrics.gauge("fence_test_failures", "Failed tests in a row.", ("node", "device"), bad)
    offsets = {(node,): offset for node, offset in health.clock_offsets_s.items()}
    text = "Distance of the node's wall clock from the median of all."
    yield metrics.gauge("node_clock_offset_seconds", text, ("node",), offsets)
    reports = {keys.last_part(key): source.read(key, NodeReport) for key in source.keys_below(keys.REPORTS)}
    ends = {(node,): one.certificate_ends for node, one in reports.items() if one is not None}
    yield _moments("node_certificate_end_timestamp_seconds", "When the node's certificate ends.", ends)
    authority = {(node,): one.authority_ends for node, one in reports.items() if one is not None}
    yield _moments("node_authority_end_timestamp_seconds", "When the authority ends that the node knows.", authority)


def _moments(name: str, text: str, walls: dict[tuple[str], str]) -> Metric:
    begin = "1970-01-01T00:00:00Z"
    values = {labels: found for labels, wall in walls.items() if (found := seconds_between(begin, wall)) is not None}
    return metrics.gauge(name, text, ("node",), values)


def _alarms(source: Source) -> Iterator[Metric]:
    alarms = _read(source, keys.ALARMS, Alarm)
    count = Counter((one.kind, one.severity.value, one.state.value) for one in alarms if one.open)
    yield metrics.gauge("alarms", "Alarms that are open.", ("kind", "severity", "state"), dict(count))
    receivers = {one.name: one for one in _read(source, keys.RECEIVERS, Receiver)}
    states = {name: source.read(keys.delivery(name), Delivery) or Delivery() for name in receivers}
    failures = {(name,): states[name].failures for name in receivers}
    text = "Failed attempts in a row to tell the receiver."
    yield metrics.gauge("alarm_receiver_failures", text, ("receiver",), failures)


def _read(source: Source, prefix: str, kind: type[T]) -> Iterable[T]:
    found = (source.read(key, kind) for key in source.keys_below(prefix))
    return [one for one in found if one is not None]
