"""The cluster's history: incidents and events. Only reads."""

from holdfast.api.operations import checks
from holdfast.core.history import Event, Incident
from holdfast.ports import Store
from holdfast.store import codec, keys


async def list_incidents(store: Store, *, limit: int = 50) -> list[Incident]:
    """Newest first."""
    snapshot = await store.list(keys.INCIDENTS)
    incidents = [codec.decode(entry.value, Incident, entry.key) for entry in snapshot.entries]
    incidents.sort(key=lambda incident: (incident.wall, incident.id), reverse=True)
    return incidents[:limit]


async def show(store: Store, incident_id: str) -> Incident:
    """One incident with every step; `last` is the newest."""
    incidents = await list_incidents(store, limit=1_000_000)
    if incident_id == "last" and incidents:
        return incidents[0]
    for incident in incidents:
        if incident.id == incident_id:
            return incident
    raise checks.not_found("incident", incident_id, [incident.id for incident in incidents])


async def list_events(store: Store, *, limit: int = 100) -> list[Event]:
    """Newest first."""
    snapshot = await store.list(keys.EVENTS)
    newest = sorted(snapshot.entries, key=lambda entry: entry.key, reverse=True)[:limit]
    return [codec.decode(entry.value, Event, entry.key) for entry in newest]
