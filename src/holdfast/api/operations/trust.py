"""Join tokens, joining, leaving, and the change of certificates and of the authority."""

import hmac
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from holdfast import locks
from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.permissions import Role
from holdfast.bootstrap import certificates, files, pki, ring, secrets, trust
from holdfast.bootstrap.bundle import certificate_names, issued_in, shared_files
from holdfast.bootstrap.create import url
from holdfast.bootstrap.token import digest, new_token
from holdfast.bootstrap.trust import JoinToken, NodeTrust, Phase, Trust, with_issued
from holdfast.clock import SystemClock
from holdfast.config import PANEL_PORT
from holdfast.core.model import NodeSpec
from holdfast.core.observers import MANAGEMENT
from holdfast.errors import ConfigError, Conflict, InvalidInput, NotFound, NotPermitted
from holdfast.ports import Store
from holdfast.store import codec, keys

MIN_EXPIRY_S, MAX_EXPIRY_S = 60, 7 * 24 * 3600
MAX_REQUEST = 4096
"""Characters of a certificate request; one for a P-256 key has about 400."""


@dataclass(frozen=True, slots=True)
class TokenView:
    id: str
    node: str
    expires: str
    by: str


@dataclass(frozen=True, slots=True)
class CertificateView:
    """One node's certificate, as the node says."""

    node: str
    serial: str
    ends: str
    current_authority: bool
    waiting: bool
    """It has asked for a new one."""
    generation: int
    """Of the shared secrets that it has."""


@dataclass(frozen=True, slots=True)
class TrustView:
    fingerprint: str
    """SHA-256 of the certificate of the authority that signs."""
    ends: str
    phase: str
    """Of a change of the authority; empty: none is under way."""
    waiting_for: tuple[str, ...]
    """Nodes that have not done their part of it."""
    generation: int
    revoked: int
    nodes: tuple[CertificateView, ...] = ()


# --- tokens -------------------------------------------------------------------------------------------------------------


async def make_token(store: Store, actor: Actor, node_id: str, *, expires_s: float) -> Outcome:
    """A join token for a node that was added. `data` holds the line, which is told only here."""

    async def operation(draft: Draft) -> str:
        draft.data["token"] = await put_token(draft, actor, checks.node(draft, node_id), expires_s)
        return f"join token for {node_id} made, good for {expires_s / 60:.0f} minutes"

    return await transact(store, actor, operation)


async def put_token(draft: Draft, actor: Actor, node: NodeSpec, expires_s: float) -> str:
    """Its record is written with the draft. Raises InvalidInput, Conflict."""
    if not MIN_EXPIRY_S <= expires_s <= MAX_EXPIRY_S:
        raise InvalidInput(f"a token cannot be good for {expires_s:g} s", "Choose one minute to seven days, like 1h.")
    known = await present(draft)
    if known.phase != Phase.NONE:
        raise Conflict(
            "the cluster's authority is being changed", "Look at `holdfast cluster certificates`; then try again."
        )
    specs = draft.nodes
    hosts = [specs[name].addresses[MANAGEMENT] for name in draft.management.nodes if name in specs]
    urls = tuple(url(host, PANEL_PORT) for host in hosts)
    token = new_token(node.id, certificates.fingerprint(known.signing.encode()), urls)
    now = certificates.moment(SystemClock().wall())
    expires = (now + timedelta(seconds=expires_s)).isoformat(timespec="seconds")
    record = JoinToken(node.id, digest(token.secret), expires, actor.name, now.isoformat(timespec="seconds"))
    draft.put(keys.join_token(token.id), record)
    return token.text


async def note_bundle(draft: Draft, node_id: str, bundle: bytes) -> None:
    """The certificate in it can be revoked, whether or not anybody ever uses it."""
    certificate = issued_in(bundle)
    await draft.fetch(keys.trust_node(node_id))
    draft.put(keys.trust_node(node_id), NodeTrust(issued=with_issued((), certificate, SystemClock().wall())))


async def tokens(store: Store) -> list[TokenView]:
    """Those that can still be used."""
    now = certificates.moment(SystemClock().wall())
    entries = (await store.list(keys.JOIN_TOKENS)).entries
    found = [(keys.last_part(e.key), codec.decode(e.value, JoinToken, e.key)) for e in entries]
    return [
        TokenView(name, token.node, token.expires, token.by)
        for name, token in found
        if certificates.moment(token.expires) > now
    ]


async def revoke_token(store: Store, actor: Actor, token_id: str) -> Outcome:
    async def operation(draft: Draft) -> str:
        record = await draft.read(keys.join_token(token_id), JoinToken) if token_id.isalnum() else None
        if record is None:
            raise NotFound(f"there is no join token `{token_id[:64]}`", "See `holdfast node tokens`.")
        draft.delete(keys.join_token(token_id))
        return f"join token {token_id} for {record.node} revoked"

    return await transact(store, actor, operation)


# --- joining ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinWish:
    """What a machine sends."""

    id: str
    secret: str
    request: str
    sealing_key: str


async def authority(store: Store) -> str:
    """Certificates (PEM) of the authorities that count: public, and believed by whoever knows their fingerprint only."""
    entry = await store.get(keys.TRUST)
    return codec.decode(entry.value, Trust, entry.key).ca_file.decode() if entry else ""


async def join(
    store: Store, wish: JoinWish, *, address: str = "", pki_dir: Path = files.PKI_DIR
) -> tuple[Outcome, dict[str, bytes]]:
    """Spend a token: file name → content for the machine. Raises NotPermitted, InvalidInput."""
    given: dict[str, bytes] = {}
    node_id = ""

    async def operation(draft: Draft) -> str:
        nonlocal given, node_id
        token = await _checked(draft, wish)
        node_id = token.node
        spec = draft.nodes.get(token.node)
        if spec is None:
            raise _refused()
        known = await present(draft)
        made = await _authorities(draft, known, pki_dir)
        signing = made[certificates.authority_id(known.signing.encode())]
        names = certificate_names(spec, draft.management)
        certificate = pki.answer_request(signing, wish.request.encode(), spec.id, names)
        _check_sealing_key(wish.sealing_key, spec.id)
        now = SystemClock().wall()
        former = await draft.read(keys.trust_node(spec.id), NodeTrust) or NodeTrust()
        if former.issued:
            # Whoever holds what the node had before (a disk that was sent in, a bundle that went astray) is shut out.
            draft.put(keys.TRUST, trust.revoke(known, made, spec.id, former.issued, now))
        record = NodeTrust(sealing_key=wish.sealing_key, issued=with_issued((), certificate, now))
        draft.put(keys.trust_node(spec.id), record)
        await draft.fetch(keys.sealed(spec.id))
        draft.delete(keys.sealed(spec.id))
        draft.delete(keys.join_token(wish.id))
        given = {**await shared_files(draft.store, spec, pki_dir=pki_dir), files.NODE_CERT: certificate}
        return f"{spec.id} has joined by token {wish.id}"

    return await transact(store, machine(address), operation), given


def machine(address: str) -> Actor:
    """Whoever brings a join token: nobody with a role."""
    return Actor("a machine with a join token", "join", address, Role.VIEWER)


async def _checked(draft: Draft, wish: JoinWish) -> JoinToken:
    """The token's record. One refusal for all that may be wrong with it: who guesses learns nothing."""
    record = await draft.read(keys.join_token(wish.id), JoinToken, rely=True) if wish.id.isalnum() else None
    right = hmac.compare_digest(digest(wish.secret), record.hash if record else digest(""))
    if record is None or not right:
        raise _refused()
    if certificates.moment(record.expires) <= certificates.moment(SystemClock().wall()):
        raise _refused()
    return record


def _refused() -> NotPermitted:
    return NotPermitted(
        "this join token is not valid (any more)",
        "It is good once and for a time. Make another one with `holdfast node token NODE`.",
    )


def _check_sealing_key(text: str, node: str) -> None:
    try:
        ring.seal(ring.Ring(0, b""), text, node)
    except ConfigError as error:
        raise InvalidInput("the sealing key cannot be used", "Join with `holdfast node join`.") from error


# --- leaving ------------------------------------------------------------------------------------------------------------


async def expel(draft: Draft, node_id: str, pki_dir: Path = files.PKI_DIR) -> None:
    """With the commit of this draft the node's certificates are revoked, and the shared secrets change. Raises Conflict,
    ConfigError."""
    known = await present(draft)
    made = await _authorities(draft, known, pki_dir)
    leaving = await draft.read(keys.trust_node(node_id), NodeTrust) or NodeTrust()
    mine = ring.read(pki_dir)
    if mine.generation != known.generation or not mine.cluster:
        raise Conflict("this node has not got the newest shared secrets yet", "Try again in a few seconds.")
    following = mine.following()
    sealed = 0
    for name in draft.management.nodes:
        spec, has = draft.nodes.get(name), await draft.read(keys.trust_node(name), NodeTrust)
        if spec is None or name == node_id or has is None or not has.sealing_key:
            continue
        await draft.fetch(keys.sealed(name))
        box = ring.seal(following, has.sealing_key, name)
        draft.put(keys.sealed(name), trust.Sealed(has.sealing_key, following.generation, box, with_secret=True))
        sealed += 1
    if not sealed:
        raise Conflict(
            "no management node has said how the shared secrets are to be sealed for it",
            "Its agent does when it begins: see `systemctl status holdfast-agent`, then try again.",
        )
    changed = trust.revoke(known, made, node_id, leaving.issued, SystemClock().wall())
    draft.put(keys.TRUST, replace(changed, generation=following.generation))
    for key in (keys.trust_node(node_id), keys.sealed(node_id)):
        if await draft.fetch(key) is not None:
            draft.delete(key)
    for entry in (await draft.store.list(keys.JOIN_TOKENS)).entries:
        token = await draft.read(entry.key, JoinToken)
        if token is not None and token.node == node_id:
            draft.delete(entry.key)
    spec = draft.nodes.get(node_id)
    if spec is not None and trust.needs_secret(spec, draft.management):
        draft.warn(
            f"{node_id} held the cluster secret, and could have copied what it opened. If it is not in good hands: change "
            "the passwords of fence devices, CHAP and access keys, and run `holdfast cluster rotate-authority`."
        )


# --- certificates and authority -----------------------------------------------------------------------------------------


async def rotate_certificates(store: Store, actor: Actor) -> Outcome:
    """Every node renews its certificate now, by itself and without any restart."""

    async def operation(draft: Draft) -> str:
        known = await present(draft)
        now = certificates.moment(SystemClock().wall()).isoformat(timespec="seconds")
        draft.put(keys.TRUST, replace(known, renew_before=now))
        return "every node renews its certificate"

    return await transact(store, actor, operation)


async def rotate_authority(store: Store, actor: Actor, *, pki_dir: Path = files.PKI_DIR) -> Outcome:
    """Begin the change of the cluster's authority; management nodes lead it to its end (agent/trust_office.py)."""

    async def operation(draft: Draft) -> str:
        known = await present(draft)
        if known.phase != Phase.NONE:
            raise Conflict(
                f"the authority is being changed already ({known.phase})", "Look at `holdfast cluster certificates`."
            )
        made = await _authorities(draft, known, pki_dir)
        mark = certificates.moment(SystemClock().wall()).strftime("%Y%m%d%H%M%S")
        new = pki.create_authority(draft.cluster.name, mark)
        made[certificates.authority_id(new.cert_pem)] = new
        changed = replace(known, phase=Phase.SPREADING, other=new.cert_pem.decode())
        draft.put(keys.TRUST, trust.listed(changed, made))
        await draft.fetch(keys.CA_KEY_OTHER)
        secret = secrets.read_with_previous(pki_dir / files.CLUSTER_SECRET)
        draft.put(keys.CA_KEY_OTHER, locks.lock(new.key_pem, secret))
        draft.warn(
            "The members of the store start anew one after the other, twice. Browsers and commands elsewhere that were "
            "given the CA's certificate need the new one: /etc/holdfast/pki/ca.crt on any node."
        )
        return "the cluster gets a new authority"

    return await transact(store, actor, operation)


async def overview(store: Store) -> TrustView:
    """Raises NotFound before a management node's agent has written down what there is."""
    entry = await store.get(keys.TRUST)
    if entry is None:
        raise NotFound("the store knows nothing of the cluster's authority yet", "A management node's agent tells it.")
    known = codec.decode(entry.value, Trust, entry.key)
    signing = certificates.authority_id(known.signing.encode())
    entries = (await store.list(keys.TRUST_NODES)).entries
    nodes = {keys.last_part(e.key): codec.decode(e.value, NodeTrust, e.key) for e in entries}
    waiting: tuple[str, ...] = ()
    if known.phase != Phase.NONE:
        behind = [n for n, one in nodes.items() if one.trusts != known.fingerprints]
        if known.phase == Phase.ISSUING:
            behind += [n for n, one in nodes.items() if one.authority != signing]
        waiting = tuple(sorted(set(behind)))
    views = tuple(
        CertificateView(name, one.serial, one.ends, one.authority == signing, bool(one.request), one.generation)
        for name, one in sorted(nodes.items())
    )
    facts = certificates.facts(known.signing.encode())
    print_ = certificates.fingerprint(known.signing.encode())
    return TrustView(print_, facts.ends, known.phase, waiting, known.generation, len(known.revoked), views)


async def present(draft: Draft) -> Trust:
    """The record; the operation rests on it. Raises Conflict before a management node's agent has written it."""
    known = await draft.read(keys.TRUST, Trust, rely=True)
    if known is None:
        raise Conflict(
            "the store does not know the cluster's authority yet", "The agent of a management node tells it; try again."
        )
    return known


async def _authorities(draft: Draft, known: Trust, pki_dir: Path) -> dict[str, pki.Authority]:
    secret = secrets.read_with_previous(pki_dir / files.CLUSTER_SECRET)
    key = await draft.read(keys.CA_KEY, str, rely=True)
    other = await draft.read(keys.CA_KEY_OTHER, str, rely=True)
    return trust.authorities(known, key, other, secret)
