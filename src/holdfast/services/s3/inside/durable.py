"""Accounts and buckets that keep what they acknowledged when the power fails.

Stock Swift appends a change to `<database>.pending` without fsync, and lets SQLite skip some syncs: with three replicas a
lost line comes back from another one. With one it is an acknowledged object that is in no listing.
"""

import os
from pathlib import Path
from typing import Any

import swift.common.db

_synced: dict[str, int] = {}
"""Pending file → inode for which its directory's entry is known to be on the storage."""
_KEPT = 10_000


def install() -> None:
    """For this process, once."""
    broker, connect = swift.common.db.DatabaseBroker, swift.common.db.get_db_connection
    put_record = broker.put_record

    def put_record_durably(self: Any, record: Any) -> None:
        put_record(self, record)
        if self._db_file != ":memory:":
            sync_file(self.pending_file)

    def connect_durably(*arguments: Any, **named: Any) -> Any:
        connection = connect(*arguments, **named)
        # EXTRA: also the directory, after the rollback journal was removed from it. Else the journal may be back after a
        # power failure, and takes the acknowledged transaction back.
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    broker.put_record = put_record_durably
    swift.common.db.get_db_connection = connect_durably


def sync_file(name: str) -> None:
    """The file's content, and once its entry in the directory. A file that is gone was merged into the database, durably."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
        inode = os.fstat(handle).st_ino
    finally:
        os.close(handle)
    if _synced.get(name) != inode:
        _sync_directory(str(Path(name).parent))
        if len(_synced) >= _KEPT:
            _synced.clear()
        _synced[name] = inode


def _sync_directory(name: str) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
