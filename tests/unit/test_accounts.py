"""Accounts, passwords, sessions and login limits, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from people_world import PASSWORD, QUICK, Panel, WallClock, account, panel, panels

from holdfast.api.attempts import LOCK_AFTER, TooManyAttempts
from holdfast.api.auth import COOKIE, CSRF_HEADER, QUEUE, SESSION_LIFE_S
from holdfast.api.origin import network
from holdfast.bootstrap.users import HASHER, User, hash_password
from holdfast.ports import Put
from holdfast.store import codec, keys

NEW = "another long password"


@pytest.fixture
async def world() -> AsyncIterator[Panel]:
    async with panel() as made:
        yield made


async def test_life_of_an_account(world: Panel) -> None:
    made = await world.call("ada", "POST", "/users", {"name": "bob", "role": "viewer", "password": PASSWORD})
    assert made.status_code in (200, 201), made.text
    assert [user["name"] for user in (await world.call("ada", "GET", "/users")).json()] == [
        "ada",
        "bob",
        "otto",
        "vera",
    ]
    again = await world.call("ada", "POST", "/users", {"name": "bob", "role": "viewer", "password": PASSWORD})
    assert again.status_code == 409
    bob = await world.token("bob")
    assert (await world.call("", "GET", "/me", token=bob)).json()["permissions"] == ["read", "metrics"]
    await world.call("ada", "PUT", "/users/bob", {"role": "operator"})
    assert (await world.call("", "GET", "/me", token=bob)).status_code == 401, "a change of role ends the sessions"
    bob = await world.token("bob")
    assert "operate" in (await world.call("", "GET", "/me", token=bob)).json()["permissions"]
    closed = await world.call("ada", "PUT", "/users/bob", {"disabled": True})
    assert "closed" in closed.json()["text"]
    assert (await world.call("", "GET", "/me", token=bob)).status_code == 401
    assert (await world.login("bob")).status_code == 403
    await world.call("ada", "PUT", "/users/bob", {"disabled": False})
    assert (await world.login("bob")).status_code == 200
    assert (await world.call("root", "DELETE", "/users/bob")).status_code == 200
    assert (await world.login("bob")).status_code == 403
    assert (await world.call("ada", "DELETE", "/users/bob")).status_code == 404


async def test_sessions_of_a_deleted_account_do_not_open_its_successor(world: Panel) -> None:
    await world.call("root", "POST", "/users", {"name": "bob", "role": "admin", "password": PASSWORD})
    stolen = await world.token("bob")
    entries = (await world.context.store.list(keys.SESSIONS)).entries
    await world.call("root", "DELETE", "/users/bob")
    await world.call("root", "POST", "/users", {"name": "bob", "role": "admin", "password": NEW})
    # As if the clean-up of sessions had not come through.
    await world.context.store.txn([], [Put(entry.key, entry.value) for entry in entries])
    await world.caught_up()
    assert (await world.call("", "GET", "/me", token=stolen)).status_code == 401


@pytest.mark.parametrize("change", [("DELETE", None), ("PUT", {"role": "operator"}), ("PUT", {"disabled": True})])
async def test_one_open_administrator_always_stays(world: Panel, change: tuple[str, object]) -> None:
    method, body = change
    refused = await world.call("ada", method, "/users/ada", body)
    assert (refused.status_code, "last administrator" in refused.json()["detail"]) == (409, True)
    await world.call("root", "POST", "/users", {"name": "bob", "role": "admin", "password": PASSWORD})
    await world.call("root", "PUT", "/users/bob", {"disabled": True})
    assert (await world.call("root", method, "/users/ada", body)).status_code == 409, "a closed account does not count"
    await world.call("root", "PUT", "/users/bob", {"disabled": False})
    assert (await world.call("root", method, "/users/ada", body)).status_code == 200


async def test_two_administrators_cannot_remove_each_other_at_once(world: Panel) -> None:
    await world.call("root", "POST", "/users", {"name": "bob", "role": "admin", "password": PASSWORD})
    async with world.client(local=True) as client:
        answers = await asyncio.gather(*(client.delete(f"/api/v1/users/{name}") for name in ("ada", "bob")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize(
    "name", ["", "root", "a/b", "../x", ".hidden", "a b", "a\nb", "ä", "x" * 65, "\u202eadmin", "a\x00"]
)
async def test_names_of_accounts_are_plain(world: Panel, name: str) -> None:
    answer = await world.call("root", "POST", "/users", {"name": name, "role": "viewer", "password": PASSWORD})
    assert answer.status_code == 422


async def test_nobody_sets_the_password_of_others_but_administrators(world: Panel) -> None:
    body = {"password": NEW, "old": PASSWORD}
    assert (await world.call("vera", "PUT", "/users/otto/password", body)).status_code == 403
    assert (await world.call("vera", "PUT", "/users/vera/password", {"password": NEW, "old": "no"})).status_code == 403
    assert (await world.call("vera", "PUT", "/users/vera/password", body)).status_code == 200
    assert (await world.login("vera", NEW)).status_code == 200
    assert (await world.call("ada", "PUT", "/users/otto/password", {"password": NEW})).status_code == 403, (
        "not without one's own"
    )
    assert (await world.call("ada", "PUT", "/users/otto/password", body)).status_code == 200


async def test_a_browser_goes_on_under_a_new_session_after_its_password_change(world: Panel) -> None:
    first = (await world.login("vera")).headers["set-cookie"].partition(";")[0]
    other = await world.token("vera")
    await world.caught_up()
    async with world.client(cookie=first) as client:
        answer = await client.put("/api/v1/users/vera/password", json={"password": NEW, "old": PASSWORD})
    assert answer.status_code == 200, answer.text
    await world.caught_up()
    second = answer.headers["set-cookie"].partition(";")[0]
    assert second != first
    for cookie, status in ((first, 401), (second, 200)):
        async with world.client(cookie=cookie) as client:
            assert (await client.get("/api/v1/me")).status_code == status
    assert (await world.call("", "GET", "/me", token=other)).status_code == 401


async def test_a_hash_of_other_parameters_is_renewed_by_a_login(world: Panel) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash(PASSWORD)
    await world.context.store.txn([], [Put(keys.user("vera"), codec.encode(User("vera", weak, "viewer")))])
    assert (await world.login("vera")).status_code == 200
    entry = await world.context.store.get(keys.user("vera"))
    assert entry is not None
    renewed = codec.decode(entry.value, User).password_hash
    assert not QUICK.check_needs_rehash(renewed)
    assert (await world.login("vera")).status_code == 200


def test_the_parameters_of_passwords_are_those_of_rfc_9106() -> None:
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in hash_password("ada", PASSWORD)
    assert HASHER.check_needs_rehash(account("ada").password_hash)


# --- sessions ---


async def test_a_login_never_takes_over_a_session_that_it_was_given(world: Panel) -> None:
    fixed = f"{COOKIE}=chosen-by-an-attacker"
    async with world.client(cookie=fixed) as client:
        answer = await client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    assert answer.status_code == 200
    assert "chosen-by-an-attacker" not in answer.headers["set-cookie"]
    async with world.client(cookie=fixed) as client:
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_second_login_ends_the_browsers_first_session(world: Panel) -> None:
    first = (await world.login("vera")).headers["set-cookie"].partition(";")[0]
    async with world.client(cookie=first) as client:
        answer = await client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    assert answer.status_code == 200
    async with world.client(cookie=first) as client:
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_stolen_cookie_is_worth_nothing_after_the_logout() -> None:
    async with panels(2) as (here, there):
        stolen = (await here.login("vera")).headers["set-cookie"].partition(";")[0]
        await there.caught_up()
        async with there.client(cookie=stolen) as client:
            assert (await client.get("/api/v1/me")).status_code == 200, "a session holds in every panel process"
        async with here.client(cookie=stolen) as client:
            assert (await client.post("/api/v1/logout")).status_code == 200
        await there.caught_up()
        for place in (here, there):
            async with place.client(cookie=stolen) as client:
                assert (await client.get("/api/v1/me")).status_code == 401


async def test_sessions_are_listed_and_ended_by_their_owner(world: Panel) -> None:
    first, second, third = [await world.token("vera", address=f"192.0.2.{k}") for k in (1, 2, 3)]
    listed = (await world.call("", "GET", "/me/sessions", token=first)).json()
    assert {each["address"] for each in listed} == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    ids = {each["address"]: each["id"] for each in listed}
    assert (await world.call("", "GET", "/me", token=first)).json()["session"] == ids["192.0.2.1"]
    otto = await world.call("otto", "DELETE", f"/me/sessions/{ids['192.0.2.2']}")
    assert otto.status_code == 404, "nobody ends a session of others so"
    await world.call("", "DELETE", f"/me/sessions/{ids['192.0.2.2']}", token=first)
    assert (await world.call("", "GET", "/me", token=second)).status_code == 401
    await world.call("", "DELETE", "/me/sessions", token=first)
    assert (await world.call("", "GET", "/me", token=third)).status_code == 401
    assert (await world.call("", "GET", "/me", token=first)).status_code == 200
    await world.call("ada", "DELETE", "/users/vera/sessions")
    assert (await world.call("", "GET", "/me", token=first)).status_code == 401


async def test_a_session_has_an_absolute_life() -> None:
    clock = WallClock()
    async with panel(clock=clock) as world:
        token = await world.token("vera")
        async with world.client(token=token) as client:
            clock.ahead_s = SESSION_LIFE_S - 60
            assert (await client.get("/api/v1/me")).status_code == 200
            clock.ahead_s = SESSION_LIFE_S + 60
            ended = await client.get("/api/v1/me")
            assert (ended.status_code, "end of its life" in ended.json()["detail"]) == (401, True)


async def test_invented_sessions_do_not_keep_the_store_busy(world: Panel) -> None:
    async with world.client() as client:
        answers = [
            (await client.get("/api/v1/status", headers={"authorization": f"Bearer x{n}"})).status_code
            for n in range(30)
        ]
    assert answers[:10] == [401] * 10
    assert 429 in answers


# --- guessing ---


async def guess(world: Panel, name: str, times: int, address: str = "198.51.100.9") -> list[int]:
    return [(await world.login(name, "wrong password", address=address)).status_code for _ in range(times)]


async def fail_quickly(world: Panel, name: str, address: str, times: int) -> None:
    """What so many wrong passwords leave in the store, without the minutes that the limit of this process takes."""
    attempts = world.context.auth.attempts
    for _ in range(times):
        await attempts.failed(name, address)
    await world.caught_up()


async def test_guessing_locks_out_here_and_in_every_panel_process() -> None:
    async with panels(2) as (here, there):
        assert await guess(here, "vera", 6) == [403] * 5 + [429]
        await fail_quickly(here, "vera", "198.51.100.9", LOCK_AFTER["pair"])
        await there.caught_up()
        assert await guess(there, "vera", 1) == [429], "after a fail-over too"
        assert (await there.login("vera", address="198.51.100.9")).status_code == 429, "not even with the right one"
        assert (await there.login("vera", address="192.0.2.7")).status_code == 200, "from elsewhere"
        assert (await there.login("otto", address="198.51.100.9")).status_code == 200, "another account"
        await there.call("root", "POST", "/users/vera/unlock")
        assert (await there.login("vera", address="198.51.100.9")).status_code == 200


async def test_one_address_cannot_try_all_accounts(world: Panel) -> None:
    await fail_quickly(world, "nobody", "198.51.100.9", LOCK_AFTER["address"])
    assert (await world.login("vera", address="198.51.100.9")).status_code == 429
    assert (await world.login("vera", address="198.51.100.10")).status_code == 200


async def test_a_crowd_of_strangers_cannot_lock_an_administrator_out_everywhere(world: Panel) -> None:
    office, cafe = "203.0.113.5", "203.0.113.77"
    assert (await world.login("ada", address=office)).status_code == 200
    for k in range(LOCK_AFTER["account"]):
        await fail_quickly(world, "ada", f"198.51.100.{k}", 1)
    assert (await world.login("ada", address=cafe)).status_code == 429, "the account is closed to unfamiliar networks"
    assert (await world.login("ada", address=office)).status_code == 200, "whoever logged in from there goes on"
    assert (await world.login("otto", address=cafe)).status_code == 200
    assert (await world.call("root", "POST", "/users/ada/unlock")).status_code == 200
    assert (await world.login("ada", address=cafe)).status_code == 200


async def test_what_is_locked_out_does_not_tell_which_accounts_exist(world: Panel) -> None:
    answers = []
    for name in ("vera", "nobody"):
        await fail_quickly(world, name, f"198.51.100.{len(name)}", LOCK_AFTER["pair"])
        answers.append(await world.login(name, address=f"198.51.100.{len(name)}"))
    assert [answer.status_code for answer in answers] == [429, 429]
    assert answers[0].text == answers[1].text


async def test_an_account_of_ones_own_does_not_buy_more_guesses(world: Panel) -> None:
    statuses = []
    for _ in range(12):
        statuses += await guess(world, "ada", 1)
        await world.login("vera", address="198.51.100.9")
    assert 429 in statuses


async def test_a_flood_of_logins_is_refused_and_not_queued(world: Panel) -> None:
    flood = (world.login("vera", "wrong password", address=f"198.51.{k // 250}.{k % 250}") for k in range(QUEUE * 2))
    statuses = [answer.status_code for answer in await asyncio.gather(*flood)]
    assert {*statuses} == {403, 429}
    assert (await world.login("vera")).status_code == 200


async def test_the_store_keeps_no_guessed_name(world: Panel) -> None:
    """People type passwords into the field for the name."""
    await world.login("my secret password", "x")
    await world.caught_up()
    for entry in (await world.context.store.list("")).entries:
        assert b"my secret password" not in entry.value
        assert "my secret password" not in entry.key


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
    ],
)
def test_what_counts_as_one_address(address: str, same: str) -> None:
    assert network(address) == same


def test_a_refusal_says_how_long() -> None:
    assert TooManyAttempts("x", 12.3).retry_after_s == 13


# --- other sites ---


async def test_other_sites_cannot_act_with_a_cookie(world: Panel) -> None:
    cookie = (await world.login("ada")).headers["set-cookie"].partition(";")[0]
    await world.caught_up()
    path = "/api/v1/me/sessions"

    async def status(**headers: Any) -> int:
        async with world.client(cookie=cookie, **headers) as client:
            return (await client.delete(path)).status_code

    for headers in (
        {"x_holdfast_request": ""},
        {"x_holdfast_request": "", "authorization": "Bearer "},
        {"origin": "https://evil.example", "authorization": "Bearer"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://panel:8444"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        assert await status(**headers) == 403, headers
    assert await status(origin="https://panel:8443", sec_fetch_site="same-origin") == 200
    assert await status() == 200


async def test_another_site_cannot_log_its_visitor_in(world: Panel) -> None:
    """Else the visitor would work, unknowing, in the attacker's session."""
    async with world.client(origin="https://evil.example") as client:
        answer = await client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_the_cookie_is_for_this_host_only_and_out_of_reach_of_scripts(world: Panel) -> None:
    answer = await world.login("vera")
    said = answer.headers["set-cookie"].lower()
    assert said.startswith("__host-")
    assert all(word in said for word in ("secure", "httponly", "samesite=strict", "path=/"))
    assert "domain" not in said


async def test_every_answer_carries_the_headers(world: Panel) -> None:
    async with world.client() as client:
        for path in ("/api/v1/status", "/api/v1/openapi.json", "/api/v1/nothing", "/healthz", "/nothing"):
            answer = await client.get(path)
            assert "default-src 'none'" in answer.headers["content-security-policy"], path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"
            assert CSRF_HEADER not in answer.headers.get("access-control-allow-headers", "")
            assert "access-control-allow-origin" not in answer.headers


def test_accounts_written_by_an_older_version_can_be_read() -> None:
    old = b'{"name":"admin","password_hash":"x","role":"admin"}'
    assert codec.decode(old, User) == User("admin", "x", "admin")
    assert account("ada").role == "admin"
