"""The names under which clients find an S3 cluster: its domain, and every name directly below it (BUCKET.DOMAIN)."""

import asyncio
import socket

from holdfast.api.operations.draft import Draft
from holdfast.core.dns_model import UpdateTarget, Zone
from holdfast.core.dns_records import zone_of
from holdfast.errors import Conflict
from holdfast.services.s3.config import S3Cluster
from holdfast.store import keys

RESOLVE_S = 3.0
HTTP_PORT = 80


def endpoint(domain: str, port: int) -> str:
    """What clients are told."""
    return f"http://{domain}" if port == HTTP_PORT else f"http://{domain}:{port}"


def refuse_clash(draft: Draft, domain: str) -> None:
    """Raises Conflict where a name of another instance is one of the cluster's, or the other way round."""
    for spec in draft.instances.values():
        for name in spec.names:
            known = name.removeprefix("*.")
            above = name.startswith("*.") and domain.endswith(f".{known}")
            if domain == known or known.endswith(f".{domain}") or above:
                raise Conflict(
                    f"`{domain}` and the names below it would clash with `{name}` of `{spec.kind}/{spec.service}`",
                    "Choose another domain.",
                )


async def resolve(name: str) -> frozenset[str]:
    """The addresses that this node's resolver has for a name; none: it does not know it, or does not answer in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return frozenset()
    return frozenset(str(address[0]) for *_, address in found)


def kept(draft: Draft, domain: str) -> str:
    """The zone in which Holdfast publishes the domain, itself or at the operator's own server; "": there is none."""
    zones = [zone.apex for zone in draft.specs(keys.DNS_ZONES, Zone)]
    targets = [target.zone for target in draft.specs(keys.DNS_TARGETS, UpdateTarget)]
    return zone_of(domain, [*zones, *targets])


def unfound(cluster: S3Cluster, found: frozenset[str]) -> str:
    """What is to be done so that clients find the gateways, where nobody keeps their names and they lead to `found`; "":
    nothing."""
    gateways = {address.ip for address in cluster.gateways.values()}
    if found and found <= gateways:
        return ""
    leads = f"leads to {', '.join(sorted(found))} and not to its gateways" if found else "is not known to DNS here"
    records = f"{cluster.domain} and *.{cluster.domain} to {', '.join(sorted(gateways))}"
    zone = cluster.domain.partition(".")[2]
    serve = f"let Holdfast keep its zone (holdfast dns zone create {zone}, then delegate it: docs/dns.md)"
    return f"{cluster.domain} {leads}: {serve}, or have your DNS point {records}."
