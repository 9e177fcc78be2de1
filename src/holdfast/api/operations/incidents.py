"""The cluster's history: incidents and events. Only reads."""

from holdfast.api.history import EventLine, line, place
from holdfast.api.operations import checks
from holdfast.api.paging import Page, page
from holdfast.core.history import Incident
from holdfast.ports import Store
from holdfast.store import codec, keys


async def list_incidents(store: Store) -> list[Incident]:
    """Newest first."""
    snapshot = await store.list(keys.INCIDENTS)
    found = [codec.decode(entry.value, Incident, entry.key) for entry in snapshot.entries]
    return sorted(found, key=moment, reverse=True)


def moment(incident: Incident) -> str:
    """Its place among the others."""
    return f"{incident.wall} {incident.id}"


async def show(store: Store, incident_id: str) -> Incident:
    """One incident with every step; `last` is the newest."""
    incidents = await list_incidents(store)
    if incident_id == "last" and incidents:
        return incidents[0]
    for incident in incidents:
        if incident.id == incident_id:
            return incident
    raise checks.not_found("incident", incident_id, [incident.id for incident in incidents])


async def list_events(store: Store, *, limit: int = 100, cursor: str = "") -> Page[EventLine]:
    """Newest first."""
    entries = {entry.key: entry for entry in (await store.list(keys.EVENTS)).entries}
    found = page(sorted(entries, reverse=True), place, limit=limit, cursor=cursor)
    return Page([line(entries[key]) for key in found.items], found.next)
