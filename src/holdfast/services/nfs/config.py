"""What an NFS volume is, and the NFS-Ganesha configuration that serves it. Pure.

The settings were measured; each one that matters for a failover says why it is there.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from holdfast.core.model import Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import InvalidInput

KIND = "nfs"
PORT = 2049
RECOVERY_ID = 1
"""ganesha's `-I`: part of the name of the recovery directory, therefore the same on every node."""
LEASE_S = 6
"""A client must be heard once in this time or its locks may go. Ganesha ends the grace period only at multiples of half the
lease after its start, so the lease also decides how long *new* opens wait after a failover: 3 s (with 10 s it is 5 s)."""
GRACE_S = 15
"""How long a client that does not come back after a failover holds up new opens; at least twice the lease, so that an
idle client, which notices only when it renews, still finds the grace period."""

ACCESS = {"rw": "RW", "ro": "RO", "none": "None"}
SQUASH = {"root": "Root_Squash", "none": "No_Root_Squash", "all": "All_Squash"}

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,46}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9-]{1,63})*")
_PATH = re.compile(r"/[A-Za-z0-9/._+:@-]*")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_MIN_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Who may do what; the first rule that matches a client decides, and without one it is refused."""

    clients: str = "*"
    """A CIDR prefix, an address, a host name (resolved when the server starts), or * for everybody."""
    access: str = "rw"
    """rw, ro or none."""
    squash: str = "root"
    """Whose identity is taken away: root (root becomes nobody), all, or none (root stays root)."""


DEFAULT_ACCESS = (AccessRule(),)


@dataclass(frozen=True, slots=True)
class NfsVolume:
    name: str
    path: str
    """Data directory on the shared storage."""
    recovery: str
    """Directory on the shared storage where the server keeps who may reclaim locks after a failover."""
    access: tuple[AccessRule, ...] = DEFAULT_ACCESS
    size: int | None = None
    """Bytes; None: as much as the shared storage has."""

    @property
    def base(self) -> str:
        """Everything of this volume lies below here."""
        return str(PurePosixPath(self.path).parent)


def new_volume(
    name: str, shared_root: str, *, access: Sequence[AccessRule] = DEFAULT_ACCESS, size: int | None = None
) -> NfsVolume:
    """A volume at its place on the shared storage. Raises InvalidInput."""
    check_name(name)
    base = f"{shared_root.rstrip('/')}/nfs/{name}"
    volume = NfsVolume(name, f"{base}/data", f"{base}/recovery", tuple(access), size)
    validate(volume)
    return volume


def check_name(name: str) -> None:
    """Names become directories, exports and units. Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be the name of a volume",
            "Use 1 to 48 lower-case letters, digits, - and _; begin and end with a letter or digit.",
        )


def validate(volume: NfsVolume) -> None:
    """Everything that goes into a configuration file or a path. Raises InvalidInput."""
    check_name(volume.name)
    for what, path in (("path", volume.path), ("recovery", volume.recovery)):
        parts = path.split("/")[1:]
        if not _PATH.fullmatch(path) or any(part in ("", ".", "..") for part in parts):
            raise InvalidInput(
                f"volume {volume.name}: {what} {path!r} is not usable",
                "Use an absolute path of letters, digits and . _ + : @ - without empty parts, `.` and `..`.",
            )
        if PurePosixPath(path).parent.name != volume.name:
            raise InvalidInput(
                f"volume {volume.name}: {what} {path!r} is not in the volume's own directory",
                f"It must be SHARED/nfs/{volume.name}/{PurePosixPath(path).name}.",
            )
    if not volume.access:
        raise InvalidInput(f"volume {volume.name} has no access rule", "Give at least one, e.g. 10.0.0.0/8:rw.")
    for rule in volume.access:
        check_rule(rule)
    if volume.size is not None and volume.size < _MIN_SIZE:
        raise InvalidInput(f"volume {volume.name}: a size of {volume.size} bytes is too small", "Use at least 1 MiB.")


def check_rule(rule: AccessRule) -> None:
    """Raises InvalidInput."""
    if rule.access not in ACCESS:
        raise InvalidInput(f"access {rule.access!r} is not known", f"Use one of {', '.join(ACCESS)}.")
    if rule.squash not in SQUASH:
        raise InvalidInput(f"squash {rule.squash!r} is not known", f"Use one of {', '.join(SQUASH)}.")
    if rule.clients == "*" or _network(rule.clients) is not None:
        return
    looks_like_address = re.fullmatch(r"[0-9.:/]+", rule.clients) or ":" in rule.clients or "/" in rule.clients
    if looks_like_address or not _HOST.fullmatch(rule.clients):
        raise InvalidInput(
            f"{rule.clients!r} is not a client", "Use an address, a CIDR prefix such as 10.0.0.0/8, a host name, or *."
        )


def parse_rule(text: str) -> AccessRule:
    """CLIENTS[,rw|ro|none][,root_squash|no_root_squash|all_squash], e.g. `10.0.0.0/8,rw,no_root_squash`.
    Raises InvalidInput."""
    clients, *options = (part.strip() for part in text.split(","))
    access, squash = "rw", "root"
    for option in options:
        if option in ACCESS:
            access = option
        elif option in (words := {"root_squash": "root", "no_root_squash": "none", "all_squash": "all"}):
            squash = words[option]
        else:
            raise InvalidInput(
                f"access rule {text!r}: {option!r} is not known",
                "Use rw, ro or none, and root_squash, no_root_squash or all_squash.",
            )
    rule = AccessRule(clients, access, squash)
    check_rule(rule)
    return rule


def parse_size(text: str) -> int:
    """`10GiB`, `10G`, `500M`, `1.5TiB` (powers of 1024) → bytes. Raises InvalidInput."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match:
        raise InvalidInput(f"{text!r} is not a size", "Write it like 10GiB or 500MiB.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def allows(volume: NfsVolume, client_ip: str) -> bool | None:
    """Whether the rules let this address in; None if that hangs on a host name's address."""
    address = ipaddress.ip_address(client_ip)
    for rule in volume.access:
        network = _network(rule.clients)
        if network is None and rule.clients != "*":
            return None
        if network is None or (network.version == address.version and address in network):
            return rule.access != "none"
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


# --- ganesha's configuration ----------------------------------------------------------------------------------------


def ganesha_config(volume: NfsVolume, address: str) -> str:
    """The configuration file's text for this volume at its service address. Raises InvalidInput."""
    validate(volume)
    ip = _ip(address)
    # Last, for the health probe of the volume's own node, which comes from the service address itself.
    rules = [*map(_rule, volume.access), _client(str(ip), "RO", "Root_Squash")]
    return f"""# Written by holdfast for the NFS volume {volume.name}; changes are overwritten.
NFS_CORE_PARAM {{
  Protocols = 4; NFS_Port = {PORT}; Bind_addr = {ip};
  # NFSv4 alone needs no portmapper, lock manager or quota service.
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; mount_path_pseudo = true;
  # With Clustered the recovery directory is named by the constant -I and not by the host, so every node finds it.
  Clustered = true;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSv4 {{
  Minor_Versions = 1, 2;
  RecoveryBackend = fs_ng; RecoveryRoot = "{volume.recovery}";
  Grace_Period = {GRACE_S}; Lease_Lifetime = {LEASE_S};
  # Every node presents itself as the same server: clients come back with their state instead of mounting anew.
  Server_Scope = "{volume.name}"; Server_Owner = "{volume.name}";
  Only_Numeric_Owners = true; Allow_Numeric_Owners = true;
}}
EXPORT {{
  Export_Id = 1; Path = "{volume.path}"; Pseudo = "/{volume.name}"; Filesystem_Id = 77.1;
  Protocols = 4; Transports = TCP; SecType = sys; Access_Type = None;
  MaxRead = 1048576; MaxWrite = 1048576; PrefRead = 1048576; PrefWrite = 1048576;
  FSAL {{ Name = VFS; }}
{chr(10).join(rules)}
}}
LOG {{ Default_Log_Level = EVENT; }}
"""


def _rule(rule: AccessRule) -> str:
    return _client(rule.clients, ACCESS[rule.access], SQUASH[rule.squash])


def _client(clients: str, access: str, squash: str) -> str:
    return f"  CLIENT {{ Clients = {clients}; Protocols = 4; Access_Type = {access}; Squash = {squash}; }}"


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        raise InvalidInput(f"{address!r} is not an IP address", "Give the volume's service address.") from None


# --- instances ------------------------------------------------------------------------------------------------------


def instance_spec(volume: NfsVolume, address: ServiceAddress, nodes: Sequence[str] = (), **fields: Any) -> InstanceSpec:
    """The one instance of the volume. `fields`: any other field of InstanceSpec. Raises InvalidInput."""
    validate(volume)
    _ip(address.ip)
    config = {
        "name": volume.name,
        "path": volume.path,
        "recovery": volume.recovery,
        "access": [{"clients": r.clients, "access": r.access, "squash": r.squash} for r in volume.access],
        "size": volume.size,
    }
    values: dict[str, Any] = {"cpu": 0.1, "memory_mib": 64, **fields}
    return InstanceSpec(
        id=f"{KIND}/{volume.name}",
        kind=KIND,
        service=volume.name,
        exclusivity=Exclusivity.STRICT,
        role=Role.STORAGE,
        nodes=tuple(nodes),
        address=address,
        config=config,
        **values,
    )


def from_instance(instance: InstanceSpec) -> NfsVolume:
    """The volume of an instance, checked again: what the store holds is not trusted with paths. Raises InvalidInput."""
    try:
        raw = instance.config
        rules = tuple(AccessRule(str(r["clients"]), str(r["access"]), str(r["squash"])) for r in raw["access"])
        size = None if raw.get("size") is None else int(raw["size"])
        volume = NfsVolume(str(raw["name"]), str(raw["path"]), str(raw["recovery"]), rules, size)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"instance {instance.id} is no complete NFS volume: {error!r}",
            "Create the volume anew with `holdfast nfs`.",
        ) from None
    if instance.kind != KIND or instance.service != volume.name or instance.address is None:
        raise InvalidInput(
            f"instance {instance.id} is no NFS volume with a service address", "Check its kind and address."
        )
    validate(volume)
    return volume
