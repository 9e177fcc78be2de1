"""The OpenAPI document is complete, and real answers are what it says."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
from api_world import contents, place, put
from test_api_http import World, running

from holdfast.api.app import PREFIX
from holdfast.api.contract import STREAM, TABLE
from holdfast.api.openapi import NO_CHANGES
from holdfast.core.history import Event, Incident, IncidentStep
from holdfast.core.model import InstanceState, InstanceStatus
from holdfast.core.policy import ComputeSpec, Maintenance, RuleKind, RuleSpec
from holdfast.store import keys

READS = (
    "/status", "/session", "/me", "/me/sessions", "/users", "/users/admin", "/tokens", "/audit", "/nodes",
    "/nodes/n2", "/nodes/n2/maintenance/precheck", "/ha", "/services", "/services/nfs/vol1", "/instances",
    "/instances/nfs/vol1", "/rules", "/rules/apart", "/incidents", "/incidents/i1", "/events", "/tasks",
    "/tasks/last", "/planner/explain/nfs/vol1", "/planner/what-if?fail=n2", "/planner/guarantee",
    "/planner/rebalance", "/alarms", "/alarms/receivers", "/drills", "/compute", "/vms", "/nfs", "/nfs/volumes/vol1",
    "/iscsi", "/s3", "/backup", "/dns", "/dns/test", "/tokens/join",
)  # fmt: skip
CHANGES: tuple[tuple[str, str, object], ...] = (
    ("PUT", "/cluster", {"dead_node_power_on": False}),
    ("POST", "/services/nfs/vol1/stop", None),
    ("PUT", "/nodes/n3/fence-devices", {"devices": [{"name": "bmc", "type": "redfish", "options": {"state": "on"}}]}),
    ("POST", "/nodes/n3/fence-test", None),
    ("POST", "/nodes/n4/maintenance", {}),
    ("POST", "/planner/rebalance", {}),
    ("POST", "/dns/zones", {"apex": "gw.example.org"}),
    ("POST", "/users", {"name": "eve", "role": "viewer", "password": "a long enough password"}),
    ("POST", "/tokens", {"name": "metrics", "scopes": ["metrics"], "days": 3, "owner": "admin"}),
)
PROBLEMS: tuple[tuple[str, str, object], ...] = (
    ("GET", "/nodes/n9", None),
    ("GET", "/nothing", None),
    ("POST", "/nfs/volumes", {"name": "vol1"}),
    ("POST", "/nfs/volumes", {"nam": "vol1"}),
    ("PUT", "/nodes/n9", {"failure_domain": "x"}),
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """With an NFS volume that runs, some history, a rule and a compute cluster."""
    async with running() as made:
        store = made.context.store
        async with made.client(local=True) as client:
            for path, body in (
                ("/nfs/cluster", {"nodes": ["n1", "n2"], "addresses": ["10.78.0.101"]}),
                ("/nfs/volumes", {"name": "vol1", "size": "1GiB"}),
            ):
                answer = await client.post(f"{PREFIX}{path}", json=body)
                assert answer.status_code == 200, answer.text
        await place(store, "nfs/vol1", "n2", 7)
        await put(
            store,
            {
                keys.status("nfs/vol1"): InstanceStatus("n2", "s2", 7, InstanceState.RUNNING, healthy=True),
                keys.event(1): Event("test", "2026-01-01T00:00:00Z", "something"),
                keys.incident("i1"): Incident(
                    "i1", "n5", "2026-01-01T00:00:00Z", "closed", steps=(IncidentStep("missed", 0.0, "was missed"),)
                ),
                keys.rule("apart"): RuleSpec("apart", RuleKind.NODE_AFFINITY, ("nfs/vol1",), {"n2": 1}),
                keys.COMPUTE: ComputeSpec(("n1", "n2", "n3", "n4"), tolerate=1),
                keys.maintenance("n5"): Maintenance("root"),
            },
        )
        assert await made.context.cache.wait_revision((await store.list("")).revision, 60)
        yield made


async def document(world: World) -> dict[str, Any]:
    async with world.client() as client:
        found: dict[str, Any] = (await client.get(f"{PREFIX}/openapi.json")).json()
        return found


def described(made: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """The operation that answers a real path: the most literal of those that fit it."""
    parts = path.partition("?")[0].split("/")

    def fits(template: str) -> bool:
        wanted = template.removeprefix(PREFIX).split("/")
        if wanted[-1] == "{instance_id}":
            return parts[: len(wanted) - 1] == wanted[:-1]
        return len(wanted) == len(parts) and all(
            w.startswith("{") or w == p for w, p in zip(wanted, parts, strict=True)
        )

    found = [template for template in made["paths"] if fits(template) and method.lower() in made["paths"][template]]
    operation: dict[str, Any] = made["paths"][min(found, key=lambda one: (one.count("{"), one))][method.lower()]
    return operation


def check(made: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    jsonschema_rs.validate({**schema, "components": made["components"]}, value)


async def test_every_route_has_its_line_in_the_contract_and_no_line_lacks_its_route(world: World) -> None:
    made = await document(world)
    routes = {
        f"{method.upper()} {path.removeprefix(PREFIX)}" for path, item in made["paths"].items() for method in item
    }
    assert routes == set(TABLE)
    names = [name for name, _ in TABLE.values()]
    assert sorted(set(names)) == sorted(names), "operationIds are unique"


async def test_every_operation_is_described(world: World) -> None:
    made = await document(world)
    for path, item in made["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good, where
            for answer in good:
                [content] = answer["content"].values()
                assert content["schema"], where
            assert "application/problem+json" in operation["responses"]["4XX"]["content"], where
            assert "application/problem+json" in operation["responses"]["5XX"]["content"], where
            assert operation["summary"], where
            parameters = {parameter["name"] for parameter in operation["parameters"]}
            changes = method != "get" and operation["operationId"] not in NO_CHANGES
            assert ("dry_run" in parameters) == changes, where
            assert ("Idempotency-Key" in parameters) == changes, where
    text = json.dumps(made)
    for name in made["components"]["schemas"]:
        assert "." not in name
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in made["components"]["schemas"], reference
    assert "ETag" in made["paths"][f"{PREFIX}/nodes/{{node_id}}"]["get"]["responses"]["200"]["headers"]
    node = made["components"]["schemas"]["NodeStatus"]["properties"]
    assert "One sentence of the manager" in node["note"]["description"]


async def test_a_stranger_is_told_what_each_operation_and_each_parameter_is_for(world: World) -> None:
    silent = []
    for item in (await document(world))["paths"].values():
        for operation in item.values():
            silent += [] if operation.get("description") else [operation["operationId"]]
            named = [part for part in operation.get("parameters", ()) if not part.get("description")]
            silent += [f"{operation['operationId']}: {part['name']}" for part in named]
    assert not silent, "a docstring at the route, a line in api/openapi_parameters.py"


async def test_real_answers_are_what_the_document_says(world: World) -> None:
    made = await document(world)
    async with world.client(local=True) as client:
        for path in READS:
            answer = await client.get(f"{PREFIX}{path}")
            assert answer.status_code == 200, (path, answer.text)
            schema = described(made, "GET", path)["responses"]["200"]["content"]["application/json"]["schema"]
            check(made, schema, answer.json())
            complete(made, schema, answer.json(), path)
        for method, path, body in CHANGES:
            answer = await client.request(method, f"{PREFIX}{path}", json=body)
            assert answer.status_code == 200, (path, answer.text)
            schema = described(made, method, path)["responses"]["200"]["content"]["application/json"]["schema"]
            check(made, schema, answer.json())
            complete(made, schema, answer.json(), path)
        problem = {"$ref": "#/components/schemas/Problem"}
        for method, path, body in PROBLEMS:
            answer = await client.request(method, f"{PREFIX}{path}", json=body)
            assert answer.headers["content-type"] == "application/problem+json", path
            check(made, problem, answer.json())
            complete(made, problem, answer.json(), path)


def complete(made: dict[str, Any], schema: dict[str, Any], value: object, where: str) -> None:
    """The document knows every member that the answer has."""
    while "$ref" in schema:
        schema = made["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            complete(made, schema["items"], item, where)
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"]), where
        for name, member in value.items():
            complete(made, schema["properties"][name], member, f"{where} {name}")


NAMES = {"node_id": "n3", "node": "n3", "kind": "nfs", "name": "vol1", "instance_id": "nfs/vol1", "user": "ada"}
SIMPLE: dict[str, object] = {"string": "vol1", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}


def body_of(made: dict[str, Any], operation: dict[str, Any]) -> object:
    """The least that fits."""
    if "requestBody" not in operation:
        return None
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    shape = made["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return {name: SIMPLE.get(shape["properties"][name].get("type", ""), {}) for name in shape.get("required", ())}


async def test_no_change_that_is_tried_out_changes_anything(world: World) -> None:
    """Whether it would be refused or not."""
    made, store, done = await document(world), world.context.store, set()
    async with world.client(local=True) as client:
        for path, item in made["paths"].items():
            for method, operation in item.items():
                if method == "get" or operation["operationId"] in NO_CHANGES:
                    continue
                before = {
                    key: value for key, value in (await contents(store)).items() if not key.startswith(keys.AUDIT)
                }
                real = path.format(**{name: NAMES.get(name, "vol1") for name in re.findall(r"{(\w+)}", path)})
                body = body_of(made, operation)
                answer = await client.request(method, real, params={"dry_run": "true", "yes": "true"}, json=body)
                after = {key: value for key, value in (await contents(store)).items() if not key.startswith(keys.AUDIT)}
                assert after == before, (method, real, answer.text)
                assert answer.status_code < 500 or "this process cannot" in answer.text, (method, real, answer.text)
                done |= {operation["operationId"]} if answer.status_code == 200 else set()
    assert done >= {"stop_service", "enter_maintenance", "pause_ha", "lock_instance"}


async def test_a_refusal_for_the_guarantee_names_what_would_find_no_room(world: World) -> None:
    store = world.context.store
    await put(store, {keys.COMPUTE: ComputeSpec(("n1", "n2"), tolerate=0)})
    async with world.client(local=True) as client:
        refused = await client.put(f"{PREFIX}/compute", json={"tolerate": 4})
        assert refused.status_code in (409, 422), refused.text
        check(await document(world), {"$ref": "#/components/schemas/Problem"}, refused.json())


async def test_history_comes_in_pages_which_new_lines_do_not_disturb(world: World) -> None:
    store = world.context.store
    await put(store, {keys.event(number): Event("test", "", f"line {number}") for number in range(10, 30)})
    await put(
        store, {keys.incident(f"j{n}"): Incident(f"j{n}", "n1", f"2026-01-02T00:00:0{n}Z", "closed") for n in range(5)}
    )
    async with world.client(local=True) as client:
        for path, of in (("/events", "place"), ("/incidents", "id")):
            everything = (await client.get(f"{PREFIX}{path}?limit=1000")).json()
            assert everything["next"] == ""
            seen, cursor = [], ""
            while True:
                page = (await client.get(f"{PREFIX}{path}", params={"limit": 4, "cursor": cursor})).json()
                seen += page["items"]
                if not cursor:
                    await put(store, {keys.event(99): Event("test", "", "a new one")})
                cursor = page["next"]
                if not cursor:
                    break
            assert [one[of] for one in seen] == [one[of] for one in everything["items"]], path


def test_the_stream_is_the_only_answer_that_is_no_json() -> None:
    assert [line for line, (_, kind) in TABLE.items() if kind is STREAM] == ["GET /stream"]
