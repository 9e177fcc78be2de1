"""Users of daemons on this node, and what of the node's files is theirs (`core/rights.py` says who runs as whom)."""

import grp
import os
import pwd
import stat
import sys
from pathlib import Path

from holdfast.core.rights import KEY_GROUP, Rights


def user_of(rights: Rights) -> str:
    """The name of its user; empty: root, also where that user is not on this node (no package was installed)."""
    return rights.user if rights.user and _ids(rights.user) else ""


def less(rights: Rights) -> tuple[str, ...]:
    """The beginning of a command line that gives everything else up; empty where nothing is to be given up."""
    if rights.capabilities is None:
        return ()
    kept = ",".join(("-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in rights.capabilities)))
    words = ["setpriv", f"--bounding-set={kept}"]
    if user := user_of(rights):
        words += [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        words += [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    else:
        words.append("--inh-caps=-all")
    if rights.no_new_privileges:
        words.append("--no-new-privs")
    return (*words, "--")


def ids_of(rights: Rights) -> tuple[int, int]:
    """User and group as whom it runs, by number; of root: those of this process."""
    return _ids(user_of(rights)) or (os.geteuid(), os.getegid())


def give(owner: tuple[int, int], *paths: Path) -> None:
    """Each path (not what is in it) is the owner's. Mends what another version left. Raises OSError."""
    for path in paths:
        found = path.lstat()
        if (found.st_uid, found.st_gid) != owner:
            os.chown(path, *owner, follow_symlinks=False)


def let_in(*directories: Path) -> None:
    """Other users may pass through them, without seeing what is in them. Raises OSError."""
    for path in directories:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o001 == 0:
            path.chmod(mode | 0o001)


def let_read(path: Path, group: str = KEY_GROUP) -> None:
    """The group may read the file, beside its owner; nothing where the group is not on this node. Raises OSError."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    found = path.stat()
    if found.st_gid != gid or not found.st_mode & 0o040:
        os.chown(path, -1, gid)
        path.chmod(stat.S_IMODE(found.st_mode) | 0o040)


def readable_by_all() -> bool:
    """Whether other users than root can run what is installed here: not where it is a checkout in somebody's home."""
    places = [Path(__file__), Path(sys.executable).resolve()]
    return all(directory.stat().st_mode & 0o001 for place in places for directory in place.parents)


def _ids(user: str) -> tuple[int, int] | None:
    try:
        found = pwd.getpwnam(user) if user else None
    except KeyError:
        return None
    return (found.pw_uid, found.pw_gid) if found else None
