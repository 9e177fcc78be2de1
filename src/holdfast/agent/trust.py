"""This node's share of the cluster's trust: its files follow the store, its certificate is renewed in time.

Nothing here is part of a decision about strict instances. What fails is said and tried again; the files that every handshake
depends on are replaced only by what was checked first, so that a bad record in the store cannot cut the nodes off.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast import locks
from holdfast.agent.connections import cut_strangers
from holdfast.agent.looking import keep_looking
from holdfast.bootstrap import certificates, files, pki, renew, ring, secrets
from holdfast.bootstrap.bundle import certificate_names
from holdfast.bootstrap.trust import Issued, NodeTrust, Sealed, Trust, needs_secret, with_issued
from holdfast.config import NodeConfig
from holdfast.core.model import Beat, Fence, ManagementSpec, NodeSpec
from holdfast.core.view import is_member
from holdfast.errors import ConfigError, InvalidInput
from holdfast.ports import Clock, Compare, Put, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

ASK_AGAIN_S, ASK_AT_LAST_S = 60.0, 86400.0
AUTHORITY_COPY = "authority.json"
"""On nodes that hold the cluster secret: the authority with its locked key, for the day on which every certificate has
expired and the store cannot be asked. The member of the store beside it holds the same."""


@dataclass(frozen=True, slots=True)
class _AuthorityCopy:
    certificate: str
    key: str
    """Locked."""


class TrustKeeper:
    """`trusts()`: fingerprints of the authorities that this node's member of the store was started with, or None where it
    has none. `cut(addresses)` ends connections to it from elsewhere."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        mirror: Mirror,
        clock: Clock,
        *,
        trusts: Callable[[], tuple[str, ...] | None] = lambda: None,
        cut: Callable[[set[str]], int] = cut_strangers,
        root: Path = Path("/"),
    ) -> None:
        self._config = config
        self._store = store
        self._mirror = mirror
        self._clock = clock
        self._trusts = trusts
        self._cut = cut
        self._pki = files.below(root, str(files.PKI_DIR))
        self._state = Path(config.state_dir)
        self._hold_until: float | None = None
        """When the beat key before is forgotten."""
        self._sealing: X25519PrivateKey | None = None
        self._asked = ("", 0.0, ASK_AGAIN_S)
        """Why a certificate was asked for last, when, and how long to wait before the same is asked again."""
        self._cut_for: set[str] = set()
        """Revoked serials for which open connections were ended."""

    def prepare(self) -> None:
        """Before anything else of the agent: finish what a crash left half done; on a management node all of whose
        certificates have expired (it was off for months) make one. Never raises."""
        try:
            self._sealing_key()
            renew.finish(self._pki)
            self.ensure_revocations()
            self._revive()
        except Exception as error:  # whatever it is, the agent must come up
            log.warning("trust not prepared", error=str(error))

    async def run(self) -> None:
        """For ever. What fails is said and tried again."""
        await keep_looking(self._mirror, self._clock, self._look, "trust")

    def ensure_revocations(self) -> Path:
        """The list of revoked certificates, there before etcd starts: without it etcd refuses everybody. Where both copies
        are gone an empty one takes its place until the store tells, which it does within a second or two of its answering;
        a node that was never told of any (before its first contact) begins so as well."""
        path, copy = self._pki / files.CRL, self._state / files.CRL
        for source in (path, copy):
            try:
                content = source.read_bytes()
                certificates.revoked_serials(content)
            except (OSError, InvalidInput):
                continue
            if source != path:
                log.warning("the list of revoked certificates was restored from its copy", path=str(path))
                files.replace_file(path, content, files.PUBLIC_MODE)
            return path
        if copy.exists() or path.exists():
            log.error("the list of revoked certificates and its copy are damaged: an empty one is used", path=str(path))
        stranger = pki.create_authority("nobody")
        files.replace_file(path, certificates.revocations(stranger, ()), files.PUBLIC_MODE)
        return path

    def _revive(self) -> None:
        """Make this node a certificate where its own has expired and it holds all that is needed."""
        cert_path = self._pki / files.NODE_CERT
        content = cert_path.read_bytes()
        now = self._clock.wall()
        if certificates.moment(certificates.facts(content).ends) > certificates.moment(now):
            return
        copy = decode((self._state / AUTHORITY_COPY).read_bytes(), _AuthorityCopy, AUTHORITY_COPY)
        secret = secrets.read_with_previous(self._pki / files.CLUSTER_SECRET)
        authority = pki.Authority(copy.certificate.encode(), locks.unlock(copy.key, secret))
        names = pki.names_of(content) - {self._config.id, *pki.LOCAL_NAMES}
        request = renew.request(self._pki, self._config.id)
        certificate = pki.answer_request(authority, request.encode(), self._config.id, sorted(names))
        renew.install(self._pki, certificate, (self._pki / files.CA_CERT).read_bytes(), self._config.id)
        log.warning("the certificate had expired: this node has made itself a new one")

    # --- what the store says --------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        trust = self._mirror.read(keys.TRUST, Trust)
        spec = self._mirror.read(keys.node_spec(self._config.id), NodeSpec)
        if trust is None or spec is None:
            return
        await self._authorities(trust)
        await self._revocations(trust)
        await self._ring(spec)
        await self._keep_copy(trust)
        await self._certificate(trust, spec)

    async def _authorities(self, trust: Trust) -> None:
        path, wanted = self._pki / files.CA_CERT, trust.ca_file
        if path.read_bytes() != wanted:
            assert certificates.split(wanted), "at least one authority is trusted"
            await _replace(path, wanted, files.PUBLIC_MODE)
            log.info("the authorities that are trusted have changed", count=len(trust.trusted))

    async def _revocations(self, trust: Trust) -> None:
        if not trust.crls:
            return
        wanted = trust.crl_file
        for path in (self._state / files.CRL, self._pki / files.CRL):
            if not path.exists() or path.read_bytes() != wanted:
                certificates.check_revocations(wanted, trust.ca_file)
                await _replace(path, wanted, files.PUBLIC_MODE)
        serials = {one.serial for one in trust.revoked}
        if serials - self._cut_for:
            members = self._mirror.all(keys.NODE_SPECS, NodeSpec)
            addresses = {address for spec in members.values() for address in spec.addresses.values()}
            count = await asyncio.to_thread(self._cut, addresses)
            log.info("revoked certificates", count=len(serials), connections_ended=count)
        self._cut_for = serials

    async def _ring(self, spec: NodeSpec) -> None:
        """Open what is sealed for this node, and forget in time what came before."""
        sealed = self._mirror.read(keys.sealed(self._config.id), Sealed)
        if sealed is not None:
            await self._open(sealed, spec)
        if not (self._pki / files.BEAT_PREVIOUS).exists():
            self._hold_until = None
        elif self._hold_until is None:
            self._hold_until = self._clock.now() + ring.HOLD_S
        elif self._clock.now() >= self._hold_until and self._all_know(ring.read(self._pki).generation):
            ring.forget_beat_key(self._pki)

    def _all_know(self, generation: int) -> bool:
        """Whether every member has said that it has these shared secrets. One that has not (its disk is full, its version is
        older) would fall silent to those who forget the former beat key, and a node that is silent may be switched off."""
        for node in self._mirror.all(keys.NODE_SPECS, NodeSpec):
            known = self._mirror.read(keys.trust_node(node), NodeTrust)
            member = is_member(self._mirror.read(keys.beat(node), Beat), self._mirror.read(keys.fence(node), Fence))
            if member and (known is None or known.generation < generation):
                return False
        return True

    async def _open(self, sealed: Sealed, spec: NodeSpec) -> None:
        mine, key = ring.read(self._pki), self._sealing_key()
        newer = sealed.generation > mine.generation
        richer = sealed.generation == mine.generation and sealed.with_secret and not mine.cluster
        done = sealed.generation == mine.generation and sealed.final and mine.cluster_before
        if sealed.to != ring.public_text(key) or not (newer or richer or done):
            return
        found = ring.unseal(sealed.box, key, self._config.id)
        management = self._mirror.read(keys.MANAGEMENT, ManagementSpec) or ManagementSpec(nodes=())
        if not found.cluster and mine.cluster and needs_secret(spec, management):
            raise ConfigError("the shared secrets in the store lack the cluster secret", "They are sealed anew.")
        if not newer:
            found = replace(found, beat_before=mine.beat_before)
        await asyncio.to_thread(ring.write, self._pki, found)
        if newer:
            self._hold_until = self._clock.now() + ring.HOLD_S
            log.info("the shared secrets have changed", generation=found.generation)

    async def _keep_copy(self, trust: Trust) -> None:
        key = self._mirror.read(keys.CA_KEY, str)
        if key is None or not (self._pki / files.CLUSTER_SECRET).exists():
            return
        path, wanted = self._state / AUTHORITY_COPY, encode(_AuthorityCopy(trust.signing, key))
        if not path.exists() or path.read_bytes() != wanted:
            await _replace(path, wanted, files.SECRET_MODE)

    # --- what this node says --------------------------------------------------------------------------------------------

    async def _certificate(self, trust: Trust, spec: NodeSpec) -> None:
        key = keys.trust_node(self._config.id)
        known = self._mirror.read(key, NodeTrust) or NodeTrust()
        if known.certificate and renew.answers(self._pki, known.certificate.encode()):
            ca = (self._pki / files.CA_CERT).read_bytes()
            await asyncio.to_thread(renew.install, self._pki, known.certificate.encode(), ca, self._config.id)
            log.info("certificate renewed")
        content = (self._pki / files.NODE_CERT).read_bytes()
        management = self._mirror.read(keys.MANAGEMENT, ManagementSpec) or ManagementSpec(nodes=())
        addresses = replace(spec, addresses=dict(self._config.addresses))
        reason = renew.why(content, set(certificate_names(addresses, management)), trust, self._clock.wall())
        wanted = self._said(known, content)
        if reason and not renew.asks(self._pki, known.request) and self._may_ask(reason):
            log.info("a new certificate is asked for", reason=reason)
            request = await asyncio.to_thread(renew.request, self._pki, self._config.id)
            wanted = replace(wanted, request=request, certificate="")
        if wanted != known:
            await self._store.txn([Compare(key, self._mirror.revision_of(key))], [Put(key, encode(wanted))])

    def _may_ask(self, reason: str) -> bool:
        """An answer that does not help (this node's clock is years ahead) must not be asked for again and again: each is a
        certificate more that is kept in mind."""
        known, at, wait = self._asked
        now = self._clock.now()
        if reason == known and now < at + wait:
            return False
        self._asked = (reason, now, min(2 * wait, ASK_AT_LAST_S) if reason == known else ASK_AGAIN_S)
        return True

    def _said(self, known: NodeTrust, cert_pem: bytes) -> NodeTrust:
        """The record with what this node has and uses."""
        said = certificates.facts(cert_pem)
        issued = known.issued
        if Issued(said.serial, said.ends) not in issued:
            issued = with_issued(issued, cert_pem, self._clock.wall())
        own, started = self.fingerprints(), self._trusts()
        return replace(
            known,
            sealing_key=ring.public_text(self._sealing_key()),
            issued=issued,
            serial=said.serial,
            ends=said.ends,
            authority=said.authority,
            trusts=own if started is None else started,
            generation=ring.read(self._pki).generation,
        )

    def _sealing_key(self) -> X25519PrivateKey:
        if self._sealing is None:
            self._sealing = ring.sealing_key(self._pki)
        return self._sealing

    def fingerprints(self) -> tuple[str, ...]:
        """Of the authorities that this node's files trust."""
        with contextlib.suppress(OSError):
            found = certificates.split((self._pki / files.CA_CERT).read_bytes())
            return tuple(sorted(certificates.fingerprint(pem) for pem in found))
        return ()


async def _replace(path: Path, content: bytes, mode: int) -> None:
    """In a thread: a slow disk must not hold up the agent's beats."""
    await asyncio.to_thread(files.replace_file, path, content, mode)
