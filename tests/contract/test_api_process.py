"""The panel process as it runs in production: real etcd, TLS, Unix socket, signals."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from etcd_members import Members, free_port, running

from holdfast import config as node_config
from holdfast.api.operations import users
from holdfast.api.operations.draft import Actor
from holdfast.cli import main
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


async def _fill(members: Members) -> None:
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
def _panel(tmp_path: Path) -> Iterator[tuple[Members, Panel]]:
    with running(tmp_path) as members:
        panel = Panel(members, tmp_path)
        try:
            yield members, panel
        finally:
            if panel.process is not None and panel.process.poll() is None:
                panel.process.kill()
                panel.process.wait()


async def test_it_serves_over_tls_and_the_socket_outlives_the_store_and_ends_on_sigterm(tmp_path: Path) -> None:
    with _panel(tmp_path) as (members, panel):
        await _fill(members)
        panel.start()
        with panel.client() as client:
            assert client.get("/login").status_code == 200, "the web page"
            answer = client.post("/api/v1/login", json={"name": "admin", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            token = answer.json()["token"]
        with panel.client(token) as client:
            wait(lambda: bool(client.get("/api/v1/status").json()["nodes"]), "the picture")
            with client.stream("GET", "/api/v1/stream") as stream:
                lines = stream.iter_lines()
                data = next(line for line in lines if line.startswith("data: ") and '"demo"' in line)
                assert json.loads(data[6:])["cluster"]["name"] == "demo"
            mode = panel.config.api_socket.stat().st_mode
            assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
            with panel.local() as local:
                assert local.get("/api/v1/session").json()["user"] == "root"
                assert local.put("/api/v1/cluster", json={"dead_node_power_on": False}).status_code == 200
            members.members[0].kill()
            wait(lambda: bool(client.get("/api/v1/status").json()["store_problem"]), "noticing that the store is away")
            assert client.get("/api/v1/status").json()["cluster"]["name"] == "demo"
            assert client.put("/api/v1/cluster", json={"dead_node_power_on": True}).status_code == 503
        assert panel.stop() == 0, panel.log.read_text()
        assert "Traceback" not in panel.log.read_text()
        assert not panel.config.api_socket.exists(), "so that a command says: no API on this node"


async def test_a_restart_takes_over_the_socket_and_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    with _panel(tmp_path) as (members, panel):
        await _fill(members)
        panel.start()
        assert panel.process is not None
        panel.process.kill()
        panel.process.wait()
        panel.start()
        with panel.local() as local:
            assert local.get("/healthz").json()["ok"] is True
        before = _certificate(panel)
        members.credentials("n1", ["127.0.0.1", "127.0.0.2"])  # writes the files anew
        wait(lambda: _certificate(panel) != before, "the new certificate")
        assert panel.stop() == 0


def _certificate(panel: Panel) -> bytes:
    context = ssl.create_default_context(cafile=panel.config.tls.ca)
    with (
        socket.create_connection(("127.0.0.1", panel.port), HANG_S) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[tls]", "[tsl]"), "unknown key `tsl`"),
        (("node.crt", "nodd.crt"), "cannot be used"),
        (('id = "', 'id = 7 # "'), "must be text"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_status_2(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    text = node_config.dump(
        node_config.NodeConfig(
            "n1", "demo", {"management": "127.0.0.1"}, ("https://127.0.0.1:1",), run_dir=str(tmp_path)
        )
    )
    assert change[0] in text
    path = tmp_path / "node.toml"
    path.write_text(text.replace(*change))
    argv = [sys.executable, "-m", "holdfast.api", "--config", str(path), "--port", str(free_port("127.0.0.1"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_S, env={**os.environ})
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


async def test_the_command_line_logs_in_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def holdfast(*arguments: str) -> tuple[object, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOLDFAST_SOCKET", str(tmp_path / "none.sock"))
    password = tmp_path / "pw"
    password.write_text(PASSWORD + "\n")
    with _panel(tmp_path) as (members, panel):
        await _fill(members)
        panel.start()
        url = f"https://127.0.0.1:{panel.port}"
        status, _, err = holdfast("--url", url, "login", "--password-file", str(password))
        assert (status, "is not trusted" in err, "--ca" in err) == (1, True, True)
        login = ("--url", url, "--ca", panel.config.tls.ca, "login", "--password-file")
        wrong = tmp_path / "wrong"
        wrong.write_text("not the password\n")
        status, _, err = holdfast(*login, str(wrong))
        assert (status, "wrong name or password" in err) == (1, True)
        assert holdfast(*login, str(password))[0] == 0
        assert (tmp_path / "home/holdfast/session.json").stat().st_mode & 0o777 == 0o600
        status, out, err = holdfast("node", "list")
        assert (status, "n1" in out) == (0, True), err
        assert holdfast("logout")[0] == 0
        status, _, err = holdfast("--url", url, "--ca", panel.config.tls.ca, "status")
        assert (status, "holdfast login" in err) == (1, True)
