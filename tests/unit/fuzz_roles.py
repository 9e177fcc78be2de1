"""Made-up requests to every operation of the API, in this process, and a judge of the answers."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import schemathesis
from api_world import contents, put
from fuzz_world import KNOWN, populated
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from people_world import Panel, account
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from holdfast.api.auth import NotLoggedIn
from holdfast.api.gate import check
from holdfast.api.operations.draft import Actor
from holdfast.api.permissions import PUBLIC, Role, needed
from holdfast.errors import NotPermitted
from holdfast.store import keys

T = TypeVar("T")

WHO = {"nobody": None, "vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
"""Account → role."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOT_DONE = {"GET /api/v1/stream", "GET /api/v1/dns/test", "POST /api/v1/alarms/receivers/{name}/test"}
"""Only where they are refused: one never ends, the others talk to the network."""
TRACES = (keys.AUDIT, keys.TOKEN_USES, keys.SESSIONS, keys.LOGIN_FAILURES)
"""What a refusal may leave."""
WHOSE = ("authorization", "cookie")
"""Headers that are ours to set."""
SAFE = ("GET", "HEAD", "OPTIONS")


class Fuzzer:
    def __init__(self, world: Panel, who: str, loop: asyncio.AbstractEventLoop) -> None:
        self._world = world
        self._who = who
        self._loop = loop
        self._token = ""
        self.asked = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _ready(self) -> None:
        """Logged in as before, whatever the last request has done to the account."""
        if self._who == "nobody":
            return
        try:
            actor = await self._world.context.auth.whose_session(self._token)
            if actor.role == WHO[self._who]:
                return
        except NotLoggedIn:
            pass
        await put(self._world.context.store, {keys.user(self._who): account(self._who)})
        for entry in (await self._world.context.store.list(keys.LOGIN_FAILURES)).entries:
            await self._world.context.store.txn([], [_delete(entry.key)])
        await self._world.caught_up()
        self._token = await self._world.token(self._who, address=f"192.0.2.{self.asked % 250}")

    def refused(self, method: str, path: str) -> bool:
        """Whether the account lacks what the request needs."""
        needs = needed(method, path)
        role = WHO[self._who]
        if role is None:
            return needs != {PUBLIC}
        try:
            for need in needs:
                check(Actor(self._who, "session", role=role), need)
        except NotPermitted:
            return True
        return False

    async def send(self, method: str, url: str, **request: Any) -> tuple[httpx.Response, bool]:
        """The answer, and whether anything changed that is more than a trace. Raises AssertionError if nobody wrote down who
        changed it."""
        await self._ready()
        before, records = await self._state(), await self._audited()
        async with self._world.client(token=self._token, address="192.0.2.9") as client:
            answer = await client.request(method, url, timeout=60, **request)
        changed = await self._state() != before
        written = await self._audited() > records
        assert written or not changed or url.endswith("/login"), f"not in the audit: {method} {url} {answer.text[:300]}"
        return answer, changed

    async def _audited(self) -> int:
        return len((await self._world.context.store.list(keys.AUDIT)).entries)

    async def _state(self) -> dict[str, bytes]:
        return {
            key: value
            for key, value in (await contents(self._world.context.store)).items()
            if not key.startswith(TRACES)
        }

    def judge(self, case: schemathesis.Case[Any], known: dict[str, str]) -> None:
        for name, value in known.items():
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        sent = case.as_transport_kwargs(base_url="https://panel:8443")
        request = {
            name: sent[name] for name in ("headers", "params", "json", "data", "cookies") if sent.get(name) is not None
        }
        request.pop("cookies", None)
        given = {str(name): str(value).encode() for name, value in (request.get("headers") or {}).items()}
        request["headers"] = {name: value for name, value in given.items() if name.lower() not in WHOSE}
        if isinstance(request.get("data"), bytes | str):
            request["content"] = request.pop("data")
        try:
            url = httpx.URL(sent["url"])
        except httpx.InvalidURL:
            return
        refused = self.refused(sent["method"], url.path)
        answer, changed = self.do(self.send(sent["method"], sent["url"], **request))
        self.asked += 1
        what = f"{self._who}: {sent['method']} {sent['url']} → {answer.status_code} {answer.text[:500]}\n{request}"
        if refused:
            # What no path of the table fits is nowhere, for everybody; what is too large is read for nobody.
            nowhere = (404, 405) if not needed(sent["method"], url.path) else ()
            assert answer.status_code in ((401 if WHO[self._who] is None else 403), 413, *nowhere), what
            assert not changed, what
        assert not (changed and sent["method"] in SAFE), f"it only looked: {what}"
        assert not (changed and answer.status_code >= 400), f"refused, and yet something changed: {what}"
        case.validate_response(answer, checks=CHECKS)


def _delete(key: str) -> Any:
    from holdfast.ports import Delete

    return Delete(key)


def fuzz(who: str, root: Path, *, examples: int, seed: int) -> int:
    """Requests to each operation; how many were made. Raises AssertionError with the request and its answer."""
    started, stop = threading.Event(), asyncio.Event()
    made: list[Fuzzer] = []

    async def world() -> None:
        try:
            async with populated(root) as (panel, _):
                made.append(Fuzzer(panel, who, asyncio.get_running_loop()))
                started.set()
                await stop.wait()
        finally:
            started.set()

    thread = threading.Thread(target=asyncio.run, args=(world(),))
    thread.start()
    try:
        assert started.wait(120)
        assert made, "the world did not come up"
        _ask_all(made[0], examples, seed)
        return made[0].asked
    finally:
        if made:
            made[0]._loop.call_soon_threadsafe(stop.set)
        thread.join(60)


def _ask_all(fuzzer: Fuzzer, examples: int, number: int) -> None:
    description = fuzzer._world.app.openapi()
    schema = schemathesis.openapi.from_dict(description)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        path = operation.path
        route = f"{operation.method.upper()} {path}"
        if route in NOT_DONE and not fuzzer.refused(operation.method.upper(), path):
            continue
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
        names = {name: st.sampled_from(values) for name, values in KNOWN.items() if f"{{{name}}}" in path}

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(case=cases, known=st.one_of(st.fixed_dictionaries(names), st.just({})))
        def ask(case: schemathesis.Case[Any], known: dict[str, str]) -> None:
            fuzzer.judge(case, known)

        ask()
