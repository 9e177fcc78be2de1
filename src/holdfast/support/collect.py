"""What of this node and its cluster goes into a support bundle."""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdfast import __version__
from holdfast.config import NodeConfig, store_endpoints
from holdfast.errors import HoldfastError
from holdfast.support.archive import ITEM_BYTES, Item

COMMAND_S = 15
LOG_BYTES = 2 * 1024 * 1024
"""Of one log its end; of the one before it half as much."""
STORE_S = 5.0
SECRET_FILES = (".key", ".secret", ".previous", ".pem")
"""Endings of files whose content is never read into a bundle, and is looked for in everything else."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "network/addresses.txt": ("ip", "-details", "address"),
    "network/links.txt": ("ip", "-statistics", "link"),
    "network/routes.txt": ("ip", "route", "show", "table", "all"),
    "network/neighbours.txt": ("ip", "neighbour"),
    "network/sockets.txt": ("ss", "-tulpna"),
    "network/nftables.txt": ("nft", "list", "ruleset"),
    "system/units.txt": ("systemctl", "list-units", "--all", "--no-pager", "--plain", "holdfast*"),
    "system/unit-status.txt": ("systemctl", "status", "--no-pager", "--full", "holdfast*"),
    "system/jobs.txt": ("systemctl", "list-jobs", "--no-pager"),
    "system/clock.txt": ("timedatectl", "timesync-status", "--no-pager"),
    "system/chrony.txt": ("chronyc", "-n", "tracking"),
    "system/processes.txt": ("ps", "-eo", "pid,ppid,user,stat,psr,rss,lstart,args", "--width", "400"),
    "system/disks.txt": ("df", "-hT"),
    "system/mounts.txt": ("findmnt", "--all", "--noheadings", "--list"),
    "system/memory.txt": ("free", "-m"),
    "system/kernel-log.txt": ("dmesg", "--ctime"),
    "logs/journal.txt": (
        "journalctl", "--no-pager", "--output", "short-iso", "--lines", "20000",
        "-u", "holdfast-guard", "-u", "holdfast-agent",
    ),
}  # fmt: skip
"""File → command; what is not installed here is listed as missing."""


def everything(
    config: NodeConfig | None, root: Path, api: Callable[[str], Any] | None, *, logs: bool
) -> Iterator[Item]:
    """`config`: of this node, if it belongs to a cluster; `api`: asks the cluster's API for a path."""
    yield Item("versions.json", _versions)
    if config is not None:
        yield from _configuration(config, root)
        yield from _fencing(config)
        yield from _units(config)
        yield Item("store/members.json", lambda: asyncio.run(_members(config)))
    if api is not None:
        yield from cluster(api)
    yield from (Item(name, _output(command)) for name, command in COMMANDS.items())
    if logs and config is not None:
        yield from _logs(Path(config.log_dir))


def secrets_of(config: NodeConfig | None, root: Path) -> Iterator[bytes]:
    """What must not be in the bundle, as far as this node knows it."""
    for path in _secret_files(config, root):
        try:
            yield path.read_bytes()
        except OSError:
            continue
    for name, value in os.environ.items():
        if any(word in name.upper() for word in ("PASSWORD", "TOKEN", "SECRET", "KEY")):
            yield value.encode()


def _secret_files(config: NodeConfig | None, root: Path) -> Iterable[Path]:
    places = [root / "etc/holdfast", *([Path(config.state_dir)] if config else [])]
    for place in places:
        yield from (
            p for p in place.rglob("*") if p.is_file() and p.suffix in SECRET_FILES and p.stat().st_size < 65536
        )


# --- this node ------------------------------------------------------------------------------------------------------


def _versions() -> object:
    programs = {name: shutil.which(name) for name in ("etcd", "ganesha.nfsd", "qemu-system-x86_64", "libvirtd", "tgtd")}
    found = {name: _first_line((path, "--version")) for name, path in programs.items() if path}
    return {
        "holdfast": __version__,
        "python": sys.version,
        "kernel": " ".join(platform.uname()),
        "system": _text(Path("/etc/os-release")),
        "boot": _text(Path("/proc/sys/kernel/random/boot_id")).strip(),
        "uptime_s": _text(Path("/proc/uptime")).split(" ")[0],
        "processors": os.cpu_count(),
        "programs": found,
    }


def _configuration(config: NodeConfig, root: Path) -> Iterator[Item]:
    yield Item("configuration/node.toml", (root / "etc/holdfast/node.toml").read_text)
    for name in ("cluster.json", "management.json", "etcd.json", "endpoints.json"):
        yield Item(f"configuration/{name}", lambda name=name: (Path(config.state_dir) / name).read_text())  # type: ignore[misc]
    yield Item("configuration/files.json", lambda: _files(root / "etc/holdfast", Path(config.state_dir)))
    yield Item("configuration/certificates.txt", lambda: _certificates(config))
    for place in ("etc/systemd/system", "usr/lib/systemd/system"):
        for unit in sorted((root / place).glob("holdfast*")):
            texts = sorted(unit.glob("*.conf")) if unit.is_dir() else [unit]
            for text in texts:
                where = str(text.relative_to(root)).replace("/", "_")
                yield Item(f"configuration/systemd/{where}", text.read_text)


def _files(*places: Path) -> object:
    """Which files there are, never what is in them."""
    found = []
    for place in places:
        for path in sorted(place.rglob("*"))[:2000]:
            about = path.lstat()
            found.append({"path": str(path), "mode": oct(about.st_mode), "bytes": about.st_size, "owner": about.st_uid})
    return found


def _certificates(config: NodeConfig) -> str:
    wanted = ("-noout", "-subject", "-issuer", "-dates", "-ext", "subjectAltName")
    said = []
    for path in sorted(Path(config.tls.ca).parent.glob("*.crt")):
        said.append(f"{path}\n{_run(('openssl', 'x509', '-in', str(path), *wanted))}")
    return "\n".join(said)


def _fencing(config: NodeConfig) -> Iterator[Item]:
    def watchdogs() -> object:
        found: dict[str, Any] = {
            "configured": config.watchdog,
            "present": sorted(map(str, Path("/dev").glob("watchdog*"))),
        }
        for place in sorted(Path("/sys/class/watchdog").glob("*")):
            names = ("identity", "state", "timeout", "timeleft", "nowayout", "bootstatus", "status")
            found[place.name] = {name: _text(place / name).strip() for name in names if (place / name).exists()}
        return found

    yield Item("fencing/watchdogs.json", watchdogs)


def _units(config: NodeConfig) -> Iterator[Item]:
    def groups() -> object:
        found = {}
        for place in sorted(Path(config.cgroup).rglob("cgroup.procs")):
            pids = _text(place).split()
            found[str(place.parent.relative_to(config.cgroup))] = {pid: _command_line(pid) for pid in pids}
        return found

    yield Item("units.json", groups)


def _command_line(pid: str) -> str:
    return _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()


async def _members(config: NodeConfig) -> object:
    """What each member of the store says of itself, asked directly."""
    from holdfast.clock import SystemClock  # noqa: PLC0415 - grpc takes long to load
    from holdfast.store.etcd import EtcdStore  # noqa: PLC0415
    from holdfast.store.etcd.admin import EtcdAdmin  # noqa: PLC0415

    endpoints = store_endpoints(config)
    store = EtcdStore(endpoints, config.tls, clock=SystemClock())
    admin = EtcdAdmin(store, timeout_s=STORE_S)
    try:
        return {endpoint: await _member(admin, endpoint) for endpoint in endpoints}
    finally:
        await store.close()


async def _member(admin: Any, endpoint: str) -> object:
    try:
        return msgspec.to_builtins(await admin.status(endpoint))
    except HoldfastError as error:
        return {"problem": str(error)}


def _logs(place: Path) -> Iterator[Item]:
    for path in sorted(place.glob("*.log")) + sorted(place.glob("*.log.1")) + sorted(place.glob("*.console")):
        limit = LOG_BYTES // 2 if path.suffix == ".1" else LOG_BYTES
        yield Item(f"logs/{path.name}", lambda path=path, limit=limit: _end_of(path, limit))  # type: ignore[misc]


# --- the cluster ----------------------------------------------------------------------------------------------------

PICTURES = {
    "status": "/status",
    "high-availability": "/ha",
    "dns": "/dns",
    "rules": "/rules",
    "compute": "/compute",
    "guarantee": "/planner/guarantee",
    "incidents": "/incidents?limit=200",
    "events": "/events?limit=1000",
    "drills": "/drills",
    "tasks": "/tasks?limit=100",
    "alarms": "/alarms",
    "audit": "/audit?limit=500",
}
"""File → what the API is asked for. The API shows no secrets; it is redacted all the same."""


def cluster(api: Callable[[str], Any]) -> Iterator[Item]:
    for name, path in PICTURES.items():
        yield Item(f"cluster/{name}.json", lambda path=path: api(path))  # type: ignore[misc]
    yield Item("fencing/devices.json", lambda: _devices(api))


def _devices(api: Callable[[str], Any]) -> object:
    """The power state read through each device of each node; nothing is switched."""
    found = {}
    for node in api("/nodes"):
        if node["fence_devices"]:
            try:
                found[node["id"]] = api(f"POST /nodes/{node['id']}/fence-test")
            except HoldfastError as error:
                found[node["id"]] = {"problem": str(error)}
    return found


# --- small things ---------------------------------------------------------------------------------------------------


def _output(command: tuple[str, ...]) -> Callable[[], str]:
    return lambda: f"$ {' '.join(command)}\n{_run(command)}"


def _run(command: tuple[str, ...]) -> str:
    """Output and errors. Raises HoldfastError where the program is missing or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=COMMAND_S, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError:
        raise HoldfastError(f"{command[0]} is not on this node") from None
    except subprocess.TimeoutExpired:
        raise HoldfastError(f"{command[0]} did not end within {COMMAND_S} s") from None
    return (done.stdout[-ITEM_BYTES:] + done.stderr[-65536:]).decode(errors="replace")


def _first_line(command: tuple[str, ...]) -> str:
    try:
        return (_run(command).splitlines() or [""])[0]
    except HoldfastError as error:
        return str(error)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _end_of(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        text = file.read(limit).decode(errors="replace")
    return text if size <= limit else text.partition("\n")[2]
