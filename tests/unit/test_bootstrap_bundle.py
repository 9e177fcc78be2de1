"""Join bundles: a new machine gets what it needs from one file, and a damaged or malicious file changes nothing."""

import gzip
import io
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import config as node_config
from holdfast.bootstrap import bundle, pki, secrets
from holdfast.bootstrap.create import CreateOptions, apply_seed, create_cluster
from holdfast.clock import SystemClock
from holdfast.core.model import ManagementMember, ManagementSpec, NetworkSpec, NodeSpec, Role
from holdfast.errors import ConfigError, Conflict, InvalidInput, NotFound
from holdfast.ports import Put
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster

N2 = NodeSpec("n2", (Role.STORAGE,), {"management": "10.77.0.12", "public": "10.78.0.12"})
PKI = "etc/holdfast/pki"


class Cluster:
    """A store with a fresh cluster, and the first node's root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore(MemoryCluster(), SystemClock())

    async def create(self) -> "Cluster":
        networks = (NetworkSpec("management", ("10.77.0.0/24",)), NetworkSpec("public", ("10.78.0.0/24",)))
        addresses = {"management": "10.77.0.11"}
        options = CreateOptions(
            cluster="demo", node="n1", networks=networks, addresses=addresses, password="four random words"
        )
        create_cluster(options, self.root)
        await apply_seed(self.store, self.root / "var/lib/holdfast/seed.json")
        return self

    async def bundle(self, node: NodeSpec = N2) -> bytes:
        return await bundle.make_bundle(self.store, node, pki_dir=self.root / PKI)

    async def set_management(self, management: ManagementSpec) -> None:
        await self.store.txn([], [Put(keys.MANAGEMENT, codec.encode(management))])


@pytest.fixture
async def cluster(tmp_path: Path) -> Cluster:
    return await Cluster(tmp_path / "n1").create()


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def repacked(data: bytes, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """The bundle with its entries changed by hand."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        entries = [(info, ((source := tar.extractfile(info)) and source.read()) or b"") for info in tar]
    change(entries)
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return result.getvalue()


async def test_join(cluster: Cluster, tmp_path: Path) -> None:
    root = tmp_path / "n2"
    config = bundle.join(await cluster.bundle(), root, local={"watchdog": "/dev/watchdog1"})
    assert files_below(root) == ["etc/holdfast/node.toml"] + [
        f"{PKI}/{name}"
        for name in ("beat.key", "ca.crt", "cluster.secret", "crl.pem", "generation", "node.crt", "node.key")
    ]
    assert stat.S_IMODE((root / PKI / "node.key").stat().st_mode) == 0o600
    assert node_config.load(root / "etc/holdfast/node.toml") == config
    assert (config.id, config.cluster, config.addresses) == ("n2", "demo", N2.addresses)
    assert config.endpoints == ("https://10.77.0.11:2379",) and config.watchdog == "/dev/watchdog1"
    assert pki.names_of((root / PKI / "node.crt").read_bytes()) >= {"n2", "10.77.0.12", "10.78.0.12", "localhost"}
    for shared in ("beat.key", "cluster.secret", "ca.crt"):
        assert (root / PKI / shared).read_bytes() == (cluster.root / PKI / shared).read_bytes()
    assert (root / PKI / "node.key").read_bytes() != (cluster.root / PKI / "node.key").read_bytes()


async def test_a_joined_node_can_make_bundles_itself(cluster: Cluster, tmp_path: Path) -> None:
    bundle.join(await cluster.bundle(), tmp_path / "n2")
    n3 = replace(N2, id="n3", addresses={"management": "10.77.0.13"})
    data = await bundle.make_bundle(cluster.store, n3, pki_dir=tmp_path / "n2" / PKI)
    assert bundle.join(data, tmp_path / "n3").id == "n3"


async def test_endpoints_and_virtual_ip_as_they_are_now(cluster: Cluster, tmp_path: Path) -> None:
    members = tuple(
        ManagementMember(f"n{i}", f"https://10.77.0.1{i}:2380", f"https://10.77.0.1{i}:2379", state)
        for i, state in [(1, "voter"), (3, "learner"), (4, "voter")]
    )
    await cluster.set_management(ManagementSpec(("n1", "n3", "n4"), "10.77.0.100", members))
    config = bundle.join(await cluster.bundle(), tmp_path / "n2")
    assert config.endpoints == ("https://10.77.0.11:2379", "https://10.77.0.14:2379")
    assert "10.77.0.100" not in pki.names_of((tmp_path / "n2" / PKI / "node.crt").read_bytes()), "the panel never comes"
    n3 = replace(N2, id="n3")
    bundle.join(await cluster.bundle(n3), tmp_path / "n3")
    assert "10.77.0.100" in pki.names_of((tmp_path / "n3" / PKI / "node.crt").read_bytes())


async def test_a_member_is_left_alone(cluster: Cluster) -> None:
    before = {name: (cluster.root / name).read_bytes() for name in files_below(cluster.root)}
    with pytest.raises(Conflict, match="belongs to a cluster already"):
        bundle.join(await cluster.bundle(), cluster.root)
    assert {name: (cluster.root / name).read_bytes() for name in files_below(cluster.root)} == before


def add(name: str, content: bytes = b"x", **fields: object) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        entries.append((info, content))

    return change


def replaced(name: str, content: bytes) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        entries[:] = [(info, content if info.name == name else old) for info, old in entries]

    return change


def without(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        entries[:] = [(info, old) for info, old in entries if info.name != name]

    return change


STRANGER = pki.issue_node(pki.create_authority("demo"), "n2", [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add("../../etc/passwd"), "unexpected entry '../../etc/passwd'"),
        (add("/etc/passwd"), "unexpected entry"),
        (add("pki/../node.key"), "unexpected entry"),
        (add("extra"), "unexpected entry 'extra'"),
        (add("node.key"), "unexpected entry 'node.key'"),
        (add("node.key", b"", type=tarfile.SYMTYPE, linkname="/etc/shadow"), "unexpected entry"),
        (add("ca.crt", b"", type=tarfile.DIRTYPE), "unexpected entry"),
        (without("beat.key"), "it lacks beat.key"),
        (without("node.toml"), "it lacks node.toml"),
        (replaced("beat.key", b"short"), "beat.key has 5 bytes"),
        (replaced("cluster.secret", b""), "cluster.secret has 0 bytes"),
        (replaced("node.key", b"y" * 70_000), "its node.key is too large"),
        (replaced("node.key", b"y" * 2_000_000), "too large"),
        (replaced("node.toml", b"id = 5"), r"its node.toml cannot be used"),
        (replaced("node.toml", b"\xff"), r"its node.toml cannot be used"),
        (replaced("node.crt", STRANGER[0]), "does not fit its authority"),
        (replaced("node.key", STRANGER[1]), "do not belong together"),
    ],
)
async def test_tampered(
    cluster: Cluster, tmp_path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], said: str
) -> None:
    data = repacked(await cluster.bundle(), change)
    with pytest.raises(InvalidInput, match=said):
        bundle.join(data, tmp_path / "n2")
    assert not (tmp_path / "n2").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a bundle at all",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4],
        lambda data: gzip.decompress(data),
        lambda data: gzip.compress(b"not a tar"),
        lambda data: gzip.compress(gzip.decompress(data)[:3000]),
        lambda data: gzip.compress(b"\0" * 50_000_000),
    ],
)
async def test_damaged(cluster: Cluster, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidInput, match="not a usable join bundle"):
        bundle.join(damage(await cluster.bundle()), tmp_path / "n2")
    assert not (tmp_path / "n2").exists()


async def test_a_wrong_local_setting_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Did you mean `cgroup`"):
        bundle.join(await cluster.bundle(), tmp_path / "n2", local={"cgruop": "/x"})
    assert not (tmp_path / "n2").exists()


async def test_making_one_needs_the_secrets_and_a_cluster(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="spec/cluster"):
        await bundle.make_bundle(MemoryStore(MemoryCluster(), SystemClock()), N2, pki_dir=cluster.root / PKI)
    (cluster.root / PKI / "cluster.secret").write_bytes(secrets.new_secret())
    with pytest.raises(ConfigError, match="does not unlock"):
        await cluster.bundle()
    (cluster.root / PKI / "cluster.secret").unlink()
    with pytest.raises(ConfigError, match=r"cluster\.secret"):
        await cluster.bundle()
