"""What the store knows of the cluster's trust: authorities, certificates, revocations. Records, and pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from holdfast import locks
from holdfast.bootstrap import certificates
from holdfast.bootstrap.pki import Authority
from holdfast.core.model import ManagementSpec, NodeSpec, Role
from holdfast.errors import ConfigError

SECRET_ROLES = frozenset({Role.MANAGEMENT, Role.STORAGE, Role.S3, Role.BACKUP})
"""Nodes of these roles open what the store keeps locked: CHAP secrets, access keys, back-ends, the authority's key."""
FORGET = timedelta(days=30)
"""How long after its end a certificate stays on the lists."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was given out."""

    serial: str
    """Hexadecimal."""
    ends: str
    """Wall clock, ISO 8601: from then on nobody need know it any more."""


@dataclass(frozen=True, slots=True)
class Revoked:
    serial: str
    ends: str
    node: str
    wall: str
    """When it was revoked, for people."""


class Phase:
    """Of a change of the authority. Each ends when every node has said that it has done its part."""

    NONE = ""
    SPREADING = "spreading"
    """All learn to trust the new one."""
    ISSUING = "issuing"
    """The new one signs; all get certificates from it."""
    DROPPING = "dropping"
    """All forget the old one."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Key trust/authority."""

    signing: str
    """Certificate (PEM) of the authority that signs. Its key: keys.CA_KEY."""
    other: str = ""
    """While the authority is rotated: the one to come, then the former one. Its key: keys.CA_KEY_OTHER."""
    phase: str = Phase.NONE
    revoked: tuple[Revoked, ...] = ()
    crls: dict[str, str] = field(default_factory=dict)
    """Authority id → its list of revoked certificates (PEM)."""
    renew_before: str = ""
    """Certificates that begin earlier (wall clock) are to be renewed now."""
    generation: int = 1
    """Of the shared secrets (ring.py): grows with each node that leaves."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """Certificates of the authorities that count."""
        return (self.signing, self.other) if self.other and self.phase != Phase.DROPPING else (self.signing,)

    @property
    def ca_file(self) -> bytes:
        return b"".join(pem.strip().encode() + b"\n" for pem in self.trusted)

    @property
    def crl_file(self) -> bytes:
        """The signing authority's list first (see `certificates`)."""
        first = certificates.authority_id(self.signing.encode())
        order = [first, *sorted(name for name in self.crls if name != first)]
        return b"".join(self.crls[name].strip().encode() + b"\n" for name in order if name in self.crls)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(sorted(certificates.fingerprint(pem.encode()) for pem in self.trusted))


@dataclass(frozen=True, slots=True)
class NodeTrust:
    """Key trust/nodes/<id>. Written by the node (what it asks for and has) and by who signs (what it was given)."""

    sealing_key: str = ""
    """Public key (ring.py) for which the shared secrets are sealed."""
    request: str = ""
    """A certificate request (PEM) that waits for its answer."""
    certificate: str = ""
    """The answer to the last request (PEM)."""
    issued: tuple[Issued, ...] = ()
    """All that it was given and that has not ended: what is revoked when it leaves."""
    serial: str = ""
    """Of the certificate that it uses."""
    ends: str = ""
    authority: str = ""
    """Id of the authority that issued it."""
    trusts: tuple[str, ...] = ()
    """Fingerprints of the authorities that everything on it trusts, its member of the store included."""
    generation: int = 0
    """Of the shared secrets that it has."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Key trust/sealed/<id>."""

    to: str
    """The sealing key."""
    generation: int
    box: str
    with_secret: bool = False
    """The cluster secret is in it."""
    final: bool = False
    """What was locked with the secret before is locked anew: it is not in it any more."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Key trust/tokens/<id>."""

    node: str
    hash: str
    """SHA-256 of the secret (32 random bytes, so a plain hash is as good as any)."""
    expires: str
    """Wall clock, ISO 8601. A lease removes the record some time after that."""
    by: str = ""
    wall: str = ""


def first_trust(authority: Authority) -> Trust:
    """Of a cluster that knows nothing but its authority."""
    name = certificates.authority_id(authority.cert_pem)
    return listed(Trust(signing=authority.cert_pem.decode()), {name: authority})


def needs_secret(node: NodeSpec, management: ManagementSpec) -> bool:
    """Whether the node is to hold the cluster secret."""
    return bool(SECRET_ROLES & set(node.roles)) or node.id in management.nodes


def with_issued(known: Iterable[Issued], cert_pem: bytes, now: str) -> tuple[Issued, ...]:
    """The list with one more, without those that have ended."""
    said = certificates.facts(cert_pem)
    kept = [one for one in known if _matters(one.ends, now) and one.serial != said.serial]
    return (*kept, Issued(said.serial, said.ends))


def revoke(trust: Trust, authorities: Mapping[str, Authority], node: str, issued: Iterable[Issued], now: str) -> Trust:
    """These certificates count no more. `authorities`: by id, every one whose key is at hand."""
    kept = [one for one in trust.revoked if _matters(one.ends, now)]
    known = {one.serial for one in kept}
    kept += [Revoked(one.serial, one.ends, node, now) for one in issued if one.serial not in known]
    return listed(replace(trust, revoked=tuple(kept)), authorities)


def listed(trust: Trust, authorities: Mapping[str, Authority]) -> Trust:
    """With its lists made anew, of every authority whose key is at hand."""
    serials = [one.serial for one in trust.revoked]
    made = {name: certificates.revocations(ca, serials).decode() for name, ca in authorities.items()}
    wanted = {certificates.authority_id(pem.encode()) for pem in (trust.signing, trust.other) if pem}
    return replace(trust, crls={name: pem for name, pem in {**trust.crls, **made}.items() if name in wanted})


def _matters(ends: str, now: str) -> bool:
    """Whether anybody, with a clock as wrong as FORGET, could still take the certificate for a good one."""
    return datetime.fromisoformat(ends) + FORGET > datetime.fromisoformat(now)


def authorities(trust: Trust, key: str | None, other: str | None, secret: bytes) -> dict[str, Authority]:
    """By id: every authority whose locked key is given. Raises ConfigError."""
    found = {}
    for certificate, locked in ((trust.signing, key), (trust.other, other)):
        if certificate and locked:
            name = certificates.authority_id(certificate.encode())
            found[name] = Authority(certificate.encode(), locks.unlock(locked, secret))
    if certificates.authority_id(trust.signing.encode()) not in found:
        raise ConfigError("the store holds no key of the cluster's authority", "Restore the store from a backup.")
    return found
