"""A served cluster in a thread, and the command line run against it in this process."""

import asyncio
import json
import logging
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from api_world import FakeFences, FakeProbe, build, memory_store, put

from holdfast.api import listen
from holdfast.api.app import Local, create_app
from holdfast.api.context import ApiContext, make_context
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.api.server import make_server
from holdfast.cli import main
from holdfast.clock import SystemClock
from holdfast.core.model import (
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementMember,
    ManagementSpec,
    MoveRequest,
    NodeSpec,
    Placement,
    ServiceSpec,
)
from holdfast.ports import Delete, Store
from holdfast.store import codec, keys
from holdfast.store.view import to_be_removed

T = TypeVar("T")
PASSWORD = "correct horse battery"


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cluster:
    """The server's side, and `run` to use the command line on it."""

    context: ApiContext
    loop: asyncio.AbstractEventLoop
    capture: pytest.CaptureFixture[str]
    managed: threading.Event = field(default_factory=threading.Event)
    """While set, a stand-in for manager and agents makes wishes true."""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def put(self, values: dict[str, object]) -> None:
        self.do(put(self.context.store, values))

    def run(self, *arguments: str) -> Result:
        return run(self.capture, *arguments)


def run(capture: pytest.CaptureFixture[str], *arguments: str) -> Result:
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capture.readouterr()
    status = ended.value.code
    return Result(status if isinstance(status, int) else 1, out, err)


async def _bundle(store: Store, spec: NodeSpec) -> bytes:
    return b"bundle of " + spec.id.encode()


async def _manage(cluster: Cluster) -> None:
    """Does at once what manager and agents do in time."""
    store, version = cluster.context.store, -1
    while True:
        version = await cluster.context.cache.wait_newer(version)
        if cluster.managed.is_set():
            await _manage_once(store)


async def _manage_once(store: Store) -> None:
    instances = [codec.decode(e.value, InstanceSpec, e.key) for e in (await store.list(keys.INSTANCES)).entries]
    last = {(spec.kind, spec.service): spec.id for spec in instances}
    for spec in instances:
        key = keys.service(spec.kind, spec.service)
        service = await store.get(key)
        placed = await store.get(keys.placement(spec.id))
        if service is not None and to_be_removed(codec.decode(service.value, ServiceSpec), spec.id):
            traces = [keys.instance(spec.id), keys.placement(spec.id), keys.status(spec.id)]
            traces += [key] if last[spec.kind, spec.service] == spec.id else []
            await store.txn([], [Delete(trace) for trace in traces])
        elif spec.desired == "stopped":
            await store.txn([], [Delete(keys.placement(spec.id))])
        elif (wish := await store.get(keys.move(spec.id))) is not None:
            target = codec.decode(wish.value, MoveRequest).node or "n3"
            await store.txn([], [Delete(keys.move(spec.id))])
            await _run_on(store, spec.id, target)
        elif placed is None:
            await _run_on(store, spec.id, "n2" if spec.kind == "nfs" else "n1")
    entry_or_none = await store.get(keys.MANAGEMENT)
    assert entry_or_none is not None
    management = codec.decode(entry_or_none.value, ManagementSpec)
    members = tuple(ManagementMember(node, f"p-{node}", f"c-{node}", "voter") for node in management.nodes)
    if members != management.members:
        await put(store, {keys.MANAGEMENT: ManagementSpec(management.nodes, management.virtual_ip, members)})


async def _run_on(store: Store, instance: str, node: str) -> None:
    epoch = (await store.list("")).revision
    status = InstanceStatus(node, f"s{node[1:]}", epoch, InstanceState.RUNNING, healthy=True)
    await put(
        store, {keys.placement(instance): Placement(node, epoch, 1, reason="most room"), keys.status(instance): status}
    )


@contextmanager
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], **more: Any
) -> Iterator[Cluster]:
    """A cluster whose API listens on a socket that the command line finds by itself. `more`: fields of its context."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("HOLDFAST_SOCKET", str(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_URL", raising=False)
    ready = threading.Event()
    stop = asyncio.Event()
    made: list[Cluster] = []
    socket = listen.unix_socket(path)

    async def serve() -> None:
        store = memory_store()
        await build(store)
        await users.create(store, Actor("setup"), name="admin", role="admin", password=PASSWORD)
        context = make_context(
            "n1",
            store,
            SystemClock(),
            session="s1",
            fences=FakeFences(),
            probe=FakeProbe({"10.77.0.66": "52:54:00:aa:bb:cc"}),
            make_bundle=_bundle,
            **{"cluster_secret": lambda: b"s" * 32, **more},
        )
        cluster = Cluster(context, asyncio.get_running_loop(), capture)
        server = make_server(Local(create_app(context)), None)
        tasks = [asyncio.create_task(work) for work in (context.cache.run(), server.serve([socket]), _manage(cluster))]
        assert await context.cache.wait_revision(1, 10)
        made.append(cluster)
        ready.set()
        await stop.wait()
        server.should_exit = True
        await tasks[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The server's log goes to standard output otherwise, between what the commands print.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield made[0]
    finally:
        if made:
            made[0].loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        structlog.reset_defaults()
        socket.close()
