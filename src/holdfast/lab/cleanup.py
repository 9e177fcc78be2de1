"""Removing every trace of a lab by the names it uses, whether its daemon lives, ended badly, or was killed."""

import shutil
from contextlib import suppress
from pathlib import Path

from holdfast.lab import cgroups, kernel
from holdfast.lab.layout import cgroup_name, netns_prefix
from holdfast.lab.network import delete_namespace, namespaces

_OURS = (
    *("nodes", "shared", "emulated", "disks", "bmc"),
    *("control.sock", "shared.img", "lab.json", "events.jsonl", "labd.log", "watch.jsonl"),
)


def leftovers(name: str) -> list[str]:
    """What exists of a lab on the machine: control groups and namespaces. Empty after `sweep`."""
    found = [str(group) for group in _groups(name) if group.is_dir()]
    return found + [f"/run/netns/{netns}" for netns in namespaces(netns_prefix(name))]


def _groups(name: str) -> list[Path]:
    groups = [cgroups.mount_point() / cgroup_name(name)]
    cpu = cgroups.cpu_group(cgroup_name(name))
    return [*groups, cpu] if cpu else groups


def sweep(name: str, state_dir: Path, *, keep_disks: bool = False) -> None:
    """Kill the lab's processes (its daemon too), then remove groups, namespaces and, unless kept, its files. Mounts are
    in the hosts' own mount namespaces and end with their processes, but for that of a shared storage with a size of its own.
    Idempotent. Raises CgroupError if something stays."""
    group = cgroups.mount_point() / cgroup_name(name)
    cgroups.kill(group)
    cgroups.wait_empty(group)
    for found in _groups(name):
        cgroups.remove_tree(found)
    for netns in namespaces(netns_prefix(name)):
        delete_namespace(netns)
    if not keep_disks:
        remove_files(state_dir)


def remove_files(state_dir: Path) -> None:
    """Only what the lab itself makes is deleted: the directory may have been named by mistake."""
    for entry in _OURS:
        path = state_dir / entry
        if path.is_mount():
            kernel.umount(path, kernel.MNT_DETACH)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        state_dir.rmdir()
