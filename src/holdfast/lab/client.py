"""LabClient: the lab's Python interface, for the command line, the tests, the demo and the benchmarks."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from holdfast.config import PANEL_PORT
from holdfast.errors import Conflict, HoldfastError, NotFound, NotPermitted
from holdfast.lab import cgroups, cleanup
from holdfast.lab.eventlog import read_events
from holdfast.lab.layout import (
    CLIENT,
    DEFAULT_NAME,
    PANEL_ADDRESS,
    HostLayout,
    Layout,
    cgroup_name,
    make_layout,
    state_dir_of,
)
from holdfast.lab.options import LabOptions
from holdfast.lab.processes import escape

Progress = Callable[[str], None]
"""Called with a sentence at the begin of each step."""
_START_S = 60.0
_REQUEST_S = 90.0
_TOOLS = ("ip", "nft", "tini")


class LabError(HoldfastError):
    """The lab cannot do this now."""


class LabClient:
    """One lab by its name. Making it does nothing; `up` starts the lab, or it attaches to one that runs.

    All methods block. `host` is a node's name or "client".
    """

    def __init__(self, name: str = DEFAULT_NAME, state_dir: Path | None = None) -> None:
        self.name = name
        self.state_dir = (state_dir or state_dir_of(name)).absolute()
        self._daemon = 0
        """Process id of labd if this object started it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # --- life

    def up(self, options: LabOptions | None = None, progress: Progress | None = None) -> None:
        """Remove what a crashed lab left, start the nodes and, unless `options.cluster` is off, bring a cluster up.

        On any failure, Ctrl-C included, everything is taken down again. Raises Conflict if the lab runs already.
        """
        chosen = options or LabOptions()
        tell = progress or (lambda _step: None)
        require_root()
        if self.running():
            raise Conflict(
                f"lab `{self.name}` is up already", "See `holdfast lab status`, or end it: `holdfast lab down`."
            )
        make_layout(self.name, self.state_dir, chosen.nodes)  # complains before anything is made
        if self.leftovers():
            tell("removing what an earlier lab left behind")
        self.down()
        try:
            tell(f"starting {chosen.nodes} nodes and a client")
            self._start(chosen)
            if chosen.cluster:
                bringup = import_module("holdfast.lab.bringup")  # it imports this module
                bringup.bring_up(self, chosen, tell)
        except LabError as error:
            logs = Path(tempfile.mkdtemp(prefix=f"holdfast-lab-{self.name}-"))
            self.down(save_logs=logs)
            raise LabError(error.message, f"Nothing was left running; the nodes' logs are kept in {logs}.") from error
        except BaseException:
            self.down()
            raise

    def _start(self, options: LabOptions) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir.chmod(0o700)
        password = options.password or secrets.token_urlsafe(9)
        saved = {"options": options.to_json() | {"password": password}, "bmc_password": secrets.token_urlsafe(9)}
        (self.state_dir / "lab.json").write_text(json.dumps(saved, indent=1))
        if options.emulated:
            import_module("holdfast.lab.emulated.image").build(self.layout, options.shared_disks)
        self._daemon = self._spawn_daemon()
        end = time.monotonic() + _START_S
        while not self.running():
            if self._daemon_ended() or time.monotonic() > end:
                tail = (self.state_dir / "labd.log").read_text(errors="replace").strip().splitlines()[-1:]
                raise LabError(f"the lab did not start: {' '.join(tail).rstrip('.')}", "See labd.log.")
            time.sleep(0.02)

    def _spawn_daemon(self) -> int:
        """Start labd in a session of its own: it outlives this process, which may be a command line."""
        log, append = str(self.state_dir / "labd.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "holdfast.lab.daemon", self.name, str(self.state_dir)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def _daemon_ended(self) -> bool:
        """Reaps labd if this process started it and it has ended."""
        if self._daemon and os.waitpid(self._daemon, os.WNOHANG)[0]:
            self._daemon = 0
        return not self._daemon

    def down(self, save_logs: Path | None = None) -> None:
        """Take everything down and delete the nodes' disks. `save_logs`: copy logs and events there before. Idempotent."""
        require_root()
        if save_logs is not None:
            self.save_logs(save_logs)
        with suppress(HoldfastError, OSError):
            self._request({"do": "down"})
        cleanup.sweep(self.name, self.state_dir)
        if self._daemon:
            os.waitpid(self._daemon, 0)
            self._daemon = 0

    def running(self) -> bool:
        """The lab's daemon answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.connect(str(self._socket))
                return True
        except OSError:
            return False

    def leftovers(self) -> list[str]:
        """Control groups and namespaces of this lab that exist on the machine."""
        return cleanup.leftovers(self.name)

    # --- what there is

    @property
    def _saved(self) -> dict[str, Any]:
        try:
            saved: dict[str, Any] = json.loads((self.state_dir / "lab.json").read_text())
        except FileNotFoundError:
            raise NotFound(f"lab `{self.name}` is not up", "Start it: holdfast lab up") from None
        return saved

    @property
    def options(self) -> LabOptions:
        return LabOptions(**self._saved["options"])

    @property
    def password(self) -> str:
        """The cluster's admin password."""
        return str(self._saved["options"]["password"])

    @property
    def bmc_credentials(self) -> tuple[str, str]:
        """User and password of every BMC."""
        return "admin", str(self._saved["bmc_password"])

    @property
    def layout(self) -> Layout:
        return make_layout(self.name, self.state_dir, self.options.nodes, self.options.emulated)

    @property
    def nodes(self) -> list[str]:
        return self.layout.nodes

    @property
    def panel_url(self) -> str:
        """The panel as the client host and the nodes reach it."""
        address = PANEL_ADDRESS if self.options.ha else self.host("n1").address("management")
        return f"https://{address}:{PANEL_PORT}/"

    @property
    def cgroup(self) -> Path:
        """The lab's version-2 control group; each host's is below it by name."""
        return cgroups.mount_point() / cgroup_name(self.name)

    def host(self, name: str) -> HostLayout:
        """Names and addresses of a node or of the client."""
        hosts = self.layout.hosts
        if name not in hosts:
            raise NotFound(f"the lab has no host `{name}`", "Hosts: " + ", ".join(hosts))
        return hosts[name]

    def status(self) -> list[dict[str, Any]]:
        """One entry per host: power, pid, boots, addresses, watchdog, bmc, faults in force."""
        result: list[dict[str, Any]] = self._request({"do": "status"})
        return result

    def state(self, host: str) -> dict[str, Any]:
        self.host(host)
        return next(entry for entry in self.status() if entry["name"] == host)

    def events(self) -> list[dict[str, Any]]:
        """The lab's own record, oldest first: {"boottime", "wall", "kind", "node"?, "detail"?, …}."""
        return read_events(self.state_dir / "events.jsonl")

    def note(self, kind: str, node: str = "", detail: str = "") -> float:
        """Add an event of one's own; returns its boottime."""
        return float(self._request({"do": "note", "kind": kind, "node": node, "detail": detail})["boottime"])

    def log_file(self, node: str, unit: str) -> Path:
        """Where a node's log lies on the machine; readable also while the node is off."""
        upper = self.host(node).disk / "upper"
        return upper / "var/log/holdfast" / f"{escape(unit)}.log"

    def save_logs(self, target: Path) -> None:
        """Copy events, the daemon's log and every host's logs into a directory."""
        target.mkdir(parents=True, exist_ok=True)
        for name in ("events.jsonl", "labd.log"):
            if (self.state_dir / name).exists():
                shutil.copy(self.state_dir / name, target / name)
        for disk in (self.state_dir / "nodes").glob("*"):
            for log in [disk / "console.log", *(disk / "upper/var/log/holdfast").rglob("*.log")]:
                if log.is_file():
                    (target / disk.name).mkdir(exist_ok=True)
                    shutil.copy(log, target / disk.name / log.name)

    # --- doing things in a host

    def popen(self, host: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in a host, with the options of subprocess.Popen. It dies with the host; terminate() reaches it."""
        state = self.state(host)
        if state["power"] != "on":
            raise LabError(f"{host} is off", f"Switch it on: holdfast lab heal {host}")
        if port := self.host(host).shell_port:
            shell = [sys.executable, "-m", "holdfast.lab.emulated.shell", self.layout.switch_netns, str(port)]
            return subprocess.Popen([*shell, "--", *argv], **options)
        cpu = cgroups.cpu_group(cgroup_name(self.name))
        offset = "1" if self.options.clock_offsets.get(host) else "0"
        enter = [sys.executable, "-m", "holdfast.lab.enter", str(state["pid"]), state["cgroup"]]
        return subprocess.Popen([*enter, str(cpu / "nodes") if cpu else "", offset, "--", *argv], **options)

    def exec(
        self, host: str, argv: Sequence[str], timeout: float = 60, *, check: bool = False, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and collect its output. Raises subprocess.TimeoutExpired, CalledProcessError (check)."""
        pipe = subprocess.PIPE
        process = self.popen(host, argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except BaseException:
            process.send_signal(signal.SIGKILL)  # the command itself dies with its parent
            process.communicate()
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check:
            done.check_returncode()
        return done

    # --- faults

    def fail(self, node: str, how: str, **details: Any) -> float:
        """Do a fault (lab.fault.HOWS); details as in lab.fault.Fault. Returns the boottime just before it began."""
        return float(self._request({"do": "fail", "node": node, "how": how} | details)["boottime"])

    def heal(self, node: str) -> float:
        """Undo every fault on a node, and switch it on."""
        return float(self._request({"do": "heal", "node": node})["boottime"])

    def wait_power(self, node: str, power: str, timeout: float = 30) -> None:
        """Wait until the node is `on` or `off`. Raises LabError."""
        end = time.monotonic() + timeout
        while self.state(node)["power"] != power:
            if time.monotonic() > end:
                raise LabError(f"{node} is not {power} after {timeout:g} s", "See `holdfast lab status`.")
            time.sleep(0.05)

    # --- the daemon

    @property
    def _socket(self) -> Path:
        return self.state_dir / "control.sock"

    def _request(self, request: dict[str, Any]) -> Any:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(_REQUEST_S)
                link.connect(str(self._socket))
                link.sendall(json.dumps(request).encode() + b"\n")
                text = link.makefile("r").readline()
        except (FileNotFoundError, ConnectionError):
            raise NotFound(f"lab `{self.name}` is not up", "Start it: holdfast lab up") from None
        if not text:
            raise LabError("the lab daemon ended without an answer", f"See {self.state_dir / 'labd.log'}.")
        answer = json.loads(text)
        if not answer["ok"]:
            raise LabError(answer["error"], answer["advice"])
        return answer["result"]


def require_root() -> None:
    """Raises NotPermitted with one line that says what the lab needs."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        raise NotPermitted("the lab needs root on a Linux machine, to make namespaces", "Run it with sudo, or in a VM.")
    if missing:
        raise LabError(f"the lab needs {', '.join(missing)}", "apt-get install iproute2 nftables tini etcd-server")


__all__ = ["CLIENT", "LabClient", "LabError", "require_root"]
