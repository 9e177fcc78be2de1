"""The first node: what it writes, what it refuses, and that the store is seeded exactly once."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from holdfast import config as node_config
from holdfast import locks
from holdfast.bootstrap import secrets
from holdfast.bootstrap.create import CreateOptions, apply_seed, create_cluster
from holdfast.bootstrap.trust import NodeTrust, Trust
from holdfast.bootstrap.users import User, read_password_file
from holdfast.clock import SystemClock
from holdfast.core.model import (
    ClusterSpec,
    Fence,
    InstanceSpec,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    Role,
    ServiceSpec,
)
from holdfast.errors import ConfigError, Conflict, HoldfastError, InvalidInput, StoreUnknownOutcome
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdMember
from holdfast.store.memory import Faults, MemoryStore, WriteFault
from holdfast.store.memory_cluster import MemoryCluster

OPTIONS = CreateOptions(
    cluster="demo",
    node="n1",
    networks=(NetworkSpec("management", ("10.77.0.0/24", "fd77::/64")), NetworkSpec("public", ("10.78.0.0/24",))),
    addresses={"management": "10.77.0.11", "public": "10.78.0.11"},
    password="four random words",
)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def seed_path(root: Path) -> Path:
    return root / "var/lib/holdfast/seed.json"


def make_store() -> MemoryStore:
    return MemoryStore(MemoryCluster(), SystemClock())


async def test_files_and_modes(tmp_path: Path) -> None:
    config = create_cluster(OPTIONS, tmp_path)
    assert files_below(tmp_path) == [
        "etc/holdfast/node.toml",
        "etc/holdfast/pki/beat.key",
        "etc/holdfast/pki/ca.crt",
        "etc/holdfast/pki/cluster.secret",
        "etc/holdfast/pki/crl.pem",
        "etc/holdfast/pki/node.crt",
        "etc/holdfast/pki/node.key",
        "var/lib/holdfast/etcd.json",
        "var/lib/holdfast/seed.json",
    ]
    for name in files_below(tmp_path):
        mode = stat.S_IMODE((tmp_path / name).stat().st_mode)
        assert mode == (0o644 if name.endswith((".crt", ".pem", ".toml")) else 0o600), name
    assert node_config.load(tmp_path / "etc/holdfast/node.toml") == config
    assert config.endpoints == ("https://10.77.0.11:2379",)
    member = codec.decode((tmp_path / "var/lib/holdfast/etcd.json").read_bytes(), EtcdMember)
    assert member == EtcdMember(
        "n1", "https://10.77.0.11:2380", "https://10.77.0.11:2379", (("n1", "https://10.77.0.11:2380"),), new=True
    )


async def test_seed_fills_an_empty_store(tmp_path: Path) -> None:
    create_cluster(replace(OPTIONS, profile="fast", failure_domain="rack-a"), tmp_path)
    store = make_store()
    assert await apply_seed(store, seed_path(tmp_path))
    assert not seed_path(tmp_path).exists()
    expected = {
        "nodes/n1/fence": Fence,
        "secrets/ca-key": str,
        "trust/authority": Trust,
        "trust/nodes/n1": NodeTrust,
        "spec/cluster": ClusterSpec,
        "spec/instances/panel/admin": InstanceSpec,
        "spec/management": ManagementSpec,
        "spec/nodes/n1": NodeSpec,
        "spec/services/panel/admin": ServiceSpec,
        "users/admin": User,
    }
    entries = (await store.list("")).entries
    found = {entry.key: codec.decode(entry.value, expected[entry.key], entry.key) for entry in entries}
    assert set(found) == set(expected)
    assert found["nodes/n1/fence"] == Fence(epoch=1)
    assert found["spec/cluster"].profile == "fast" and found["spec/cluster"].networks == OPTIONS.networks
    assert found["spec/nodes/n1"].failure_domain == "rack-a" and Role.MANAGEMENT in found["spec/nodes/n1"].roles
    assert [member.state for member in found["spec/management"].members] == ["voter"]
    assert found["spec/instances/panel/admin"].address is None
    PasswordHasher().verify(found["users/admin"].password_hash, "four random words")
    key = locks.unlock(found["secrets/ca-key"], secrets.read_secret(tmp_path / "etc/holdfast/pki/cluster.secret"))
    assert b"PRIVATE KEY" in key


async def test_nothing_secret_is_readable_in_the_seed(tmp_path: Path) -> None:
    create_cluster(OPTIONS, tmp_path)
    text = seed_path(tmp_path).read_text()
    assert "four random words" not in text and "PRIVATE" not in text
    assert "four random words" not in repr(OPTIONS)


@pytest.mark.parametrize("fate", [WriteFault.LOST, WriteFault.APPLIED])
async def test_seed_survives_an_unknown_outcome(tmp_path: Path, fate: WriteFault) -> None:
    create_cluster(OPTIONS, tmp_path)
    cluster, faults = MemoryCluster(), Faults()
    store = MemoryStore(cluster, SystemClock(), faults=faults, default_timeout_s=0.05)
    faults.next_writes.append(fate)
    with pytest.raises(StoreUnknownOutcome):
        await apply_seed(store, seed_path(tmp_path))
    assert seed_path(tmp_path).exists()
    assert await apply_seed(store, seed_path(tmp_path))
    assert not seed_path(tmp_path).exists()
    assert await store.get(keys.CLUSTER) is not None
    assert not await apply_seed(store, seed_path(tmp_path))


async def test_seed_does_not_touch_what_changed_since(tmp_path: Path) -> None:
    create_cluster(OPTIONS, tmp_path)
    copy = tmp_path / "copy.json"
    copy.write_bytes(seed_path(tmp_path).read_bytes())
    store = make_store()
    await apply_seed(store, seed_path(tmp_path))
    before = await store.list("")
    assert await apply_seed(store, copy)
    assert await store.list("") == before


async def test_seed_refuses_another_clusters_store(tmp_path: Path) -> None:
    create_cluster(OPTIONS, tmp_path / "a")
    create_cluster(replace(OPTIONS, cluster="other"), tmp_path / "b")
    store = make_store()
    await apply_seed(store, seed_path(tmp_path / "a"))
    with pytest.raises(Conflict, match="holds cluster 'demo' already, not the new 'other'"):
        await apply_seed(store, seed_path(tmp_path / "b"))
    assert seed_path(tmp_path / "b").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '[["spec/cluster", 3]]', '[["spec/cluster"'])
async def test_damaged_seed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seed.json"
    path.write_text(text)
    store = make_store()
    with pytest.raises(ConfigError, match="is damaged"):
        await apply_seed(store, path)
    assert (await store.list("")).entries == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node": "Node1"}, "is not a node id"),
        ({"cluster": "a b"}, "is not a cluster name"),
        ({"password": "short"}, "at least 10"),
        ({"password": "x" * 2000}, "longer than"),
        ({"profile": "fats"}, "no timing profile"),
        ({"addresses": {"management": "10.99.0.11"}}, "not inside network"),
        ({"networks": (NetworkSpec("public", ("10.78.0.0/24",)),)}, "no network is called `management`"),
        ({"roles": (Role.STORAGE,)}, "does not have the role `management`"),
        ({"shared_root": "shared"}, "not an absolute path"),
        ({"local": {"watchdgo": "/dev/x"}}, "Did you mean `watchdog`"),
        ({"local": {"id": "n9"}}, "no node setting"),
    ],
)
def test_bad_input_writes_nothing(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(HoldfastError, match=said) as raised:
        create_cluster(replace(OPTIONS, **change), tmp_path)  # type: ignore[arg-type]
    assert raised.value.advice
    assert files_below(tmp_path) == []


def test_systemd_starts_what_a_node_runs_where_it_is_process_1(tmp_path: Path) -> None:
    with_systemd = tmp_path / "n1"
    (with_systemd / "run/systemd/system").mkdir(parents=True)
    assert create_cluster(OPTIONS, with_systemd).units == "systemd"
    assert create_cluster(OPTIONS, tmp_path / "n2").units == "cgroups"
    (tmp_path / "n3/run/systemd/system").mkdir(parents=True)
    assert create_cluster(replace(OPTIONS, local={"units": "cgroups"}), tmp_path / "n3").units == "cgroups"


def test_local_settings_and_ipv6(tmp_path: Path) -> None:
    config = create_cluster(
        replace(OPTIONS, addresses={"management": "fd77::11"}, local={"watchdog": "", "state_dir": "/srv/hf"}), tmp_path
    )
    assert config.endpoints == ("https://[fd77::11]:2379",)
    assert config.watchdog == "" and (tmp_path / "srv/hf/seed.json").exists()


def test_a_member_is_left_alone(tmp_path: Path) -> None:
    create_cluster(OPTIONS, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)}
    with pytest.raises(Conflict, match="belongs to a cluster already") as raised:
        create_cluster(OPTIONS, tmp_path)
    assert "holdfast node remove" in raised.value.advice
    assert {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)} == before


def test_an_old_store_is_not_taken_over(tmp_path: Path) -> None:
    old = tmp_path / "var/lib/holdfast/etcd/member"
    old.mkdir(parents=True)
    with pytest.raises(Conflict, match="store of a former cluster"):
        create_cluster(OPTIONS, tmp_path)
    assert files_below(tmp_path) == []


def test_all_or_nothing_when_a_file_cannot_be_placed(tmp_path: Path) -> None:
    (tmp_path / "etc/holdfast/pki/cluster.secret").mkdir(parents=True)  # a directory where a file must go
    with pytest.raises(ConfigError, match=r"cluster\.secret.* cannot be written"):
        create_cluster(OPTIONS, tmp_path)
    assert files_below(tmp_path) == []


def test_leftovers_of_a_killed_attempt_do_not_matter(tmp_path: Path) -> None:
    create_cluster(OPTIONS, tmp_path)
    (tmp_path / "etc/holdfast/node.toml").rename(tmp_path / "etc/holdfast/.node.toml.new")
    create_cluster(replace(OPTIONS, cluster="second"), tmp_path)
    assert node_config.load(tmp_path / "etc/holdfast/node.toml").cluster == "second"
    seed = dict(json.loads(seed_path(tmp_path).read_text()))
    assert seed["spec/cluster"]["name"] == "second"
    assert not list(tmp_path.rglob("*.new"))


def test_password_files(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("four random words\nsecond line\n")
    assert read_password_file(str(path)) == "four random words"
    path.write_text("\n")
    for name in ("password", "absent"):
        with pytest.raises(InvalidInput):
            read_password_file(str(tmp_path / name))
