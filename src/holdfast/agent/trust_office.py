"""What management nodes do for the trust of all: answer certificate requests, seal the shared secrets, lock anew what was
locked with a former secret, lead a change of the authority through its phases.

Every management node does it; each write compares what it rests on, so the first one wins and the others see it done.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from holdfast import locks
from holdfast.agent.looking import keep_looking
from holdfast.bootstrap import certificates, files, pki, ring, secrets
from holdfast.bootstrap.bundle import certificate_names
from holdfast.bootstrap.trust import (
    JoinToken,
    NodeTrust,
    Phase,
    Sealed,
    Trust,
    authorities,
    first_trust,
    listed,
    needs_secret,
    with_issued,
)
from holdfast.core.model import Beat, ManagementSpec, NodeSpec
from holdfast.errors import ConfigError, InvalidInput
from holdfast.fencing.power.secrets import locked_devices
from holdfast.ports import Clock, Compare, Delete, Op, Put, Store
from holdfast.services.iscsi.chap import locked_group
from holdfast.services.iscsi.config import TargetGroup
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

SWEEP_S = 5.0
"""How often it is looked for what stands in clear; a cluster has thousands of records."""
LOCKED_PLACES = ("spec/", "secrets/")
"""Where locked values stand that last. A value is locked if it is, or holds, a Fernet token."""


class TrustOffice:
    def __init__(self, node: str, store: Store, mirror: Mirror, clock: Clock, *, root: Path = Path("/")) -> None:
        self._node = node
        self._store = store
        self._mirror = mirror
        self._clock = clock
        self._pki = files.below(root, str(files.PKI_DIR))
        self._swept: dict[str, int] = {}
        """Key → revision that was found in order for the present generation."""
        self._swept_for = (0, False)
        self._sweep_at = 0.0
        self._forget_at = 0.0
        """When the secret before may be forgotten at the earliest."""

    async def run(self) -> None:
        """For ever. What fails is said and tried again."""
        await keep_looking(self._mirror, self._clock, self._look, "trust of the cluster")

    async def _look(self) -> None:
        management = self._mirror.read(keys.MANAGEMENT, ManagementSpec)
        if management is None or self._node not in management.nodes:
            return
        mine = ring.read(self._pki)
        trust = self._mirror.read(keys.TRUST, Trust)
        if not mine.cluster or (trust is not None and trust.generation != mine.generation):
            return  # this node's own secrets come first
        if trust is None:
            await self._begin()
            return
        specs = self._mirror.all(keys.NODE_SPECS, NodeSpec)
        await self._forget_tokens()
        for node, spec in specs.items():
            known = self._mirror.read(keys.trust_node(node), NodeTrust)
            if known is not None:
                await self._answer(trust, spec, management, known, mine)
                await self._seal(spec, management, known, mine)
        await self._sweep(specs, management, mine)
        await self._advance(trust, specs, mine)

    async def _write(self, key: str, value: object, *others: Op, rests_on: Iterable[str] = ()) -> bool:
        compare = [Compare(name, self._mirror.revision_of(name)) for name in (key, *rests_on)]
        return (await self._store.txn(compare, [Put(key, encode(value)), *others])).succeeded

    def authorities(self, trust: Trust, mine: ring.Ring) -> dict[str, pki.Authority]:
        """By id: every authority whose key the store holds. Raises ConfigError."""
        return authorities(
            trust,
            self._mirror.read(keys.CA_KEY, str),
            self._mirror.read(keys.CA_KEY_OTHER, str),
            mine.cluster + mine.cluster_before,
        )

    async def _begin(self) -> None:
        """A cluster of an earlier version knows its authority, and no more."""
        locked = self._mirror.read(keys.CA_KEY, str)
        if locked is None:
            return
        secret = secrets.read_with_previous(self._pki / files.CLUSTER_SECRET)
        authority = pki.Authority((self._pki / files.CA_CERT).read_bytes(), locks.unlock(locked, secret))
        if await self._write(keys.TRUST, first_trust(authority)):
            log.info("the store knows the cluster's authority and its revocations from now on")

    # --- certificates and secrets of nodes ------------------------------------------------------------------------------

    async def _answer(
        self, trust: Trust, spec: NodeSpec, management: ManagementSpec, known: NodeTrust, mine: ring.Ring
    ) -> None:
        if not known.request or known.certificate:
            return
        signing = certificates.authority_id(trust.signing.encode())
        authority = self.authorities(trust, mine)[signing]
        try:
            names = certificate_names(spec, management)
            certificate = pki.answer_request(authority, known.request.encode(), spec.id, names)
        except InvalidInput as error:
            log.warning("a request for a certificate is refused", node=spec.id, error=str(error))
            await self._write(keys.trust_node(spec.id), replace(known, request=""))
            return
        issued = with_issued(known.issued, certificate, self._clock.wall())
        answered = replace(known, request="", certificate=certificate.decode(), issued=issued)
        # The node must still be a member when this is written: what leaves takes nothing with it.
        if await self._write(keys.trust_node(spec.id), answered, rests_on=(keys.node_spec(spec.id), keys.TRUST)):
            log.info("a certificate was issued", node=spec.id, serial=issued[-1].serial)

    async def _seal(self, spec: NodeSpec, management: ManagementSpec, known: NodeTrust, mine: ring.Ring) -> None:
        sealed = self._mirror.read(keys.sealed(spec.id), Sealed)
        wanted = sealed_for(spec, management, known, mine, sealed)
        if wanted is not None:
            await self._write(keys.sealed(spec.id), wanted, rests_on=(keys.node_spec(spec.id), keys.TRUST))

    async def _forget_tokens(self) -> None:
        now = certificates.moment(self._clock.wall())
        for token, record in self._mirror.all(keys.JOIN_TOKENS, JoinToken).items():
            if certificates.moment(record.expires) < now:
                key = keys.join_token(token)
                await self._store.txn([Compare(key, self._mirror.revision_of(key))], [Delete(key)])

    # --- what is locked -------------------------------------------------------------------------------------------------

    async def _sweep(self, specs: dict[str, NodeSpec], management: ManagementSpec, mine: ring.Ring) -> None:
        """Lock what stands in clear; lock anew what was locked with the secret before; then forget that, but not at once: an
        operation that read it before it changed may be at work yet (it tries a back-end out, say), and what it locks would
        open for nobody but for the node that was removed."""
        relock = bool(mine.cluster_before) and self._all_have(specs, management, mine)
        if self._swept_for != (mine.generation, relock):
            self._swept, self._swept_for = {}, (mine.generation, relock)
            self._forget_at = self._clock.now() + ring.HOLD_S
        elif self._clock.now() < self._sweep_at:
            return
        secret, done = mine.cluster + mine.cluster_before, True
        for place in LOCKED_PLACES:
            for key in list(self._mirror.keys_below(place)):
                revision = self._mirror.revision_of(key)
                if self._swept.get(key) == revision:
                    continue
                value = self._mirror.value(key)
                wanted = in_order(key, value or b"", secret, relock=relock)
                if wanted is None:
                    self._swept[key] = revision
                    continue
                done = False
                await self._store.txn([Compare(key, revision)], [Put(key, wanted)])
        self._sweep_at = self._clock.now() + (SWEEP_S if done else 0.0)
        if relock and done and self._clock.now() >= self._forget_at:
            log.info("everything is locked with the new secret", generation=mine.generation)
            (self._pki / files.CLUSTER_PREVIOUS).unlink(missing_ok=True)

    def _all_have(self, specs: dict[str, NodeSpec], management: ManagementSpec, mine: ring.Ring) -> bool:
        """Whether every node that locks and opens has the new secret: then nothing is locked with a former one again. A
        node that is gone for good is waited for until it is removed; what is new is locked with the new secret anyway."""
        for node, spec in specs.items():
            known = self._mirror.read(keys.trust_node(node), NodeTrust)
            joined = self._mirror.read(keys.beat(node), Beat) is not None
            if joined and needs_secret(spec, management) and (known is None or known.generation < mine.generation):
                return False
        return True

    # --- a change of the authority --------------------------------------------------------------------------------------

    async def _advance(self, trust: Trust, specs: dict[str, NodeSpec], mine: ring.Ring) -> None:
        if trust.phase == Phase.NONE:
            return
        wanted = trust.fingerprints
        signing = certificates.authority_id(trust.signing.encode())
        for node in specs:
            known = self._mirror.read(keys.trust_node(node), NodeTrust)
            if known is None and self._mirror.read(keys.beat(node), Beat) is None:
                continue  # it has not joined yet, and will learn it then
            if known is None or known.trusts != wanted:
                return
            if trust.phase == Phase.ISSUING and known.authority != signing:
                return
        made = self.authorities(trust, mine)
        key, other = self._mirror.read(keys.CA_KEY, str), self._mirror.read(keys.CA_KEY_OTHER, str)
        rests_on = (keys.CA_KEY, keys.CA_KEY_OTHER)
        if trust.phase == Phase.SPREADING:
            turned = listed(replace(trust, phase=Phase.ISSUING, signing=trust.other, other=trust.signing), made)
            swap = (Put(keys.CA_KEY, encode(other)), Put(keys.CA_KEY_OTHER, encode(key)))
            done = await self._write(keys.TRUST, turned, *swap, rests_on=rests_on)
        elif trust.phase == Phase.ISSUING:
            done = await self._write(keys.TRUST, replace(trust, phase=Phase.DROPPING))
        else:
            ended = listed(replace(trust, phase=Phase.NONE, other=""), {signing: made[signing]})
            done = await self._write(keys.TRUST, ended, Delete(keys.CA_KEY_OTHER), rests_on=rests_on)
        if done:
            log.info("the change of the authority goes on", ended=trust.phase)


def sealed_for(
    spec: NodeSpec, management: ManagementSpec, known: NodeTrust, mine: ring.Ring, present: Sealed | None
) -> Sealed | None:
    """The ring sealed for a node; None if what is there is right, or the node has no sealing key yet."""
    if not known.sealing_key:
        return None
    secret, final = needs_secret(spec, management), not mine.cluster_before
    wanted = (known.sealing_key, mine.generation, secret)
    same = present is not None and (present.to, present.generation, present.with_secret) == wanted
    if present is not None and same and (present.final or not final):
        return None  # a final one is left alone: another management node may have come further
    kept = mine if secret else replace(mine, cluster=b"", cluster_before=b"")
    box = ring.seal(kept, known.sealing_key, spec.id)
    return Sealed(known.sealing_key, mine.generation, box, secret, final)


def in_order(key: str, value: bytes, secret: bytes, *, relock: bool) -> bytes | None:
    """The value with everything locked that is to be, and `relock`: with the newest secret; None if it is so already."""
    if key.startswith(keys.NODE_SPECS):
        spec = decode(value, NodeSpec, key)
        devices = locked_devices(spec.fence_devices, secret)
        if devices != spec.fence_devices:
            return encode(replace(spec, fence_devices=devices))
    if key.startswith(keys.ISCSI_GROUPS):
        group = decode(value, TargetGroup, key)
        locked = locked_group(group, secret)
        if locked != group:
            return encode(locked)
    if not relock or locks.TOKEN.encode() not in value:
        return None
    try:
        content = json.loads(value)
    except ValueError:
        return None
    changed = _relocked(content, secret)
    return None if changed == content else json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()


def _relocked(value: Any, secret: bytes) -> Any:
    if isinstance(value, dict):
        return {name: _relocked(one, secret) for name, one in value.items()}
    if isinstance(value, list):
        return [_relocked(one, secret) for one in value]
    if not isinstance(value, str):
        return value
    mark = locks.MARK if locks.is_marked(value) else ""
    token = value.removeprefix(mark)
    if not token.startswith(locks.TOKEN) or locks.is_current(token, secret):
        return value
    try:
        return mark + locks.lock(locks.unlock(token, secret), secret)
    except ConfigError:
        return value  # nobody's here: it only looks like one, or an operator's own
