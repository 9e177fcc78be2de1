"""Who may speak with the store: certificates, passwords, and which cluster it is."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from etcd_members import Members, running

from holdfast.bootstrap.pki import create_authority
from holdfast.config import Tls
from holdfast.errors import ConfigError, StoreRejected, StoreUnknownOutcome
from holdfast.ports import Put
from holdfast.store.etcd import EtcdStore

HANG_S = 90.0


async def refused(store: EtcdStore, text: str) -> None:
    """Calls and watches end with StoreRejected at once, with a clear sentence and advice."""
    try:
        with pytest.raises(StoreRejected, match=text) as error:
            await store.txn([], [Put("a", b"1")], timeout=HANG_S)
        assert error.value.advice
        with pytest.raises(StoreRejected, match=text):
            async with asyncio.timeout(HANG_S):
                await anext(store.watch(""))
    finally:
        await store.close()


async def ready(members: Members, **options: str) -> EtcdStore:
    store = EtcdStore(members.endpoints, members.tls, **options)  # type: ignore[arg-type]
    await store.txn([], [Put("ready", b"")], timeout=HANG_S)
    return store


async def answers_again(store: EtcdStore) -> None:
    """Wait for members that were started anew. What is written into a connection that just died has an unknown outcome."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                await store.txn([], [Put("ready", b"")], timeout=HANG_S)
                return
            except StoreUnknownOutcome:
                continue


async def test_certificates(etcd_single: Members) -> None:
    await (await ready(etcd_single)).close()
    good = etcd_single.tls
    assert good is not None
    foreign = create_authority("elsewhere")
    stranger = etcd_single.credentials("stranger", [], foreign)
    foreign_ca = etcd_single.root / "foreign.ca"
    foreign_ca.write_bytes(foreign.cert_pem)
    urls = etcd_single.endpoints
    await refused(EtcdStore(urls, Tls(good.ca, "", "")), "refused this client's certificate")
    await refused(EtcdStore(urls, stranger), "refused this client's certificate")
    await refused(EtcdStore(urls, Tls(str(foreign_ca), good.cert, good.key)), "not signed by this cluster's authority")
    await refused(EtcdStore(urls, Tls(good.ca, good.cert, stranger.key)), "certificate files cannot be used")
    await refused(EtcdStore(urls, Tls(good.ca, "/nowhere.crt", good.key)), "certificate file cannot be read")
    await refused(EtcdStore(urls, None), "no certificate is configured")


async def test_one_bad_endpoint_does_not_matter(etcd_single: Members, tmp_path: Path) -> None:
    with running(tmp_path / "other") as other:
        store = EtcdStore((*other.endpoints, *etcd_single.endpoints), etcd_single.tls)
        result = await store.txn([], [Put("a", b"1")], timeout=HANG_S)
        assert result.succeeded
        await store.close()


def test_endpoints_must_be_urls() -> None:
    for wrong in ("10.0.0.1:2379", "https://10.0.0.1", "ftp://10.0.0.1:1"):
        with pytest.raises(ConfigError, match="not a store endpoint"):
            asyncio.run(_make(wrong))


async def _make(url: str) -> None:
    EtcdStore([url], None)


async def test_password_and_token_renewal(tmp_path: Path) -> None:
    with running(tmp_path / "etcd", secure=False) as members:
        await (await ready(members)).close()
        for command in (
            "user add root:secret",
            "user add reader:secret",
            "role add r",
            "role grant-permission r read --prefix /holdfast/",
            "user grant-role reader r",
            "user grant-role root root",
            "auth enable",
        ):
            etcdctl(members, command)
        await refused(EtcdStore(members.endpoints, None), "wants a user")
        await refused(EtcdStore(members.endpoints, None, username="root", password="wrong"), "authentication failed")
        reader = EtcdStore(members.endpoints, None, username="reader", password="secret")
        assert await reader.get("ready") is not None
        with pytest.raises(StoreRejected, match="permission denied"):
            await reader.txn([], [Put("a", b"1")])
        await reader.close()
        store = EtcdStore(members.endpoints, None, username="root", password="secret")
        watch = store.watch("a")
        assert (await anext(watch)).snapshot
        members.stop()  # forgets every token it gave
        members.start()
        try:
            await store.txn([], [Put("a", b"2")], timeout=HANG_S)
        except StoreUnknownOutcome:  # it was written into the dying connection
            await store.txn([], [Put("a", b"2")], timeout=HANG_S)
        async with asyncio.timeout(HANG_S):
            async for batch in watch:
                assert not batch.snapshot
                if batch.changes:
                    break
        await watch.aclose()
        await store.close()


async def test_a_user_where_authentication_is_off(etcd_single: Members) -> None:
    store = await ready(etcd_single, username="root", password="secret")
    await store.close()


async def test_another_cluster_at_the_same_address(tmp_path: Path) -> None:
    with running(tmp_path / "mine", secure=False) as mine:
        store = await ready(mine)
        watch = store.watch("")
        assert (await anext(watch)).snapshot
        mine.stop()
        other = Members(tmp_path / "other", secure=False, name="other")
        other.add()
        other.members[0].peer_url, other.members[0].client_url = mine.members[0].peer_url, mine.members[0].client_url
        try:
            other.start()
            await (await ready(other)).close()
            with pytest.raises(StoreRejected, match="another cluster"):
                await store.txn([], [Put("stray", b"1")], timeout=HANG_S)
            with pytest.raises(StoreRejected, match="another cluster"):
                async with asyncio.timeout(HANG_S):
                    async for _ in watch:
                        pass
            fresh = await ready(other)
            assert await fresh.get("stray") is None
            await fresh.close()
            pinned = EtcdStore(other.endpoints, None, cluster_id=store.cluster_id)
            await refused(pinned, "another cluster")
        finally:
            other.stop()
            await store.close()


@pytest.mark.parametrize("writes_afterwards", [0, 20])
async def test_restored_from_an_old_copy(tmp_path: Path, writes_afterwards: int) -> None:
    """The same cluster with an older revision: what was known is void, also if the revision has overtaken it since."""
    with running(tmp_path / "etcd", secure=False) as members:
        store = await ready(members)
        member = members.members[0]
        state, copy = Path(member.config.state_dir), tmp_path / "copy"
        await store.txn([], [Put("a", b"old")])
        members.stop()
        shutil.copytree(state, copy)
        for _ in range(2):  # elections that the copy knows nothing of
            members.stop()
            members.start()
            await answers_again(store)
        watch = store.watch("")
        assert (await anext(watch)).snapshot
        for _ in range(5):
            last = await store.txn([], [Put("a", b"new"), Put("b", b"new")], timeout=HANG_S)
        await store.get("a")
        members.stop()
        shutil.rmtree(state)
        shutil.copytree(copy, state)
        members.start()
        late = await ready(members)
        for _ in range(writes_afterwards):
            await late.txn([], [Put("c", b"later")])
        async with asyncio.timeout(HANG_S):
            async for batch in watch:
                if batch.snapshot:
                    break
        assert {change.key for change in batch.changes} == {"ready", "a"} | ({"c"} if writes_afterwards else set())
        assert (batch.revision < last.revision) == (not writes_afterwards)
        await watch.aclose()
        for made in (store, late):
            await made.close()


def etcdctl(members: Members, command: str) -> None:
    subprocess.run(
        ["etcdctl", "--endpoints", members.endpoints[0], *command.split()],
        check=True,
        capture_output=True,
        timeout=HANG_S,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
