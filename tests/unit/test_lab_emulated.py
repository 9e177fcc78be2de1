"""Emulated nodes: the order of a kernel's modules, commands inside, why QEMU ended. Whole nodes: tests/lio."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import InvalidInput
from holdfast.lab.emulated import shell
from holdfast.lab.emulated.image import load_order
from holdfast.lab.emulated.monitor import Monitor
from holdfast.lab.layout import make_layout


def module(directory: Path, name: str, depends: str) -> None:
    (directory / f"{name}.ko").write_bytes(b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    module(tmp_path, "9pnet_virtio", "9pnet,virtio-ring")
    module(tmp_path, "9p", "9pnet")
    module(tmp_path, "9pnet", "")
    module(tmp_path, "virtio_ring", "")
    names = [path.stem for path in load_order(tmp_path, ("9p", "9pnet_virtio", "built_in"))]
    assert names == ["9pnet", "9p", "virtio_ring", "9pnet_virtio"]


def test_what_a_node_runs_first_is_shell() -> None:
    init = Path(shell.__file__).with_name("init.sh")
    assert subprocess.run(["busybox", "sh", "-n", init], timeout=30).returncode == 0


def test_only_nodes_that_are_named_are_emulated(tmp_path: Path) -> None:
    layout = make_layout("x", tmp_path, 3, ["n3"])
    assert [name for name, host in layout.hosts.items() if host.shell_port] == ["n3"]


def test_an_emulated_node_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="n9"):
        make_layout("x", tmp_path, 3, ["n9"])


@pytest.fixture
def port() -> Iterator[int]:
    with shell.Server(("127.0.0.1", 0), shell.Session) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def command(port: int, *argv: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    attempt = (
        "import sys; from holdfast.lab.emulated.shell import attempt; sys.exit(attempt(int(sys.argv[1]), sys.argv[2:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", attempt, str(port), *argv], input=stdin, capture_output=True, timeout=30
    )


def test_a_command_has_its_input_its_outputs_and_its_status(port: int) -> None:
    done = command(port, "sh", "-c", "cat; echo wrong >&2; exit 7", stdin=b"\0hello\xff" * 20000)
    assert (done.stdout, done.stderr, done.returncode) == (b"\0hello\xff" * 20000, b"wrong\n", 7)


def test_a_command_that_was_killed_or_is_not_there(port: int) -> None:
    assert command(port, "sh", "-c", "kill -KILL $$").returncode == 137
    assert command(port, "/no/such/program").returncode == 127


def test_a_command_dies_with_whoever_waits_for_it(port: int, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(json.dumps({"argv": ["sh", "-c", "echo $$; exec sleep 600"]}).encode() + b"\n")
        answers = link.makefile("rb")
        pid = json.loads(answers.readline())["pid"]
        answers.readline()
        answers.close()
    waiting = threading.Event()
    while Path(f"/proc/{pid}").exists():
        waiting.wait(0.01)


def test_nobody_there_is_not_a_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert shell.attempt(free, ["true"]) is None


@pytest.mark.parametrize(
    ("events", "reset", "fired"),
    [
        ([{"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}], False, False),
        ([{"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}}], True, False),
        (
            [{"event": "WATCHDOG", "data": {}}, {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}],
            True,
            True,
        ),
    ],
)
def test_why_a_machine_went_off(tmp_path: Path, events: list[dict[str, object]], reset: bool, fired: bool) -> None:
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.bind(str(tmp_path / "qmp"))
        qemu.listen()
        monitor = Monitor(tmp_path / "qmp")
        link, _ = qemu.accept()
        with link:
            link.sendall(b'{"QMP": {}}\n{"return": {}}\n' + b"".join(json.dumps(e).encode() + b"\n" for e in events))
        monitor.end()
    assert (monitor.reset, monitor.watchdog_fired) == (reset, fired)
