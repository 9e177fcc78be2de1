"""The independent watcher sees who executes what, and every doubled execution."""

import subprocess
from pathlib import Path

import pytest
from lab_talk import EXECUTOR, hear, talk, until

from holdfast.lab import LabClient, Watcher
from holdfast.lab.executors import instance_of
from holdfast.lab.watcher import Sampler

CONFIG = "/run/holdfast/nfs/vol1.conf"
S3_PROGRAM = "/opt/holdfast/bin/python3 -m holdfast.services.s3.inside.program"
PART = """
exec -a python3 bash -c 'exec 3<&0; for child in 1 2; do (read -u 3; :) & done; echo up; read' \
    -m holdfast.services.s3.inside.program /run/holdfast/s3/main/os-1/program.json
"""
"""Run by `setsid bash -c`: looks like a part of an S3 cluster with two children."""


@pytest.mark.parametrize(
    ("command", "instance"),
    [
        ("/usr/bin/ganesha.nfsd -F -f /run/holdfast/nfs/vol1.conf -N EVENT", "nfs/vol1"),
        ("ganesha.nfsd -F -f /run/holdfast/nfs/vol1/ganesha.conf -L /dev/stdout", "nfs/vol1"),
        ("ganesha.nfsd -f /etc/ganesha/nfs%2Fvol-2.conf", "nfs/vol-2"),
        ("qemu-system-x86_64 -name guest=web-1,debug-threads=on -m 64", "vm/web-1"),
        (f"{S3_PROGRAM} /run/holdfast/s3/main/ns-1/program.json", "s3/main/ns-1"),
        (f"{S3_PROGRAM} /run/holdfast/s3/main/bg/program.json", "s3/main/bg"),
        (f"{S3_PROGRAM} /run/holdfast/s3/main/gw-n1/program.json", None),
        ("grep ganesha.nfsd -f /run/holdfast/nfs/vol1.conf", None),
        ("python holdfast-agent", None),
        ("", None),
    ],
)
def test_executors_are_known_by_their_command_line(command: str, instance: str | None) -> None:
    assert instance_of(command.split()) == instance


def test_a_process_that_is_moved_between_groups_while_they_are_read_is_one_executor(tmp_path: Path) -> None:
    config = tmp_path / "vol1.conf"
    with subprocess.Popen(["bash", "-c", EXECUTOR, str(config)], stdin=subprocess.PIPE) as process:
        for group in ("system", "strict"):  # a walk that met it in both
            (tmp_path / "n1" / group).mkdir(parents=True)
            (tmp_path / "n1" / group / "cgroup.procs").write_text(f"{process.pid}\n")
        sampler = Sampler(tmp_path)
        until(lambda: sampler.sample(0.0) != {}, "the executor is seen")
        assert {i: [e.host for e in found] for i, found in sampler.sample(0.0).items()} == {"nfs/vol1": ["n1"]}
        process.kill()


def until_seen(path: Path, word: str, count: int = 1) -> None:
    until(lambda: path.exists() and path.read_text().count(word) >= count, f"{word} in the watcher's record")


@pytest.mark.lab
def test_a_move_is_no_violation(bare_lab: LabClient, tmp_path: Path) -> None:
    with Watcher(bare_lab, tmp_path / "watch.jsonl") as watcher:
        for number, host in enumerate(("n1", "n2"), 1):
            with talk(bare_lab, host, "bash", "-c", EXECUTOR, CONFIG):
                until_seen(watcher.path, '"began"', number)
            until_seen(watcher.path, '"interval"', number)
        report = watcher.stop()
    assert report.violations == []
    assert [interval.host for interval in report.timeline["nfs/vol1"]] == ["n1", "n2"]
    assert report.samples > 2


@pytest.mark.lab
@pytest.mark.parametrize("first_is", ["running", "frozen"])
def test_two_executors_are_a_violation_even_if_one_is_frozen(
    bare_lab: LabClient, tmp_path: Path, first_is: str
) -> None:
    with Watcher(bare_lab, tmp_path / "watch.jsonl") as watcher:
        with talk(bare_lab, "n1", "bash", "-c", EXECUTOR, CONFIG) as first:
            assert hear(first) == "up"
            if first_is == "frozen":
                bare_lab.fail("n1", "freeze")
            with talk(bare_lab, "n2", "bash", "-c", EXECUTOR, CONFIG):
                until_seen(watcher.path, '"violation"')
            bare_lab.heal("n1")
        report = watcher.stop()
    assert {e["host"] for e in report.violations[0].executors} == {"n1", "n2"}
    assert report.violations[0].instance == "nfs/vol1"


@pytest.mark.lab
def test_service_addresses_are_noted(bare_lab: LabClient, tmp_path: Path) -> None:
    bare_lab.exec("n2", ["ip", "addr", "add", "10.77.0.100/24", "dev", "eth0"], check=True)
    with Watcher(bare_lab, tmp_path / "watch.jsonl") as watcher:
        until_seen(watcher.path, '"addresses"')
        assert watcher.stop().addresses[0]["addresses"] == {"10.77.0.100": ["n2"]}
    bare_lab.exec("n2", ["ip", "addr", "del", "10.77.0.100/24", "dev", "eth0"])


@pytest.mark.lab
def test_a_part_of_an_s3_cluster_with_its_children_is_one_executor_and_a_second_part_is_not(
    bare_lab: LabClient, tmp_path: Path
) -> None:
    with Watcher(bare_lab, tmp_path / "watch.jsonl") as watcher:
        with talk(bare_lab, "n1", "setsid", "-w", "bash", "-c", PART) as first:
            assert hear(first) == "up"
            until_seen(watcher.path, '"began"', 3)
            first.kill()
            until_seen(watcher.path, '"interval"', 1)
            began = watcher.path.read_text().count('"began"')
            with talk(bare_lab, "n2", "setsid", "-w", "bash", "-c", PART) as second:
                assert hear(second) == "up"
                until_seen(watcher.path, '"violation"')
        report = watcher.stop()
    assert began == 3
    assert {e["host"] for e in report.violations[0].executors} == {"n1", "n2"}
    assert all(len(v.executors) == 2 for v in report.violations)
