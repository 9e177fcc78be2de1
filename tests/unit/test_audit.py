"""The audit: who changed what, with what was there before and after, and what was refused; nobody can forge or flood it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from people_world import PASSWORD, Panel, panel

from holdfast.api.audit import PER_PROCESS, PER_SOURCE, Query, Trail, search
from holdfast.api.operations.actor import Actor
from holdfast.api.operations.audited import HIDDEN, MAX_BYTES, AuditEntry, changes_of, plain
from holdfast.api.permissions import Role
from holdfast.cli.output import harmless
from holdfast.clock import ManualClock
from holdfast.errors import InvalidInput
from holdfast.store import codec, keys


@pytest.fixture
async def world() -> AsyncIterator[Panel]:
    async with panel() as made:
        yield made


async def audit(world: Panel, **query: object) -> list[dict[str, Any]]:
    async with world.client(local=True) as client:
        answer = await client.get("/api/v1/audit", params={key: str(value) for key, value in query.items()})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_change_says_who_from_where_what_before_and_after(world: Panel) -> None:
    token = await world.token("ada", address="203.0.113.8")
    async with world.client(token=token, address="203.0.113.8") as client:
        answer = await client.put("/api/v1/cluster", json={"dead_node_power_on": False})
        assert answer.status_code == 200, answer.text
    await world.caught_up()
    (entry,) = await audit(world, operation="change", who="ada")
    assert (entry["who"], entry["role"], entry["via"], entry["address"]) == ("ada", "admin", "session", "203.0.113.8")
    (change,) = entry["changes"]
    assert change["key"] == "spec/cluster"
    assert change["before"] == {"dead_node_power_on": True}
    assert change["after"] == {"dead_node_power_on": False}


async def test_it_is_committed_with_the_change_or_not_at_all(world: Panel) -> None:
    before = await audit(world)
    refused = await world.call("root", "POST", "/nodes/n2/confirm-dead", {"yes": True})
    assert refused.status_code == 409
    dry = await world.call("root", "PUT", "/cluster?dry_run=true", {"dead_node_power_on": False})
    assert (dry.status_code, dry.json()["revision"]) == (200, 0)
    assert await audit(world) == before
    await world.call("root", "PUT", "/cluster", {"dead_node_power_on": False})
    stored = (await world.context.store.list(keys.AUDIT)).entries
    spec = await world.context.store.get(keys.CLUSTER)
    assert spec is not None
    assert [entry.mod_revision for entry in stored if entry.mod_revision == spec.mod_revision], "one transaction"


async def test_logins_failures_and_refusals_are_there(world: Panel) -> None:
    await world.login("vera")
    await world.login("vera", "wrong password")
    await world.login("a password in the wrong field", "x")
    assert (await world.call("vera", "DELETE", "/nodes/n2")).status_code == 403
    found = await audit(world)
    said = [(entry["operation"], entry["who"]) for entry in found]
    assert ("login", "vera") in said
    assert ("login-failed", "vera") in said
    assert ("login-failed", "") in said, "an unknown name is not kept"
    refused = next(entry for entry in found if entry["operation"] == "refused")
    assert refused["who"] == "vera"
    assert "DELETE /api/v1/nodes/n2" in refused["text"]
    assert "wrong field" not in json.dumps(found)
    assert PASSWORD not in json.dumps(found)


async def test_pages_and_filters(world: Panel) -> None:
    for power_on in (False, True, False):
        await world.call("root", "PUT", "/cluster", {"dead_node_power_on": power_on})
    await world.call("root", "PUT", "/users/vera", {"role": "operator"})
    async with world.client(local=True) as client:
        pages, cursor = [], ""
        while True:
            answer = (
                await client.get("/api/v1/audit", params={"limit": 1, "operation": "change", "cursor": cursor})
            ).json()
            pages += answer["items"]
            cursor = answer["next"]
            if not cursor:
                break
        assert (await client.get("/api/v1/audit?cursor=nothing%0a")).status_code == 422
    assert len(pages) == 4
    assert [entry["id"] for entry in pages] == sorted((entry["id"] for entry in pages), reverse=True)
    assert len(await audit(world, key="users/vera")) == 1
    assert len(await audit(world, who="root", operation="change", limit=2)) == 2
    assert await audit(world, since="2999") == []


async def test_secrets_are_left_out(world: Panel) -> None:
    device = {"name": "bmc", "type": "redfish", "options": {"state": "on", "password": "geheim-1"}}
    await world.call("root", "PUT", "/nodes/n2/fence-devices", {"devices": [device]})
    await world.call("root", "POST", "/users", {"name": "bob", "role": "viewer", "password": "geheim-2-lang-genug"})
    text = json.dumps(await audit(world))
    assert "geheim" not in text
    assert "argon2" not in text
    assert HIDDEN in text


async def test_nobody_fills_the_store_with_refusals(world: Panel) -> None:
    vera = await world.token("vera")
    async with world.client(token=vera) as client:
        for _ in range(40):
            assert (await client.delete("/api/v1/nodes/n2")).status_code == 403
    await world.caught_up()
    assert len(await audit(world, operation="refused")) <= PER_SOURCE


async def test_what_was_left_out_is_counted() -> None:
    clock = ManualClock()
    async with panel() as world:
        trail = Trail(world.context.store, clock)
        for number in range(PER_PROCESS * 2):
            await trail.note(Actor(f"x{number}", "login", "192.0.2.1", Role.VIEWER), "login-failed", "wrong")
        await clock.advance(61)
        await trail.note(Actor("y", "login", "192.0.2.1", Role.VIEWER), "login-failed", "wrong")
        await world.caught_up()
        found = await audit(world, operation="login-failed")
        assert len(found) == PER_PROCESS + 1
        assert found[0]["more"] == PER_PROCESS


FORGED = "ok\n2026-01-01T00:00:00Z level=info event=\x1b[2Jforged\r\x00\u202e\u2028"


async def test_nobody_draws_lines_of_their_own(world: Panel, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in names, reasons, paths and user agents reach neither audit, nor log, nor terminal."""
    async with world.client(user_agent="Mozilla/5.0\x1b[2J") as client:
        await client.post("/api/v1/login", json={"name": FORGED, "password": FORGED})
        await client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    vera = await world.token("vera")
    async with world.client(token=vera) as client:
        await client.delete("/api/v1/nodes/%0a%1b%5b2Jforged")
    await world.call("root", "POST", "/instances/panel/admin/lock", {"reason": FORGED})
    await world.call("root", "POST", "/users", {"name": FORGED, "role": "viewer", "password": PASSWORD})
    for entry in await audit(world):
        for value in (*entry.values(), *(json.dumps(change) for change in entry["changes"])):
            assert str(value).isprintable(), value
    sessions = (await world.call("vera", "GET", "/me/sessions")).json()
    assert all(each["agent"].isprintable() for each in sessions)
    logged = capsys.readouterr()
    assert "\x1b" not in logged.out + logged.err
    assert not any(line.startswith("2026-01-01") for line in (logged.out + logged.err).splitlines())
    assert harmless(FORGED).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("ä😀", "ä😀"), ("x" * 999, None)]
)
def test_plain(text: str, shown: str | None) -> None:
    assert plain(text) == (shown if shown is not None else "x" * 299 + "…")


def test_a_huge_change_leaves_a_small_record() -> None:
    huge = codec.encode({f"field{n}": "x" * 1000 for n in range(1000)})
    changes, more = changes_of({f"spec/thing/{n}": (None, huge) for n in range(100)})
    assert more == 60
    assert len(codec.encode(changes)) < MAX_BYTES


def test_records_that_cannot_be_read_do_not_hide_the_others() -> None:
    entry = codec.encode(AuditEntry("2026", "ada", "admin", "session", "", "change", "text"))
    found = search({"00000000000000000001-a": b"nonsense", "00000000000000000002-b": entry}, Query(), limit=10)
    assert [item["id"] for item in found.items] == ["00000000000000000002-b"]
    with pytest.raises(InvalidInput):
        search({}, Query(), limit=1, cursor="../x")
