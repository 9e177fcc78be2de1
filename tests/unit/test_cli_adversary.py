"""What an operator does to the command line that nobody meant: each command with wrong names, without a cluster, with its
output cut off, narrow or in another character set, and ended while it waits."""

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_world import Cluster, served

from holdfast.api.operations import tasks
from holdfast.cli import app

NOT_HERE = {"lab", "demo", "sim", "login", "logout", "password"}
"""Those that use no API, or ask a person."""
ON_THE_MACHINE = {
    "cluster create", "cluster restore", "cluster forget-store", "cluster backup", "cluster check-backup", "node join",
    "upgrade node", "upgrade status", "support-bundle",
}  # fmt: skip
"""Those that change or read the machine they run on."""
MORE = ("nosuch", "", "x" * 300, "-", "10.0.0.1")
ODD = ("../é x", "n1", *(pytest.param(word, marks=pytest.mark.long) for word in MORE))
HOLDFAST = (sys.executable, "-c", "from holdfast.cli import main; main()")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with served(tmp_path, monkeypatch, capfd) as made:
        yield made


def leaves() -> dict[str, Any]:
    """Name → command, of all that ask the API."""
    os.environ[app.COMPLETE] = "all"
    try:
        root = typer.main.get_command(app.build([]))
    finally:
        del os.environ[app.COMPLETE]
    found: dict[str, Any] = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        below = getattr(command, "commands", {})
        if path and (not below or command.invoke_without_command):
            found[" ".join(path)] = command
        for name, each in below.items():
            walk(each, (*path, name))

    walk(root, ())
    return {n: c for n, c in found.items() if n.split()[0] not in NOT_HERE and n not in ON_THE_MACHINE}


def arguments(command: Any, word: str) -> list[str]:
    """All that it requires: the word wherever text is wanted."""
    given: list[str] = []
    for parameter in command.params:
        if parameter.required:
            is_option = parameter.opts[0].startswith("-")
            given += [*([parameter.opts[0]] if is_option else []), *_value(parameter, word)]
    options = {name for parameter in command.params for name in parameter.opts}
    return [*given, *(["--no-wait"] if "--wait" in options else []), *(["--json"] if "--json" in options else [])]


def _value(parameter: Any, word: str) -> list[str]:
    kind = parameter.type_descriptor.annotation
    kind = kind.__args__[0] if isinstance(kind, types.UnionType) or typing.get_origin(kind) is list else kind
    if kind is bool:
        return []
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(next(iter(kind)).value)]
    return ["3"] if kind in (int, float) else [word]


@pytest.mark.parametrize("word", ODD)
def test_no_command_makes_a_mistake_whatever_it_is_told_and_each_refusal_says_what_to_do(
    cluster: Cluster, word: str
) -> None:
    commands = leaves()
    assert len(commands) > 100
    for name, command in commands.items():
        done = cluster.run(*name.split(), *arguments(command, word))
        said = f"holdfast {name} … {word[:20]!r}: {done.status}\n{done.out}\n{done.err}"
        assert done.status in (0, 1, 2), said
        assert "mistake" not in done.err, said
        assert "Traceback" not in done.err + done.out, said
        if done.status == 1:
            error, _, advice = done.err.partition("\n")
            assert error.startswith("Error: "), said
            assert advice.strip(), said
            assert "Errno" not in error, said
        if done.status == 0 and "--json" in arguments(command, word):
            assert json.loads(done.out) is not None, said


def test_without_a_cluster_every_command_says_where_one_would_be_found(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOLDFAST_SOCKET", str(tmp_path / "none"))
    for line in ("status", "node list", "nfs list", "drill", "task list", "vm list", "s3 list", "alarm list"):
        done = cluster.run(*line.split())
        assert done.status == 1, line
        assert "holdfast cluster create" in done.err, line
        assert "--url" in done.err, line


def test_times_and_zones_that_are_none_are_refused(cluster: Cluster) -> None:
    done = cluster.run("audit", "--since", "yesterday")
    assert (done.status, "2026-01-31" in done.err) == (1, True)
    assert cluster.run("audit", "--since", "2026-01").status == 0
    done = cluster.run("dns", "zone", "create", "10.0.0.1")
    assert (done.status, "fully qualified" in done.err) == (1, True)
    assert cluster.run("-h").status == 0
    assert "Exit status" in cluster.run("node", "--help").out + cluster.run("--help").out


def run(*words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """In a process of its own, with real streams."""
    return subprocess.run([*HOLDFAST, *words], text=True, stderr=subprocess.PIPE, timeout=90, check=False, **more)


def test_output_that_is_cut_off_full_or_of_another_character_set(cluster: Cluster) -> None:
    with Path("/dev/full").open("w") as full:
        done = run("node", "list", stdout=full)
    assert (done.returncode, done.stderr) == (1, "Error: the output cannot be written: no space is left there.\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = run("node", "list", "--json", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("nfs", "list", stdout=subprocess.PIPE, env=plain)
    assert (done.returncode, "create-cluster --nodes ?" in done.stdout) == (0, True)
    done = run("ha", "pause", "--no-wait", "--reason", "Kühlung", "--json", stdout=subprocess.PIPE, env=plain)
    assert json.loads(done.stdout)["text"], done.stderr


def test_a_narrow_terminal_gets_a_fact_per_line(cluster: Cluster) -> None:
    def shown(columns: int) -> list[str]:
        master, slave = pty.openpty()
        done = run("node", "list", stdout=slave, env={**os.environ, "COLUMNS": str(columns)})
        text = os.read(master, 1 << 16).decode()
        os.close(slave)
        os.close(master)
        assert done.returncode == 0, done.stderr
        return text.splitlines()

    narrow = shown(40)
    assert narrow[0].split() == ["Node", "n1"]
    assert ["State", "up"] in [line.split() for line in narrow]
    assert narrow[0].split() != shown(120)[0].split()


def test_who_ends_a_wait_is_told_that_it_goes_on(cluster: Cluster) -> None:
    waiting = subprocess.Popen([*HOLDFAST, "drill"], stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    first = waiting.stderr.readline()  # no agent answers: it waits for the storage of the nodes
    assert first.startswith("Waiting for "), first
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=90)
    begun = tasks.ids(cluster.context.cache.source, running=True)[0]
    assert waiting.returncode == 130
    assert f"Interrupted. It goes on without you: holdfast task show {begun}." in said
    done = cluster.run("drill", "--no-wait")
    assert begun in done.err
    assert cluster.run("task", "cancel", begun).status == 0

    async def over() -> None:
        while tasks.ids(cluster.context.cache.source, running=True):  # noqa: ASYNC110 - its process notes it
            await asyncio.sleep(0.05)

    cluster.do(over())
