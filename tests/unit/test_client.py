"""The client: typed answers, and calls that survive a fail-over without being done twice."""

import asyncio
import re
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from api_world import build, put
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.api.app import create_app
from holdfast.api.context import ApiContext, make_context
from holdfast.api.history import EventLine
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.api.server import make_server, tls_context
from holdfast.api.status import ClusterStatus
from holdfast.bootstrap import pki
from holdfast.client import ApiRefused, ApiUnreachable, Client
from holdfast.client.typed import TaskEnded
from holdfast.clock import SystemClock
from holdfast.config import Tls
from holdfast.core.history import Event
from holdfast.core.model import InstanceState, InstanceStatus, Placement
from holdfast.errors import ConfigError, NotPermitted
from holdfast.store import keys
from holdfast.store.memory import MemoryCluster, MemoryStore

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
T = TypeVar("T")


class Broken:
    """In front of an application: answers some requests only after they were done, and then wrongly."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.lose = 0
        """So many answers to changes get lost."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET" or self.lose == 0:
            await self._app(scope, receive, send)
            return
        self.lose -= 1

        async def swallow(_message: Message) -> None:
            pass

        await self._app(scope, receive, swallow)
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@dataclass
class Node:
    context: ApiContext
    url: str
    front: Broken
    stop: Callable[[], None]


@dataclass
class World:
    """Two management nodes, n1 and n2, with one store."""

    loop: asyncio.AbstractEventLoop
    ca: str
    nodes: list[Node] = field(default_factory=list)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def client(self) -> Client:
        client = Client(self.urls, ca=self.ca, patience_s=30.0)
        client.login("admin", PASSWORD)
        return client

    def put(self, values: dict[str, object]) -> None:
        self.do(put(self.nodes[0].context.store, values))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    authority = pki.create_authority("demo")
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem)
    ready, made = threading.Event(), []

    async def serve() -> None:
        world = World(asyncio.get_running_loop(), str(tmp_path / "ca.crt"))
        cluster, over = MemoryCluster(), asyncio.Event()
        first = MemoryStore(cluster, SystemClock())
        await build(first)
        await users.create(first, Actor("setup"), name="admin", role="admin", password=PASSWORD)
        servers, tasks = [], []
        for name in ("n1", "n2"):
            cert, key = pki.issue_node(authority, name, ["127.0.0.1"])
            (tmp_path / f"{name}.crt").write_bytes(cert)
            (tmp_path / f"{name}.key").write_bytes(key)
            files = Tls(str(tmp_path / "ca.crt"), str(tmp_path / f"{name}.crt"), str(tmp_path / f"{name}.key"))
            context = make_context(
                name,
                MemoryStore(cluster, SystemClock()),
                SystemClock(),
                session=f"s-{name}",
                cluster_secret=lambda: b"s" * 32,
            )
            listener = socket.create_server(("127.0.0.1", 0))
            front = Broken(create_app(context))
            server = make_server(front, tls_context(files))
            servers.append(server)
            tasks += [asyncio.create_task(context.cache.run()), asyncio.create_task(server.serve([listener]))]

            def stop(server: Any = server) -> None:
                server.should_exit = True

            port = listener.getsockname()[1]
            world.nodes.append(Node(context, f"https://127.0.0.1:{port}", front, stop))
            assert await context.cache.wait_revision(1, 30)
        made.append((world, over))
        ready.set()
        await over.wait()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks[1::2])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield made[0][0]
    finally:
        if made:
            made[0][0].loop.call_soon_threadsafe(made[0][1].set)
        thread.join(60)


def test_answers_are_dataclasses_and_changes_take_terms(world: World) -> None:
    client = world.client()
    assert isinstance(client.get_status(), ClusterStatus)
    node = client.get_node("n2")
    assert (node.id, node.state.up) == ("n2", True)
    seen = client.etag
    tried = client.change_node("n2", failure_domain="rack-a", dry_run=True)
    assert (tried.revision, client.get_node("n2").failure_domain) == (0, "")
    assert client.change_node("n2", failure_domain="rack-a", if_match=seen).revision > 0
    with pytest.raises(ApiRefused) as refused:
        client.change_node("n2", failure_domain="rack-b", if_match=seen)
    assert (refused.value.status, refused.value.members["etag"]) == (412, client.get_node("n2") and client.etag)
    with pytest.raises(ApiRefused, match="n9") as unknown:
        client.get_node("n9")
    assert (unknown.value.status, unknown.value.kind) == (404, "not-found")
    assert [task.kind for task in client.list_tasks(limit=5).items] == []


def test_a_change_whose_answer_is_lost_is_done_once(world: World) -> None:
    client = world.client()
    world.nodes[0].front.lose = world.nodes[1].front.lose = 1
    client.create_nfs_cluster(nodes=["n1", "n2"], addresses=["10.78.0.101-10.78.0.102"])
    made = client.create_nfs_volume(name="vol1", size="1GiB", idempotency_key="mine")
    again = client.create_nfs_volume(name="vol1", size="1GiB", idempotency_key="mine")
    assert made == again
    assert client.api.headers["idempotency-replayed"] == "true"
    lines = [line.text for line in client.list_events(limit=100).items]
    assert len([text for text in lines if "NFS cluster" in text]) == 1


def test_calls_and_updates_go_on_at_another_node(world: World) -> None:
    client = world.client()
    updates = client.updates()
    assert isinstance(next(updates), ClusterStatus)
    world.put({keys.event(1): Event("test", "", "before it")})
    assert next(one for one in updates if isinstance(one, EventLine)).text == "before it"
    world.loop.call_soon_threadsafe(world.nodes[0].stop)
    world.put({keys.event(2): Event("test", "", "while it moved")})
    assert next(one for one in updates if isinstance(one, EventLine)).text == "while it moved"
    assert client.get_session().node == "n2"
    updates.close()  # type: ignore[attr-defined]


def test_a_task_is_waited_for(world: World) -> None:
    client = world.client()
    client.create_nfs_cluster(nodes=["n1", "n2"], addresses=["10.78.0.101"])
    made = client.create_nfs_volume(name="vol1", size="1GiB")
    assert client.get_task(made.task).kind == "create"
    with pytest.raises(TaskEnded, match="running"):
        client.wait(made.task, timeout_s=0.0)
    status = InstanceStatus("n2", "s2", 7, InstanceState.RUNNING, healthy=True)
    world.put({keys.placement("nfs/vol1"): Placement("n2", 7, 1), keys.status("nfs/vol1"): status})
    assert client.wait(made.task, timeout_s=60.0).state.over
    assert client.wait("").state.over, "there was nothing to wait for"


def test_what_cannot_be_reached_is_told_when_patience_is_over(world: World, tmp_path: Path) -> None:
    with pytest.raises(ApiUnreachable, match="does not answer"):
        Client("https://127.0.0.1:1", ca=world.ca, patience_s=0.0).get_status()
    with pytest.raises(NotPermitted, match="not trusted"):
        (tmp_path / "other.crt").write_bytes(pki.create_authority("other").cert_pem)
        Client(world.urls, ca=str(tmp_path / "other.crt"), patience_s=0.0).get_status()
    with pytest.raises(ConfigError):
        Client("http://127.0.0.1:1")
    with pytest.raises(ApiRefused, match="not logged in"):
        Client(world.urls, ca=world.ca).get_status()


def test_the_example_of_the_documentation_works(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    [example] = re.findall(r"```python\n# example\n(.*?)```", text, re.S)
    client = world.client()
    client.create_nfs_cluster(nodes=["n1", "n2"], addresses=["10.78.0.101"])

    def run() -> None:
        exec(compile(example, "docs/api.md", "exec"), {"cluster": client})

    running = threading.Thread(target=run)
    running.start()
    status = InstanceStatus("n2", "s2", 7, InstanceState.RUNNING, healthy=True)
    world.put({keys.placement("nfs/docs"): Placement("n2", 7, 1), keys.status("nfs/docs"): status})
    running.join(60)
    assert not running.is_alive()
    said = capsys.readouterr().out
    assert "mount -t nfs" in said
    assert "would change nothing yet" in said


def test_the_methods_are_those_of_the_contract() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make-client"))["generate"]()
    for name, text in made.items():
        assert (ROOT / "src" / "holdfast" / "client" / name).read_text() == text, "run scripts/make-client"


def test_a_command_does_not_load_the_model() -> None:
    code = "import sys, holdfast.client; print([m for m in sys.modules if m.startswith(('holdfast.api', 'numpy'))])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
