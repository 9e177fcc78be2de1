"""A panel process in memory with an account of each role, for tests of who may do what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx
from api_world import FakeFences, FakeProbe, build, memory_store, put
from argon2 import PasswordHasher
from fastapi import FastAPI

from holdfast.api.app import Local, create_app
from holdfast.api.auth import CSRF_HEADER, NotLoggedIn
from holdfast.api.context import ApiContext, make_context
from holdfast.api.people import later
from holdfast.bootstrap.users import User, hash_password
from holdfast.clock import SystemClock
from holdfast.core.model import NodeSpec
from holdfast.ports import Clock, Store
from holdfast.store import keys
from holdfast.store.memory import Faults, MemoryStore

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
PASSWORD = "correct horse battery"
ROLES = {"vera": "viewer", "otto": "operator", "ada": "admin"}
"""Account → role."""


class WallClock(SystemClock):
    """Days pass at once for what goes by the wall clock."""

    ahead_s = 0.0

    def wall(self) -> str:
        return later(super().wall(), self.ahead_s)


@lru_cache
def account(name: str) -> User:
    return User(name, hash_password(name, PASSWORD, QUICK), ROLES[name])


async def _bundle(store: Store, spec: NodeSpec) -> bytes:
    return b"bundle"


@dataclass
class Panel:
    """One panel process; `other` is a second one over the same store, as after a fail-over."""

    context: ApiContext
    app: FastAPI
    faults: Faults
    _tokens: dict[str, str] = field(default_factory=dict)

    def client(
        self, *, local: bool = False, address: str = "192.0.2.1", token: str = "", cookie: str = "", **headers: str
    ) -> httpx.AsyncClient:
        """As a browser where a cookie is given, else as a program."""
        transport = httpx.ASGITransport(Local(self.app) if local else self.app, client=(address, 4711))
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            said["authorization"] = f"Bearer {token}"
        if cookie:
            said["cookie"] = cookie
            said.setdefault(CSRF_HEADER, "1")
        return httpx.AsyncClient(transport=transport, base_url="https://panel:8443", headers=said)

    async def login(self, name: str, password: str = PASSWORD, *, address: str = "192.0.2.1") -> httpx.Response:
        async with self.client(address=address) as client:
            return await client.post("/api/v1/login", json={"name": name, "password": password})

    async def token(self, name: str, *, address: str = "192.0.2.1") -> str:
        answer = await self.login(name, address=address)
        assert answer.status_code == 200, answer.text
        await self.caught_up()
        return str(answer.json()["token"])

    async def caught_up(self) -> None:
        """This process knows all that the store holds."""
        revision = (await self.context.store.list("")).revision
        assert await self.context.cache.wait_revision(revision, 10)

    async def _session(self, name: str) -> str:
        """The one of the last call, if it still holds: hashing passwords takes long."""
        try:
            await self.context.auth.whose_session(self._tokens[name])
        except (KeyError, NotLoggedIn):
            self._tokens[name] = await self.token(name)
        return self._tokens[name]

    async def call(
        self, who: str, method: str, path: str, body: object = None, *, token: str = "", **headers: str
    ) -> httpx.Response:
        """As an account, as `root`, or (empty) as a holder of the token."""
        bearer = token or ("" if who == "root" else await self._session(who))
        async with self.client(local=who == "root", token=bearer, **headers) as client:
            answer = await client.request(method, f"/api/v1{path}", json=body)
        await self.caught_up()
        return answer


@asynccontextmanager
async def panels(count: int = 1, *, clock: Clock | None = None, **parts: Any) -> AsyncIterator[list[Panel]]:
    """So many panel processes over one store. `parts`: more of their context."""
    first = memory_store()
    await build(first)
    await put(first, {keys.user(name): account(name) for name in ROLES})
    made, tasks = [], []
    for number in range(count):
        faults = Faults()
        store = MemoryStore(first.cluster, SystemClock(), faults=faults)
        context = make_context(
            f"n{number + 1}",
            store,
            clock or SystemClock(),
            session=f"s{number}",
            fences=FakeFences(),
            probe=FakeProbe(),
            make_bundle=_bundle,
            hasher=QUICK,
            cluster_secret=lambda: b"s" * 32,
            **parts,
        )
        tasks.append(asyncio.create_task(context.cache.run()))
        made.append(Panel(context, create_app(context), faults))
    try:
        for panel in made:
            await panel.caught_up()
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def panel(*, clock: Clock | None = None, **parts: Any) -> AsyncIterator[Panel]:
    async with panels(1, clock=clock, **parts) as made:
        yield made[0]
