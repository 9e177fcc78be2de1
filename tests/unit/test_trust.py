"""The cluster's trust over a store in memory: who gets which certificate and which secret, and when; what a node that leaves
can still do with what it has."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from api_world import ROOT, build, memory_store, put
from people_world import WallClock
from trust_world import World

from holdfast import locks
from holdfast.agent.trust_office import SWEEP_S, in_order
from holdfast.api.operations import nodes, trust
from holdfast.bootstrap import certificates, files, pki, renew, ring, secrets
from holdfast.bootstrap.trust import NodeTrust, Phase, Sealed
from holdfast.core.model import Beat, BeatPhase, FenceDeviceSpec, ManagementSpec, NodeSpec, Role
from holdfast.errors import ConfigError, Conflict, InvalidInput
from holdfast.store import codec, keys


class Hurried(WallClock):
    """Time that passes counts for waits too."""

    def now(self) -> float:
        return super().now() + self.ahead_s


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """n1 manages; n2 computes, n3 stores."""
    store = memory_store()
    await build(store, nodes=3)
    n3 = NodeSpec("n3", (Role.STORAGE,), {"management": "10.77.0.13", "public": "10.78.0.13"})
    await put(store, {keys.node_spec("n3"): n3})
    made = World(tmp_path, store, WallClock())
    await made.seed("n1", "n2", "n3")
    yield made
    await made.stop()


async def leaves(world: World, node: str) -> None:
    await put(world.store, {keys.beat(node): Beat("s", "b", "m", 9, 1, BeatPhase.RELEASED)})
    await nodes.remove(world.store, ROOT, node, force=True, pki_dir=world.pki("n1"))


async def settled(world: World) -> None:
    """Every node has said what it has, and has its secrets sealed."""

    async def done() -> bool:
        entries = {entry.key for entry in (await world.store.list(keys.SEALED)).entries}
        return entries == {keys.sealed(node) for node in world.keepers}

    await world.until(done, "sealed for all")


# --- certificates -------------------------------------------------------------------------------------------------------


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life(world: World) -> None:
    await world.start("n1", "n2")
    await settled(world)
    before, key = world.serial("n2"), (world.pki("n2") / files.NODE_KEY).read_bytes()
    assert isinstance(world.clock, WallClock)
    world.clock.ahead_s = timedelta(days=59).total_seconds()
    await asyncio.sleep(1.5)  # more than one look
    assert world.serial("n2") == before, "not before"
    world.clock.ahead_s = timedelta(days=61).total_seconds()
    await world.until(lambda: world.serial("n2") != before, "renewed")
    assert (world.pki("n2") / files.NODE_KEY).read_bytes() != key, "a new key"
    ca, cert, key = ((world.pki("n2") / n).read_bytes() for n in (files.CA_CERT, files.NODE_CERT, files.NODE_KEY))
    pki.check_node(ca, cert, key, "n2")
    known = await world.read(keys.trust_node("n2"), NodeTrust)
    assert {one.serial for one in known.issued} >= {before, world.serial("n2")}, "both can be revoked"


async def test_a_request_gets_what_the_cluster_knows_and_nothing_that_it_asks_for(world: World) -> None:
    await world.start("n1")
    request, _ = pki.new_request("n1")  # n2 says that it is n1
    await put(world.store, {keys.trust_node("n2"): NodeTrust(request=request.decode())})

    async def refused() -> bool:
        known = await world.read(keys.trust_node("n2"), NodeTrust)
        return not known.request and not known.certificate

    await world.until(refused, "refused")


async def test_a_node_whose_clock_is_years_ahead_does_not_ask_for_ever(world: World) -> None:
    world.clock = Hurried()
    await world.start("n1")
    world.clock.ahead_s = timedelta(days=3650).total_seconds()
    await world.start("n2")
    before = len((await world.read(keys.trust_node("n2"), NodeTrust)).issued)
    for _ in range(6):
        world.clock.ahead_s += 61.0
        await asyncio.sleep(1.1)  # a look
    assert len((await world.read(keys.trust_node("n2"), NodeTrust)).issued) <= before + 3


@pytest.mark.parametrize("step", ["nothing", "certificate staged", "key in place"])
def test_a_renewal_that_was_interrupted_is_completed(tmp_path: Path, step: str) -> None:
    """Whatever a crash leaves behind, key and certificate belong together before anybody needs them."""
    ca = pki.create_authority("demo")
    cert, key = pki.issue_node(ca, "n1", [])
    (tmp_path / files.NODE_CERT).write_bytes(cert)
    (tmp_path / files.NODE_KEY).write_bytes(key)
    asked = renew.request(tmp_path, "n1")
    answer = pki.answer_request(ca, asked.encode(), "n1", [])
    if step != "nothing":
        (tmp_path / (files.NODE_CERT + renew.NEXT)).write_bytes(answer)
    if step == "key in place":
        (tmp_path / (files.NODE_KEY + renew.NEXT)).replace(tmp_path / files.NODE_KEY)
    renew.finish(tmp_path)
    present = (tmp_path / files.NODE_CERT).read_bytes()
    pki.check_node(ca.cert_pem, present, (tmp_path / files.NODE_KEY).read_bytes(), "n1")
    assert (present == answer) == (step != "nothing")


async def test_a_management_node_whose_certificate_has_expired_makes_itself_one(world: World) -> None:
    """All nodes were off for months: there is no store to ask before somebody has a certificate."""
    await world.start("n1")
    copy = world.root / "n1" / "state" / "authority.json"
    await world.until(copy.exists, "a copy of the locked authority")
    await world.stop()
    assert isinstance(world.clock, WallClock)
    world.clock.ahead_s = timedelta(days=200).total_seconds()
    before = world.serial("n1")
    await world.start("n1")  # prepare() comes before anything is asked
    assert world.serial("n1") != before
    assert b"PRIVATE" not in copy.read_bytes()


# --- revocation ---------------------------------------------------------------------------------------------------------


async def test_who_leaves_is_on_the_list_everywhere_and_learns_no_secret_any_more(world: World) -> None:
    clock = world.clock = Hurried()
    await world.start("n1", "n2", "n3")
    await settled(world)
    old, serial = ring.read(world.pki("n1")), world.serial("n3")
    await leaves(world, "n3")
    for node in ("n1", "n2"):
        crl = world.pki(node) / files.CRL
        await world.until(lambda crl=crl: serial in certificates.revoked_serials(crl.read_bytes()), "on the list")  # type: ignore[misc]
        await world.until(lambda node=node: ring.read(world.pki(node)).generation == 2, "the next secrets")  # type: ignore[misc]
    new = ring.read(world.pki("n1"))
    assert new.beat not in (old.beat, b"") and new.cluster not in (old.cluster, b"")
    assert new.beat_before == old.beat, "both count for a while"
    computes = ring.read(world.pki("n2"))
    assert (computes.beat, computes.cluster) == (new.beat, b""), "a node gets what its roles need"
    assert "10.77.0.13" not in world.cuts[-1], "open connections from there are ended"
    assert ring.read(world.pki("n3")) == old
    entries = (await world.store.list("")).entries
    thief = ring.sealing_key(world.pki("n3"))
    for entry in entries:
        if entry.key.startswith(keys.SEALED):
            with pytest.raises(ConfigError):
                ring.unseal(codec.decode(entry.value, Sealed).box, thief, "n3")
    await put(world.store, {"spec/probe": locks.lock(b"said afterwards", new.cluster)})
    with pytest.raises(ConfigError):
        locks.unlock(locks.lock(b"said afterwards", new.cluster), old.cluster)

    async def relocked() -> bool:
        locked = await world.read(keys.CA_KEY, str)
        return locks.is_current(locked, new.cluster)

    await world.until(relocked, "the authority's key is locked with the new secret")
    # An operation that began before the change ends now.
    await put(world.store, {"spec/late": locks.lock(b"said late", old.cluster)})

    async def late() -> bool:
        return locks.is_current(await world.read("spec/late", str), new.cluster)

    clock.ahead_s += SWEEP_S
    await world.until(late, "what came late is locked anew, too")
    assert ring.read(world.pki("n1")).cluster_before == old.cluster
    clock.ahead_s += ring.HOLD_S
    await world.until(lambda: not ring.read(world.pki("n1")).cluster_before, "the former one is forgotten")


async def test_the_former_beat_key_counts_until_every_member_has_the_new_one(world: World) -> None:
    """A healthy member that cannot follow (a full disk) must not fall silent: it would be taken for dead."""
    world.clock = Hurried()
    await world.start("n1", "n2", "n3")
    await settled(world)
    await world.stop()
    await world.start("n1")  # n2 beats, and does not follow
    await leaves(world, "n3")
    await world.until(lambda: ring.read(world.pki("n1")).generation == 2, "the next secrets")
    world.clock.ahead_s += 2 * ring.HOLD_S
    await asyncio.sleep(2.5)  # two looks
    assert ring.read(world.pki("n1")).beat_before == world.ring.beat
    await world.start("n2")
    await world.until(lambda: ring.read(world.pki("n2")).generation == 2, "n2 follows")
    await world.until(lambda: not ring.read(world.pki("n1")).beat_before, "forgotten")


async def test_a_node_that_was_off_meanwhile_opens_the_secrets_when_it_is_back(world: World) -> None:
    clock = world.clock = Hurried()
    n4 = NodeSpec("n4", (Role.STORAGE,), {"management": "10.77.0.14"})
    await put(world.store, {keys.node_spec("n4"): n4, keys.beat("n4"): Beat("s", "b", "m", 1, 1, BeatPhase.ACTIVE)})
    cert, key = pki.issue_node(world.ca, "n4", ["10.77.0.14"])
    world.give("n4", cert, key)
    await world.start("n1", "n2", "n3", "n4")
    await settled(world)
    await world.stop()
    world.keepers.clear()
    await world.start("n1", "n2")
    await leaves(world, "n3")
    await world.until(lambda: ring.read(world.pki("n1")).generation == 2, "the next secrets")
    first = ring.read(world.pki("n1"))
    await world.until(lambda: bool(ring.read(world.pki("n1")).cluster_before), "n4 is waited for")
    await world.start("n4")
    await world.until(lambda: ring.read(world.pki("n4")).cluster == first.cluster, "n4 has them")

    def forgotten() -> bool:
        clock.ahead_s += 1.0
        return not ring.read(world.pki("n4")).cluster_before

    await world.until(forgotten, "then the former ones are forgotten")


async def test_nothing_changes_before_somebody_can_be_told_the_new_secrets(world: World) -> None:
    with pytest.raises(Conflict, match="no management node has said"):
        await leaves(world, "n3")
    assert (await world.trust()).generation == 1


async def test_a_bad_list_in_the_store_reaches_no_file(world: World) -> None:
    """A list of somebody else's, or garbage, would shut every node out at once."""
    await world.start("n1")
    await settled(world)
    crl = world.pki("n1") / files.CRL
    before = crl.read_bytes()
    known = await world.trust()
    name = certificates.authority_id(known.signing.encode())
    stranger = certificates.revocations(pki.create_authority("demo"), ["1234"]).decode()
    for bad in ("garbage", stranger):
        await put(world.store, {keys.TRUST: replace(known, crls={name: bad})})
        await asyncio.sleep(1.2)  # more than one look
        assert crl.read_bytes() == before


async def test_a_lost_or_damaged_list_is_restored_before_etcd_starts(world: World) -> None:
    await world.start("n1")
    crl, copy = world.pki("n1") / files.CRL, world.root / "n1" / "state" / files.CRL
    await world.until(copy.exists, "a copy")
    kept = copy.read_bytes()
    await world.stop()
    for damage in (crl.unlink, lambda: crl.write_bytes(b"garbage")):
        damage()
        world.keepers["n1"].ensure_revocations()
        assert crl.read_bytes() == kept
    crl.unlink()
    copy.unlink()
    world.keepers["n1"].ensure_revocations()
    assert certificates.revoked_serials(crl.read_bytes()) == set(), "an empty one, until the store tells"


def test_a_list_does_not_expire_before_its_authority() -> None:
    """An expired one would make OpenSSL and GnuTLS refuse everybody, all nodes at once."""
    from cryptography import x509

    ca = pki.create_authority("demo")
    crl = x509.load_pem_x509_crl(certificates.revocations(ca, ["ff"]))
    assert crl.next_update_utc == x509.load_pem_x509_certificate(ca.cert_pem).not_valid_after_utc


# --- the authority ------------------------------------------------------------------------------------------------------


async def test_the_authority_changes_in_phases_and_each_waits_for_everybody(world: World) -> None:
    await world.start("n1", "n2")
    await settled(world)
    await trust.rotate_authority(world.store, ROOT, pki_dir=world.pki("n1"))
    with pytest.raises(Conflict, match="being changed already"):
        await trust.rotate_authority(world.store, ROOT, pki_dir=world.pki("n1"))

    def trusted(node: str) -> int:
        return len(certificates.split((world.pki(node) / files.CA_CERT).read_bytes()))

    await world.until(lambda: (trusted("n1"), trusted("n2")) == (2, 2), "both trust both")
    await asyncio.sleep(1.5)
    assert (await world.trust()).phase == Phase.SPREADING, "n3 has not said a word"
    assert (await trust.overview(world.store)).waiting_for == ("n3",)
    await world.start("n3")

    async def ended() -> bool:
        return (await world.trust()).phase == Phase.NONE

    await world.until(ended, "the end")
    for node in ("n1", "n2", "n3"):
        await world.until(lambda node=node: trusted(node) == 1, "the old one is dropped")  # type: ignore[misc]
        pem = {n: (world.pki(node) / n).read_bytes() for n in (files.CA_CERT, files.NODE_CERT, files.NODE_KEY)}
        pki.check_node(pem[files.CA_CERT], pem[files.NODE_CERT], pem[files.NODE_KEY], node)
        with pytest.raises(InvalidInput):
            pki.check_node(world.ca.cert_pem, pem[files.NODE_CERT], pem[files.NODE_KEY], node)
    assert await world.store.get(keys.CA_KEY_OTHER) is None
    key = locks.unlock(await world.read(keys.CA_KEY, str), world.ring.cluster)
    assert key != world.ca.key_pem


async def test_a_cluster_of_an_earlier_version_is_taken_as_it_is(world: World) -> None:
    from holdfast.ports import Delete

    await world.store.txn([], [Delete(keys.TRUST), *(Delete(keys.trust_node(n)) for n in ("n1", "n2", "n3"))])
    for node in ("n1", "n2"):
        for name in (files.CRL, files.GENERATION):
            (world.pki(node) / name).unlink()
    await world.start("n1", "n2")
    await settled(world)
    assert (await world.trust()).signing.encode() == world.ca.cert_pem
    known = await world.read(keys.trust_node("n2"), NodeTrust)
    assert [one.serial for one in known.issued] == [world.serial("n2")], "it can be revoked"


# --- what is locked -----------------------------------------------------------------------------------------------------


async def test_secrets_that_an_earlier_version_wrote_in_clear_are_locked(world: World) -> None:
    options = {"url": "https://10.79.0.102", "username": "admin", "password": "geheim geheim"}
    spec = replace(
        await world.read(keys.node_spec("n2"), NodeSpec), fence_devices=(FenceDeviceSpec("bmc", "redfish", options),)
    )
    await put(world.store, {keys.node_spec("n2"): spec})
    await world.start("n1")

    async def hidden() -> bool:
        entry = await world.store.get(keys.node_spec("n2"))
        return entry is not None and b"geheim" not in entry.value

    await world.until(hidden, "locked")
    stored = await world.read(keys.node_spec("n2"), NodeSpec)
    assert stored.fence_devices[0].options["username"] == "admin"


def test_what_is_locked_anew_keeps_its_place_and_what_is_not_ours_is_left_alone() -> None:
    old, new = secrets.new_secret(), secrets.new_secret()
    foreign = locks.lock(b"x", secrets.new_secret())
    value = {
        "a": [locks.lock(b"one", old), 5, None],
        "b": locks.marked("two", old),
        "c": foreign,
        "d": "gAAAAA",
        "ü": "ü",
    }
    changed = in_order("spec/x", json.dumps(value).encode(), new + old, relock=True)
    assert changed is not None
    found = json.loads(changed)
    assert locks.unlock(found["a"][0], new) == b"one" and found["a"][1:] == [5, None]
    assert locks.clear(found["b"], new) == "two"
    assert (found["c"], found["d"], found["ü"]) == (foreign, "gAAAAA", "ü")
    assert in_order("spec/x", changed, new + old, relock=True) is None, "done"
    assert in_order("spec/x", json.dumps(value).encode(), new + old, relock=False) is None


def test_management_that_moves_is_told_the_secret(tmp_path: Path) -> None:
    from holdfast.agent.trust_office import sealed_for

    mine = ring.Ring(3, b"b" * 32, b"", b"c" * 32)
    key = ring.sealing_key(tmp_path)
    spec, known = NodeSpec("n2", (Role.COMPUTE,), {}), NodeTrust(sealing_key=ring.public_text(key))
    first = sealed_for(spec, ManagementSpec(("n1",)), known, mine, None)
    assert first is not None and ring.unseal(first.box, key, "n2").cluster == b""
    assert sealed_for(spec, ManagementSpec(("n1",)), known, mine, first) is None
    second = sealed_for(spec, ManagementSpec(("n1", "n2")), known, mine, first)
    assert second is not None and ring.unseal(second.box, key, "n2").cluster == b"c" * 32
    with pytest.raises(ConfigError, match="not sealed for this node"):
        ring.unseal(second.box, key, "n3")
