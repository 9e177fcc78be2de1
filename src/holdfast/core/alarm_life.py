"""From conditions to alarms: what holds for long enough is raised, what is gone for long enough is cleared. Pure."""

from collections.abc import Collection, Iterable, Mapping
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
FLAPS_S = 1800.0
STEADY_S = 600.0
"""What was raised again and again within FLAPS_S must be gone for twice as long each time, up to STEADY_S."""
WORDS_S = 10.0
"""Other words for what is raised already are written at most this often."""
CLEARED_KEPT = 200
CLEARED_WAITING = 1000
"""So many stay while a receiver that was told of their begin has not taken their end."""


@dataclass(slots=True)
class Tracker:
    """How long each condition has been there or gone. One per term: a new leader waits anew, which can delay an alarm and
    never raises one twice, for what is raised stands in the store."""

    _since: dict[str, float] = field(default_factory=dict)
    _gone: dict[str, float] = field(default_factory=dict)
    _lives: dict[str, dict[int, float]] = field(default_factory=dict)
    """Alarm → its number → when it was first seen raised; of the last FLAPS_S."""
    _worded: dict[str, float] = field(default_factory=dict)
    """When its words changed last."""

    def step(self, judged: Judgement, alarms: Mapping[str, Alarm], now: float, wall: str) -> list[Alarm]:
        """The alarms that are to be written, as they are then."""
        changed = []
        self._remember(alarms, now)
        self._since = {name: self._since.get(name, now) for name in judged.conditions}
        for name, condition in judged.conditions.items():
            alarm = alarms.get(name)
            if alarm is not None and alarm.open:
                changed += self._followed(alarm, condition, now)
            elif now - self._since[name] >= RAISE_AFTER_S.get(condition.kind, RAISE_S):
                changed.append(_raised(alarm, condition, wall))
        left = [name for name, alarm in alarms.items() if alarm.open and name not in judged.conditions]
        self._gone = {name: self._gone.get(name, now) for name in left if judged.knows(name)}
        for name, since in self._gone.items():
            if now - since >= self._clear_after_s(alarms[name], now):
                changed.append(_cleared(alarms[name], wall))
        return changed

    def _remember(self, alarms: Mapping[str, Alarm], now: float) -> None:
        """When each alarm was first seen raised, with each of its numbers."""
        self._worded = {name: at for name, at in self._worded.items() if name in alarms}
        self._lives = {name: lives for name, lives in self._lives.items() if name in alarms}
        for name, alarm in alarms.items():
            lives = self._lives.setdefault(name, {})
            if alarm.open and alarm.number not in lives:
                self._lives[name] = {n: at for n, at in lives.items() if now - at <= FLAPS_S} | {alarm.number: now}

    def _clear_after_s(self, alarm: Alarm, now: float) -> float:
        lately = sum(now - at <= FLAPS_S for at in self._lives[alarm.id].values())
        return min(_CLEAR_AFTER_S.get(alarm.kind, CLEAR_S) * 2.0 ** max(0, lately - 1), STEADY_S)

    def _followed(self, alarm: Alarm, condition: Condition, now: float) -> list[Alarm]:
        """It still holds: perhaps in other words, perhaps worse. It is never less severe than it was, until it is over."""
        worse = RANK[condition.severity] > RANK[alarm.severity]
        if not worse and now - self._worded.get(alarm.id, float("-inf")) < WORDS_S:
            return []
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
        if new == alarm:
            return []
        self._worded[alarm.id] = now
        return [new]


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


def to_forget(alarms: Mapping[str, Alarm], deliveries: Collection[Delivery] = ()) -> list[str]:
    """Cleared alarms beyond those that are kept, oldest first. `deliveries`: what receivers were told."""
    cleared = sorted((alarm.cleared_at, name) for name, alarm in alarms.items() if not alarm.open)
    old = [name for _, name in cleared[: max(0, len(cleared) - CLEARED_KEPT)]]
    at_any_rate = old[: max(0, len(cleared) - CLEARED_WAITING)]
    waiting = {name for name in old if any(_end_waits(delivery, alarms[name]) for delivery in deliveries)}
    return [name for name in old if name not in waiting or name in at_any_rate]


def _end_waits(delivery: Delivery, alarm: Alarm) -> bool:
    return _told_begin(delivery, alarm) and delivery.told[alarm.id] != (alarm.number, alarm.change)


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
