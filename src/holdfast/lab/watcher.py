"""The independent watcher of INV-1: at most one live executor of a strict instance, at any time.

It reads the process tables of all lab hosts from the machine, below the lab's control group, and knows nothing of
Holdfast's own records, nor of libvirt's. What counts as an executor stands in lab/executors.py. A process is alive as long
as a thread of it is: frozen and stopped ones are alive, for they go on when they are thawed.

Run as a process of its own, `python -m holdfast.lab.watcher LAB STATE_DIR RECORD PERIOD_S`, by `Watcher`.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from holdfast.lab import cgroups, kernel
from holdfast.lab.client import LabClient, LabError
from holdfast.lab.executors import instance_of, is_family, is_target, may_receive, serves, writes
from holdfast.lab.processes import command_line, stat_number

PERIOD_S = 0.05
_ADDRESS_PERIOD_S = _LOOKS_PERIOD_S = 1.0
_STOP_S = 10.0
_PARENT, _SESSION = 4, 6


@dataclass(frozen=True, slots=True)
class Interval:
    """One process executed an instance on a host, seen from `first` to `last` (boottime, s)."""

    host: str
    pid: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Violation:
    """More than one host or process executed an instance at one sample."""

    boottime: float
    instance: str
    executors: list[dict[str, Any]]
    """For each: host, pid, state letter of /proc, start time in clock ticks, command line."""


@dataclass(frozen=True, slots=True)
class WatchReport:
    samples: int
    violations: list[Violation]
    timeline: dict[str, list[Interval]]
    """Instance → who executed it, in the order of first sight."""
    addresses: list[dict[str, Any]] = field(default_factory=list)
    """Each change of who holds a service address: {"boottime", "addresses": {ip: [hosts]}}. For information."""
    longest_gap_s: float = 0.0
    """Longest time between two samples; a doubled execution shorter than this could have been missed."""
    looks: list[tuple[float, int]] = field(default_factory=list)
    """(boottime, samples so far), about once a second."""


class Watcher:
    """Watches a lab from a process of its own, from `start` to `stop`. The record stays in `path` (JSON lines); it can be
    read while it grows. As a context manager it starts, and ends the process if `stop` was not called."""

    def __init__(self, lab: LabClient, path: Path | None = None, period_s: float = PERIOD_S) -> None:
        self._lab = lab
        self.path = path or lab.state_dir / "watch.jsonl"
        self._period_s = period_s
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns after the first sample. Raises LabError."""
        arguments = [self._lab.name, str(self._lab.state_dir), str(self.path), str(self._period_s)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.lab.watcher", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _STOP_S)
        if not ready or self._process.stdout.readline().strip() != "watching":
            self._process.kill()
            self._process.communicate()
            raise LabError("the watcher did not start", "Is the lab up? See `holdfast lab status`.")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stop(self) -> WatchReport:
        """End it and read what it saw. Raises LabError if it had ended by itself, for then it did not see everything."""
        assert self._process is not None, "start() comes first"
        process, self._process = self._process, None
        died = process.poll() is not None
        if not died:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            died = True
        if died:
            raise LabError("the watcher ended before it was told to", f"Its record so far is {self.path}.")
        return read_report(self.path)


def read_report(path: Path) -> WatchReport:
    """What a watcher's record says."""
    violations: list[Violation] = []
    timeline: dict[str, list[Interval]] = {}
    addresses: list[dict[str, Any]] = []
    looks: list[tuple[float, int]] = []
    samples, gap = 0, 0.0
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # it is being written
        entry = json.loads(line)
        kind = entry.pop("kind")
        if kind == "violation":
            violations.append(Violation(**entry))
        elif kind == "interval":
            timeline.setdefault(entry.pop("instance"), []).append(Interval(**entry))
        elif kind == "addresses":
            addresses.append(entry)
        elif kind == "looks":
            looks.append((entry["boottime"], entry["samples"]))
        elif kind == "end":
            samples, gap = entry["samples"], entry["longest_gap_s"]
    for intervals in timeline.values():
        intervals.sort(key=lambda interval: interval.first)
    return WatchReport(samples, violations, timeline, addresses, gap, looks)


# --- the watching process --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Executor:
    instance: str
    host: str
    pid: int
    state: str
    started: int
    """Clock ticks since boot: with the process id it names a process for good."""
    command: str


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process that lives, else None. Its main thread may have ended before another one that
    waits for a disk: then that one's letter counts."""
    own = _state(Path(f"/proc/{pid}/stat"))
    if own is None or own[0] not in "ZX":
        return own
    with suppress(OSError):
        threads = [_state(thread / "stat") for thread in Path(f"/proc/{pid}/task").iterdir()]
        return next(((thread[0], own[1]) for thread in threads if thread and thread[0] not in "ZX"), None)
    return None


def _state(stat: Path) -> tuple[str, int] | None:
    """Fields 3 and 22 of proc_pid_stat(5); None if it is gone."""
    with suppress(OSError):
        fields = stat.read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    return None


@dataclass(slots=True)
class _Process:
    """What is known of one process."""

    instance: str | None
    command: list[str]
    first_seen: float
    is_target: bool = False
    """It executes what it serves at the moment."""
    has_written: bool = False
    """A QEMU that was seen with the right to write to its disks."""


class Sampler:
    """Command lines are read once per process, and again (always while it is young) as it may execute something else.
    Who may write to a machine's disks is read when it has several processes, and once a second until it was seen. What a
    target serves is read at each sample."""

    _YOUNG_S, _LOOK_AGAIN_S = 3.0, 1.0

    def __init__(self, group: Path) -> None:
        self._group = group
        self._next_look = 0.0
        self._known: dict[tuple[int, int], _Process] = {}

    def sample(self, now: float) -> dict[str, list[_Executor]]:
        """Instance → its live executors."""
        look_again = now >= self._next_look
        if look_again:
            self._next_look = now + self._LOOK_AGAIN_S
        seen: dict[tuple[int, int], _Process] = {}
        found: dict[str, list[_Executor]] = {}
        for host in self._hosts():
            for pid in cgroups.processes(self._group / host):
                stat = _stat(pid)
                if stat is None:
                    continue
                key = (pid, stat[1])
                if key in seen:
                    continue  # it was moved to another group while the groups were read
                known = seen[key] = self._look(pid, self._known.get(key), now, look_again)
                for instance in _instances(pid, known):
                    executor = _Executor(instance, host, pid, *stat, " ".join(known.command))
                    found.setdefault(instance, []).append(executor)
        self._known = seen
        return {instance: self._executing(executors) for instance, executors in found.items()}

    def _look(self, pid: int, known: _Process | None, now: float, look_again: bool) -> _Process:
        unknown = known is None or (known.instance is None and not known.is_target)
        if known is None or (unknown and (look_again or now - known.first_seen < self._YOUNG_S)):
            command = command_line(pid)
            first_seen = known.first_seen if known else now
            return _Process(instance_of(command), command, first_seen, is_target(command))
        if look_again and not known.has_written and _is_machine(known.instance):
            known.has_written = writes(pid)
        return known

    def together(self, executors: list[_Executor]) -> list[_Executor]:
        """Those of one sample that execute at the same time. A sample takes a while: those that execute after it as well all
        did so at its end, and only that is a proof."""
        alive = list({_family(e): e for e in executors if _still_alive(e)}.values())
        # A daemon that forks a helper looks like two until the helper has executed its own program.
        pids = {e.pid for e in alive}
        return self._executing([e for e in alive if stat_number(e.pid, _PARENT) not in pids])

    def _executing(self, executors: list[_Executor]) -> list[_Executor]:
        return executors if len(executors) < 2 else [e for e in executors if self._executes(e)]

    def _executes(self, executor: _Executor) -> bool:
        """Not so: a QEMU that waits to receive a machine, or has handed it over; a target that serves it no more."""
        known = self._known[executor.pid, executor.started]
        if known.is_target:
            return executor.instance in serves(executor.pid)
        if not _is_machine(known.instance):
            return True
        if writes(executor.pid):
            known.has_written = True
            return True
        return not known.has_written and not may_receive(known.command)

    def _hosts(self) -> list[str]:
        with suppress(OSError):
            return [p.name for p in self._group.iterdir() if p.is_dir() and p.name != "labd"]
        return []


class _Record:
    """The JSON-lines file, and the intervals that are not closed yet."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._lock = threading.Lock()
        self._open: dict[_Executor, list[float]] = {}

    def write(self, kind: str, **entry: Any) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps({"kind": kind} | entry) + "\n")

    def see(self, now: float, live: dict[str, list[_Executor]], sampler: Sampler) -> None:
        for instance, executors in live.items():
            # A second process of the same instance counts even on the same host.
            if len(executors) > 1 and len(together := sampler.together(executors)) > 1:
                self.write("violation", boottime=now, instance=instance, executors=[asdict(e) for e in together])
        present = {_identity(e) for executors in live.values() for e in executors}
        for who in present:
            if who not in self._open:
                self.write("began", boottime=now, instance=who.instance, host=who.host, pid=who.pid)
            self._open.setdefault(who, [now, now])[1] = now
        for who in [w for w in self._open if w not in present]:
            self._close(who)

    def _close(self, who: _Executor) -> None:
        first, last = self._open.pop(who)
        self.write("interval", instance=who.instance, host=who.host, pid=who.pid, first=first, last=last)

    def end(self, samples: int, longest_gap_s: float) -> None:
        for who in list(self._open):
            self._close(who)
        self.write("end", samples=samples, longest_gap_s=longest_gap_s)
        with self._lock:
            self._file.close()


def _instances(pid: int, known: _Process) -> Collection[str]:
    """What a process executes now."""
    if known.is_target:
        return serves(pid)
    return (known.instance,) if known.instance else ()


def _is_machine(instance: str | None) -> bool:
    return instance is not None and instance.startswith("vm/")


def _still_alive(executor: _Executor) -> bool:
    stat = _stat(executor.pid)
    return stat is not None and stat[1] == executor.started


def _family(executor: _Executor) -> tuple[str, int]:
    return executor.host, stat_number(executor.pid, _SESSION) if is_family(executor.instance) else executor.pid


def _identity(executor: _Executor) -> _Executor:
    return replace(executor, state="", command="")


def _service_addresses(lab: LabClient) -> dict[str, list[str]]:
    """Address → hosts that have it now, without the hosts' own addresses."""
    found: dict[str, list[str]] = {}
    for host in lab.layout.hosts.values():
        own = {address.partition("/")[0] for port in host.ports for address in port.addresses}
        listed = subprocess.run(["ip", "-n", host.netns, "-j", "addr"], capture_output=True, check=False, timeout=10)
        with suppress(json.JSONDecodeError):  # the host is off
            for link in json.loads(listed.stdout):
                for info in link["addr_info"]:
                    if info["scope"] == "global" and info["local"] not in own:
                        found.setdefault(info["local"], []).append(host.name)
    return found


def _watch_addresses(lab: LabClient, record: _Record) -> None:
    """In a thread of its own: it runs one program per host, and the process tables must not wait for that."""
    addresses: dict[str, list[str]] = {}
    while True:
        with suppress(OSError, subprocess.TimeoutExpired):
            now = kernel.boottime()
            if (current := _service_addresses(lab)) != addresses:
                addresses = current
                record.write("addresses", boottime=now, addresses=addresses)
        time.sleep(_ADDRESS_PERIOD_S)


def main() -> None:
    name, state_dir, record_path, period_s = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    lab = LabClient(name, state_dir)
    running = True

    def end(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    record, sampler = _Record(record_path), Sampler(lab.cgroup)
    samples, longest, before, next_look = 0, 0.0, kernel.boottime(), 0.0
    threading.Thread(target=_watch_addresses, args=(lab, record), daemon=True).start()
    with suppress(OSError):  # on a busy machine it must look as often as on an idle one, but nothing that it starts
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    while running and os.getppid() == parent:
        now = kernel.boottime()
        longest, before = max(longest, now - before), now
        record.see(now, sampler.sample(now), sampler)
        samples += 1
        if now >= next_look:
            next_look = now + _LOOKS_PERIOD_S
            record.write("looks", boottime=now, samples=samples)
        if samples == 1:
            print("watching", flush=True)
        time.sleep(max(0.0, now + period_s - kernel.boottime()))
    record.end(samples, longest)


if __name__ == "__main__":
    main()
