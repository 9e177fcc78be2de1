"""Events for what changed in what the manager sees."""

from collections.abc import Mapping

from holdfast.core.history import ManagerView, Severity
from holdfast.core.view import PowerEvidence, View
from holdfast.manager.commit import EventLog
from holdfast.manager.guarantee import news as guarantee_news
from holdfast.ports import Put


def differences(old: ManagerView, new: ManagerView, events: EventLog) -> list[Put]:
    """Between the last published view (at first: the former leader's) and this one."""
    news = []
    for name, state in new.nodes.items():
        before = old.nodes.get(name)
        if before != state:
            why = f": {new.notes[name]}" if name in new.notes else ""
            news.append(events.put(f"node-{state}", f"{name} is {state}{why}", node=name))
    if new.hold != old.hold:
        news.append(events.put("hold" if new.hold else "hold-ended", new.hold or "no hold any more"))
    if (said := guarantee_news(old.guarantee, new.guarantee)) is not None:
        kind, text = said
        severity = Severity.INFO if new.guarantee and new.guarantee.holds else Severity.WARNING
        news.append(events.put(kind, text, severity=severity))
    for name, how in new.failed.items():
        if old.failed.get(name) != how:
            news.append(events.put("instance-failed", how, severity=Severity.ERROR, instance=name))
    for name, why in new.waiting.items():
        if old.waiting.get(name) != why:
            news.append(events.put("instance-waiting", f"{name} waits: {why}", instance=name))
    return news


def fence_failures(view: View, told: dict[str, PowerEvidence], events: EventLog) -> list[Put]:
    """For power fencing that ended without a proof: of the 1st, 2nd, 4th, 8th… attempt, each once. `told`: node → its last
    failure that people were told of; kept up to date here."""
    news = []
    for node in view.nodes.values():
        power = node.power
        rare = power is not None and power.attempts & (power.attempts - 1) == 0
        if power is None or power.verified_off or not rare or told.get(node.id) == power:
            continue
        told[node.id] = power
        text = f"power fencing of {node.id} failed, attempt {power.attempts}: {power.text}"
        news.append(events.put("fence-failed", text, severity=Severity.WARNING, node=node.id))
    return news


def steady(texts: Mapping[str, str]) -> dict[str, str]:
    """Countdowns would make a new view (and a write) each second: people see the length of the wait, not its rest."""
    return {name: _steady(text) for name, text in texts.items()}


def _steady(text: str) -> str:
    words = text.split()
    return " ".join("…" if _is_number(word) and words[i + 1 : i + 2] == ["s"] else word for i, word in enumerate(words))


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()
