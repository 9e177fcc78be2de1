"""The table of permissions: complete, and what it says."""

import re

import pytest
from api_world import memory_store
from fastapi.routing import iter_route_contexts

from holdfast.api.app import create_app
from holdfast.api.context import make_context
from holdfast.api.gate import check
from holdfast.api.operations.draft import Actor
from holdfast.api.permissions import (
    ADMINISTER,
    METRICS,
    OPERATE,
    PAGES,
    PERSON,
    PREFIX,
    PUBLIC,
    READ,
    SCOPES,
    SELF,
    TABLE,
    Role,
    covers,
    held,
    methods,
    needed,
)
from holdfast.clock import SystemClock
from holdfast.errors import NotPermitted
from holdfast.panel.web import mount

EXAMPLES = {"kind": "nfs", "instance_id:path": "nfs/vol1", "name:path": "js/app.js"}


def routes() -> list[tuple[str, str]]:
    """(method, path template) of everything the panel process serves."""
    context = make_context("n1", memory_store(), SystemClock(), session="s1")
    app = create_app(context)
    mount(app, context)
    found = []
    for route in iter_route_contexts(app.routes):
        assert route.path, f"{route} has no path: a mount would pass by the table"
        for method in sorted(getattr(route.original_route, "methods", None) or ()):
            if not (method == "HEAD" and route.path == f"{PREFIX}/openapi.json"):
                found.append((method, route.path))
    return found


def table() -> dict[str, str]:
    below = {f"{route.partition(' ')[0]} {PREFIX}{route.partition(' ')[2]}": needs for route, needs in TABLE.items()}
    return below | PAGES


def test_every_route_stands_in_the_table_and_nothing_else() -> None:
    there = {f"{method} {path}" for method, path in routes()}
    assert len(there) > 90, "the routes were not found"
    assert sorted(there - set(table())) == [], "say in api/permissions.py what these need"
    assert sorted(set(table()) - there) == [], "these routes are gone: take them off the table"


@pytest.mark.parametrize("route", sorted(table()))
def test_a_row_says_words_that_there_are(route: str) -> None:
    for need in table()[route].split():
        kind, _, about = need.partition(":")
        assert kind in {PUBLIC, SELF, PERSON, READ, OPERATE, ADMINISTER, METRICS, "own"}, need
        assert about in {"", "{name}", "{kind}", "{instance_id}"} or need in SCOPES
        if about.startswith("{"):
            assert about in route.replace(":path}", "}")


@pytest.mark.parametrize("route", sorted(table()))
def test_a_path_needs_what_its_own_row_says(route: str) -> None:
    """No other row fits as well and asks for more (a word of the path may be a name elsewhere, that may be looked at)."""
    method, _, template = route.partition(" ")
    path = re.sub(r"\{([^}]+)\}", lambda found: EXAMPLES.get(found[1], "some-name"), template)
    own = table()[route].replace("{kind}", "nfs").replace("{instance_id}", "nfs").replace("{name}", "some-name")
    assert needed(method, path) - {READ} == set(own.split()) - {READ}
    assert needed(method, path)


def test_all_changes_need_more_than_looking() -> None:
    for route, needs in TABLE.items():
        if not route.startswith("GET ") and route not in ("POST /login", "POST /logout", "POST /join"):
            assert set(needs.split()) & {PUBLIC, SELF, READ, METRICS} == set(), route


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("POST", "/api/v1/services/vm/web/start", {"operate:vm"}),
        ("POST", "/api/v1/instances/s3/main/os-1/move", {"operate:s3"}),
        ("POST", "/api/v1/instances/s3/main/move/move", {"operate:s3"}),
        ("PUT", "/api/v1/users/bob/password", {"own:bob"}),
        ("GET", "/api/v1/instances/a\nb/c", {"read"}),
        ("POST", "/api/v1/status", set()),
        ("GET", "/api/v1/status/", set()),
        ("GET", "/api/v1//status", set()),
        ("GET", "/API/v1/status", set()),
        ("GET", "/api/v1/nodes/../users", set()),
        ("TRACE", "/api/v1/status", set()),
    ],
)
def test_paths_are_read_as_the_router_reads_them(method: str, path: str, needs: set[str]) -> None:
    assert needed(method, path) == needs


def test_methods_of_a_path() -> None:
    assert methods("/api/v1/ha") == ["DELETE", "GET", "POST", "PUT"]
    assert methods("/nothing") == []


def test_each_role_holds_what_the_one_before_it_holds() -> None:
    assert held(Role.VIEWER) < held(Role.OPERATOR) < held(Role.ADMIN)


@pytest.mark.parametrize(
    ("granted", "need", "yes"),
    [
        ([OPERATE], "operate:nfs", True),
        (["operate:nfs"], "operate:nfs", True),
        (["operate:nfs"], OPERATE, False),
        (["operate:nfs"], "operate:vm", False),
        (["operate:nfs"], "operate:", False),
        (["operate:nfs"], READ, False),
        ([READ], METRICS, True),
        ([METRICS], READ, False),
        ([ADMINISTER], OPERATE, False),
    ],
)
def test_what_covers_what(granted: list[str], need: str, yes: bool) -> None:
    assert covers(granted, need) is yes


def allowed(actor: Actor, need: str) -> bool:
    try:
        check(actor, need)
    except NotPermitted:
        return False
    return True


def test_a_token_does_what_both_its_scopes_and_its_owner_may() -> None:
    token = Actor("bob", "token:ci", "192.0.2.1", Role.OPERATOR, ("read", "operate:nfs", "administer"))
    may = [
        need
        for need in (READ, "operate:nfs", "operate:vm", ADMINISTER, SELF, PERSON, "own:bob")
        if allowed(token, need)
    ]
    assert may == [READ, "operate:nfs", SELF], "its owner is no administrator (any more), and it is no person"


def test_oneself_and_others() -> None:
    viewer, admin = Actor("eve", "session", role=Role.VIEWER), Actor("ann", "session")
    assert allowed(viewer, "own:eve")
    assert not allowed(viewer, "own:ann")
    assert allowed(admin, "own:eve")
    assert allowed(Actor("root", "socket"), "own:eve")
