"""Swift as it comes, without Holdfast: what bench/s3.py compares with. `python bench/s3_swift.py ADDRESS DIRECTORY` serves
it until its standard input ends, and says where.

One account, one container, one object server and a proxy with s3api and tempauth, one replica, Swift's own settings
otherwise. Its files are below a directory that is removed at the end.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from swift.common.ring import RingBuilder

ACCESS, SECRET = "test:bench", "benchbench"
_START_S = 30.0
PROGRAM = """
import sys
from importlib import import_module
import swift.common.utils as utils
utils.set_swift_dir(sys.argv[1])
from swift.common.storage_policy import reload_storage_policies
reload_storage_policies()
name, conf = sys.argv[2:4]
sys.argv = ["swift", conf]
module = import_module(f"swift.{name}.server")
sys.exit(module.main())
"""
SWIFT_CONF = "[swift-hash]\nswift_hash_path_suffix = bench\n[storage-policy:0]\nname = default\ndefault = yes\n"
STORAGE = """[DEFAULT]
bind_ip = {address}
bind_port = {port}
devices = {base}/devices
mount_check = false
swift_dir = {base}
user = {user}
log_address = {base}/no-syslog
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """[DEFAULT]
bind_ip = {address}
bind_port = {port}
swift_dir = {base}
user = {user}
workers = 0
log_address = {base}/no-syslog
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats s3api tempauth bulk copy slo dlo \
versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = true
check_bucket_owner = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_bench = benchbench .admin
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
[filter:symlink]
use = egg:swift#symlink
"""


class PlainSwift:
    """As a context manager it starts, and is gone at the end."""

    def __init__(self, address: str = "127.0.0.1", directory: Path | None = None) -> None:
        """`directory`: on the storage that is meant; else the temporary one."""
        self._address = address
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.base = Path(tempfile.mkdtemp(prefix="swift-alone-", dir=self._directory))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}:{self._ports['proxy']}"

    def _start(self) -> None:
        kinds = ("account", "container", "object")
        self._ports = {kind: _free_port(self._address) for kind in (*kinds, "proxy")}
        (self.base / "swift.conf").write_text(SWIFT_CONF)
        for kind in kinds:
            (self.base / "devices" / kind).mkdir(parents=True)
            self._ring(kind)
            text = STORAGE.format(kind=kind, **self._where(kind))
            (self.base / f"{kind}.conf").write_text(text)
        text = PROXY.format(**self._where("proxy"))
        (self.base / "proxy.conf").write_text(text)
        for kind in (*kinds, "proxy"):
            module = {"object": "obj"}.get(kind, kind)
            argv = [sys.executable, "-c", PROGRAM, str(self.base), module, str(self.base / f"{kind}.conf")]
            log = (self.base / f"{kind}.log").open("wb")
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True))
            log.close()
        for kind, port in self._ports.items():
            self._wait_listening(kind, port)

    def _where(self, kind: str) -> dict[str, object]:
        user = os.environ.get("USER", "root")
        return {"address": self._address, "port": self._ports[kind], "base": self.base, "user": user}

    def _ring(self, kind: str) -> None:
        builder = RingBuilder(4, 1, 1)
        where = {"ip": self._address, "port": self._ports[kind], "device": kind}
        again = {"replication_ip": self._address, "replication_port": self._ports[kind], "meta": ""}
        builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, **where, **again})
        builder.rebalance(seed="bench")
        builder.get_ring().save(str(self.base / f"{kind}.ring.gz"))

    def _wait_listening(self, kind: str, port: int) -> None:
        end = time.monotonic() + _START_S
        while True:
            with suppress(OSError), socket.create_connection((self._address, port), 1):
                return
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                raise RuntimeError(f"{kind} did not start: {(self.base / f'{kind}.log').read_text()[-2000:]}")
            time.sleep(0.05)


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def main() -> None:
    with PlainSwift(sys.argv[1], Path(sys.argv[2])) as swift:
        print(swift.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
