"""The keeper of incidents: what it has to tell is told until it is certainly written."""

from decide_world import N2, NOW, T, node

from holdfast.clock import ManualClock
from holdfast.core.history import Incident
from holdfast.core.intents import Decision
from holdfast.core.view import View
from holdfast.manager.incidents import IncidentKeeper
from holdfast.store.codec import decode
from holdfast.store.memory import MemoryCluster, MemoryStore
from holdfast.store.mirror import Mirror


def told(keeper: IncidentKeeper) -> list[tuple[str, str]]:
    incidents = [decode(put.value, Incident, put.key) for put in keeper.puts()]
    return [(incident.node, incident.state) for incident in incidents]


def test_an_incident_is_told_again_until_it_is_written() -> None:
    clock = ManualClock(NOW)
    keeper = IncidentKeeper(Mirror(MemoryStore(MemoryCluster(clock), clock)), clock, {}, lambda: None)
    keeper.observe(View(T, 100, {"n1": node("n1", missed_for=2.0), "n2": N2}), Decision())
    assert told(keeper) == [("n1", "open")]
    assert told(keeper) == [("n1", "open")], "the write may have failed"
    keeper.written()
    assert told(keeper) == []
    keeper.observe(View(T, 101, {"n1": node("n1"), "n2": N2}), Decision())
    assert told(keeper) == told(keeper) == [("n1", "closed")]
    keeper.written()
    assert told(keeper) == []
