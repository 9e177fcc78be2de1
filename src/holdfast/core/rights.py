"""What each daemon may do on its node: as whom it runs, which capabilities of root it keeps, what systemd takes from it.

This is the one place where it is written down; `docs/security.md` shows the same table, and a test compares both. Where
units are services of systemd all of it counts; elsewhere user and capabilities (agent/launch.py). A daemon whose user is not
on the node (no package is installed: the lab, a checkout) runs as root with the capabilities that are written here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rights:
    """`capabilities`: all that it or a child of it can ever have (the bounding set); a user who is not root gets exactly
    them (ambient). None: those of the agent."""

    why: str
    user: str = ""
    """Empty: root."""
    capabilities: tuple[str, ...] | None = None
    hardening: tuple[str, ...] = ()
    """systemd.exec(5)."""
    groups: tuple[str, ...] = ()
    """Besides the user's own."""
    becomes: str = ""
    """As whom it goes on once it has begun; empty: as it was started."""

    @property
    def no_new_privileges(self) -> bool:
        return NO_NEW in self.hardening


NO_NEW = "NoNewPrivileges=yes"
KEY_GROUP = "holdfast"
"""May read the node's key, beside root."""
SHARED_UID = 1_879_048_193
"""Owns what S3 servers write to the shared storage. A number, because files there outlive the node, and no name need have
the same number everywhere; this one is in no range that a distribution gives to anybody (systemd's "Users, Groups, UIDs and
GIDs on systemd Systems": 1879048192 to 2147483647 is unused)."""

_OF_ALL = (NO_NEW, "LockPersonality=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes")
_NO_DEVICES = (
    *_OF_ALL,
    "ProtectSystem=full",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
)
_NETWORK = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"

AS_THE_AGENT = Rights("whatever the agent may")
NOTHING = Rights("it waits, and writes one word to a file of root's", capabilities=(), hardening=_OF_ALL)

ETCD = Rights(
    "its data is its own; the node's key is readable by the group",
    user="holdfast-etcd",
    groups=(KEY_GROUP,),
    capabilities=(),
    hardening=(*_NO_DEVICES, _NETWORK, "ProtectHome=yes", "PrivateTmp=yes"),
)
NAME_SERVER = Rights(
    "port 53. It opens keys with the cluster secret, which is root's",
    capabilities=("CAP_NET_BIND_SERVICE",),
    hardening=(*_NO_DEVICES, _NETWORK, "ProtectHome=read-only"),
)
MANAGER = Rights(
    "fence agents that ping; they and it read keys of root's",
    capabilities=("CAP_NET_RAW",),
    hardening=(
        NO_NEW, "ProtectSystem=full", "ProtectHome=read-only", "ProtectKernelModules=yes", "ProtectKernelTunables=yes",
        "RestrictNamespaces=yes", "RestrictSUIDSGID=yes",
    ),
)  # fmt: skip
PANEL = Rights(
    "looks whether an address is taken (raw packets), tries an NFS back-end of backups (mount), and makes and deletes files "
    "on the shared storage whoever owns their directory; it opens the cluster's secrets, which are root's",
    capabilities=("CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"),
    hardening=(*_OF_ALL, "RestrictSUIDSGID=yes"),
)
NFS = Rights(
    "acts on files as each client's user, opens them by handle, and makes whatever clients make",
    capabilities=(
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETGID",
        "CAP_SETUID", "CAP_SYS_RESOURCE",
    ),
    hardening=_OF_ALL,
)  # fmt: skip
ISCSI = Rights(
    "keeps itself from being killed for want of memory; images and devices are root's",
    capabilities=("CAP_SYS_RESOURCE",),
    hardening=(*_OF_ALL, "RestrictSUIDSGID=yes"),
)
LIBVIRTD = Rights(
    "a view of the file system of its own, network cards on bridges, limits and priorities of machines, and taking from "
    "QEMU what it does not need",
    capabilities=(
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_IPC_LOCK", "CAP_KILL", "CAP_MKNOD",
        "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",
    ),
)  # fmt: skip
QEMU = Rights(
    "disks on the shared storage, whoever owns them; bridges, sockets and KVM are handed to it or root's",
    capabilities=("CAP_DAC_OVERRIDE",),
    hardening=(NO_NEW,),
)
VIRTLOCKD = Rights(
    "the same view of the file system; leases on the shared storage are root's",
    capabilities=("CAP_SYS_ADMIN",),
    hardening=(NO_NEW,),
)
S3 = Rights(
    "reads its settings and takes a port below 1024, then becomes another user by number, the same on every node, for its "
    "files outlive the node. Clusters of before that have files of root's: their servers stay root, without capabilities",
    capabilities=("CAP_DAC_READ_SEARCH", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"),
    hardening=_NO_DEVICES,
    becomes=f"{SHARED_UID}, without capabilities",
)
BACKUP = Rights(
    "on an object store or an SSH server it needs its own files only",
    user="holdfast-backup",
    capabilities=("CAP_NET_BIND_SERVICE",),
    hardening=(*_NO_DEVICES, _NETWORK),
)
BACKUP_FILES = Rights(
    "files on a storage that every node sees need one user on all of them, and those of existing repositories are root's",
    capabilities=("CAP_NET_BIND_SERVICE",),
    hardening=(*_NO_DEVICES, _NETWORK),
)
BACKUP_MOUNT = Rights(
    "mounts its NFS back-end, whose files are root's or whoever's the server makes of root",
    capabilities=("CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"),
    hardening=(*_OF_ALL, "RestrictSUIDSGID=yes"),
)

DAEMONS = {
    "etcd": ETCD,
    "name server": NAME_SERVER,
    "manager": MANAGER,
    "panel": PANEL,
    "NFS-Ganesha": NFS,
    "tgt": ISCSI,
    "libvirtd": LIBVIRTD,
    "virtlockd": VIRTLOCKD,
    "QEMU": QEMU,
    "holder of a virtual machine": NOTHING,
    "S3 servers and gateways": S3,
    "backup gateway on S3 or SFTP": BACKUP,
    "backup gateway on a directory": BACKUP_FILES,
    "backup gateway on NFS": BACKUP_MOUNT,
}
"""Name as the documentation has it."""

AGENT = tuple(sorted({name for rights in DAEMONS.values() for name in rights.capabilities or ()} | {"CAP_SYS_PTRACE"}))
"""Addresses and nftables, mounts, other processes' groups, and what the daemons need that it starts (without systemd, as its
children). What it never has: loading modules, the clock, a reboot, BPF, the kernel's log, other security modules' rules."""
