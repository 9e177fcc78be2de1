"""The panel process as it runs in production: real etcd, TLS, Unix socket, signals."""

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from api_process import HANG_S, PASSWORD, Panel, fill, panel_process, wait
from etcd_members import free_port

from holdfast import config as node_config
from holdfast.cli import main


async def test_it_serves_over_tls_and_the_socket_outlives_the_store_and_ends_on_sigterm(tmp_path: Path) -> None:
    with panel_process(tmp_path) as (members, panel):
        await fill(members)
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
    with panel_process(tmp_path) as (members, panel):
        await fill(members)
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
    with panel_process(tmp_path) as (members, panel):
        await fill(members)
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
        status, _, err = holdfast("logout")
        assert status == 0, err
        status, _, err = holdfast("--url", url, "--ca", panel.config.tls.ca, "status")
        assert (status, "holdfast login" in err) == (1, True)
