"""The recovery directory of NFS-Ganesha (back-end fs_ng): which clients may reclaim state after a failover.

`<recovery>/v4recov/node1` is a link to the present directory; a new server fills `node1.XXXXXX` and swaps the link when its
grace period ends. A record is a directory named `<client address>-(<length>:<client owner>)`.

Ganesha 4.3 never removes a record while it runs (it looks for it below `/`), neither when a client leaves nor when its
lease expires. A server that starts waits until *every* recorded client has come back, at most the whole grace period. So we
do what it forgets: records of clients that can hold no state any more are removed. All functions block.
"""

import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from holdfast.services.nfs import tcp
from holdfast.services.nfs.config import RECOVERY_ID

PROBE_OWNER = "holdfast-probe"
"""Begin of the owner of the health probes' sessions, which never hold state."""


def tidy_before_start(recovery: Path) -> None:
    """Before a server starts (none runs): drop records of health probes, and directories that a server left behind which
    ended within its grace period. The directory the link names stays what the next server reads."""
    root = recovery / "v4recov"
    link = root / f"node{RECOVERY_ID}"
    if not link.is_symlink():
        return
    present = link.readlink().name
    for directory in root.glob(f"{link.name}.*"):
        if directory.name != present and not directory.is_symlink():
            shutil.rmtree(directory, ignore_errors=True)
    for record, _ in _records(root):
        if _is_probe(record):
            shutil.rmtree(record, ignore_errors=True)


def recorded_clients(recovery: Path) -> set[str]:
    """Addresses of all recorded clients, health probes aside."""
    return {ip for record, ip in _records(recovery / "v4recov") if not _is_probe(record)}


def forget(recovery: Path, clients: Collection[str], connected: Callable[[], Collection[str]]) -> None:
    """Remove the records of these addresses. Only for clients without a connection for much longer than the lease: the
    server has dropped their state, and a client that returns makes a new record.

    A client may return at this very moment, and the server then finds its old record and makes none. So records are first
    moved aside, and moved back if the client is `connected` (asked only then) by now.
    """
    aside = recovery / "forgotten"
    shutil.rmtree(aside, ignore_errors=True)
    moved: list[tuple[Path, Path, str]] = []
    for record, ip in list(_records(recovery / "v4recov")):
        if ip in clients and not _is_probe(record):
            aside.mkdir(exist_ok=True)
            place = aside / str(len(moved))
            record.rename(place)
            moved.append((record, place, ip))
    if not moved:
        return
    back = connected()
    for record, place, ip in moved:
        if ip in back and not record.exists():
            place.rename(record)
    shutil.rmtree(aside, ignore_errors=True)


def _records(root: Path) -> Iterator[tuple[Path, str]]:
    for directory in root.glob(f"node{RECOVERY_ID}.*"):
        if directory.is_symlink():
            continue
        for record in directory.iterdir():
            ip, separator, _ = record.name.partition("-(")
            if separator:
                try:
                    yield record, tcp.canonical(ip)
                except ValueError:
                    continue


def _is_probe(record: Path) -> bool:
    return f":{PROBE_OWNER}" in record.name
