"""The node's own configuration file, /etc/holdfast/node.toml. Everything else lives in the store."""

import difflib
import ipaddress
import json
import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from holdfast.errors import ConfigError
from holdfast.groups import Groups

DEFAULT_PATH = Path("/etc/holdfast/node.toml")

BEAT_PORT = 7410
"""UDP: beats between agents."""
REPORT_PORT = 7411
"""UDP: observers' reports to managers."""
KERNEL_PORT = 7412
"""UDP: nobody may listen here. The kernel's refusal tells observers that a silent node still lives."""
METRICS_PORT = 7413
"""TCP: HTTPS of the agent's figures for Prometheus, on the management address."""
MANAGER_METRICS_PORT = 7414
"""TCP: the same of the manager's, on management nodes."""
PANEL_PORT = 8443
"""TCP: HTTPS of API and panel."""
DNS_PORT = 53
"""UDP and TCP: the name server of management nodes, while there is a zone."""
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380

LOG_FORMATS = ("logfmt", "json")

UNITS = ("cgroups", "systemd")
RUN_SYSTEMD = "/run/systemd/system"
"""This directory is there where systemd is process 1 (sd_booted(3))."""
_ENDPOINT = re.compile(r"https://(\[[0-9a-f:.]+\]|[^\[\]:/\s]+):[0-9]{1,5}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate files for mutual TLS inside the cluster."""

    ca: str = "/etc/holdfast/pki/ca.crt"
    cert: str = "/etc/holdfast/pki/node.crt"
    key: str = "/etc/holdfast/pki/node.key"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node must know before it can reach the store."""

    id: str
    cluster: str
    addresses: dict[str, str]
    """Network name → this node's own address; `management` is required."""
    endpoints: tuple[str, ...]
    """Store endpoints, https://ADDRESS:2379. The agent keeps a fresher list in state_dir/endpoints.json."""
    tls: Tls = field(default_factory=Tls)
    beat_key: str = "/etc/holdfast/pki/beat.key"
    """File with the key that authenticates datagrams."""
    state_dir: str = "/var/lib/holdfast"
    run_dir: str = "/run/holdfast"
    log_dir: str = "/var/log/holdfast"
    watchdog: str = "/dev/watchdog"
    """Watchdog device; empty: none (the node can then never be claimed on time alone)."""
    cgroup: str = "/sys/fs/cgroup/holdfast"
    """Control group (version 2) below which units run: <cgroup>/strict and <cgroup>/system."""
    etcd: str = "/usr/bin/etcd"
    units: str = "cgroups"
    """Who starts daemons: `cgroups`, the agent itself; `systemd`, as transient services (a node that is made where it is
    process 1 begins so). Guard and agent read it when they start, so change it only on a node that is stopped."""
    log_format: str = "logfmt"
    """How daemons write their logs: `logfmt` (key=value) or `json`."""

    @property
    def management_address(self) -> str:
        return self.addresses["management"]

    @property
    def groups(self) -> Groups:
        """Where units have their control groups."""
        return Groups(Path(self.cgroup), self.units == "systemd" and Path(RUN_SYSTEMD).is_dir())

    @property
    def guard_socket(self) -> Path:
        return Path(self.run_dir) / "guard.sock"

    @property
    def api_socket(self) -> Path:
        return Path(self.run_dir) / "api.sock"

    @property
    def dns_file(self) -> Path:
        """What the name server knew last. It is there while this node is to run one."""
        return Path(self.state_dir) / "dns.json"


def load(path: Path = DEFAULT_PATH) -> NodeConfig:
    """Read and check the file. Raises ConfigError naming file, key and the nearest right spelling."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist",
            "Create a cluster with `holdfast cluster create`, or join one with `holdfast node join`.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "Check its permissions.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", "Mend the line named.") from error
    tls = _build(Tls, raw.pop("tls", {}), f"{path} [tls]")
    config: NodeConfig = _build(NodeConfig, {**raw, "tls": tls}, str(path))
    _check_values(config, str(path))
    return config


def _check_values(config: NodeConfig, where: str) -> None:
    """What types alone do not tell: addresses are addresses, endpoints are URLs, directories are absolute."""
    if "management" not in config.addresses:
        raise ConfigError(f"{where}: addresses has no entry `management`", "Add the node's own management address.")
    for network, address in config.addresses.items():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigError(
                f"{where}: addresses.{network} = {address!r} is not an IP address",
                "Write the address alone, without prefix length or port.",
            ) from None
    if not config.endpoints:
        raise ConfigError(f"{where}: endpoints is empty", "Name at least one management node's store.")
    for endpoint in config.endpoints:
        if not _ENDPOINT.fullmatch(endpoint):
            raise ConfigError(
                f"{where}: the endpoint {endpoint!r} is not of the form https://ADDRESS:PORT",
                f"Write it like https://10.77.0.11:{ETCD_CLIENT_PORT} or https://[fd77::11]:{ETCD_CLIENT_PORT}.",
            )
    if config.log_format not in LOG_FORMATS:
        raise ConfigError(
            f"{where}: there is no log_format {config.log_format!r}", f"Choose from {', '.join(LOG_FORMATS)}."
        )
    if config.units not in UNITS:
        raise ConfigError(f"{where}: units = {config.units!r} is not known", f"Choose from {', '.join(UNITS)}.")
    for name in ("state_dir", "run_dir", "log_dir", "cgroup"):
        if not Path(getattr(config, name)).is_absolute():
            raise ConfigError(f"{where}: `{name}` is not an absolute path", "Begin it with a slash.")


def _build(kind: type[Any], values: Any, where: str) -> Any:
    """Make the dataclass from a TOML table; refuse unknown keys, missing ones and wrong types."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: a table was expected", "See docs/operating.md for the format.")
    known = {f.name: f for f in fields(kind)}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean `{near[0]}`?" if near else "Known keys: " + ", ".join(known)
            raise ConfigError(f"{where}: unknown key `{name}`", advice)
        _check_type(known[name].type, name, value, where)
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}", "Add what is missing.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _check_type(expected: Any, name: str, value: object, where: str) -> None:
    if expected is str and not isinstance(value, str):
        raise ConfigError(f"{where}: `{name}` must be text, not {value!r}", "Put it in quotes.")
    if expected == tuple[str, ...] and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        raise ConfigError(f"{where}: `{name}` must be a list of texts, not {value!r}", 'Write it as ["…", "…"].')
    if expected == dict[str, str] and not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
        raise ConfigError(f"{where}: `{name}` must be a table of texts, not {value!r}", 'Write it as {key = "…"}.')


def store_endpoints(config: NodeConfig) -> tuple[str, ...]:
    """The store's endpoints as the agent saw them last (state_dir/endpoints.json), else those of the file."""
    try:
        found = json.loads((Path(config.state_dir) / "endpoints.json").read_text())
    except (OSError, ValueError):
        return config.endpoints
    return tuple(map(str, found)) if isinstance(found, list) and found else config.endpoints


def dump(config: NodeConfig) -> str:
    """The file's text for a configuration (inverse of `load`)."""

    def text(value: str) -> str:
        """A TOML basic string (TOML 1.0: quotes, backslashes and control characters are escaped)."""
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c for c in escaped) + '"'

    def render(value: object) -> str:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, tuple):
            return "[" + ", ".join(text(v) for v in value) + "]"
        assert isinstance(value, dict)
        return "{" + ", ".join(f"{text(k)} = {text(v)}" for k, v in value.items()) + "}"

    # A key that an older version does not know stands there only where somebody has set it.
    hidden = {"tls"} | ({"log_format"} if config.log_format == "logfmt" else set())
    lines = [f"{f.name} = {render(getattr(config, f.name))}" for f in fields(config) if f.name not in hidden]
    lines += ["", "[tls]"] + [f"{f.name} = {render(getattr(config.tls, f.name))}" for f in fields(config.tls)]
    return "\n".join(lines) + "\n"
