"""What people see of DNS: what is published and why, who copies it, how updates went. No key's secret."""

from dataclasses import dataclass
from typing import Any

from holdfast.core.dns_model import DnsRecords, Secondary, ServedZone, UpdateState, UpdateTarget, Zone
from holdfast.core.dns_records import Candidate, candidates, zone_of
from holdfast.core.view import View
from holdfast.store import keys
from holdfast.store.view import Source


@dataclass(frozen=True, slots=True)
class NameView:
    """A name, and all addresses that it could have."""

    name: str
    zone: str
    """The zone of ours that it lies in; empty: only update targets may have it."""
    targets: tuple[str, ...]
    """Update targets that it is sent to."""
    published: tuple[str, ...]
    """As the name servers have it."""
    candidates: tuple[Candidate, ...]
    """As they stand now."""


def picture(source: Source, view: View, now: float) -> dict[str, Any]:
    records = source.read(keys.DNS_RECORDS, DnsRecords)
    zones = _all(source, keys.DNS_ZONES, Zone)
    targets = _all(source, keys.DNS_TARGETS, UpdateTarget)
    found = candidates(view, now)
    return {
        "serial": records.serial if records else 0,
        "changed": records.changed if records else "",
        "zones": [{"zone": zone, "servers": _servers(records, zone.apex)} for zone in zones],
        "names": _names(found, records, [zone.apex for zone in zones], targets),
        "update_targets": [_target(source, target) for target in targets],
        "secondaries": [_secondary(one) for one in _all(source, keys.DNS_SECONDARIES, Secondary)],
    }


def _names(
    found: tuple[Candidate, ...], records: DnsRecords | None, apexes: list[str], targets: list[UpdateTarget]
) -> list[NameView]:
    published = records.names if records else {}
    return [
        NameView(
            name,
            zone_of(name, apexes),
            tuple(target.name for target in targets if zone_of(name, [target.zone])),
            published.get(name, ()),
            tuple(one for one in found if one.name == name),
        )
        for name in sorted({one.name for one in found} | set(published))
    ]


def _servers(records: DnsRecords | None, apex: str) -> dict[str, tuple[str, ...]]:
    return next((zone.servers for zone in records.zones if zone.apex == apex), {}) if records else {}


def _target(source: Source, target: UpdateTarget) -> dict[str, Any]:
    state = source.read(keys.dns_state(target.name), UpdateState) or UpdateState()
    return {
        "name": target.name,
        "server": target.server,
        "port": target.port,
        "zone": target.zone,
        "ttl_s": target.ttl_s,
        "key": target.key.name,
        "algorithm": target.key.algorithm,
        "state": state,
    }


def _secondary(one: Secondary) -> dict[str, Any]:
    return {
        "name": one.name,
        "addresses": one.addresses,
        "notify": [f"{address} port {port}" for address, port in one.notify],
        "key": one.key.name if one.key else "",
    }


def _all(source: Source, prefix: str, kind: type[Any]) -> list[Any]:
    return [value for key in source.keys_below(prefix) if (value := source.read(key, kind)) is not None]


async def tested(source: Source, *, resolver: str = "") -> dict[str, list[Any]]:
    """Zone → what each of its servers and the world answers (Finding)."""
    from holdfast.net.dns.check import Finding, check_zone  # noqa: PLC0415 - dnspython, which nothing else here needs

    records = source.read(keys.DNS_RECORDS, DnsRecords) or DnsRecords()
    found: dict[str, list[Any]] = {}
    for zone in _all(source, keys.DNS_ZONES, Zone):
        served: ServedZone | None = next((known for known in records.zones if known.apex == zone.apex), None)
        found[zone.apex] = (
            [Finding("the manager", "published", False, "the zone is not published yet")]
            if served is None
            else await check_zone(served, records, resolver=resolver)
        )
    return found
