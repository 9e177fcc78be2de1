"""Incidents: the record of one node's failure, from the first missed beat to the last recovered instance.

Pure functions from an Incident to the next one. `at` is the manager's CLOCK_BOOTTIME; a step stores seconds since the
incident began.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from holdfast.core.history import Incident, IncidentStep
from holdfast.core.model import Proof


@dataclass(frozen=True, slots=True)
class Running:
    """An open incident together with the manager's time of its first missed beat."""

    incident: Incident
    began_at: float

    def step(self, name: str, at: float, text: str, instance: str = "") -> "Running":
        """Append a step; the same step (name and instance) with the same text is recorded once."""
        for old in self.incident.steps:
            if (old.name, old.instance, old.text) == (name, instance, text):
                return self
        new = IncidentStep(name, round(max(0.0, at - self.began_at), 3), text, instance)
        steps = tuple(sorted((*self.incident.steps, new), key=lambda s: s.at))
        return replace(self, incident=replace(self.incident, steps=steps))

    def proven(self, proof: Proof) -> "Running":
        return replace(self, incident=replace(self.incident, proof=proof))

    def waits(self, waiting: dict[str, str]) -> "Running":
        """Set what the affected instances wait for now."""
        mine = {name: text for name, text in waiting.items() if name in self.incident.affected}
        return replace(self, incident=replace(self.incident, waiting=mine))

    def recovered(self, instance: str, at: float, text: str) -> "Running":
        """A client-side health check of the instance succeeded at its new place."""
        if instance in self.incident.recovered:
            return self
        stepped = self.step("recovered", at, text, instance)
        incident = replace(
            stepped.incident,
            recovered=(*stepped.incident.recovered, instance),
            waiting={name: why for name, why in stepped.incident.waiting.items() if name != instance},
        )
        return replace(stepped, incident=incident)

    def outstanding(self) -> list[str]:
        """Affected instances that are not recovered yet."""
        return [name for name in self.incident.affected if name not in self.incident.recovered]

    def without(self, instances: Iterable[str]) -> "Running":
        """These instances exist no more or are to be stopped: nobody waits for them."""
        gone = set(instances)
        affected = tuple(name for name in self.incident.affected if name not in gone)
        return replace(self, incident=replace(self.incident, affected=affected))

    def close(self, at: float, text: str) -> "Running":
        stepped = self.step("closed", at, text)
        return replace(stepped, incident=replace(stepped.incident, state="closed", waiting={}))


def open_incident(node: str, wall: str, began_at: float, affected: Iterable[str], session: str) -> Running:
    """A new incident. Its id is derived from the node and the session that failed, so that two managers (before and
    after an election) speak of the same incident."""
    incident = Incident(
        id=f"{node}-{session[:12]}", node=node, wall=wall, state="open", affected=tuple(sorted(affected))
    )
    return Running(incident, began_at)
