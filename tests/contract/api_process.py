"""Starts the panel process as it runs in production: real etcd, TLS, Unix socket."""

import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from etcd_members import Members, free_port, running

from holdfast import config as node_config
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.clock import SystemClock
from holdfast.core.model import ClusterSpec, NodeSpec, Role
from holdfast.ports import Put
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdStore

PASSWORD = "correct horse battery"
HANG_S = 90.0
"""The process starts within two seconds on an idle machine; with thirty others waiting for two cores it has taken 30."""


def wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


class Panel:
    def __init__(self, members: Members, directory: Path) -> None:
        self.port = free_port("127.0.0.1")
        base = members.members[0].config
        self.config = replace(
            base,
            endpoints=members.endpoints,
            state_dir=str(directory / "state"),
            run_dir=str(directory / "run"),
        )
        self.file = directory / "node.toml"
        self.file.write_text(node_config.dump(self.config))
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "panel.log"

    def start(self) -> None:
        argv = [sys.executable, "-m", "holdfast.api", "--config", str(self.file), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait(self.answers, "the first answer")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANG_S)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            with self.client() as client:
                return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def client(self, token: str = "") -> httpx.Client:
        context = ssl.create_default_context(cafile=self.config.tls.ca)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(verify=context, base_url=f"https://127.0.0.1:{self.port}", headers=headers, timeout=HANG_S)

    def local(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.config.api_socket))
        return httpx.Client(transport=transport, base_url="http://holdfast", timeout=HANG_S)


async def fill(members: Members) -> None:
    store = EtcdStore(members.endpoints, members.tls, clock=SystemClock())
    try:
        values: dict[str, object] = {
            keys.CLUSTER: ClusterSpec("demo", "c1"),
            keys.node_spec("n1"): NodeSpec("n1", (Role.MANAGEMENT,), {"management": "127.0.0.1"}),
        }
        await store.txn([], [Put(key, codec.encode(value)) for key, value in values.items()])
        await users.create(store, Actor("setup"), name="admin", role="admin", password=PASSWORD)
    finally:
        await store.close()


@contextmanager
def panel_process(tmp_path: Path) -> Iterator[tuple[Members, Panel]]:
    with running(tmp_path) as members:
        panel = Panel(members, tmp_path)
        try:
            yield members, panel
        finally:
            if panel.process is not None and panel.process.poll() is None:
                panel.process.kill()
                panel.process.wait()
