"""The HTTP API over an in-process transport and a memory store."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from api_world import FakeFences, FakeProbe, build, memory_store, put
from starlette.types import ASGIApp

from holdfast.api.app import Local, create_app
from holdfast.api.auth import CSRF_HEADER
from holdfast.api.context import ApiContext, make_context
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.clock import SystemClock
from holdfast.core.history import Incident
from holdfast.core.model import FenceDeviceSpec, NodeSpec
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.memory import Faults

PASSWORD = "correct horse battery"


@dataclass
class World:
    context: ApiContext
    faults: Faults
    app: ASGIApp

    def client(self, *, local: bool = False, **options: object) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(Local(self.app) if local else self.app)
        return httpx.AsyncClient(transport=transport, base_url="https://panel", **options)  # type: ignore[arg-type]

    async def token(self) -> str:
        async with self.client() as client:
            answer = await client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            return str(answer.json()["token"])


async def _bundle(store: Store, spec: NodeSpec) -> bytes:
    return b"bundle"


@asynccontextmanager
async def running(faults: Faults | None = None) -> AsyncIterator[World]:
    faults = faults or Faults()
    store = memory_store(faults)
    await build(store)
    await users.create(store, Actor("setup"), name="admin", role="admin", password=PASSWORD)
    context = make_context(
        "n1",
        store,
        SystemClock(),
        session="s1",
        fences=FakeFences(),
        probe=FakeProbe(),
        make_bundle=_bundle,
        cluster_secret=lambda: b"s" * 32,
    )
    task = asyncio.create_task(context.cache.run())
    try:
        assert await context.cache.wait_revision(1, 10)
        yield World(context, faults, create_app(context))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


async def test_health_needs_neither_session_nor_store(world: World) -> None:
    world.faults.unavailable = True
    async with world.client() as client:
        answer = await client.get("/healthz")
    assert answer.json() == {"node": "n1", "session": "s1", "ok": True}


async def test_nothing_is_told_without_a_session(world: World) -> None:
    async with world.client() as client:
        for method, path in (("GET", "/api/v1/status"), ("GET", "/api/v1/stream"), ("POST", "/api/v1/ha")):
            answer = await client.request(method, path, json={"virtual_ip": "x", "nodes": []})
            assert answer.status_code == 401, path
            assert "holdfast login" in answer.json()["advice"]
        answer = await client.get("/api/v1/status", headers={"authorization": "Bearer nonsense"})
        assert answer.status_code == 401


async def test_login_by_cookie_and_by_token(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("secure", "httponly", "samesite=strict", "path=/"))
        status = await client.get("/api/v1/status")
        assert status.json()["cluster"]["name"] == "demo"
        assert status.headers["x-holdfast-node"] == "n1"
        refused = await client.post("/api/v1/instances/panel/admin/move", json={})
        assert refused.status_code == 403, "a cookie alone must not change anything"
        answered = await client.post("/api/v1/instances/panel/admin/move", json={}, headers={CSRF_HEADER: "1"})
        assert answered.status_code == 409
        out = await client.post("/api/v1/logout", headers={CSRF_HEADER: "1"})
        assert out.status_code == 200
    token = answer.json()["token"]
    async with world.client(headers={"authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/api/v1/status")).status_code == 401, "logged out"
    async with world.client(headers={"authorization": f"Bearer {await world.token()}"}) as client:
        assert (await client.get("/api/v1/session")).json() == {
            "user": "admin",
            "via": "session",
            "role": "admin",
            "node": "n1",
        }


async def test_wrong_passwords_tell_nothing_and_are_limited(world: World) -> None:
    async with world.client() as client:
        answers = [
            await client.post("/api/v1/login", json={"name": name, "password": "wrong password"})
            for name in ("admin", "nobody", "a/b", "admin", "admin", "admin", "admin", "admin")
        ]
    assert [answer.status_code for answer in answers] == [403] * 7 + [429]
    assert len({answer.text for answer in answers[:7]}) == 1
    assert "Wait" in answers[7].json()["advice"]


async def test_the_store_never_sees_tokens_or_passwords(world: World) -> None:
    token = await world.token()
    snapshot = await world.context.store.list("")
    everything = b"".join(entry.key.encode() + entry.value for entry in snapshot.entries)
    assert token.encode() not in everything
    assert PASSWORD.encode() not in everything
    assert b"$argon2id$" in everything


async def test_the_unix_socket_is_root(world: World) -> None:
    async with world.client(local=True) as client:
        assert (await client.get("/api/v1/session")).json()["user"] == "root"
        answer = await client.put("/api/v1/users/admin/password", json={"password": "another long one"})
        assert answer.status_code == 200
        short = await client.put("/api/v1/users/admin/password", json={"password": "short"})
        assert short.status_code == 422
        unknown = await client.put("/api/v1/users/admn/password", json={"password": "another long one"})
        assert (unknown.status_code, "`admin`" in unknown.json()["advice"]) == (404, True)
    async with world.client() as client:
        answer = await client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
        assert answer.status_code == 403


async def test_a_session_must_say_the_old_password_and_ends_with_it(world: World) -> None:
    token = await world.token()
    async with world.client(headers={"authorization": f"Bearer {token}"}) as client:
        path = "/api/v1/users/admin/password"
        wrong = await client.put(path, json={"password": "another long one", "old": "no"})
        assert wrong.status_code == 403
        right = await client.put(path, json={"password": "another long one", "old": PASSWORD})
        assert right.status_code == 200
        revision = (await world.context.store.list("")).revision
        assert await world.context.cache.wait_revision(revision, 10)
        assert (await client.get("/api/v1/status")).status_code == 401


async def test_a_change_is_in_the_picture_when_it_is_answered(world: World) -> None:
    async with world.client(local=True) as client:
        answer = await client.post("/api/v1/ha", json={"virtual_ip": "10.77.0.100", "nodes": ["n1", "n2", "n3"]})
        assert answer.status_code == 200, answer.text
        picture = (await client.get("/api/v1/status")).json()
        assert picture["revision"] >= answer.json()["revision"]
        assert picture["management"]["virtual_ip"] == "10.77.0.100"
        shown = (await client.get("/api/v1/ha")).json()
        assert (shown["enabled"], shown["settled"]) == (True, False)
        await client.put("/api/v1/ha", json={"nodes": ["n2", "n3", "n4"]})
        shown = (await client.get("/api/v1/ha")).json()
        assert [member["node"] for member in shown["members"]] == ["n1"]
        assert shown["states"] == dict.fromkeys(["n1", "n2", "n3", "n4"], "up"), "also of the member that leaves"


async def test_every_operation_has_a_route(world: World) -> None:
    async with world.client(local=True) as client:

        async def ok(method: str, path: str, body: object = None) -> httpx.Response:
            answer = await client.request(method, f"/api/v1{path}", json=body)
            assert answer.status_code in (200, 201), (path, answer.text)
            return answer

        pool = ["10.78.0.101-10.78.0.110"]
        await ok("PUT", "/cluster", {"dead_node_power_on": False})
        await ok("POST", "/nfs/cluster", {"nodes": ["n2", "n3"], "addresses": pool})
        made = await ok("POST", "/nfs/volumes", {"name": "vol1", "size": "1G"})
        assert made.json()["data"]["address"] == "10.78.0.101"
        await ok("PUT", "/nfs/volumes/vol1/access", {"access": ["10.0.0.0/8,ro"]})
        assert (await ok("GET", "/nfs")).json()["volumes"][0]["config"]["access"][0]["access"] == "ro"
        await ok("POST", "/instances/nfs/vol1/move", {"node": "n3"})
        await ok("POST", "/services/nfs/vol1/stop")
        await ok("POST", "/services/nfs/vol1/start")
        await ok("POST", "/services/nfs/vol1/stop")
        await ok("DELETE", "/nfs/volumes/vol1")
        added = await ok(
            "POST", "/nodes", {"id": "n6", "roles": ["storage"], "addresses": {"management": "10.77.0.60"}}
        )
        assert added.json()["data"]["bundle"] == "YnVuZGxl"
        device = {"name": "bmc", "type": "redfish", "options": {"state": "silent"}}
        await ok("PUT", "/nodes/n6/fence-devices", {"devices": [device]})
        tested = (await ok("POST", "/nodes/n6/fence-test")).json()
        assert (tested[0]["ok"], "does not answer" in tested[0]["text"]) == (False, True)
        await ok("DELETE", "/nodes/n6")
        await put(world.context.store, {keys.incident("i1"): Incident("i1", "n2", "2026-01-01T00:00:00Z", "closed")})
        assert (await ok("GET", "/incidents/last")).json()["id"] == "i1"
        for path in (
            "/incidents",
            "/events",
            "/nodes",
            "/services",
            "/instances",
            "/nodes/n2",
            "/services/panel/admin",
        ):
            await ok("GET", path)
        await ok("GET", "/instances/panel/admin")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nodes/n22", None, 404, "Did you mean `n2`"),
        ("GET", "/instances/nfs/x", None, 404, "panel/admin"),
        ("GET", "/services/nfs/x", None, 404, "does not exist"),
        ("GET", "/incidents/x", None, 404, "no incident yet"),
        ("GET", "/incidents?limit=no", None, 422, "limit"),
        ("GET", "/nothing", None, 404, "openapi"),
        ("DELETE", "/status", None, 405, "DELETE"),
        ("POST", "/ha", {"virtual_ip": "x"}, 422, "`nodes` is missing"),
        ("POST", "/ha", {"virtual_ip": "x", "nodes": ["n1"], "node": 1}, 422, "unknown field `node`"),
        ("POST", "/ha", {"virtual_ip": 7, "nodes": ["n1"]}, 422, "virtual_ip"),
        ("POST", "/ha", b"{", 422, "not valid JSON"),
        ("POST", "/ha", b'"x"', 422, "dictionary"),
        ("POST", "/ha", b'\xff"', 400, "cannot be read"),
        ("DELETE", "/ha", None, 422, "keep"),
        ("POST", "/services/nfs/%2e%2e%2fx/start", None, 404, ""),
        ("POST", "/nodes/n2/confirm-dead", {"yes": True}, 409, "is up"),
        ("POST", "/nfs/volumes", {"name": "v"}, 409, "create-cluster"),
    ],
)
async def test_bad_requests_are_answered_as_problems(
    world: World, method: str, path: str, body: object, status: int, words: str
) -> None:
    arguments = {"content": body} if isinstance(body, bytes) else {"json": body}
    async with world.client(local=True) as client:
        answer = await client.request(
            method, f"/api/v1{path}", headers={"content-type": "application/json"}, **arguments
        )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert words in f"{problem['detail']} {problem['advice']}"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "kind"),
    [
        ("GET", "/nothing", {}, b"", 404, "no-such-path"),
        ("GET", "/nodes/none", {}, b"", 404, "not-found"),
        ("PATCH", "/nodes", {}, b"", 405, "method-not-allowed"),
        ("POST", "/ha", {"content-type": "application/json"}, b"[" * 200_000, 400, "malformed-request"),
        ("POST", "/ha", {"content-type": "application/json"}, b'{"a":' * 100_000, 400, "malformed-request"),
        ("POST", "/ha", {"content-type": "application/json"}, b"1" * 5000, 400, "malformed-request"),
        ("POST", "/ha", {}, b"x" * 2_000_000, 413, "body-too-large"),
        ("POST", "/ha", {"content-type": "text/plain"}, b"{}", 415, "unsupported-content"),
        ("POST", "/ha", {"content-type": "application/x-www-form-urlencoded"}, b"a=b", 415, "unsupported-content"),
        ("POST", "/login", {"content-type": "multipart/form-data; boundary=x"}, b"x", 415, "unsupported-content"),
        (
            "POST",
            "/ha",
            {"content-type": "application/json", "content-encoding": "gzip"},
            gzip.compress(b" " * 10_000_000),
            415,
            "unsupported-content",
        ),
        ("POST", "/ha", {"content-type": "Application/JSON; charset=utf-8"}, b"{}", 422, "invalid-input"),
        ("GET", "/nodes", {f"x-{number}": "1" for number in range(150)}, b"", 431, "headers-too-large"),
    ],
)
async def test_each_sort_of_refusal_has_a_type_of_its_own(
    world: World, method: str, path: str, headers: dict[str, str], body: bytes, status: int, kind: str
) -> None:
    async with world.client(local=True) as client:
        answer = await client.request(method, f"/api/v1{path}", headers=headers, content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"urn:holdfast:error:{kind}"
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_huge_body_is_refused(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/api/v1/login", content=b"x" * 2_000_000)
    assert 400 <= answer.status_code < 500


async def test_without_the_store_pages_are_served_and_changes_refused(world: World) -> None:
    token = await world.token()
    world.faults.unavailable = True
    async with world.client(headers={"authorization": f"Bearer {token}"}) as client:
        cache = world.context.cache
        async with asyncio.timeout(20):
            while not cache.status.store_problem:
                await cache.wait_newer(cache.version)
        answer = await client.get("/api/v1/status")
        assert "does not answer" in answer.json()["store_problem"]
        assert answer.json()["nodes"][0]["id"] == "n1"
        assert (await client.get("/api/v1/incidents")).status_code == 200
        changed = await client.put("/api/v1/cluster", json={"dead_node_power_on": True})
        assert changed.status_code == 503
        world.faults.unavailable = False
        async with asyncio.timeout(20):
            while cache.status.store_problem:
                await cache.wait_newer(cache.version)


async def test_fence_device_options_are_never_shown(world: World) -> None:
    device = FenceDeviceSpec("bmc", "redfish", {"state": "on", "password": "geheim"})
    async with world.client(local=True) as client:
        body = {"devices": [{"name": device.name, "type": device.type, "options": device.options}]}
        await client.put("/api/v1/nodes/n2/fence-devices", json=body)
        for path in ("/status", "/nodes", "/nodes/n2"):
            assert "geheim" not in (await client.get(f"/api/v1{path}")).text
        tested = await client.post("/api/v1/nodes/n2/fence-test")
        assert json.loads(tested.text)[0]["ok"] is True
