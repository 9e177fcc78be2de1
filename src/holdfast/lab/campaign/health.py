"""Whether the cluster is whole, told as the first thing that is missing; and the state to keep when it is not."""

import json
import shutil
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.lab import cgroups, processes
from holdfast.lab.client import LabClient
from holdfast.lab.demo import stage
from holdfast.lab.demo.talk import Cluster, unsettled

NODE_DAEMONS = ("holdfast-guard", "holdfast-agent")
MANAGEMENT_DAEMONS = ("etcd", "holdfast-manager", "holdfast-panel")
STORE_LOOK_S = 10.0
BEHIND = 1000
"""A member of the store that has so many entries less than another one has not caught up."""


class Health:
    """Looks at one lab's cluster, from the API, the process tables and etcd itself."""

    def __init__(self, lab: LabClient, cluster: Cluster) -> None:
        self._lab, self._cluster = lab, cluster
        self.returned = 0
        """So many nodes were returned from quarantine, as an operator does after having mended them."""

    def missing(self) -> str:
        """What keeps the cluster from being as it was before any fault; empty if nothing does."""
        try:
            status: dict[str, Any] = self._cluster.get("/status")
            self._return_quarantined(status)
            return (
                services_missing(status)
                or self._unarmed(status)
                or self._daemons_missing(status)
                or (
                    f"the panel's process on {cold}"
                    if (cold := self._cluster.warm(status["management"]["nodes"]))
                    else ""
                )
                or self._store_missing(status)
            )
        except (HoldfastError, OSError, subprocess.TimeoutExpired) as error:
            return f"an answer ({error})"

    def _return_quarantined(self, status: dict[str, Any]) -> None:
        for node in status["nodes"]:
            if node["state"] == "quarantined":
                self._cluster.post(f"/nodes/{node['id']}/return", {})
                self.returned += 1

    def _unarmed(self, status: dict[str, Any]) -> str:
        unarmed = [node["id"] for node in status["nodes"] if not node["watchdog"]]
        return f"the watchdog of {unarmed[0]}" if unarmed and self._lab.options.watchdog else ""

    def _daemons_missing(self, status: dict[str, Any]) -> str:
        members = status["management"]["nodes"]
        for node in self._lab.nodes:
            for daemon in (*NODE_DAEMONS, *(MANAGEMENT_DAEMONS if node in members else ())):
                pids = processes.find(self._lab.cgroup / node, daemon)
                if not any(state(pid) not in "TZX" for pid in pids):
                    return f"{daemon} on {node}"
        return ""

    def _store_missing(self, status: dict[str, Any]) -> str:
        """Every member answers, follows the same leader and has caught up: the store would survive the next fault."""
        members = [member["client_url"] for member in status["management"]["members"]]
        words = [*stage.etcdctl(*members), "--command-timeout=2s", "endpoint", "status", "-w", "json"]
        done = self._lab.exec(self._member(status), words, STORE_LOOK_S)
        answers = [answer["Status"] for answer in json.loads(done.stdout or "[]")]
        leaders = {answer.get("leader", 0) for answer in answers}  # it is left out where there is none
        if len(answers) < len(members) or len(leaders) > 1 or 0 in leaders:
            return f"all members of the store ({len(answers)} of {len(members)} answer)"
        indices = [int(answer["raftIndex"]) for answer in answers]
        return "a member of the store to catch up" if max(indices) - min(indices) > BEHIND else ""

    def _member(self, status: dict[str, Any]) -> str:
        on = {host["name"] for host in self._lab.status() if host["power"] == "on"}
        members: list[str] = status["management"]["nodes"]
        return next((node for node in members if node in on), members[0])

    # --- evidence -----------------------------------------------------------------------------------------------------

    def dump(self, target: Path, why: Collection[str], watch: Path) -> None:
        """Keep what is needed to understand a violation: the cluster's and the lab's word, processes, logs, the watcher's
        record. What cannot be had is left out."""
        target.mkdir(parents=True, exist_ok=True)
        (target / "why.txt").write_text("\n".join(why) + "\n")
        for name, ask in (("cluster", lambda: self._cluster.get("/status")), ("lab", self._lab.status)):
            with suppress(HoldfastError, OSError):
                (target / f"{name}.json").write_text(json.dumps(ask(), indent=1))
        with suppress(OSError):
            (target / "processes.txt").write_text("".join(self._processes()))
        with suppress(OSError):
            shutil.copy(watch, target / "watch.jsonl")
        with suppress(HoldfastError, OSError):
            self._lab.save_logs(target / "logs")

    def _processes(self) -> list[str]:
        return [
            f"{node} {pid} {state(pid)} {' '.join(processes.command_line(pid))}\n"
            for node in self._lab.nodes
            for pid in cgroups.processes(self._lab.cgroup / node)
        ]


def services_missing(status: dict[str, Any], spared: Collection[str] = ()) -> str:
    """What the services and the decider lack; of `spared` nodes nothing is expected."""
    if not status["manager"]["node"]:
        return "a manager that leads"
    if status["store_problem"] or status["hold"]:
        return f"the end of: {status['store_problem'] or status['hold']}"
    return unsettled(status, spared)


def state(pid: int) -> str:
    """State letter of a process (proc(5)); X if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"
