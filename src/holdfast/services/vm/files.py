"""The files by which a node's own libvirt daemon lives: its settings, and the two gates that every start must pass. Pure.

The daemon, virtlockd and every QEMU run in one private view of the file system (`enter`), in which libvirt's fixed
directories are ours below <run_dir>/vm. So neither a libvirt of the machine's owner nor ours sees the other, and domains
look the same on every node whatever its run_dir is.

Both gates ask one thing: is there a live process in the machine's strict group? The driver puts one there (the *holder*, see
driver.py) only while the machine may start here, and whatever ends the group (a stop, the guard at the deadline) ends the
permission with it. The hook refuses early and with a clear word. The emulator's wrapper *is* the safety: it enters the group
first and looks then, so that a start which was paused anywhere on its way finds its holder dead and ends.
"""

from dataclasses import dataclass
from pathlib import Path

from holdfast.config import NodeConfig
from holdfast.core.rights import QEMU as QEMU_RIGHTS
from holdfast.groups import Groups
from holdfast.owners import less
from holdfast.services.vm.config import lease_directory

QEMU = "/usr/bin/qemu-system-x86_64"
LIBVIRT_RUN = "/run/libvirt"
LIBVIRT_ETC = "/etc/libvirt"
LIBVIRT_LOG = "/var/log/libvirt"
EMULATOR = f"{LIBVIRT_ETC}/holdfast-qemu"
"""What libvirt takes for QEMU."""
BEATS = f"{LIBVIRT_RUN}/holdfast"
"""Sockets of the guests' heartbeats."""
PKI = f"{LIBVIRT_ETC}/pki"
TLS_FILES = {
    "CA/cacert.pem": "ca",
    "CA/cacrl.pem": "crl",
    "libvirt/servercert.pem": "cert",
    "libvirt/private/serverkey.pem": "key",
}
"""Below /etc/pki of the private view: where libvirtd looks when it is told to read its certificate again, whatever its own
settings name (libvirt 9, virNetServerUpdateTlsFiles)."""
MIGRATION_PORT = 16514
"""TCP: libvirt's own TLS port."""
DATA_PORTS = (49152, 49215)
"""TCP: a migration's memory goes from QEMU to QEMU, each through one of these, inside TLS too."""

_NAME = "NAME"
_ENTER = """set -e
base=$1 logs=$2
shift 2
for pair in etc:/etc/libvirt run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt tls:/etc/pki; do
    mkdir -p "$base/${pair%%:*}" "${pair#*:}"
    mount --bind "$base/${pair%%:*}" "${pair#*:}"
done
# Debian's libvirt does not begin without this user, which another package makes; nothing runs as it.
if ! getent passwd libvirt-qemu >/dev/null; then
    { cat /etc/passwd; echo libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin; } >"$base/passwd"
    { cat /etc/group; echo libvirt-qemu:x:64055:; } >"$base/group"
    mount --bind "$base/passwd" /etc/passwd
    mount --bind "$base/group" /etc/group
fi
mkdir -p "$logs" /var/log/libvirt
mount --bind "$logs" /var/log/libvirt
exec "$@"
"""

_GATE = """# A machine may start where its strict group holds a live process (Holdfast's, put there when it was allowed).
permitted() {
    while read -r pid; do
        [ "$pid" = "$$" ] || return 0
    done 2>/dev/null <"$1/cgroup.procs"
    return 1
}
"""

_WRAPPER = """#!/bin/sh
# Made by Holdfast: runs QEMU in its machine's strict group, or not at all. %(identity)s
%(gate)s
name=
for argument; do
    case $argument in guest=*) name=${argument#guest=}; name=${name%%%%,*} ;; esac
done
if [ -n "$name" ]; then
    group='%(before)s'$name'%(after)s'
    # First into the group, then look: whoever ends the group meanwhile ends this start too.
    if ! echo 0 2>/dev/null >"$group/cgroup.procs" || ! permitted "$group"; then
        echo "Holdfast does not permit vm/$name to run on this node" >&2
        exit 1
    fi
fi
exec %(less)s '%(qemu)s' "$@"
"""

_HOOK = """#!/bin/sh
# Made by Holdfast: refuses each start and each incoming migration that Holdfast did not ask for.
%(gate)s
case $2 in
prepare | start | migrate | restore)
    if ! permitted '%(before)s'"$1"'%(after)s'; then
        echo "Holdfast does not permit vm/$1 to run on this node" >&2
        exit 1
    fi
    ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the daemons of one node have their files, and what they need to know of it."""

    node: str
    run_dir: Path
    log_dir: Path
    groups: Groups
    """Where units have their control groups."""
    shared_root: str
    listen: str
    """Address for incoming migrations; empty: none."""
    ca: str = ""
    cert: str = ""
    key: str = ""
    crl: str = ""
    """List of revoked certificates; empty: there is none."""

    @property
    def base(self) -> Path:
        return self.run_dir / "vm"

    @property
    def socket(self) -> Path:
        return self.base / "run" / "libvirt-sock"

    @property
    def leases(self) -> Path:
        return Path(lease_directory(self.shared_root))

    def beats(self, name: str) -> Path:
        return self.base / "run" / "holdfast" / f"{name}.beat"

    def health(self, name: str) -> Path:
        """What this node's driver thinks of the machine's health, for the probe."""
        return self.base / "health" / f"{name}.json"

    def holder(self, name: str) -> Path:
        """A FIFO: writing to it ends the holder of a machine's group."""
        return self.base / "holders" / name

    def group(self, name: str) -> Path:
        """Control group of the machine's unit."""
        return self.groups.unit(f"vm/{name}", strict=True)

    def console(self, name: str) -> Path:
        return self.log_dir / f"vm-{name}.console"


def place_of(config: NodeConfig, shared_root: str) -> Place:
    """Of a node of a cluster."""
    crl = Path(config.tls.ca).with_name("crl.pem")
    tls = (config.tls.ca, config.tls.cert, config.tls.key, str(crl) if crl.exists() else "")
    run_dir, log_dir = Path(config.run_dir), Path(config.log_dir)
    return Place(config.id, run_dir, log_dir, config.groups, shared_root, config.management_address, *tls)


def console_path(name: str) -> str:
    """The console's log as QEMU sees it."""
    return f"{LIBVIRT_LOG}/vm-{name}.console"


def beat_path(name: str) -> str:
    return f"{BEATS}/{name}.beat"


def enter(place: Place, *argv: str) -> tuple[str, ...]:
    """The command line that runs `argv` in the private view, which sees later mounts of the node (the shared storage)."""
    script = ("sh", "-c", _ENTER, "holdfast-libvirt", str(place.base), str(place.log_dir))
    return ("unshare", "--mount", "--propagation", "slave", *script, *argv)


def files(place: Place, qemu: str, qemu_identity: str) -> dict[str, tuple[str, int]]:
    """Path below <base>/etc → text and mode. `qemu_identity` changes with the QEMU binary: libvirt remembers what an
    emulator can do until its file changes."""
    before, _, after = str(place.group(_NAME)).partition(_NAME)  # names of machines are escaped nowhere
    values = {
        "gate": _GATE,
        "before": before,
        "after": after,
        "qemu": qemu,
        "less": " ".join(less(QEMU_RIGHTS)),
        "identity": qemu_identity,
    }
    made = {
        "libvirtd.conf": (_libvirtd_conf(place), 0o600),
        "qemu.conf": (_qemu_conf(place), 0o600),
        "qemu-lockd.conf": (_lockd_conf(place), 0o600),
        "virtlockd.conf": ("max_clients = 4096\n", 0o600),
        "holdfast-qemu": (_WRAPPER % values, 0o755),
        "hooks/qemu": (_HOOK % values, 0o755),
    }
    return made


def _libvirtd_conf(place: Place) -> str:
    lines = [
        'auth_unix_rw = "none"',
        'unix_sock_rw_perms = "0700"',
        "listen_tcp = 0",
        f"listen_tls = {int(bool(place.listen))}",
        # Of a machine with some thousand guests each may be asked at once.
        "max_clients = 1000",
        "max_workers = 40",
        "prio_workers = 10",
    ]
    if place.listen:
        lines += [
            f'listen_addr = "{place.listen}"',
            f'tls_port = "{MIGRATION_PORT}"',
            'auth_tls = "none"',
            f'ca_file = "{PKI}/cacert.pem"',
            f'cert_file = "{PKI}/clientcert.pem"',
            f'key_file = "{PKI}/clientkey.pem"',
        ]
    if place.listen and place.crl:
        lines.append(f'crl_file = "{PKI}/cacrl.pem"')
    return "\n".join(lines) + "\n"


def _qemu_conf(place: Place) -> str:
    lines = [
        'security_driver = "none"',
        'user = "root"',
        'group = "root"',
        "dynamic_ownership = 0",
        "remember_owner = 0",
        # No control groups of libvirt's own: a machine must stay in the group which the guard kills.
        "cgroup_controllers = [ ]",
        "namespaces = [ ]",
        "seccomp_sandbox = 1",
        'lock_manager = "lockd"',
        'stdio_handler = "file"',
        'auto_dump_path = "/var/lib/libvirt/qemu/dump"',
        f'migration_address = "{place.listen or "127.0.0.1"}"',
        f'migration_host = "{place.listen or "127.0.0.1"}"',
        f'migrate_tls_x509_cert_dir = "{PKI}"',
        "migrate_tls_x509_verify = 1",
        f"migration_port_min = {DATA_PORTS[0]}",
        f"migration_port_max = {DATA_PORTS[1]}",
        # A destination that is gone is noticed in keepalive_interval * keepalive_count seconds.
        "keepalive_interval = 2",
        "keepalive_count = 3",
    ]
    return "\n".join(lines) + "\n"


def _lockd_conf(place: Place) -> str:
    lines = [
        "auto_disk_leases = 1",
        "require_lease_for_disks = 1",
        f'file_lockspace_dir = "{place.leases}"',
    ]
    return "\n".join(lines) + "\n"
