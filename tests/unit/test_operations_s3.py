"""Operations on S3 clusters, above all what they refuse."""

from dataclasses import replace
from pathlib import Path

import pytest
from api_world import ROOT, FakeProbe, contents, memory_store, put
from s3_world import DOMAIN, NODES, SECRET, create, files, record, wish, with_storage

from holdfast.api.operations import ha, nodes, s3_clusters, s3_nodes, s3_users, services
from holdfast.api.operations.draft import Draft
from holdfast.api.records import Records
from holdfast.api.status import build_status
from holdfast.core.dns_model import Zone
from holdfast.core.model import Beat, BeatPhase, Desired, Exclusivity, InstanceSpec, ManagementSpec, Role, ServiceSpec
from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Delete, Store
from holdfast.services.s3.config import S3Cluster, S3User, server_counts
from holdfast.services.s3.users import key_table, unlock
from holdfast.services.storage import MARKER
from holdfast.store import codec, keys


async def instances(store: Store) -> dict[str, InstanceSpec]:
    return {spec.id: spec for spec in (await Draft.open(store)).instances.values() if spec.kind == "s3"}


async def with_ha(store: Store) -> None:
    await ha.enable(store, ROOT, virtual_ip="10.77.0.100", nodes=NODES)


async def test_a_cluster_is_servers_gateways_and_background(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await with_ha(store)
    outcome = await create(store)
    made, parts = await record(store), await instances(store)
    names, objects = server_counts(3)
    assert (len(made.name_servers), len(made.object_servers)) == (names, objects)
    assert len(parts) == names + objects + 3 + 1
    assert all(spec.ha and spec.nodes == NODES and spec.desired is Desired.STARTED for spec in parts.values())
    gateway = parts["s3/main/gw-n2"]
    assert (gateway.exclusivity, gateway.home, gateway.names) == (Exclusivity.EVERYWHERE, "n2", (DOMAIN, f"*.{DOMAIN}"))
    server = parts["s3/main/os-1"]
    assert server.exclusivity is Exclusivity.STRICT and server.address is not None and gateway.address is not None
    assert (server.address.network, gateway.address.network) == ("management", "public")
    used = [spec.address.ip for spec in parts.values() if spec.address]
    assert len(used) == len(set(used)) == names + objects + 3
    assert outcome.data["ha"] and outcome.data["endpoint"] == f"http://{DOMAIN}"
    assert outcome.data["gateways"] == {"n1": "10.78.0.151", "n2": "10.78.0.152", "n3": "10.78.0.153"}
    assert "s3 user create main" in outcome.warnings[-1]
    specs = (await Draft.open(store)).nodes
    assert [name for name, spec in specs.items() if Role.S3 in spec.roles] == [*NODES]
    assert (tmp_path / "s3" / "main").is_dir()
    assert unlock(made.probe.secret, SECRET)


async def test_an_operator_chooses_counts_and_networks(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    servers = ["10.78.0.160-10.78.0.169"]
    await create(
        store, name_servers=2, object_servers=5, server_addresses=servers, server_network="public", region="eu"
    )
    made = await record(store)
    assert (len(made.name_servers), len(made.object_servers), made.region) == (2, 5, "eu")
    assert {server.address.network for server in made.servers.values()} == {"public"}


async def test_without_ranges_addresses_come_from_the_end_of_the_networks(tmp_path: Path) -> None:
    store, probe = memory_store(), FakeProbe({"10.78.0.254": "52:54:00:00:00:01"})
    await with_storage(store, tmp_path)
    pool = ServiceSpec("nfs", "", {"addresses": ["10.78.0.250-10.78.0.252"], "network": "public"})
    await put(store, {keys.kind("nfs"): pool})
    given = wish(gateway_addresses=(), server_addresses=(), name_servers=1, object_servers=2)
    outcome = await s3_clusters.create(store, ROOT, given, files=files(), secret=SECRET, probe=probe)
    assert outcome.data["gateways"] == {"n1": "10.78.0.253", "n2": "10.78.0.249", "n3": "10.78.0.248"}
    assert outcome.data["servers"] == {"ns-1": "10.77.0.254", "os-1": "10.77.0.253", "os-2": "10.77.0.252"}
    said = " ".join(outcome.warnings)
    assert "10.78.0.254 was skipped" in said
    assert "without --gateway-addresses" in said and "without --server-addresses" in said


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "main"}, Conflict, "`main` exists already"),
        ({"name": "Main"}, InvalidInput, "cannot be the name of a cluster of S3"),
        ({"name": "a" * 40}, InvalidInput, "cannot be the name"),
        ({"nodes": ()}, InvalidInput, "no node is named"),
        ({"nodes": ("n4", "n4")}, InvalidInput, "twice"),
        ({"nodes": ("n9",)}, NotFound, "`n9` does not exist"),
        ({"network": "storage"}, NotFound, "network `storage`"),
        ({"server_network": "storage"}, NotFound, "network `storage`"),
        ({"domain": "other"}, InvalidInput, "fully qualified"),
        ({"domain": "bad_name.lan"}, InvalidInput, "bad_name"),
        ({"domain": DOMAIN}, Conflict, "would clash with"),
        ({"domain": f"other.{DOMAIN}"}, Conflict, "would clash with"),
        ({"domain": "example.lan"}, Conflict, "would clash with"),
        ({"region": "EU 1"}, InvalidInput, "not a region"),
        ({"gateway_addresses": ["10.78.0.170"]}, Conflict, "only 1 of the 2 addresses"),
        ({"gateway_addresses": ["10.78.0.151-10.78.0.154"]}, Conflict, "10.78.0.151 is used by `s3/main/gw-n1`"),
        ({"gateway_addresses": ["10.77.0.170-10.77.0.179"]}, InvalidInput, "not inside network 'public'"),
        ({"gateway_addresses": ["10.78.0.x"]}, InvalidInput, "not an IP address"),
        ({"server_addresses": ["10.77.0.200-10.77.0.202"]}, Conflict, "--server-addresses"),
        ({"name_servers": 17}, InvalidInput, "1 to 16 name servers"),
    ],
)
async def test_a_wrong_cluster_is_refused_and_changes_nothing(
    tmp_path: Path, arguments: dict[str, object], error: type[HoldfastError], words: str
) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    before = await contents(store)
    others = {
        "name": "other",
        "nodes": ("n4", "n5"),
        "domain": "other.lan",
        "gateway_addresses": ["10.78.0.170-10.78.0.179"],
        "server_addresses": ["10.77.0.200-10.77.0.249"],
    }
    with pytest.raises(error) as caught:
        await create(store, **{**others, **arguments})
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


async def test_servers_and_gateways_of_one_network_do_not_share_addresses(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    both = ["10.78.0.151-10.78.0.190"]
    await create(store, gateway_addresses=both, server_addresses=both, server_network="public")
    made = await record(store)
    used = [*(a.ip for a in made.gateways.values()), *(server.address.ip for server in made.servers.values())]
    assert len(used) == len(set(used))


async def test_data_of_a_former_cluster_are_not_touched(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    left = tmp_path / "s3" / "main" / "os-1"
    left.mkdir(parents=True)
    with pytest.raises(Conflict, match=r"s3/main holds os-1 of a former S3 cluster\. Choose another name"):
        await create(store)
    assert not await instances(store) and left.is_dir()
    left.rmdir()
    (tmp_path / MARKER).unlink()
    with pytest.raises(DriverError, match="not mounted"):
        await create(store)


# --- high availability --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("served", "management", "words"),
    [
        (("n1",), True, "1 node of the 3"),
        (("n1", "n2"), True, "2 nodes of the 3"),
        (NODES, False, "holdfast ha enable"),
        (NODES, True, ""),
    ],
)
async def test_when_it_is_highly_available(
    tmp_path: Path, served: tuple[str, ...], management: bool, words: str
) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    if management:
        await with_ha(store)
    outcome = await create(store, nodes=served)
    assert {spec.ha for spec in (await instances(store)).values()} == {not words}
    said = [warning for warning in outcome.warnings if "High availability of s3/main is off" in warning]
    assert bool(said) is bool(words) and words in "".join(said)


async def test_it_follows_that_of_the_management_plane(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    enabled = await ha.enable(store, ROOT, virtual_ip="10.77.0.100", nodes=NODES)
    assert "and with it high availability of s3/main" in enabled.text
    assert all(spec.ha for spec in (await instances(store)).values())
    disabled = await ha.disable(store, ROOT, keep="n1")
    assert "s3/main is OFF" in " ".join(disabled.warnings)
    assert not any(spec.ha for spec in (await instances(store)).values())


async def test_it_follows_the_number_of_nodes(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await with_ha(store)
    await create(store)
    outcome = await s3_nodes.release(store, ROOT, "main", "n3")
    assert "2 nodes of the 3" in outcome.warnings[0]
    assert not any(spec.ha for spec in (await instances(store)).values() if spec.id != "s3/main/gw-n3")
    await s3_nodes.add(store, ROOT, "main", ["n4"])
    assert all(spec.ha for spec in (await instances(store)).values() if spec.id != "s3/main/gw-n3")


# --- nodes --------------------------------------------------------------------------------------------------------------


async def test_nodes_are_added_and_released(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    before = await record(store)
    outcome = await s3_nodes.add(store, ROOT, "main", ["n5", "n4"], gateway_addresses=["10.78.0.170-10.78.0.171"])
    assert outcome.data["gateways"] == {"n5": "10.78.0.170", "n4": "10.78.0.171"}
    made, parts = await record(store), await instances(store)
    assert made.nodes == ("n1", "n2", "n3", "n4", "n5")
    assert made.servers == before.servers, "no object is anywhere else for it"
    assert parts["s3/main/gw-n4"].home == "n4" and parts["s3/main/os-1"].nodes == made.nodes
    assert Role.S3 in (await Draft.open(store)).nodes["n4"].roles
    with pytest.raises(Conflict, match="of the S3 cluster `main` already"):
        await s3_nodes.add(store, ROOT, "main", ["n4"])
    with pytest.raises(InvalidInput, match="no node is named"):
        await s3_nodes.add(store, ROOT, "main", [])
    await s3_nodes.release(store, ROOT, "main", "n4")
    parts = await instances(store)
    assert (await record(store)).nodes == ("n1", "n2", "n3", "n5")
    assert parts["s3/main/bg"].nodes == ("n1", "n2", "n3", "n5")
    assert parts["s3/main/gw-n4"].desired is Desired.STOPPED
    service = (await Draft.open(store)).spec(keys.service("s3", "main"), ServiceSpec)
    assert service is not None and service.config["leaving"] == ["s3/main/gw-n4"]
    with pytest.raises(Conflict, match="is not gone yet"):
        await s3_nodes.add(store, ROOT, "main", ["n4"])
    await services.start(store, ROOT, "s3/main")
    assert (await instances(store))["s3/main/gw-n4"].desired is Desired.STOPPED, "what leaves is not started again"
    await store.txn([], [Delete(keys.instance("s3/main/gw-n4"))])
    await s3_nodes.add(store, ROOT, "main", ["n4"])
    service = (await Draft.open(store)).spec(keys.service("s3", "main"), ServiceSpec)
    assert service is not None and service.config["leaving"] == []
    with pytest.raises(NotFound, match="n9"):
        await s3_nodes.release(store, ROOT, "main", "n9")


async def test_servers_are_added_with_nodes(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, name_servers=2, object_servers=3)
    before = await record(store)
    outcome = await s3_nodes.add(
        store, ROOT, "main", ["n4"], server_addresses=["10.77.0.170-10.77.0.179"], name_servers=3, object_servers=4
    )
    assert outcome.text == "S3 cluster main is on n1, n2, n3, n4 (3 name servers, 4 object servers)"
    made, parts = await record(store), await instances(store)
    assert [made.servers[part].address.ip for part in ("ns-3", "os-4")] == ["10.77.0.170", "10.77.0.171"]
    assert parts["s3/main/os-4"].nodes == made.nodes

    def devices(of: S3Cluster) -> list[str]:
        return sorted(device for server in of.servers.values() for device in server.devices)

    assert devices(made) == devices(before)
    assert len(made.object_servers["os-4"].devices) == 16
    with pytest.raises(InvalidInput, match="added, but not taken away"):
        await s3_nodes.add(store, ROOT, "main", ["n5"], object_servers=2)


async def test_what_operators_have_set_of_a_part_stays(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    spec = (await instances(store))["s3/main/os-1"]
    await put(store, {keys.instance(spec.id): replace(spec, priority=900)})
    await services.stop(store, ROOT, "s3/main")
    await s3_nodes.add(store, ROOT, "main", ["n4"])
    parts = await instances(store)
    assert parts["s3/main/os-1"].priority == 900
    assert {part.desired for part in parts.values()} == {Desired.STOPPED}, "the new gateway too"


async def test_the_last_node_stays(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, nodes=("n1",))
    with pytest.raises(Conflict, match="last node of the S3 cluster `main`"):
        await s3_nodes.release(store, ROOT, "main", "n1")


async def test_a_node_that_leaves_the_cluster_leaves_its_s3_clusters(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, nodes=("n2", "n3", "n4"))
    await put(store, {keys.beat("n4"): Beat("s4", "b4", "m4", 1, 1, BeatPhase.RELEASED)})
    outcome = await nodes.remove(store, ROOT, "n4")
    assert "goes on on n2, n3" in " ".join(outcome.warnings)
    assert (await record(store)).nodes == ("n2", "n3")
    assert (await instances(store))["s3/main/os-1"].nodes == ("n2", "n3")


# --- deleting -----------------------------------------------------------------------------------------------------------


async def test_deleting_says_first_what_would_be_lost(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await s3_users.create(store, ROOT, "main", "alice", secret=SECRET)
    before = await contents(store)
    with pytest.raises(Conflict, match=r"lose their access for ever, and the user alice loses its keys.*--yes"):
        await s3_clusters.delete(store, ROOT, "main")
    assert await contents(store) == before
    outcome = await s3_clusters.delete(store, ROOT, "main", yes=True)
    assert outcome.data["path"] == str(tmp_path / "s3" / "main") and outcome.data["path"] in outcome.text
    assert {spec.desired for spec in (await instances(store)).values()} == {Desired.STOPPED}
    draft = await Draft.open(store)
    assert not s3_clusters.clusters(draft) and not draft.specs(keys.S3_USERS, S3User)
    with pytest.raises(Conflict, match="is being deleted"):
        await create(store)
    with pytest.raises(NotFound, match="There is no S3 cluster yet"):
        await s3_clusters.delete(store, ROOT, "main", yes=True)


async def test_more_users_than_fit_into_a_transaction_are_deleted(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    for first in range(0, 1200, 600):
        made = {name: S3User(name, name) for name in (f"u{number}" for number in range(first, first + 600))}
        await put(store, {keys.s3_user("main", name): user for name, user in made.items()})
    await s3_clusters.delete(store, ROOT, "main", yes=True)
    assert not (await Draft.open(store)).specs(keys.S3_USERS, S3User)


# --- users --------------------------------------------------------------------------------------------------------------


async def test_users_and_their_keys(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    made = await s3_users.create(store, ROOT, "main", "alice", secret=SECRET)

    async def alice() -> S3User:
        return s3_users.find(await Draft.open(store), "main", "alice")

    async def table() -> dict[str, str]:
        found = key_table(await record(store), [await alice()], SECRET)
        return {key: entry["secret"] for key, entry in found.items() if entry["owner"] == owner}

    owner = (await alice()).owner
    assert await table() == {made.data["access_key"]: made.data["secret_key"]}
    with pytest.raises(Conflict, match="there is a user `alice`"):
        await s3_users.create(store, ROOT, "main", "alice", secret=SECRET)
    second = await s3_users.rotate(store, ROOT, "main", "alice", secret=SECRET, keep=True)
    assert set(await table()) == {made.data["access_key"], second.data["access_key"]}
    third = await s3_users.rotate(store, ROOT, "main", "alice", secret=SECRET)
    assert await table() == {third.data["access_key"]: third.data["secret_key"]}
    assert (await alice()).owner == owner, "it goes on owning what it owned"
    await s3_users.set_enabled(store, ROOT, "main", "alice", enabled=False)
    assert await table() == {}
    with pytest.raises(Conflict, match="disabled already"):
        await s3_users.set_enabled(store, ROOT, "main", "alice", enabled=False)
    with pytest.raises(Conflict, match="not even a new user of the same name"):
        await s3_users.delete(store, ROOT, "main", "alice")
    await s3_users.delete(store, ROOT, "main", "alice", yes=True)
    with pytest.raises(NotFound, match="user of s3/main `alice`"):
        await alice()
    await s3_users.create(store, ROOT, "main", "alice", secret=SECRET)
    assert (await alice()).owner != owner, "what a former user owned is not hers"
    with pytest.raises(InvalidInput, match="cannot be the name of a user of S3"):
        await s3_users.create(store, ROOT, "main", "Alice B", secret=SECRET)
    with pytest.raises(NotFound, match="S3 cluster `other`"):
        await s3_users.create(store, ROOT, "other", "alice", secret=SECRET)


async def test_secrets_stand_nowhere_but_in_the_answer(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    made = await s3_users.create(store, ROOT, "main", "alice", secret=SECRET)
    entries = (await store.list("")).entries
    assert made.data["secret_key"].encode() not in b"".join(entry.value for entry in entries)
    cluster = await record(store)
    locked = [cluster.probe.secret, s3_users.find(await Draft.open(store), "main", "alice").keys[0].secret]
    seen = codec.encode(build_status(Records(entries))).decode()
    hidden = [made.data["secret_key"], cluster.hash_prefix, cluster.hash_suffix, cluster.probe.id, *locked]
    assert made.data["access_key"] in seen
    assert not [word for word in hidden if word in seen]


# --- names --------------------------------------------------------------------------------------------------------------


async def test_a_domain_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    found: frozenset[str] = frozenset()

    async def resolve(name: str) -> frozenset[str]:
        assert name == DOMAIN
        return found

    async def said(name: str, *, domain: str = DOMAIN, first: int) -> str:
        given = wish(
            name=name,
            domain=domain,
            nodes=("n1",),
            gateway_addresses=[f"10.78.0.{first}"],
            server_addresses=(),
            name_servers=1,
            object_servers=1,
        )
        outcome = await s3_clusters.create(store, ROOT, given, files=files(), secret=SECRET, resolve=resolve)
        await s3_clusters.delete(store, ROOT, name, yes=True)
        gone = [keys.instance(spec) for spec in await instances(store)] + [keys.service("s3", name)]
        await store.txn([], [Delete(key) for key in gone])
        return " ".join(outcome.warnings)

    missing = await said("a", first=151)
    assert "holdfast dns zone create example.lan" in missing
    assert f"{DOMAIN} is not known to DNS" in missing and f"*.{DOMAIN} to 10.78.0.151" in missing
    found = frozenset({"10.78.0.200"})
    assert "leads to 10.78.0.200 and not to its gateways" in await said("b", first=152)
    found = frozenset({"10.78.0.153"})
    assert DOMAIN not in await said("c", first=153)
    found = frozenset()
    await put(store, {keys.dns_zone("example.lan"): Zone("example.lan", "root@example.lan", "public")})
    assert DOMAIN not in await said("d", first=154), "Holdfast publishes it itself"


async def test_management_ha_says_nothing_of_clusters_it_does_not_change(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, nodes=("n1",))
    enabled = await ha.enable(store, ROOT, virtual_ip="10.77.0.100", nodes=NODES)
    assert "s3/main" not in enabled.text
    assert (await Draft.open(store)).spec(keys.MANAGEMENT, ManagementSpec) is not None
