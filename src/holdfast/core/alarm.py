"""What is wrong now, from what the manager sees: conditions with stable ids. `core.alarm_life` makes alarms of them."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from holdfast.core.alarm_instances import instances
from holdfast.core.alarm_model import MANY, AlarmKind, Condition, Facts, StoreMember, alarm_id
from holdfast.core.history import Severity
from holdfast.core.model import NodeState, Proof
from holdfast.core.view import NodeView, View

SLOW_S = 0.25
"""Median of the manager's transactions from which on the store is slow; half of it ends the alarm."""
SPACE = 0.8
"""Share of its quota from which on a member is nearly full; SPACE_CLEAR ends the alarm."""
SPACE_CLEAR = 0.7
DAY_S = 86400.0
CERTIFICATE_S, CERTIFICATE_URGENT_S = 20 * DAY_S, 7 * DAY_S
"""Nodes renew their certificates by themselves when a third of their time is left (bootstrap/certificates.py). One that ends
within this time was not renewed: a warning, then an error."""
AUTHORITY_S, AUTHORITY_URGENT_S = 90 * DAY_S, 30 * DAY_S
"""The authority is replaced by an operator."""
SKEW_S = 2.0
"""Distance of a wall clock from the median of all; half of it ends the alarm."""
PAUSED_S = 3600.0
SUSPECT_LONG_S = 120.0
"""A node that is suspect for so long has no proof to come by itself."""
FENCE_FAILURES = 2
"""Tests of a fence device that must fail in a row; one that lies is told of at once."""
RECEIVER_FAILURES = 4
CLUSTER = "cluster"
REST = "more"
"""Subject of that one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, and what cannot be judged now: alarms of those stay as they are."""

    conditions: dict[str, Condition]
    """By id."""
    unknown: frozenset[str]
    """Ids and whole kinds."""

    def knows(self, alarm: str) -> bool:
        return alarm not in self.unknown and alarm.partition(":")[0] not in self.unknown


def judge(view: View, facts: Facts, now: float, open_ids: Collection[str] = ()) -> Judgement:
    """`open_ids`: alarms that are raised; where a value swings around a limit, another limit ends them. A view that is not
    settled cannot be judged: the caller waits."""
    found: dict[str, Condition] = {}
    by_kind: dict[AlarmKind, list[Condition]] = {}
    for source in _SOURCES:
        for condition in source(view, facts, now, open_ids):
            by_kind.setdefault(condition.kind, []).append(condition)
    for conditions in by_kind.values():
        found.update((one.id, one) for one in _bounded(conditions, open_ids))
    return Judgement(found, frozenset(_unknown(view, facts)))


def _bounded(conditions: list[Condition], open_ids: Collection[str]) -> list[Condition]:
    """When a site fails nobody reads ten thousand alarms, and no store should hold them. Those that are raised stay."""
    if len(conditions) <= MANY:
        return conditions
    ordered = sorted(conditions, key=lambda one: (one.id not in open_ids, one.subject))
    rest = ordered[MANY - 1 :]
    severity = Severity.ERROR if any(one.severity is Severity.ERROR for one in rest) else rest[0].severity
    text = f"the same as the other alarms of this kind is true of more, {rest[0].subject} among them"
    return [*ordered[: MANY - 1], Condition(rest[0].kind, REST, severity, text, rest[0].advice)]


def _unknown(view: View, facts: Facts) -> Iterator[str]:
    if facts.members is None:
        yield from (AlarmKind.STORE_MEMBER_MISSING, AlarmKind.STORE_SPACE, AlarmKind.MANAGEMENT_DEGRADED)
    if facts.latency_s is None:
        yield AlarmKind.STORE_SLOW
    if facts.guarantee is None and view.compute is not None:
        yield AlarmKind.GUARANTEE_LOST
    for node in view.nodes.values():
        if node.id not in facts.offsets_s:
            yield alarm_id(AlarmKind.CLOCK_SKEW, node.id)
        if not node.spec.fence_devices:
            continue
        tests = {one.device: one for one in facts.fence_tests.get(node.id, ())}
        for device in node.spec.fence_devices:
            test = tests.get(device.name)
            if test is None or 0 < test.failures < FENCE_FAILURES:
                yield alarm_id(AlarmKind.FENCE_TEST_FAILED, f"{node.id}/{device.name}")


# --- nodes -----------------------------------------------------------------------------------------------------------


def _nodes(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    for node in view.nodes.values():
        state, name = node.state(view.timing, now), node.id
        if state is NodeState.SUSPECT:
            yield _suspect(node, f": {facts.notes[name]}" if facts.notes.get(name) else "", now)
        elif state is NodeState.CLAIMED and node.maintenance is None:
            proof = node.fence.proof or Proof.OPERATOR
            yield Condition(
                AlarmKind.NODE_DEAD,
                name,
                Severity.ERROR,
                f"{name} failed, was proven dead ({proof}), and is not back",
                f"Repair it; it joins by itself when its agent runs. `holdfast incident list` says what happened. "
                f"If it never comes back: holdfast node remove {name}",
            )
        if node.health is not None and node.health.quarantined:
            yield Condition(
                AlarmKind.NODE_QUARANTINED,
                name,
                Severity.WARNING,
                f"{name} carries nothing new: it failed again and again",
                f"Find out why; once it is sound: holdfast node return {name}",
            )
        if node.beat is not None and node.beat.watchdog is None and node.up(view.timing, now):
            yield from _watchdog(view, node, facts)
        for network in node.lost_networks:
            yield Condition(
                AlarmKind.NETWORK_LOST,
                f"{name}/{network}",
                Severity.WARNING,
                f"{name} is missed on the network {network} by a majority of its observers",
                "Check its cable, switch port and interface. What needs that network is moved off.",
            )


def _suspect(node: NodeView, note: str, now: float) -> Condition:
    since = node.suspicion.since if node.suspicion is not None else node.beat_seen_at
    long = now - since > SUSPECT_LONG_S
    advice = "Wait: it is being proven dead, or comes back."
    if long:
        advice = f"Nothing proves its death. Look at it; if it is certainly off: holdfast node confirm-dead {node.id}"
    severity = Severity.ERROR if long else Severity.WARNING
    return Condition(AlarmKind.NODE_SUSPECT, node.id, severity, f"{node.id} is suspect{note}", advice)


def _watchdog(view: View, node: NodeView, facts: Facts) -> Iterator[Condition]:
    if view.pause is not None or (node.beat is not None and node.beat.paused):
        return  # nobody attests a watchdog while high availability is paused
    tests = {one.device: one for one in facts.fence_tests.get(node.id, ())}
    devices = [one for one in node.spec.fence_devices if one.type != "manual"]
    proofs = [one for one in devices if one.name not in tests or tests[one.name].ok]
    if proofs:
        text = f"{node.id} attests no watchdog: power fencing alone can prove its death"
        severity = Severity.WARNING
    else:
        text = f"{node.id} has neither a watchdog nor a fence device that answers: nothing proves its death by itself"
        severity = Severity.ERROR
    advice = (
        "Load a watchdog driver (softdog if the machine has none), and see that holdfast-guard runs; "
        f"docs/safety.md names what counts. Fence devices: holdfast node fence test {node.id}"
    )
    yield Condition(AlarmKind.WATCHDOG_MISSING, node.id, severity, text, advice)


def _fence_devices(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    for node in view.nodes.values():
        tests = facts.fence_tests.get(node.id, ())
        known = {one.name for one in node.spec.fence_devices}
        others = node.beat is not None and node.beat.watchdog is not None
        for test in tests:
            if test.device not in known or not (test.lies or test.failures >= FENCE_FAILURES):
                continue
            fine = others or any(other.ok for other in tests if other.device != test.device)
            yield Condition(
                AlarmKind.FENCE_TEST_FAILED,
                f"{node.id}/{test.device}",
                Severity.WARNING if fine and not test.lies else Severity.ERROR,
                f"the fence device {test.device} of {node.id} failed its test: {test.text}",
                f"Nothing was switched. Check the device, then: holdfast node fence test {node.id}",
            )


def _reports(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    for name, report in facts.reports.items():
        if name not in view.nodes:
            continue
        left_s = seconds_between(facts.wall, report.certificate_ends)
        if left_s is not None and left_s < CERTIFICATE_S:
            yield Condition(
                AlarmKind.CERTIFICATE_EXPIRES,
                name,
                Severity.ERROR if left_s < CERTIFICATE_URGENT_S else Severity.WARNING,
                f"the certificate of {name} ends on {report.certificate_ends[:10]} and was not renewed",
                "Look at the log of its agent: it renews it by itself. Without it the node cannot reach the store.",
            )
        for address, who in report.conflicts.items():
            yield Condition(
                AlarmKind.ADDRESS_CONFLICT,
                address,
                Severity.ERROR,
                f"the service address {address} on {name} is answered by {who} too",
                "Find that machine by its hardware address and take the address from it, or give the service another one.",
            )
    authority = min((one.authority_ends for one in facts.reports.values() if one.authority_ends), default="")
    left_s = seconds_between(facts.wall, authority)
    if left_s is not None and left_s < AUTHORITY_S:
        yield Condition(
            AlarmKind.CERTIFICATE_EXPIRES,
            CLUSTER,
            Severity.ERROR if left_s < AUTHORITY_URGENT_S else Severity.WARNING,
            f"the certificate of the cluster's authority ends on {authority[:10]}",
            "Replace it before: `holdfast cluster rotate-authority`. Without it no node can reach the store.",
        )
    for name, offset in facts.offsets_s.items():
        if name not in view.nodes or abs(offset) <= SKEW_S / 2:
            continue
        limit = SKEW_S / 2 if alarm_id(AlarmKind.CLOCK_SKEW, name) in open_ids else SKEW_S
        if abs(offset) > limit:
            yield Condition(
                AlarmKind.CLOCK_SKEW,
                name,
                Severity.WARNING,
                f"the wall clock of {name} is {'ahead of' if offset > 0 else 'behind'} the others by more than {limit:g} s",
                "Holdfast decides nothing by it, but logs, certificates and file times need it: see that NTP works there.",
            )


# --- the cluster ------------------------------------------------------------------------------------------------------


def _cluster(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    word = facts.guarantee
    if word is not None and not word.holds and view.compute is not None:
        advice = "Add room, or stop what may be stopped. See: holdfast what-if"
        yield Condition(AlarmKind.GUARANTEE_LOST, CLUSTER, Severity.WARNING, word.text, advice)
    pause = view.pause
    if pause is not None and (seconds_between(pause.since, facts.wall) or 0.0) > PAUSED_S:
        who = f" by {pause.operator}" if pause.operator else ""
        text = f"high availability is paused{who} since {pause.since[:16]}Z: nothing is fenced or recovered"
        yield Condition(
            AlarmKind.HA_PAUSED, CLUSTER, Severity.WARNING, text, "When the work is done: holdfast ha resume"
        )
    if facts.hold and pause is None:
        advice = "Look at switches and power of the whole site first. See: holdfast status"
        yield Condition(AlarmKind.HOLD, CLUSTER, Severity.ERROR, f"nothing is recovered: {facts.hold}", advice)
    for name, delivery in facts.deliveries.items():
        if delivery.failures >= RECEIVER_FAILURES:
            text = f"the receiver {name} takes no alarms: {delivery.error}"
            advice = f"Correct it, then: holdfast alarm receiver test {name}"
            yield Condition(AlarmKind.RECEIVER_FAILING, name, Severity.WARNING, text, advice)


def seconds_between(begin: str, end: str) -> float | None:
    """None if one of them is no moment: agents of other versions may write what they like."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    except (ValueError, TypeError):
        return None


def _store(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    limit = SLOW_S / 2 if alarm_id(AlarmKind.STORE_SLOW, CLUSTER) in open_ids else SLOW_S
    if facts.latency_s is not None and facts.latency_s > limit:
        yield Condition(
            AlarmKind.STORE_SLOW,
            CLUSTER,
            Severity.WARNING,
            f"half of the manager's transactions take longer than {limit * 1000:g} ms",
            "Give etcd a fast disk of its own; look at disk and network of the management nodes.",
        )
    members = facts.members or ()
    for member in members:
        if not member.answers:
            yield Condition(
                AlarmKind.STORE_MEMBER_MISSING,
                member.node,
                Severity.WARNING,
                f"the store's member on {member.node} does not answer",
                f"Look at the node, and at /var/log/holdfast/etcd.log there. For good: holdfast node remove {member.node}",
            )
        yield from _space(member, open_ids)
    yield from _management(facts)


def _space(member: StoreMember, open_ids: Collection[str]) -> Iterator[Condition]:
    full = "NOSPACE" in " ".join(member.errors)
    limit = SPACE_CLEAR if alarm_id(AlarmKind.STORE_SPACE, member.node) in open_ids else SPACE
    near = member.quota_bytes > 0 and member.db_bytes >= limit * member.quota_bytes
    if full or near:
        what = "refuses writes" if full else f"uses more than {limit:.0%} of its quota"
        yield Condition(
            AlarmKind.STORE_SPACE,
            member.node,
            Severity.ERROR if full else Severity.WARNING,
            f"the store's member on {member.node} {what}",
            "Compact and defragment it: docs/operating.md, What to do when the store is full.",
        )


def _management(facts: Facts) -> Iterator[Condition]:
    wanted, members = facts.management.nodes, facts.members or ()
    if len(wanted) < 2 or not members:
        return
    voters = [member for member in members if member.voter]
    answering = [member.node for member in voters if member.answers]
    if len(answering) > len(voters) // 2 + 1 and len(voters) >= len(wanted):
        return
    text = (
        f"the management plane survives no further failure: of {len(wanted)} management nodes {len(answering)} answer"
    )
    if len(answering) == len(wanted):
        return
    advice = "Bring the others back, or put another node in their place: holdfast ha enable"
    yield Condition(AlarmKind.MANAGEMENT_DEGRADED, CLUSTER, Severity.ERROR, text, advice)


Source = Callable[[View, Facts, float, Collection[str]], Iterator[Condition]]
_SOURCES: tuple[Source, ...] = (_nodes, _fence_devices, _reports, instances, _cluster, _store)
