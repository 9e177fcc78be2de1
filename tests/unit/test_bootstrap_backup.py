"""Backup and restore of the cluster's state: what is kept, what must not be believed any more, and who may restore where."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import memory_store, put

from holdfast import locks
from holdfast.bootstrap import backup as backups
from holdfast.bootstrap import certificates, files, pki, ring, sealed
from holdfast.bootstrap.backup import Backup
from holdfast.bootstrap.create import SEED_FILE, CreateOptions, apply_seed, create_cluster
from holdfast.bootstrap.restore import KNOWN_FILE, RestoreOptions, as_restored, known_here, read_passphrase, restore
from holdfast.bootstrap.trust import Trust
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    Fence,
    Goal,
    InstanceSpec,
    ManagementMember,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    Placement,
    Role,
    WatchdogAttestation,
)
from holdfast.core.policy import HaPause, PauseMode
from holdfast.core.restored import KnownNode, KnownNodes, Restored
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Put
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdMember
from holdfast.store.memory import MemoryStore

PASSPHRASE = "correct horse battery"
NOW = RestoreOptions("2026-11-23T15:00:00Z", 1_795_000_000_000, machine_id="m1")


async def made(root: Path) -> tuple[Backup, MemoryStore]:
    """A backup of a cluster created at `root` (n1), to which n2 and n3 were added; vm/a runs on n2 in a paused cluster."""
    create_cluster(
        CreateOptions(
            cluster="demo", node="n1", networks=(NetworkSpec("management", ("10.77.0.0/24",)),),
            addresses={"management": "10.77.0.11"}, password="ten-chars-or-more", local={"watchdog": "/dev/watchdog7"},
        ),
        root,
    )  # fmt: skip
    store = memory_store()
    assert await apply_seed(store, root / f"var/lib/holdfast/{SEED_FILE}")
    attested = WatchdogAttestation("/dev/watchdog", "iTCO", 6)
    values: dict[str, object] = {
        keys.instance("vm/a"): InstanceSpec("vm/a", "vm", "a", Exclusivity.STRICT, Role.COMPUTE),
        keys.placement("vm/a"): Placement("n2", 41, 3, migrate_to="n3", migrate_fence_epoch=2),
        keys.status("vm/a"): {"any": "thing"},
        keys.PAUSE: HaPause(PauseMode.FREEZE),
        keys.MANAGER_TERM: {"node": "n1", "term": 9},
        keys.join_token("t1"): {"any": "thing"},
    }
    for k, epoch in ((2, 3), (3, 2)):
        values[keys.node_spec(f"n{k}")] = NodeSpec(f"n{k}", (Role.COMPUTE,), {"management": f"10.77.0.1{k}"})
        values[keys.fence(f"n{k}")] = Fence(epoch)
        values[keys.beat(f"n{k}")] = Beat(f"s{k}", f"b{k}", f"m{k}", 5, epoch, BeatPhase.ACTIVE, attested, 4, 8192)
    values[keys.beat("n1")] = Beat("s1", "b1", "m1", 5, 1, BeatPhase.ACTIVE)
    await put(store, values)
    lease = await store.lease(60)
    await store.txn([], [Put(keys.session("x"), b'{"who": "me"}', lease)])
    return await backups.make(store, "n1", "2026-11-23T14:00:00Z", pki_dir=root / "etc/holdfast/pki"), store


async def test_no_file_of_one_node_is_kept_and_no_name_of_a_backup_leads_anywhere(tmp_path: Path) -> None:
    """What is staged while a certificate is renewed would make another node pass for the one that was backed up."""
    _, store = await made(tmp_path / "n1")
    pki = tmp_path / "n1/etc/holdfast/pki"
    for name in ("node.key.next", "node.crt.next", ".node.key.new"):
        (pki / name).write_bytes(b"of n1 alone")
    backup = await backups.make(store, "n1", "2026-11-23T14:00:00Z", pki_dir=pki)
    assert set(backup.files) <= set(backups.SHARED)
    bad = {**backup.files, "../../../evil": "", "/etc/evil": "", "node.key.next": "", "node.key": ""}
    assert backups.unpack(backups.pack(replace(backup, files=bad), PASSPHRASE), PASSPHRASE) == backup


def read(new: dict[str, bytes], key: str, kind: type) -> object:
    return codec.decode(new[key], kind, key)


async def test_a_backup_holds_what_lasts_and_is_opened_by_its_passphrase_only(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    content = backups.pack(backup, PASSPHRASE)
    assert backups.unpack(content, PASSPHRASE) == backup
    assert keys.session("x") not in backup.entries()
    assert {files.CA_CERT, files.BEAT_KEY, files.CLUSTER_SECRET} <= set(backup.files)
    assert files.NODE_KEY not in backup.files
    secret = (tmp_path / "etc/holdfast/pki" / files.CLUSTER_SECRET).read_bytes()
    assert secret not in content
    assert base64.b64encode(secret) not in content
    assert sealed.about(content)["records"] == len(backup.records)
    with pytest.raises(InvalidInput, match="does not open"):
        backups.unpack(content, "another passphrase")
    with pytest.raises(InvalidInput, match="characters"):
        backups.pack(backup, "short")


@pytest.mark.parametrize("place", [0, 1, 40, 200, -1])
async def test_a_damaged_backup_is_refused(tmp_path: Path, place: int) -> None:
    backup, _ = await made(tmp_path)
    content = bytearray(backups.pack(backup, PASSPHRASE))
    content[place] ^= 1
    with pytest.raises(InvalidInput):
        backups.unpack(bytes(content), PASSPHRASE)
    with pytest.raises(InvalidInput):
        backups.unpack(bytes(content[:-20]), PASSPHRASE)


async def test_of_a_restored_store_nothing_is_believed_that_may_have_changed(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    new = as_restored(backup, "n1", NOW)
    record = read(new, keys.RESTORED, Restored)
    assert isinstance(record, Restored)
    fences = [read(new, keys.fence(name), Fence) for name in ("n1", "n2", "n3")]
    assert fences == [Fence(record.epoch_floor)] * 3
    assert record.epoch_floor > NOW.wall_ms  # of every life before
    placement = read(new, keys.placement("vm/a"), Placement)
    assert placement == Placement("n2", record.epoch_floor, 0, Goal.RUN, "as the backup had it")
    for name in ("n2", "n3"):
        beat = read(new, keys.beat(name), Beat)
        assert isinstance(beat, Beat)
        assert (beat.session, beat.boot_id, beat.watchdog) == ("", "", None)
        assert (beat.machine_id, beat.fence_epoch, beat.phase) == (f"m{name[1]}", record.epoch_floor, BeatPhase.ACTIVE)
    gone = (keys.beat("n1"), keys.status("vm/a"), keys.PAUSE, keys.MANAGER_TERM, keys.join_token("t1"))
    assert not [key for key in gone if key in new]
    management = read(new, keys.MANAGEMENT, ManagementSpec)
    assert management == ManagementSpec(
        ("n1",), members=(ManagementMember("n1", "https://10.77.0.11:2380", "https://10.77.0.11:2379", "voter"),)
    )


async def test_a_second_restore_of_the_same_backup_uses_no_epoch_of_the_first(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    first, second = (
        read(as_restored(backup, "n1", replace(NOW, wall_ms=NOW.wall_ms + later)), keys.RESTORED, Restored)
        for later in (0, 1000)
    )
    assert isinstance(first, Restored)
    assert isinstance(second, Restored)
    # Each epoch of the first life is its floor and a revision of the store more: not one of a thousand in a millisecond.
    assert second.epoch_floor >= first.epoch_floor + 1000 * 1000
    assert (first.former_floor, first.backup_revision) == (0, backup.revision)


async def test_the_backup_of_a_restored_store_names_the_life_that_it_is_of(tmp_path: Path) -> None:
    """Even if the clock of the machine is wrong."""
    backup, _ = await made(tmp_path)
    first = as_restored(backup, "n1", NOW)
    again = replace(backup, records=[(key, base64.b64encode(value).decode()) for key, value in sorted(first.items())])
    one = read(first, keys.RESTORED, Restored)
    two = read(as_restored(again, "n1", replace(NOW, wall_ms=0)), keys.RESTORED, Restored)
    assert isinstance(one, Restored)
    assert isinstance(two, Restored)
    assert (two.times, two.former_floor) == (2, one.epoch_floor)
    assert two.epoch_floor > one.epoch_floor + 10**8


async def test_the_machine_that_restores_knows_of_nodes_that_the_backup_does_not(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    new = as_restored(backup, "n1", NOW)
    record = read(new, keys.RESTORED, Restored)
    assert isinstance(record, Restored)
    since = KnownNode(NodeSpec("n9", (Role.COMPUTE,), {"management": "10.77.0.19"}), backup.revision + 1)
    known = read(new, keys.node_spec("n2"), NodeSpec)
    assert isinstance(known, NodeSpec)
    memory = KnownNodes(0, {"n2": KnownNode(known, backup.revision + 2), "n9": since})
    found = known_here(codec.encode(memory), new)
    assert sorted(found) == sorted([keys.node_spec("n9"), keys.fence("n9"), keys.beat("n9")])
    assert read(found, keys.fence("n9"), Fence) == Fence(record.epoch_floor)
    assert known_here(None, new) == known_here(b"{", new) == {}


async def test_the_node_that_it_was_gets_its_store_back(tmp_path: Path) -> None:
    """With its own key and settings; the member is another cluster to etcd, the old data lie aside."""
    backup, _ = await made(tmp_path)
    state = tmp_path / "var/lib/holdfast"
    (state / "etcd").mkdir()
    (state / "etcd" / "member").write_text("old")
    (state / "management.json").write_text("{}")
    key = (tmp_path / "etc/holdfast/pki" / files.NODE_KEY).read_bytes()
    config = restore(backup, NOW, tmp_path)
    assert (config.id, config.watchdog) == ("n1", "/dev/watchdog7")
    assert (tmp_path / "etc/holdfast/pki" / files.NODE_KEY).read_bytes() == key
    assert not (state / "etcd").exists()
    assert len(list(state.glob("etcd.before-*"))) == 1
    assert not (state / "management.json").exists()
    member = codec.decode((state / "etcd.json").read_bytes(), EtcdMember, "etcd.json")
    assert member.new
    assert member.token not in ("", "demo")
    store = memory_store()
    assert await apply_seed(store, state / SEED_FILE)
    found = {entry.key: entry.value for entry in (await store.list("")).entries}
    assert keys.RESTORED in found
    assert keys.placement("vm/a") in found


async def test_a_restore_puts_in_what_the_machine_knows(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    state = tmp_path / "var/lib/holdfast"
    since = KnownNode(NodeSpec("n9", (Role.COMPUTE,), {"management": "10.77.0.19"}), backup.revision + 1)
    (state / KNOWN_FILE).write_bytes(codec.encode(KnownNodes(0, {"n9": since})))
    restore(backup, NOW, tmp_path)
    store = memory_store()
    assert await apply_seed(store, state / SEED_FILE)
    told = await store.get(keys.node_spec("n9"))
    assert told is not None
    assert (state / KNOWN_FILE).exists()


async def test_a_fresh_machine_becomes_the_node_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path / "old")
    fresh = tmp_path / "fresh"
    with pytest.raises(Conflict, match="another machine"):
        restore(backup, replace(NOW, machine_id="other"), fresh)
    assert not (fresh / "etc/holdfast/node.toml").exists()
    restore(backup, replace(NOW, machine_id="other", replaces=True, local={"watchdog": ""}), fresh)
    where = fresh / "etc/holdfast/pki"
    assert "10.77.0.11" in pki.names_of((where / files.NODE_CERT).read_bytes())
    assert (where / files.NODE_KEY).stat().st_mode & 0o777 == 0o600
    assert (where / files.CLUSTER_SECRET).read_bytes() == (
        tmp_path / "old/etc/holdfast/pki/cluster.secret"
    ).read_bytes()


async def test_secrets_that_are_newer_than_the_backup_go_on(tmp_path: Path) -> None:
    """A node was removed after the backup: the others have another beat key now."""
    backup, _ = await made(tmp_path)
    pki = tmp_path / "etc/holdfast/pki"
    before = ring.read(pki)
    ring.write(pki, before.following())
    now = ring.read(pki)
    restore(backup, NOW, tmp_path)
    after = ring.read(pki)
    assert (after.beat, after.cluster, after.generation) == (now.beat, now.cluster, now.generation)
    assert before.cluster in after.cluster_before


async def test_who_was_removed_after_the_backup_stays_shut_out(tmp_path: Path) -> None:
    """What a stolen disk held is worth nothing because the state of an earlier day was restored."""
    backup, store = await made(tmp_path)
    where = tmp_path / "etc/holdfast/pki"
    before = ring.read(where)
    entry = await store.get(keys.CA_KEY)
    assert entry is not None
    key = locks.unlock(codec.decode(entry.value, str, entry.key), before.cluster)
    authority = pki.Authority((where / files.CA_CERT).read_bytes(), key)
    ring.write(where, before.following())
    (where / files.CRL).write_bytes(certificates.revocations(authority, ["abc"]))
    config = restore(backup, NOW, tmp_path)
    assert certificates.revoked_serials((where / files.CRL).read_bytes()) == {"abc"}
    reborn = memory_store()
    assert await apply_seed(reborn, tmp_path / f"var/lib/holdfast/{SEED_FILE}")
    found = await reborn.get(keys.TRUST)
    assert found is not None
    known = codec.decode(found.value, Trust, found.key)
    assert certificates.revoked_serials(known.crl_file) == {"abc"}
    assert known.generation == ring.read(where).generation == 2, "else no management node would work on it"
    assert config.id == "n1"
    stranger = pki.create_authority("demo")
    (where / files.CRL).write_bytes(certificates.revocations(stranger, ["def"]))
    restore(backup, NOW, tmp_path)
    assert certificates.revoked_serials((where / files.CRL).read_bytes()) == set(), "a list of nobody's is not believed"


async def test_a_machine_whose_authority_the_backup_does_not_know_gets_a_certificate(tmp_path: Path) -> None:
    """The authority was changed after the backup: with the certificate that it has nobody would let it in."""
    backup, _ = await made(tmp_path)
    where = tmp_path / "etc/holdfast/pki"
    later = pki.create_authority("demo", "later")
    cert, key = pki.issue_node(later, "n1", ["10.77.0.11"])
    for name, content in ((files.CA_CERT, later.cert_pem), (files.NODE_CERT, cert), (files.NODE_KEY, key)):
        (where / name).write_bytes(content)
    restore(backup, NOW, tmp_path)
    ca, own, its = ((where / name).read_bytes() for name in (files.CA_CERT, files.NODE_CERT, files.NODE_KEY))
    pki.check_node(ca, own, its, "n1")


async def test_where_it_must_not_be_restored(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    with pytest.raises(Conflict, match="is the node n1"):
        restore(backup, replace(NOW, node="n2"), tmp_path)
    with pytest.raises(NotFound, match="n9"):
        restore(backup, replace(NOW, node="n9"), tmp_path / "fresh")
    with pytest.raises(Conflict, match="belongs to the cluster"):
        restore(replace(backup, cluster="other"), NOW, tmp_path)
    strict = tmp_path / "sys/fs/cgroup/holdfast/strict"
    strict.mkdir(parents=True)
    (strict / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(Conflict, match="something runs"):
        restore(backup, NOW, tmp_path)


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o644)
    with pytest.raises(HoldfastError, match="others can read"):
        read_passphrase(file)
    file.chmod(0o600)
    assert read_passphrase(file) == PASSPHRASE


def test_only_the_newest_backups_of_a_directory_stay(tmp_path: Path) -> None:
    for k in range(5):
        (tmp_path / f"demo-2026112{k}T000000.hfbackup").touch()
    (tmp_path / "other-20200101T000000.hfbackup").touch()
    backups.prune(tmp_path, "demo", 2)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["demo-20261123T000000.hfbackup", "demo-20261124T000000.hfbackup", "other-20200101T000000.hfbackup"]


async def test_a_large_seed_is_planted_in_parts_and_makes_a_cluster_last(tmp_path: Path) -> None:
    backup, _ = await made(tmp_path)
    many = [
        (f"spec/instances/vm/{k}", base64.b64encode(b'{"x": "' + b"y" * 2000 + b'"}').decode()) for k in range(1500)
    ]
    restore(replace(backup, records=[*backup.records, *many]), NOW, tmp_path)
    store = memory_store()
    assert await apply_seed(store, tmp_path / f"var/lib/holdfast/{SEED_FILE}")
    entries = (await store.list("")).entries
    cluster = next(entry for entry in entries if entry.key == keys.CLUSTER)
    assert len([e for e in entries if e.key.startswith("spec/instances/vm/")]) == 1501
    assert cluster.mod_revision == max(entry.mod_revision for entry in entries)
