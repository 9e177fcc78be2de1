"""From conditions to alarms: what holds for long enough is raised, what is gone for long enough is cleared. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from holdfast.core.alarm import Judgement
from holdfast.core.alarm_model import (
    RANK,
    Alarm,
    AlarmEvent,
    AlarmKind,
    AlarmState,
    Condition,
    Delivery,
    Receiver,
    alarm_next,
)

RAISE_AFTER_S = {
    AlarmKind.GUARANTEE_LOST: 10.0,
    AlarmKind.INSTANCE_WAITING: 45.0,
    AlarmKind.INSTANCE_FAILED: 5.0,
    AlarmKind.STORE_MEMBER_MISSING: 15.0,
    AlarmKind.MANAGEMENT_DEGRADED: 30.0,
    AlarmKind.WATCHDOG_MISSING: 30.0,
    AlarmKind.CLOCK_SKEW: 70.0,
    AlarmKind.STORE_SLOW: 20.0,
    AlarmKind.NETWORK_LOST: 10.0,
}
"""How long a condition must hold before it is raised. What a recovery mends in its ordinary course is no alarm; a clock must
be wrong in two reports."""
RAISE_S = 3.0
"""Of the other kinds."""
CLEAR_AFTER_S = {AlarmKind.NODE_DEAD: 3.0, AlarmKind.INSTANCE_WAITING: 5.0, AlarmKind.NODE_SUSPECT: 5.0}
CLEAR_S = 20.0
"""How long it must be gone before the alarm is cleared, likewise: what flaps stays raised."""
CLEARED_KEPT = 200


@dataclass(slots=True)
class Tracker:
    """How long each condition has been there or gone. One per term: a new leader waits anew, which can delay an alarm and
    never raises one twice, for what is raised stands in the store."""

    _since: dict[str, float] = field(default_factory=dict)
    _gone: dict[str, float] = field(default_factory=dict)

    def step(self, judged: Judgement, alarms: Mapping[str, Alarm], now: float, wall: str) -> list[Alarm]:
        """The alarms that are to be written, as they are then."""
        changed = []
        self._since = {name: self._since.get(name, now) for name in judged.conditions}
        for name, condition in judged.conditions.items():
            alarm = alarms.get(name)
            if alarm is not None and alarm.open:
                changed += _followed(alarm, condition)
            elif now - self._since[name] >= RAISE_AFTER_S.get(condition.kind, RAISE_S):
                changed.append(_raised(alarm, condition, wall))
        left = [name for name, alarm in alarms.items() if alarm.open and name not in judged.conditions]
        self._gone = {name: self._gone.get(name, now) for name in left if judged.knows(name)}
        for name, since in self._gone.items():
            if now - since >= _CLEAR_AFTER_S.get(alarms[name].kind, CLEAR_S):
                changed.append(_cleared(alarms[name], wall))
        return changed


_CLEAR_AFTER_S = {kind.value: seconds for kind, seconds in CLEAR_AFTER_S.items()}


def _raised(old: Alarm | None, condition: Condition, wall: str) -> Alarm:
    return Alarm(
        condition.id,
        condition.kind,
        condition.subject,
        condition.severity,
        condition.text,
        condition.advice,
        AlarmState.RAISED,
        wall,
        number=old.number + 1 if old is not None else 1,
    )


def _followed(alarm: Alarm, condition: Condition) -> list[Alarm]:
    """It still holds: perhaps in other words, perhaps worse. It is never less severe than it was, until it is over."""
    worse = RANK[condition.severity] > RANK[alarm.severity]
    state = alarm_next(alarm.state, AlarmEvent.WORSENED if worse else AlarmEvent.FOUND)
    assert state is not None
    new = replace(
        alarm,
        state=state,
        severity=condition.severity if worse else alarm.severity,
        text=condition.text,
        advice=condition.advice,
        change=alarm.change + worse,
    )
    return [new] if new != alarm else []


def _cleared(alarm: Alarm, wall: str) -> Alarm:
    state = alarm_next(alarm.state, AlarmEvent.GONE)
    assert state is not None
    return replace(alarm, state=state, cleared_at=wall, change=alarm.change + 1)


def acknowledged(alarm: Alarm, operator: str, wall: str, note: str) -> Alarm | None:
    """As an operator has seen it; None if it is cleared."""
    state = alarm_next(alarm.state, AlarmEvent.ACKNOWLEDGE)
    if state is None:
        return None
    return replace(alarm, state=state, acknowledged_by=operator, acknowledged_at=wall, note=note)


def to_forget(alarms: Mapping[str, Alarm]) -> list[str]:
    """Cleared alarms beyond those that are kept, oldest first."""
    cleared = sorted((alarm.cleared_at, name) for name, alarm in alarms.items() if not alarm.open)
    return [name for _, name in cleared[: max(0, len(cleared) - CLEARED_KEPT)]]


def open_alarms(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """What is wrong now, the most severe first, then in the order in which it was raised."""
    found = (alarm for alarm in alarms if alarm.open)
    return tuple(sorted(found, key=lambda alarm: (-RANK[alarm.severity], alarm.raised_at, alarm.id)))


# --- what receivers are to be told ---------------------------------------------------------------------------------


def first_delivery(receiver: Receiver, alarms: Mapping[str, Alarm]) -> Delivery:
    """Of a new receiver: it is told of everything that is open, and of nothing that was over before."""
    told = {name: (alarm.number, alarm.change) for name, alarm in alarms.items() if not alarm.open}
    return Delivery(receiver.serial, told)


def due(receiver: Receiver, delivery: Delivery, alarms: Mapping[str, Alarm]) -> list[Alarm]:
    """What it has not been told yet, in the order in which it was raised. An end is told even where the alarm has become
    too harmless for the receiver, if its begin was told."""
    least = RANK[receiver.min_severity]
    found = [
        alarm
        for name, alarm in alarms.items()
        if delivery.told.get(name) != (alarm.number, alarm.change)
        and (RANK[alarm.severity] >= least or _told_begin(delivery, alarm))
    ]
    return sorted(found, key=lambda alarm: (alarm.cleared_at or alarm.raised_at, alarm.id))


def _told_begin(delivery: Delivery, alarm: Alarm) -> bool:
    told = delivery.told.get(alarm.id)
    return told is not None and told[0] == alarm.number


def after(delivery: Delivery, taken: list[Alarm], alarms: Mapping[str, Alarm], wall: str) -> Delivery:
    """The receiver has taken these. What is no alarm any more is forgotten."""
    told = {name: what for name, what in delivery.told.items() if name in alarms}
    told |= {alarm.id: (alarm.number, alarm.change) for alarm in taken if alarm.id in alarms}
    return Delivery(delivery.serial, told, at=wall)
