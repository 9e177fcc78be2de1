"""Operations on iSCSI target groups, above all what they refuse."""

from pathlib import Path
from typing import Any

import pytest
from api_world import ROOT, contents, memory_store, place, put
from iscsi_world import BOTH, CLIENT, SECRET, NoDevices, say, with_storage

from holdfast.api.operations import iscsi_groups, iscsi_volumes, nodes, services
from holdfast.api.operations.draft import Draft, Outcome
from holdfast.api.operations.iscsi_groups import NewGroup
from holdfast.api.records import Records
from holdfast.api.status import build_status
from holdfast.core.model import Beat, BeatPhase, Desired, Role
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Delete, Store
from holdfast.services.iscsi.config import ChapAccount, TargetGroup
from holdfast.store import codec, keys

NODES = ("n1", "n2", "n3")


async def create(store: Store, name: str = "g1", served: tuple[str, ...] = NODES, **more: Any) -> Outcome:
    return await iscsi_groups.create(store, ROOT, NoDevices(), NewGroup(name, served, **more))


async def group(store: Store, name: str = "g1") -> TargetGroup:
    return iscsi_groups.find(await Draft.open(store), name)


async def attached(store: Store, name: str, to: str = "g1") -> None:
    await iscsi_volumes.create(store, ROOT, NoDevices(), name=name, size_bytes=1 << 20)
    await iscsi_volumes.attach(store, ROOT, name=name, group=to)


async def test_a_group_is_the_same_target_on_its_nodes(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    outcome = await create(store, initiators=[CLIENT, CLIENT])
    made = await group(store)
    assert (made.iqn, made.engine, made.initiators) == ("iqn.2026-01.org.holdfast:demo:g1", "tgt", (CLIENT,))
    assert made.portals == {f"n{k}": (f"10.78.0.1{k}:3260",) for k in (1, 2, 3)}
    assert made.tags == {"n1": 1, "n2": 2, "n3": 3}
    assert outcome.data["tags"] == made.tags and not outcome.warnings
    assert made.networks == ("public",)
    found = (await Draft.open(store)).nodes
    assert [name for name, spec in found.items() if Role.STORAGE in spec.roles] == [*NODES]
    say(tmp_path, "n4", BOTH)
    other = await create(store, "g2", ("n4", "n2"), portals={"n4": ["10.78.0.14:3261"], "n2": ["10.78.0.12"]})
    assert "acl add g2" in other.warnings[0]
    assert (await group(store, "g2")).tags == {"n4": 4, "n2": 2}, "a node keeps its number"
    assert (await group(store, "g2")).portals["n4"] == ("10.78.0.14:3261",)
    assert (await group(store, "g2")).probe != made.probe


async def test_the_best_engine_that_all_nodes_have(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    for node in NODES:
        say(tmp_path, node, BOTH)
    await create(store, served=("n1", "n2"))
    assert (await group(store)).engine == "lio"
    with pytest.raises(Conflict, match="n1: it serves the target group g1 with lio"):
        await create(store, "g2", ("n1", "n3"), engine="tgt")
    say(tmp_path, "n3")
    with pytest.raises(Conflict, match=r"lio \(n3: the kernel has no LIO.*tgt \(n2: it serves"):
        await create(store, "g2", ("n2", "n3"))


async def test_groups_of_one_node_share_tgts_portals(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    with pytest.raises(Conflict, match=r"on the same portals, g1 on 10\.78\.0\.11:3260"):
        await create(store, "g2", networks=["management"])
    await create(store, "g2")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "g1"}, Conflict, "exists already"),
        ({"name": "G 2"}, InvalidInput, "G 2"),
        ({"served": ("n1",)}, InvalidInput, "at least 2 nodes"),
        ({"served": ("n1", "n1")}, InvalidInput, "twice"),
        ({"served": ("n1", "n9")}, NotFound, "`n9` does not exist"),
        ({"served": ("n1", "n4")}, Conflict, "tgtd is not on this node"),
        ({"served": ("n1", "n5")}, Conflict, "`n5` has not said yet"),
        ({"engine": "scst"}, InvalidInput, "no engine `scst`"),
        ({"engine": "lio"}, Conflict, "n1: the kernel has no LIO"),
        ({"iqn": "iqn.2026-13.x"}, InvalidInput, "iqn.2026-13.x"),
        ({"iqn": "target"}, InvalidInput, "'target' is not the name"),
        ({"iqn": "iqn.2026-01.org.holdfast:demo:g1"}, Conflict, "`g1` has the name"),
        ({"initiators": ["IQN.2026-01.com.example:a"]}, InvalidInput, "not the name of an iSCSI initiator"),
        ({"networks": ["storage"]}, NotFound, "network `storage`"),
        ({"portals": {"n1": ["10.78.0.11"]}}, InvalidInput, "no portal is given for `n2`"),
        ({"portals": {"n4": ["10.78.0.14"]}}, InvalidInput, "`n4`, which is not of the group"),
        ({"served": ("n1", "n2"), "portals": {"n1": ["10.78.0.12"], "n2": ["10.78.0.12"]}}, InvalidInput, "`n1`"),
        ({"served": ("n1", "n2"), "portals": {"n1": ["0.0.0.0"], "n2": ["10.78.0.12"]}}, InvalidInput, "0.0.0.0"),
        (
            {"served": ("n1", "n2"), "portals": {"n1": ["10.77.0.11"], "n2": ["10.78.0.12"]}},
            InvalidInput,
            "other networks",
        ),
        ({"served": ("n1", "n2"), "portals": {"n1": ["10.78.0.11:x"], "n2": ["10.78.0.12"]}}, InvalidInput, ":x"),
    ],
)
async def test_a_wrong_group_is_refused_and_changes_nothing(
    tmp_path: Path, arguments: dict[str, Any], error: type[HoldfastError], words: str
) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    before = await contents(store)
    with pytest.raises(error) as caught:
        await create(store, **{"name": "g2", **arguments})
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


async def test_a_group_is_stopped_and_started_with_its_volumes(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await attached(store, "v1")
    await iscsi_groups.stop(store, ROOT, "g1")
    assert not (await group(store)).started
    assert (await Draft.open(store)).instances["iscsi/v1"].desired is Desired.STOPPED
    with pytest.raises(Conflict, match="`g1` of `v1` is stopped"):
        await services.start(store, ROOT, "iscsi/v1")
    await attached(store, "v2")
    assert (await Draft.open(store)).instances["iscsi/v2"].desired is Desired.STOPPED
    assert "already" in (await iscsi_groups.stop(store, ROOT, "g1")).text
    await iscsi_groups.start(store, ROOT, "g1")
    found = (await Draft.open(store)).instances
    assert {found[f"iscsi/{name}"].desired for name in ("v1", "v2")} == {Desired.STARTED}
    with pytest.raises(NotFound, match="`g9` does not exist"):
        await iscsi_groups.start(store, ROOT, "g9")


async def test_a_group_with_volumes_is_not_deleted(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await attached(store, "v1")
    with pytest.raises(Conflict, match="serves v1"):
        await iscsi_groups.delete(store, ROOT, "g1")
    await iscsi_volumes.detach(store, ROOT, NoDevices(), "v1")
    with pytest.raises(Conflict, match="serves v1"):  # not yet confirmed
        await iscsi_groups.delete(store, ROOT, "g1")
    await removed_by_the_manager(store, "v1")
    await iscsi_groups.delete(store, ROOT, "g1")
    assert await store.get(keys.iscsi_group("g1")) is None


async def removed_by_the_manager(store: Store, name: str) -> None:
    await store.txn([], [Delete(keys.instance(f"iscsi/{name}")), Delete(keys.service("iscsi", name))])


async def test_who_may_log_in(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await iscsi_groups.change_acl(store, ROOT, "g1", add=[CLIENT, "eui.02004567A425678D", CLIENT])
    outcome = await iscsi_groups.change_acl(store, ROOT, "g1", remove=[CLIENT])
    assert (await group(store)).initiators == ("eui.02004567A425678D",)
    assert outcome.text == "initiators of g1: eui.02004567A425678D"
    for wrong, words in (
        ({"add": ["client"]}, "not the name"),
        ({"remove": [CLIENT]}, "does not exist"),
        ({}, "no ini"),
    ):
        before = await contents(store)
        with pytest.raises(HoldfastError, match=words):
            await iscsi_groups.change_acl(store, ROOT, "g1", **wrong)
        assert await contents(store) == before
    last = await iscsi_groups.change_acl(store, ROOT, "g1", remove=["eui.02004567A425678D"])
    assert "Nobody may log in" in last.warnings[0]


@pytest.mark.parametrize(
    ("chap", "mutual", "words"),
    [
        (ChapAccount("user", "short"), None, "secret of user cannot be used"),
        (ChapAccount("a user", SECRET), None, "'a user' cannot be a CHAP user"),
        (ChapAccount("user", SECRET), ChapAccount("target", SECRET), "same user or secret"),
        (None, ChapAccount("target", SECRET), "mutual CHAP without CHAP"),
        (ChapAccount("taken", SECRET), None, "`g2`"),
        (ChapAccount("user", SECRET), ChapAccount("taken", "other.secret.34"), "`g2`"),
    ],
)
async def test_wrong_accounts_are_refused(
    tmp_path: Path, chap: ChapAccount | None, mutual: ChapAccount | None, words: str
) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await create(store, "g2")
    await iscsi_groups.set_chap(store, ROOT, "g2", chap=ChapAccount("taken", SECRET))
    before = await contents(store)
    with pytest.raises(HoldfastError) as caught:
        await iscsi_groups.set_chap(store, ROOT, "g1", chap=chap, mutual=mutual)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert await contents(store) == before


async def test_secrets_stand_in_the_group_and_nowhere_else(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store)
    await attached(store, "v1")
    outcome = await iscsi_groups.set_chap(
        store, ROOT, "g1", chap=ChapAccount("client", SECRET), mutual=ChapAccount("target", "other.secret.34")
    )
    held = [key for key, value in (await contents(store)).items() if SECRET.encode() in value]
    assert held == [keys.iscsi_group("g1")]
    entries = (await store.list("")).entries
    shown = codec.encode([build_status(Records(entries)), outcome]).decode()
    made = await group(store)
    assert '"chap_user":"client"' in shown and '"mutual_user":"target"' in shown
    assert not [secret for secret in (SECRET, "other.secret.34", made.probe) if secret in shown + repr(made.chap)]
    await iscsi_groups.set_chap(store, ROOT, "g1", chap=None)
    assert ((await group(store)).chap, (await group(store)).mutual) == (None, None)


async def test_nodes_are_added(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, served=("n1", "n2"))
    await attached(store, "v1")

    async def add(*more: str) -> Outcome:
        return await iscsi_groups.add_nodes(store, ROOT, NoDevices(), "g1", more, portals={})

    for named, words in (
        (("n4",), "tgtd is not on"),
        (("n1",), "already"),
        ((), "no node"),
        (("n9",), "does not exist"),
    ):
        before = await contents(store)
        with pytest.raises(HoldfastError, match=words):
            await add(*named)
        assert await contents(store) == before
    assert "client-config g1" in (await add("n3")).warnings[0]
    made = await group(store)
    assert (made.nodes, made.tags["n3"], made.portals["n3"]) == (NODES, 3, ("10.78.0.13:3260",))
    assert (await Draft.open(store)).instances["iscsi/v1"].nodes == NODES
    assert Role.STORAGE in (await Draft.open(store)).nodes["n3"].roles


async def test_a_node_that_is_removed_leaves_its_groups(tmp_path: Path) -> None:
    store = memory_store()
    await with_storage(store, tmp_path)
    await create(store, served=("n2", "n3"))
    await attached(store, "v1")
    gone = {keys.beat(node): Beat("s", "b", "m", 1, 1, BeatPhase.RELEASED) for node in ("n2", "n3")}
    await put(store, gone)
    await place(store, "iscsi/v1", "n3")
    outcome = await nodes.remove(store, ROOT, "n2")
    assert any("g1 is served by n3" in warning for warning in outcome.warnings)
    assert (await group(store)).tags == {"n3": 2}
    assert (await Draft.open(store)).instances["iscsi/v1"].nodes == ("n3",)
    await iscsi_volumes.detach(store, ROOT, NoDevices(), "v1")
    await place(store, "iscsi/v1", "")
    with pytest.raises(Conflict, match="last node of the target group"):
        await nodes.remove(store, ROOT, "n3")
