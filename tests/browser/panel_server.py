"""The real application on loopback with TLS, over a store in memory, as one node would serve it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from panel_world import QUICK, World

from holdfast.api.app import create_app
from holdfast.api.context import make_context
from holdfast.clock import SystemClock
from holdfast.panel.web import mount
from holdfast.store.memory import MemoryStore


@dataclass
class Panel:
    """A panel process's server, run inside the test."""

    node: str
    port: int
    end: Callable[[], Awaitable[None]]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@dataclass
class Panels:
    """Starts panels over one world's store; `port` takes over the address of an earlier one."""

    world: World
    clock: SystemClock
    certificate: Path
    key: Path
    stack: AsyncExitStack
    tools: dict[str, Any] = field(default_factory=dict)
    """What the API works with beside the store: fields of its context."""

    async def start(self, node: str, port: int = 0) -> Panel:
        inner = AsyncExitStack()
        listener = socket.create_server(("127.0.0.1", port))
        await inner.enter_async_context(self._serving(node, listener))
        self.stack.push_async_callback(inner.aclose)
        return Panel(node, listener.getsockname()[1], inner.aclose)

    @asynccontextmanager
    async def _serving(self, node: str, listener: socket.socket) -> AsyncIterator[None]:
        store = MemoryStore(self.world.cluster, self.clock)
        tools = {"cluster_secret": lambda: b"s" * 32, "hasher": QUICK, **self.tools}
        context = make_context(node, store, self.clock, session=f"{node}-{self.clock.now()}", **tools)
        app = create_app(context)
        mount(app, context)
        config = uvicorn.Config(
            app,
            ssl_certfile=str(self.certificate),
            ssl_keyfile=str(self.key),
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=0,
        )
        server = uvicorn.Server(config)
        follow = asyncio.create_task(context.cache.run())
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _until(lambda: server.started)
            yield
        finally:
            server.should_exit = True
            await serve
            follow.cancel()
            with suppress(asyncio.CancelledError):
                await follow


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
