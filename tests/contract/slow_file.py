"""A file whose writes wait for a word: a slow disk for tests. One file of FUSE over a file of the same size. Needs root."""

import ctypes
import errno
import os
import select
import struct
import threading
from pathlib import Path

_FORGET, _GETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE = 2, 3, 14, 15, 16, 17, 18
_FSYNC, _FLUSH, _INIT, _ACCESS, _INTERRUPT, _BATCH_FORGET = 20, 25, 26, 34, 36, 42
_IN, _OUT = struct.Struct("<IIQQIII4x"), struct.Struct("<IiQ")
_DIRECT_IO = 1
_MOST_BYTES = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class SlowFile:
    """`path` reads and writes what `backing` holds. While `flowing` is clear, writes wait before they are done."""

    def __init__(self, path: Path, backing: Path) -> None:
        self.path = path
        self.flowing = threading.Event()
        self.flowing.set()
        self.waiting = 0
        """Writes that wait now."""
        self._backing = os.open(backing, os.O_RDWR)
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        path.touch()
        data = f"fd={self._fuse},rootmode=100600,user_id=0,group_id=0,max_read=131072".encode()
        if _libc.mount(b"slow-file", os.fsencode(path), b"fuse", ctypes.c_ulong(0), data) != 0:
            raise OSError(ctypes.get_errno(), "mounting the slow file")
        self._count = threading.Lock()
        # Several, so that a write that waits holds nothing up but itself.
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(8)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.flowing.set()
        _libc.umount2(os.fsencode(self.path), 2)
        for thread in self._threads:
            thread.join(10)
        os.close(self._fuse)
        os.close(self._backing)

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._fuse, select.POLLIN)
        while True:
            try:
                poller.poll()
                request = os.read(self._fuse, _MOST_BYTES + 4096)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                return
            length, operation, unique, *_ = _IN.unpack_from(request)
            if operation in (_FORGET, _INTERRUPT, _BATCH_FORGET):
                continue
            try:
                error, answer = 0, self._answer(operation, request[_IN.size : length])
            except OSError as failure:
                error, answer = failure.errno or errno.EIO, b""
            try:
                os.write(self._fuse, _OUT.pack(_OUT.size + len(answer), -error, unique) + answer)
            except OSError:  # interrupted, or unmounted
                continue

    def _answer(self, operation: int, body: bytes) -> bytes:
        if operation == _INIT:
            readahead = struct.unpack_from("<IIII", body)[2]
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, 0, 12, 9, 131072, 1, 32, 0, 0)
        if operation == _GETATTR:
            size = os.fstat(self._backing).st_size
            return struct.pack(
                "<QII6Q10I", 1, 0, 0, 1, size, size // 512, 0, 0, 0, *[0] * 3, 0o100600, 1, *[0] * 3, 4096, 0
            )
        if operation == _OPEN:
            return struct.pack("<QIi", 1, _DIRECT_IO, 0)
        if operation == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self._backing, size, offset)
        if operation == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self._wait()
            return struct.pack("<II", os.pwrite(self._backing, body[40 : 40 + size], offset), 0)
        if operation == _STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if operation in (_FSYNC, _FLUSH, _ACCESS, _RELEASE):
            return b""
        raise OSError(errno.ENOSYS, "not an operation of this file")

    def _wait(self) -> None:
        with self._count:
            self.waiting += 1
        self.flowing.wait()
        with self._count:
            self.waiting -= 1
