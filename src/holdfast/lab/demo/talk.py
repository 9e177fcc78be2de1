"""Cheap looks at a lab's cluster: the API of whichever management node answers, over its unix socket.

Not through `holdfast status` in a node: starting a process for each look would slow down what is being measured.
"""

import http.client
import json
import socket
import threading
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.lab import kernel
from holdfast.lab.client import LabClient, LabError

SOCKET = "run/holdfast/api.sock"
LOOK_S = 0.15
"""Between two looks of the Onlooker."""
POWER_LOOKS = 5
"""The lab itself is asked for the power of the nodes once in so many looks."""


class Silent(HoldfastError):
    """No management node answers now."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Cluster:
    """The API of one lab. Keeps a connection to the node that answered last. For one thread."""

    def __init__(self, lab: LabClient, timeout: float = 2.0) -> None:
        self._lab = lab
        self._timeout = timeout
        self._link: _Unix | None = None
        self.node = ""
        """The node that was asked last."""
        self.avoid: set[str] = set()
        """Nodes not to ask: they are to die."""

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def warm(self, nodes: Iterable[str]) -> str:
        """The first of these nodes whose own panel process does not answer yet; empty if all do."""
        pids: dict[str, int] = {host["name"]: host["pid"] for host in self._lab.status()}
        for name in nodes:
            link = _Unix(Path(f"/proc/{pids[name]}/root", SOCKET), self._timeout)
            try:
                link.request("GET", "/healthz")
                if link.getresponse().status != 200:
                    return name
            except (OSError, http.client.HTTPException):
                return name
            finally:
                link.close()
        return ""

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Raises Silent; LabError with the API's own words if it refuses."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"X-Holdfast-Request": "1", "Content-Type": "application/json"}
        silent: set[str] = set()
        while True:
            kept = self._link is not None  # it may be that of a node that died, or whose panel was started anew
            link = self._link = self._link or self._open(silent)
            try:
                link.request(method, f"/api/v1{path}", payload, headers)
                answer = link.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                self.close()
                silent |= set() if kept else {self.node}
                continue
            if answer.status >= 400:
                raise LabError(str(content.get("detail", answer.status)), str(content.get("advice", "")))
            return content

    def _open(self, silent: Container[str]) -> _Unix:
        for host in self._lab.status():
            path, name = Path(f"/proc/{host['pid']}/root", SOCKET), host["name"]
            if host["power"] == "on" and name not in self.avoid and name not in silent and path.exists():
                link = _Unix(path, self._timeout)
                try:
                    link.connect()
                except OSError:
                    link.close()
                    continue
                self.node = name
                return link
        raise Silent("no management node answers", "See `holdfast lab status`.")


class Onlooker:
    """Looks at cluster and lab from a thread of its own, from `start` to `stop`; `status` and `power` are the newest."""

    def __init__(self, lab: LabClient, avoid: str = "") -> None:
        self._lab = lab
        self._cluster = Cluster(lab)
        self._cluster.avoid = {avoid} if avoid else set()
        self.status: dict[str, Any] = {}
        self.power: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onlooker", daemon=True)

    def start(self) -> "Onlooker":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._cluster.close()

    def _run(self) -> None:
        turn = 0
        while not self._ended.wait(LOOK_S):
            with suppress(HoldfastError, OSError):
                if turn % POWER_LOOKS == 0:
                    self.power = {host["name"]: host["power"] for host in self._lab.status()}
                self.status = self._cluster.get("/status")
            turn += 1


def wait_for_nodes(lab: LabClient, cluster: Cluster, timeout: float = 90.0) -> None:
    """Wait until every node is up, every instance runs and answers, no incident is open, and the panel's process on every
    management node is ready to take over. Raises LabError."""
    end = kernel.boottime() + timeout
    pause = threading.Event()
    while True:
        missing = "the API"
        with suppress(Silent):
            status = cluster.get("/status")
            missing = unsettled(status)
            if not missing and (cold := cluster.warm(status["management"]["nodes"])):
                missing = f"the panel's process on {cold}"
        if not missing:
            return
        if kernel.boottime() > end:
            raise LabError(f"after {timeout:g} s still waiting for {missing}", "See `holdfast lab log NODE`.")
        pause.wait(0.2)


def unsettled(status: dict[str, Any], spared: Container[str] = ()) -> str:
    """What keeps the cluster from being whole; empty if nothing does. `spared` nodes need not be up, nor their incidents
    closed."""
    for node in status["nodes"]:
        if node["state"] != "up" and node["id"] not in spared:
            return f"{node['id']} ({node['state']})"
    for instance in status["instances"]:
        if instance["moving_to"] or instance["state"] != "running" or not instance["healthy"]:
            return f"{instance['id']} ({instance['state']} on {instance['node'] or 'no node'})"
    for incident in status["open_incidents"]:
        if incident["node"] not in spared:
            return f"incident {incident['id']} to close"
    return ""
