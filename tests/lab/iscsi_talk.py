"""A cluster in a lab that serves iSCSI volumes: what tests say to it as an operator, and what its clients see.

Clients run in the lab's client host: a journal per volume (services.iscsi.journal), which writes and reads back as long
as the cluster lives, and one that reads through every portal all the time (iscsi_paths.py).
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from cluster_talk import PYTHON, Background, Cluster

from holdfast.lab import LabOptions, kernel, processes
from holdfast.lab.executors import is_target, serves

OPTIONS = LabOptions(nodes=4, profile="fast", ha=False)
"""n1 manages and stores, and carries no path: all others may die at once, and the store lives."""
NODES = ("n2", "n3", "n4")
GROUP, INITIATOR = "disks", "iqn.2026-01.test.holdfast:client"
VOLUMES = {"one": 1, "two": 2, "three": 3}
"""Name → logical unit number."""
SIZE_BYTES = 16 << 20
INTERVAL_S = 0.05
PATHS = str(Path(__file__).with_name("iscsi_paths.py"))


class Heard:
    """The lines of a client, each parsed once."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self._read = 0

    def look(self) -> None:
        said = self.background.said
        while self._read < len(said) and said[self._read].endswith("\n"):
            self.take(json.loads(said[self._read]))
            self._read += 1

    def take(self, line: dict[str, Any]) -> None:
        raise NotImplementedError


class Journal(Heard):
    """What a volume's journal client has seen so far. Times in CLOCK_BOOTTIME seconds."""

    def __init__(self, background: Background, volume: str) -> None:
        super().__init__(background)
        self.volume = volume
        self.acked: list[tuple[float, float, str]] = []
        """(sent, acknowledged, portal) of each write."""
        self.wrong: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}

    def take(self, line: dict[str, Any]) -> None:
        if "wrong" in line:
            self.wrong.append(line)
        elif "n" in line:
            self.acked.append((line["sent"], line["acked"], line["portal"]))
        else:
            self.summary = line

    def wrote_since(self, moment: float) -> bool:
        """A write that was sent after `moment` is acknowledged."""
        self.look()
        return bool(self.acked) and self.acked[-1][0] > moment

    @property
    def portal(self) -> str:
        """Through which the last write went."""
        self.look()
        return self.acked[-1][2]

    def stall(self, since: float) -> float:
        """Seconds between two acknowledgements, the longest that ended after `since`."""
        self.look()
        times = [acked for _, acked, _ in self.acked]
        return max((b - a for a, b in pairwise(times) if b > since), default=float("inf"))

    def finish(self) -> dict[str, Any]:
        """End it: it reads everything back."""
        self.background.stop()
        self.look()
        return self.summary


class Paths(Heard):
    """What a client sees that reads through every portal."""

    def __init__(self, background: Background) -> None:
        super().__init__(background)
        self.rounds: list[tuple[float, float, dict[int, list[str]]]] = []
        """(began, ended, LUN → portals through which it served)."""
        self.twice: list[dict[str, Any]] = []

    def take(self, line: dict[str, Any]) -> None:
        self.rounds.append((line["began"], line["at"], {int(lun): found for lun, found in line["active"].items()}))
        if line["twice"]:
            self.twice.append(line)

    def active(self, since: float) -> dict[int, list[str]] | None:
        """In the last round, if that began after `since`."""
        self.look()
        return self.rounds[-1][2] if self.rounds and self.rounds[-1][0] > since else None


@dataclass
class Iscsi(Cluster):
    """The cluster with a target group and its volumes."""

    journals: dict[str, Journal] = field(default_factory=dict)
    paths: Paths = field(init=False, repr=False)
    iqn: str = ""

    # --- as an operator

    def iscsi(self, *words: str) -> str:
        return self.do("iscsi", *words)

    def create(self) -> None:
        """The group and its volumes. A node says only some time after it is up which engines it has."""
        words = ["iscsi", "target-group", "create", GROUP, "--nodes", ",".join(NODES), "--initiator", INITIATOR]
        self.until(lambda: self.ask("n1", *words).returncode == 0, "the group is created")
        self.iqn = str(self.group()["group"]["iqn"])
        for name, lun in VOLUMES.items():
            self.iscsi("volume", "create", name, "--size", f"{SIZE_BYTES >> 20}MiB")
            self.iscsi("volume", "attach", name, GROUP, "--lun", str(lun))

    def group(self, name: str = GROUP) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.iscsi("target-group", "show", name, "--json"))
        return found

    def active_on(self, volume: str) -> str:
        """The node with its active path, by the cluster's word; "" while it has none that is healthy."""
        return self.where(f"iscsi/{volume}")

    def move(self, volume: str, node: str) -> None:
        self.place(f"iscsi/{volume}", node)

    def whole(self) -> None:
        """Nothing is broken, and nothing is being recovered."""
        self.until(self._whole, "every node is up, and every volume is served")
        self.wait_all()

    def _whole(self) -> bool:
        return self.up(self.lab.nodes) and not self.status()["open_incidents"] and all(self.places().values())

    def places(self) -> dict[str, str]:
        """Volume → the node with its active path; "" while it has none that is healthy."""
        found = {i["id"]: i for i in self.status()["instances"]}
        return {name: _place(found.get(f"iscsi/{name}", {})) for name in VOLUMES}

    def spread(self) -> None:
        """By an operator: by itself it happens a minute after a node has come back."""

        def even() -> bool:
            if set(self.places().values()) != set(NODES):
                self.ask("n1", "rebalance")
            return set(self.places().values()) == set(NODES)

        self.until(even, "the active paths are spread over all nodes")

    # --- from outside

    def executors(self, volume: str) -> list[str]:
        """Nodes with a daemon that has the volume open, by the machine's process tables."""
        return [node for node in self.lab.nodes if any(f"iscsi/{volume}" in serves(pid) for pid in self.daemons(node))]

    def daemons(self, node: str) -> list[int]:
        return [pid for pid in self.pids(node, "tgtd") if is_target(processes.command_line(pid))]

    def file(self, volume: str) -> Path:
        """What it is made of, as the machine sees it."""
        return self.lab.layout.shared_dir / "iscsi" / "volumes" / f"{volume}.img"

    # --- as a client

    def portal(self, node: str) -> str:
        return f"{self.lab.host(node).address('public')}:3260"

    def node_of(self, portal: str) -> str:
        return next(node for node in NODES if self.portal(node) == portal)

    def _initiator(self, iqn: str, initiator: str, chap: str) -> list[str]:
        words = [word for node in NODES for word in ("--portal", self.portal(node))]
        return [*words, "--target", iqn, "--initiator", initiator, *(["--chap", chap] if chap else [])]

    def begin_clients(self) -> None:
        for name, lun in VOLUMES.items():
            self.journals[name] = self.begin_journal(name, lun)
        words = ["look", *self._initiator(self.iqn, INITIATOR, "")]
        words += [word for lun in VOLUMES.values() for word in ("--lun", str(lun))]
        self.paths = Paths(self._background([PYTHON, PATHS, *words]))
        self.wait_all()

    def begin_journal(self, volume: str, lun: int, *, iqn: str = "", chap: str = "") -> Journal:
        argv = [PYTHON, "-m", "holdfast.services.iscsi.journal", *self._initiator(iqn or self.iqn, INITIATOR, chap)]
        argv += ["--lun", str(lun), "--interval", str(INTERVAL_S), "--patience", "600", "--out", "/dev/stdout"]
        return Journal(self._background(argv), volume)

    def read_back(self, volume: str) -> dict[str, Any]:
        """What its journal finds that reads back now all that it wrote. Another one takes over."""
        summary = self.journals[volume].finish()
        self.journals[volume] = self.begin_journal(volume, VOLUMES[volume])
        self.wait_all([volume])
        return summary

    def log_in(self, initiator: str = INITIATOR, *, iqn: str = "", chap: str = "") -> dict[str, str]:
        """Node → `in`, `lost`, or class and detail of the refusal."""
        done = self.lab.exec("client", [PYTHON, PATHS, "login", *self._initiator(iqn or self.iqn, initiator, chap)])
        assert done.returncode == 0, done.stderr
        return {self.node_of(portal): how for portal, how in json.loads(done.stdout).items()}

    def size(self, lun: int, *, iqn: str = "") -> int:
        """Bytes, as the active path tells a new client; 0 if none serves."""
        words = ["size", *self._initiator(iqn or self.iqn, INITIATOR, ""), "--lun", str(lun)]
        done = self.lab.exec("client", [PYTHON, PATHS, *words])
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)[str(lun)])

    def chap_file(self, *lines: str) -> str:
        """A file with secrets in the client host."""
        path = f"/root/chap-{len(lines)}-{hash(lines) & 0xFFFF}"
        self.lab.exec("client", ["sh", "-c", f"cat > {path}"], stdin="".join(f"{line}\n" for line in lines), check=True)
        return path

    def wait_all(self, volumes: Iterable[str] = VOLUMES) -> None:
        """Until each has acknowledged a write that was sent after now."""
        since, wanted = kernel.boottime(), list(volumes)
        self.until(lambda: all(self.journals[name].wrote_since(since) for name in wanted), f"{wanted} take writes")

    def wait_active(self, volumes: Collection[str], nodes: Collection[str]) -> None:
        """Until clients are served through exactly one path of each volume, by one of these nodes, and the operator is told
        the same."""

        def reached() -> bool:
            seen = self.paths.active(since) or {}
            found = {name: [self.node_of(portal) for portal in seen.get(VOLUMES[name], [])] for name in volumes}
            if not all(len(at) == 1 and at[0] in nodes for at in found.values()):
                return False
            places = self.places()
            return all(at == [places[name]] for name, at in found.items())

        since = kernel.boottime()
        self.until(reached, f"{', '.join(volumes)} active on one of {', '.join(nodes)}")

    def on(self, node: str) -> list[str]:
        return [name for name, place in self.places().items() if place == node]

    def check(self) -> None:
        """No client has seen anything wrong, ever."""
        for name, journal in self.journals.items():
            journal.look()
            assert journal.background.process.poll() is None, f"{name}: {journal.background.said[-2:]}"
            assert journal.wrong == [], name
        self.paths.look()
        assert self.paths.background.process.poll() is None
        assert self.paths.twice == [], "two paths of a volume served at the same time"

    def stalls(self, since: float) -> str:
        """For the reader of the tests' output."""
        return ", ".join(f"{name} {journal.stall(since):.2f} s" for name, journal in self.journals.items())


def _place(instance: dict[str, Any]) -> str:
    return str(instance["node"]) if instance.get("state") == "running" and instance["healthy"] else ""


def nothing_lost(summary: dict[str, Any]) -> None:
    assert summary.get("acked"), summary
    assert (summary["lost"], summary["torn"], summary["stale"]) == (0, 0, 0), summary
