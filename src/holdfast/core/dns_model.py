"""What is stored about DNS: the operator's zones, whom to tell, what is published. Frozen data, like `core.model`."""

from dataclasses import dataclass, field

DEFAULT_TTL_S = 5
"""Of every address, and of a negative answer: so long a resolver may go on giving out a gateway that died."""

TSIG_ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1")


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A shared secret that signs DNS messages (RFC 8945)."""

    name: str
    secret: str
    """Base64, locked with the cluster secret (bootstrap/secrets.py): the store alone cannot sign."""
    algorithm: str = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone that the management nodes serve (key spec/dns/zones/<apex>)."""

    apex: str
    """In small letters, without the final dot."""
    hostmaster: str
    """Mail address of who is responsible, as it is written in mail."""
    network: str
    """Network on which clients find the name servers: each has its node's address there."""
    ttl_s: int = DEFAULT_TTL_S
    minimum_s: int = DEFAULT_TTL_S
    """For how long a resolver may remember that a name does not exist."""
    servers: tuple[str, ...] = ()
    """Further name servers of the zone: the operator's secondaries, by name."""


@dataclass(frozen=True, slots=True)
class UpdateTarget:
    """The operator's own primary server, which is kept up to date by RFC 2136 (key spec/dns/targets/<name>)."""

    name: str
    server: str
    """IP address."""
    zone: str
    """Names outside it are not sent."""
    key: TsigKey
    port: int = 53
    ttl_s: int = DEFAULT_TTL_S


@dataclass(frozen=True, slots=True)
class Secondary:
    """A server of the operator's that copies our zones (key spec/dns/secondaries/<name>)."""

    name: str
    addresses: tuple[str, ...]
    """Addresses or prefixes that may transfer the zones."""
    notify: tuple[tuple[str, int], ...] = ()
    """Address and port that are told of each change."""
    key: TsigKey | None = None
    """If there is one: transfers and notices must be signed with it."""


# --- what the leading manager publishes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServedZone:
    """A zone as it is served: its settings, and its name servers with their addresses."""

    apex: str
    hostmaster: str
    ttl_s: int
    minimum_s: int
    servers: dict[str, tuple[str, ...]]
    """Name of each name server → its addresses; none for those that are not ours."""


@dataclass(frozen=True, slots=True)
class DnsRecords:
    """Everything that the name servers answer from (key dns/records), written by the leading manager when it changed."""

    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Published name → addresses, sorted."""
    serial: int = 0
    """Of every zone's SOA; only grows in the sense of RFC 1982."""
    changed: str = ""
    """ISO 8601 UTC, for people."""
    zones: tuple[ServedZone, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateState:
    """What became of the updates of one target (key dns/targets/<name>)."""

    serial: int = 0
    """The last one that the server has taken."""
    names: tuple[str, ...] = ()
    """Every name that we may have written there: what is published no more is taken away by it."""
    error: str = ""
    """Why the last attempt failed; empty: it did not."""
    at: str = ""
    """When the state last changed, ISO 8601 UTC, for people."""
