"""API tokens: shown once, held to scopes, owner and expiry."""

import itertools
from collections.abc import AsyncIterator

import pytest
from people_world import Panel, WallClock, panel

from holdfast.api.auth import COOKIE, USE_EVERY_S
from holdfast.api.people import TOKEN_PREFIX
from holdfast.clock import SystemClock
from holdfast.store import keys


@pytest.fixture
async def world() -> AsyncIterator[Panel]:
    async with panel() as made:
        yield made


_names = (f"t{number}" for number in itertools.count())


async def make(world: Panel, who: str, *scopes: str, **more: object) -> str:
    """A token's text."""
    body = {"name": next(_names), "scopes": list(scopes), **more}
    answer = await world.call(who, "POST", "/tokens", body)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["data"]["token"])


async def statuses(world: Panel, token: str, *asked: tuple[str, str]) -> list[int]:
    return [(await world.call("", method, path, {}, token=token)).status_code for method, path in asked]


async def test_a_token_is_shown_once_and_kept_as_its_hash(world: Panel) -> None:
    token = await make(world, "vera", "read")
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) == len(TOKEN_PREFIX) + 43, "256 bits"
    assert (await world.call("", "GET", "/status", token=token)).status_code == 200
    for path in ("/tokens", "/audit", "/events"):
        assert token not in (await world.call("ada", "GET", path)).text
    stored = b"".join(e.key.encode() + e.value for e in (await world.context.store.list("")).entries)
    assert token.encode() not in stored


async def test_it_does_what_its_scopes_hold_and_no_more(world: Panel) -> None:
    token = await make(world, "otto", "operate:nfs")
    assert await statuses(
        world,
        token,
        ("POST", "/services/nfs/vol1/start"),
        ("POST", "/services/vm/web/start"),
        ("POST", "/instances/nfs/vol1/move"),
        ("GET", "/status"),
        ("POST", "/rules"),
        ("PUT", "/cluster"),
    ) == [404, 403, 404, 403, 403, 403]
    figures = await make(world, "vera", "metrics")
    assert (await world.call("", "GET", "/status", token=figures)).status_code == 403


@pytest.mark.parametrize(
    ("who", "scope", "status"),
    [
        ("vera", "operate", 403),
        ("vera", "operate:nfs", 403),
        ("otto", "operate:nfs", 200),
        ("otto", "administer", 403),
        ("ada", "administer", 200),
        ("ada", "everything", 422),
        ("ada", "operate:", 422),
        ("ada", "person", 422),
    ],
)
async def test_scopes_are_within_the_owners_permissions(world: Panel, who: str, scope: str, status: int) -> None:
    answer = await world.call(who, "POST", "/tokens", {"name": "x", "scopes": ["read", scope]})
    assert answer.status_code == status, answer.text


async def test_it_loses_what_its_owner_loses(world: Panel) -> None:
    token = await make(world, "otto", "read", "operate")
    maintenance = ("POST", "/nodes/n9/maintenance")
    assert await statuses(world, token, maintenance) == [404]
    await world.call("root", "PUT", "/users/otto", {"role": "viewer"})
    assert await statuses(world, token, maintenance, ("GET", "/status")) == [403, 200]
    await world.call("root", "PUT", "/users/otto", {"disabled": True})
    assert await statuses(world, token, ("GET", "/status")) == [401]
    await world.call("root", "PUT", "/users/otto", {"disabled": False})
    assert await statuses(world, token, ("GET", "/status")) == [200]
    await world.call("root", "DELETE", "/users/otto")
    assert await statuses(world, token, ("GET", "/status")) == [401]
    assert not (await world.context.store.list(keys.TOKENS)).entries


async def test_it_makes_no_successor_of_itself(world: Panel) -> None:
    token = await make(world, "ada", "read", "operate", "administer")
    assert await statuses(
        world,
        token,
        ("POST", "/tokens"),
        ("POST", "/users"),
        ("PUT", "/users/ada/password"),
        ("PUT", "/users/vera"),
        ("DELETE", "/me/sessions"),
        ("GET", "/users"),
    ) == [403, 403, 403, 403, 403, 200]


async def test_it_is_taken_as_a_bearer_only(world: Panel) -> None:
    token = await make(world, "vera", "read")
    async with world.client(cookie=f"{COOKIE}={token}") as client:
        assert (await client.get("/api/v1/status")).status_code == 401
        assert (await client.get(f"/api/v1/status?token={token}&access_token={token}")).status_code == 401


async def test_expiry_and_revocation() -> None:
    clock = WallClock()
    async with panel(clock=clock) as world:
        token, other = await make(world, "vera", "read", days=30), await make(world, "vera", "read", days=None)
        clock.ahead_s = 29 * 86400
        assert await statuses(world, token, ("GET", "/status")) == [200]
        clock.ahead_s = 31 * 86400
        assert await statuses(world, token, ("GET", "/status")) == [401]
        assert await statuses(world, other, ("GET", "/status")) == [200]
        clock.ahead_s = 0
        listed = (await world.call("vera", "GET", "/tokens")).json()
        forever = next(each["id"] for each in listed if not each["expires"])
        assert (await world.call("otto", "DELETE", f"/tokens/{forever}")).status_code == 404, "not of others"
        assert (await world.call("ada", "DELETE", f"/tokens/{forever}")).status_code == 200
        assert await statuses(world, other, ("GET", "/status")) == [401]


class Ahead(SystemClock):
    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


async def test_the_last_use_is_written_now_and_then() -> None:
    clock = Ahead()
    async with panel(clock=clock) as world:
        token = await make(world, "vera", "read")

        async def writes() -> int:
            for _ in range(3):
                await world.call("", "GET", "/status", token=token)
            (entry,) = (await world.context.store.list(keys.TOKEN_USES)).entries
            return entry.mod_revision

        first = await writes()
        assert await writes() == first
        clock.ahead_s = USE_EVERY_S + 1
        assert await writes() > first
        (listed,) = (await world.call("vera", "GET", "/tokens")).json()
        assert (listed["last_address"], bool(listed["last_used"])) == ("192.0.2.1", True)


async def test_root_says_whose_it_is(world: Panel) -> None:
    body = {"name": "ci", "scopes": ["read"]}
    assert (await world.call("root", "POST", "/tokens", body)).status_code == 422
    assert (await world.call("root", "POST", "/tokens", {**body, "owner": "nobody"})).status_code == 404
    assert (await world.call("root", "POST", "/tokens", {**body, "owner": "vera"})).status_code == 200
    assert (await world.call("root", "POST", "/tokens", {**body, "owner": "vera"})).status_code == 409
    assert (await world.call("ada", "POST", "/tokens", {**body, "owner": "vera"})).status_code == 403
    assert [each["owner"] for each in (await world.call("ada", "GET", "/tokens")).json()] == ["vera"]
    assert (await world.call("otto", "GET", "/tokens")).json() == []
