"""How a change may be asked for: tried out, repeated without being done twice, refused when its object has changed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from api_world import contents, put
from test_api_http import World, running

from holdfast import locks
from holdfast.api.operations.draft import Actor, Draft, transact
from holdfast.api.operations.terms import (
    Answered,
    AnswerLost,
    Idempotency,
    KeyReused,
    Outcome,
    PreconditionFailed,
    Terms,
    fits,
    tag,
)
from holdfast.core.model import NodeSpec, Role
from holdfast.core.policy import ComputeSpec
from holdfast.ports import Entry
from holdfast.store import codec, keys

KEY = "Idempotency-Key"
SECRET = b"s" * 32
POOL = {"nodes": ["n1", "n2"], "addresses": ["10.78.0.101-10.78.0.103"]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


async def ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: object = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    found = await client.request(method, f"/api/v1{path}", json=body, headers=headers)
    assert found.status_code == status, found.text
    return found


async def test_a_dry_run_checks_everything_and_changes_nothing(world: World) -> None:
    store = world.context.store
    await put(store, {keys.COMPUTE: ComputeSpec(("n1", "n2", "n3"), tolerate=1)})
    async with world.client(local=True) as client:
        for method, path, body in (
            ("POST", "/nfs/cluster", POOL),
            ("POST", "/nodes", {"id": "n6", "roles": ["storage"], "addresses": {"management": "10.77.0.60"}}),
            ("POST", "/nodes/n2/maintenance", {}),
            ("PUT", "/compute", {"tolerate": 2}),
            ("PUT", "/cluster", {"dead_node_power_on": False}),
        ):
            before = await contents(store)
            tried = (await ask(client, method, f"{path}?dry_run=true", body)).json()
            assert await contents(store) == before, path
            assert (tried["revision"], tried["guarantee"]["holds"]) == (0, True), tried
            assert "bundle" not in tried["data"], "nothing was made that it could open"
        refused = await ask(client, "POST", "/nodes/n9/maintenance?dry_run=true", {}, 404)
        assert "n9" in refused.json()["detail"]
        before = await contents(store)
        for doubtful in ("dry_run=perhaps", "dry_run=", "dry_run=true&dry_run=false"):
            await ask(client, "POST", f"/nodes/n2/maintenance?{doubtful}", {}, 422)
        assert await contents(store) == before


async def test_a_request_with_a_key_is_done_once_and_answered_as_often_as_it_comes(world: World) -> None:
    store = world.context.store
    node = {"id": "n6", "roles": ["storage"], "addresses": {"management": "10.77.0.60"}}
    async with world.client(local=True) as client:
        first = await ask(client, "POST", "/nodes", node, headers={KEY: "k1"})
        before = await contents(store)
        again = await ask(client, "POST", "/nodes", node, headers={KEY: "k1"})
        assert again.json() == first.json()
        assert again.json()["data"]["bundle"]
        assert [answer.headers.get("idempotency-replayed") for answer in (first, again)] == [None, "true"]
        assert await contents(store) == before
        [kept] = [value for key, value in before.items() if key.startswith(keys.ANSWERS)]
        assert first.json()["data"]["bundle"].encode() not in kept, "it is under lock"
        other = await ask(client, "POST", "/nodes", {**node, "id": "n7"}, 422, headers={KEY: "k1"})
        assert other.json()["type"] == "urn:holdfast:error:key-reused"
        await ask(client, "POST", "/nodes", node, 409, headers={KEY: "k2"})
        await ask(client, "POST", "/nodes", node, 422, headers={KEY: "k" * 300})


async def test_twins_that_come_at_once_are_done_once(world: World) -> None:
    async with world.client(local=True) as client:
        answers = await asyncio.gather(
            *(ask(client, "POST", "/nfs/cluster", POOL, headers={KEY: "k"}) for _ in range(4))
        )
    assert len({answer.text for answer in answers}) == 1
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == 3


async def test_a_change_of_what_has_changed_since_is_refused(world: World) -> None:
    async with world.client(local=True) as client:
        seen = (await ask(client, "GET", "/nodes/n2")).headers["etag"]
        change = {"failure_domain": "rack-a"}
        await ask(client, "PUT", "/nodes/n2", change, headers={"If-Match": seen})
        refused = await ask(client, "PUT", "/nodes/n2", change, 412, headers={"If-Match": seen})
        now = (await ask(client, "GET", "/nodes/n2")).headers["etag"]
        assert refused.headers["etag"] == refused.json()["etag"] == now != seen
        # A manager or agent does not use the serial that operations rewrite.
        spec = NodeSpec("n2", (Role.COMPUTE,), {"management": "10.77.0.12"}, failure_domain="rack-b")
        await put(world.context.store, {keys.node_spec("n2"): spec})
        await ask(client, "DELETE", "/nodes/n2", None, 412, headers={"If-Match": now})
        await ask(client, "PUT", "/nodes/n2", change, headers={"If-Match": "*"})
        await ask(client, "PUT", "/nodes/n9", change, 412, headers={"If-Match": "*"})
        nowhere = await ask(client, "POST", "/nfs/cluster", POOL, 412, headers={"If-Match": '"7"'})
        assert "does not exist" in nowhere.json()["detail"]
        await ask(client, "POST", "/nodes", {}, 422, headers={"If-Match": "*"})
        assert "etag" not in (await ask(client, "GET", "/nodes/n9", None, 404)).headers


async def test_the_tag_is_compared_in_the_transaction_itself(world: World) -> None:
    """A change between the look and the commit counts as well: the operation begins again, and then sees it."""
    store, key = world.context.store, keys.node_spec("n2")
    entry = await store.get(key)
    assert entry is not None
    runs = 0

    async def operation(draft: Draft) -> str:
        nonlocal runs
        runs += 1
        await put(store, {key: replace(codec.decode(entry.value, NodeSpec), failure_domain=f"rack-{runs}")})
        draft.put("spec/compute", ComputeSpec(("n2",)))
        return "changed"

    terms = Terms(if_match=tag([entry.mod_revision]), matched=(key,))
    with pytest.raises(PreconditionFailed):
        await transact(store, Actor("root", terms=terms), operation)
    assert runs == 1
    assert await store.get("spec/compute") is None


def test_a_key_is_its_owners_own_and_the_answer_opens_with_the_clusters_secret_only() -> None:
    mine, hers = (
        Idempotency.of(user, "k", b"POST /x", lambda a: locks.lock(a, SECRET), lambda t: locks.unlock(t, SECRET))
        for user in ("ada", "eve")
    )
    assert mine.key != hers.key
    record = mine.record(Outcome("made", data={"secret_key": "s3cret"}), "")
    assert "s3cret" not in record.answer
    entry = Entry(mine.key, codec.encode(record), 9, 9)
    assert mine.first_answer(entry) == Outcome("made", 9, data={"secret_key": "s3cret"})
    stranger = replace(mine, unlock=lambda text: locks.unlock(text, b"x" * 32))
    with pytest.raises(AnswerLost):
        stranger.first_answer(entry)
    with pytest.raises(KeyReused):
        replace(mine, fingerprint="another request").first_answer(entry)


def test_a_copy_of_the_store_is_no_way_to_guess_at_a_password_by_what_was_asked() -> None:
    """SHA-256 of a request is tried a million times faster than argon2id."""
    asked = Idempotency.of("ada", "k", b'{"password": "x"}', lambda a: locks.lock(a, SECRET), lambda _t: b"")
    record = asked.record(Outcome("changed"), "")
    assert asked.fingerprint == hashlib.sha256(b'{"password": "x"}').hexdigest()
    assert asked.fingerprint not in codec.encode(record).decode()


def test_what_an_earlier_version_answered_is_answered_again() -> None:
    mine = Idempotency.of("ada", "k", b"POST /x", lambda a: locks.lock(a, SECRET), lambda t: locks.unlock(t, SECRET))
    record = Answered(mine.fingerprint, mine.lock(codec.encode(Outcome("made"))), "")
    entry = Entry(mine.key, codec.encode(record), 9, 9)
    assert mine.first_answer(entry) == Outcome("made", 9)
    with pytest.raises(KeyReused):
        replace(mine, fingerprint="another request").first_answer(entry)


def test_tags_tell_any_two_states_of_an_object_apart() -> None:
    assert tag([]) == tag([0]) == ""
    assert tag([7]) == tag([0, 7]) == '"7"'
    assert len({tag([5, 3]), tag([5]), tag([5, 3, 7]), tag([5, 3, 2])}) == 4
    assert fits('"5", "7"', '"7"')
    assert not fits('W/"7"', '"7"'), "weak tags never match"
    assert not fits("*", "")
