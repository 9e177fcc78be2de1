"""Operations on backup clusters and their users, above all what they refuse and what they never tell."""

import json
from typing import Any

import pytest
from api_world import ROOT, FakeProbe, build, contents, memory_store, put
from argon2 import PasswordHasher
from backup_world import KEYS, RANGE, S3, SECRET, FakeBackends, create

from holdfast import locks
from holdfast.api.operations import backup_clusters, backup_users, nodes
from holdfast.api.operations.draft import Draft
from holdfast.api.status import build_status
from holdfast.bootstrap import pki
from holdfast.core.dns_model import Zone
from holdfast.core.model import Beat, BeatPhase, Desired, Exclusivity, InstanceSpec, Role, ServiceAddress, ServiceSpec
from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Delete, Store
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser
from holdfast.store import codec, keys


async def made(nodes: int = 5) -> Store:
    store = memory_store()
    await build(store, nodes=nodes)
    return store


async def gateways(store: Store) -> dict[str, InstanceSpec]:
    return {spec.id: spec for spec in (await Draft.open(store)).instances.values() if spec.kind == "backup"}


async def cluster(store: Store) -> BackupCluster:
    return backup_clusters.find(await Draft.open(store), "main")


async def test_a_gateway_on_each_node_under_one_name() -> None:
    store = await made()
    outcome = await create(store, probe=FakeProbe({"10.78.0.172": "52:54:00:00:00:01"}))
    found = await gateways(store)
    assert sorted(found) == ["backup/main/gw-n1", "backup/main/gw-n2", "backup/main/gw-n3"]
    one = found["backup/main/gw-n2"]
    assert (one.exclusivity, one.role, one.home, one.ha) == (Exclusivity.EVERYWHERE, Role.BACKUP, "n2", True)
    assert (one.nodes, one.names) == (("n1", "n2", "n3"), ("main.example.lan",))
    assert one.address == ServiceAddress("10.78.0.173", "public"), "an address that somebody answers for is left out"
    assert "52:54:00:00:00:01" in outcome.warnings[0] and "backup user create main" in outcome.warnings[-1]
    members = (await Draft.open(store)).nodes
    assert [name for name, spec in members.items() if Role.BACKUP in spec.roles] == ["n1", "n2", "n3"]
    assert outcome.text.endswith("https://main.example.lan:8000/")


async def test_high_availability_is_on_from_two_nodes() -> None:
    store = await made()
    outcome = await create(store, ("n1",))
    assert "is OFF: it has 1 node of the 2" in " ".join(outcome.warnings)
    assert not (await gateways(store))["backup/main/gw-n1"].ha
    await backup_clusters.add_nodes(store, ROOT, "main", ["n4"], probe=FakeProbe())
    assert all(spec.ha and spec.nodes == ("n1", "n4") for spec in (await gateways(store)).values())
    outcome = await backup_clusters.release_node(store, ROOT, "main", "n4")
    assert "is OFF" in outcome.warnings[0]
    left = await gateways(store)
    assert (left["backup/main/gw-n1"].ha, left["backup/main/gw-n4"].desired) == (False, Desired.STOPPED)
    with pytest.raises(Conflict, match=r"last node.*holdfast backup delete main"):
        await backup_clusters.release_node(store, ROOT, "main", "n1")


async def test_a_node_that_was_released_comes_again_when_its_gateway_is_gone() -> None:
    store = await made()
    await create(store)
    await backup_clusters.release_node(store, ROOT, "main", "n3")
    service = (await Draft.open(store)).spec(keys.service("backup", "main"), ServiceSpec)
    assert service is not None and service.config == {"leaving": ["backup/main/gw-n3"]}
    with pytest.raises(Conflict, match="not gone yet"):
        await backup_clusters.add_nodes(store, ROOT, "main", ["n3"])
    await store.txn([], [Delete(keys.instance("backup/main/gw-n3"))])
    await backup_clusters.add_nodes(store, ROOT, "main", ["n3"], probe=FakeProbe())
    service = (await Draft.open(store)).spec(keys.service("backup", "main"), ServiceSpec)
    assert service is not None and service.config == {"leaving": []}
    assert (await cluster(store)).nodes == ("n1", "n2", "n3")


async def test_a_node_that_leaves_takes_its_gateway_along() -> None:
    store = await made()
    await create(store, ("n4", "n5"))
    await put(store, {keys.beat("n5"): Beat("s5", "b5", "m5", 9, 1, BeatPhase.RELEASED)})
    await nodes.remove(store, ROOT, "n5", force=True)
    assert (await cluster(store)).nodes == ("n4",)


async def test_secrets_are_locked_in_the_store_and_shown_nowhere() -> None:
    store = await made()
    cert, key = pki.issue_server(pki.create_authority("x"), "x", ["main.example.lan"])
    await create(
        store, backend=S3, credentials=KEYS, certificate=cert.decode(), certificate_key=key.decode(), append_only=True
    )
    stored = await cluster(store)
    assert json.loads(locks.unlock(stored.credentials, SECRET)) == KEYS
    assert locks.unlock(stored.certificate_key, SECRET) == key
    everything = b"".join((await contents(store)).values())
    assert b"very-secret" not in everything and b"PRIVATE KEY" not in everything
    await backup_users.create(store, ROOT, "main", "web-1")
    shown = codec.encode(build_status((await store.list("")).entries))
    assert stored.credentials.encode() not in shown and b"argon2" not in shown and b"gAAAA" not in shown
    assert b"very-secret" not in repr(stored).encode()


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"nodes": ("n9",)}, NotFound, "n9"),
        ({"nodes": ()}, InvalidInput, "no node is named"),
        ({"nodes": ("n1", "n1")}, InvalidInput, "named twice"),
        ({"name": "Main"}, InvalidInput, "cannot be the name"),
        ({"domain": "nodots"}, InvalidInput, "cannot be the domain"),
        ({"network": "nowhere"}, HoldfastError, "nowhere"),
        ({"addresses": ["10.78.0.171-10.78.0.172"]}, Conflict, "only 2 of the 3 addresses"),
        ({"addresses": ["10.78.0.11-10.78.0.13"]}, Conflict, "only 0 of the 3.*10.78.0.11 is used by node `n1`"),
        ({"addresses": ["10.99.0.1-10.99.0.9"]}, InvalidInput, "not inside network"),
        ({"addresses": ["10.78.0.9-10.78.0.1"]}, InvalidInput, "ends before it begins"),
        ({"backend": "tape:0"}, InvalidInput, "is no back-end"),
        ({"backend": "local:/srv/elsewhere"}, InvalidInput, r"outside of the shared storage /shared"),
        ({"backend": "local:/shared/../etc"}, InvalidInput, "is no back-end"),
        ({"backend": "local:/shared/nfs/vol1"}, Conflict, "belongs to another kind"),
        ({"backend": S3}, InvalidInput, "needs access_key and secret_key"),
        ({"backend": S3, "credentials": {**KEYS, "color": "red"}}, InvalidInput, "has no use for color"),
        ({"certificate": "x"}, InvalidInput, "belong together"),
        ({"certificate": "x", "certificate_key": "y"}, InvalidInput, "cannot be used"),
        ({"port": 0}, InvalidInput, "not a port"),
    ],
)
async def test_what_is_refused_changes_nothing(change: dict[str, Any], error: type[HoldfastError], why: str) -> None:
    store = await made()
    before = await contents(store)
    with pytest.raises(error, match=why) as raised:
        await create(store, change.pop("nodes", ("n1", "n2", "n3")), **change)
    assert raised.value.advice
    assert await contents(store) == before


async def test_a_back_end_that_refuses_is_named_and_nothing_is_made() -> None:
    store = await made()
    before = await contents(store)
    with pytest.raises(DriverError, match=f"{S3} cannot be used from n1: it refuses"):
        await create(store, backend=S3, credentials=KEYS, backends=FakeBackends(S3))
    assert await contents(store) == before


async def test_it_is_said_where_clients_do_not_find_the_gateways() -> None:
    store = await made()
    outcome = await create(store)
    assert any("holdfast dns zone create example.lan" in warning for warning in outcome.warnings)
    await put(store, {keys.dns_zone("example.lan"): Zone("example.lan", "root@example.lan", "public")})
    outcome = await create(store, ("n1", "n2"), name="second", backend="local:/shared/other")
    assert not any("zone" in warning for warning in outcome.warnings)


async def test_names_and_domains_are_given_once() -> None:
    store = await made()
    await create(store)
    with pytest.raises(Conflict, match="exists already"):
        await create(store, domain="other.example.lan")
    with pytest.raises(Conflict, match="is the back-end of the backup cluster `main`"):
        await create(store, name="second", backend="local:/shared/backup/below")
    with pytest.raises(Conflict, match=r"main\.example\.lan is a name of `backup/main/gw-n1`"):
        await create(store, name="second", domain="Main.Example.LAN.", backend="local:/shared/other")
    await create(store, ("n1", "n2"), name="second", backend="local:/shared/other")
    used = {spec.address.ip for spec in (await gateways(store)).values() if spec.address}
    assert len(used) == 5, "two clusters share a range and no address"


async def test_settings_are_changed_and_new_credentials_tried_first() -> None:
    store = await made()
    await create(store, backend=S3, credentials=KEYS)
    backends = FakeBackends()
    with pytest.raises(InvalidInput, match="nothing to change"):
        await backup_clusters.update(store, ROOT, "main", backends=backends, secret=SECRET)
    other = {**KEYS, "secret_key": "changed"}
    await backup_clusters.update(
        store, ROOT, "main", backends=backends, secret=SECRET, append_only=True, credentials=other
    )
    found = await cluster(store)
    assert backends.asked == [(S3, other)]
    assert found.append_only and json.loads(locks.unlock(found.credentials, SECRET)) == other
    with pytest.raises(DriverError):
        await backup_clusters.update(store, ROOT, "main", backends=FakeBackends(S3), secret=SECRET, credentials=KEYS)
    assert await cluster(store) == found


async def test_deleting_takes_a_yes_and_leaves_the_data() -> None:
    store = await made()
    await create(store)
    await backup_users.create(store, ROOT, "main", "web-1")
    with pytest.raises(Conflict, match="would lose it"):
        await backup_clusters.delete(store, ROOT, "main")
    outcome = await backup_clusters.delete(store, ROOT, "main", yes=True)
    assert "stays in local:/shared/backup" in outcome.text
    assert all(spec.desired is Desired.STOPPED for spec in (await gateways(store)).values())
    assert not (await store.list("spec/backup/")).entries
    with pytest.raises(Conflict, match="is being deleted"):
        await create(store)


async def test_a_users_password_is_told_once_and_stored_as_a_hash() -> None:
    store = await made()
    await create(store)
    first = await backup_users.create(store, ROOT, "main", "web-1", append_only=True)
    second = await backup_users.rotate(store, ROOT, "main", "web-1")
    assert first.data["password"] != second.data["password"]
    entry = await store.get(keys.backup_user("main", "web-1"))
    assert entry is not None
    user = codec.decode(entry.value, BackupUser)
    assert PasswordHasher().verify(user.password_hash, second.data["password"]) and user.append_only
    everything = b"".join((await contents(store)).values())
    assert first.data["password"].encode() not in everything and second.data["password"].encode() not in everything
    with pytest.raises(Conflict, match="backup user rotate main web-1"):
        await backup_users.create(store, ROOT, "main", "web-1")
    for name in ("", "Web", "-", "keys", "a/b", "..", "x" * 65):
        with pytest.raises(InvalidInput, match="cannot be the name"):
            await backup_users.create(store, ROOT, "main", name)
    await backup_users.change(store, ROOT, "main", "web-1", append_only=False)
    await backup_users.delete(store, ROOT, "main", "web-1")
    with pytest.raises(NotFound):
        await backup_users.rotate(store, ROOT, "main", "web-1")
    with pytest.raises(NotFound, match="backup cluster `other`"):
        await backup_users.create(store, ROOT, "other", "web-1")


async def test_no_cluster_has_an_address_from_outside_its_ranges() -> None:
    store = await made()
    await create(store, ("n1", "n2"), addresses=["10.78.0.171-10.78.0.172"])
    with pytest.raises(Conflict, match="only 0 of the 1"):
        await backup_clusters.add_nodes(store, ROOT, "main", ["n3"])
    await backup_clusters.add_nodes(store, ROOT, "main", ["n3"], addresses=["10.78.0.175"], probe=FakeProbe())
    assert (await cluster(store)).addresses["n3"] == "10.78.0.175"
    assert RANGE not in (await cluster(store)).pool
