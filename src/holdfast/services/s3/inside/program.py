"""`python -m holdfast.services.s3.inside.program FILE`: one part of an S3 cluster, as FILE (`conf.Program`) describes it.

A supervisor loads Swift once and forks: a process for each server and worker, one for each daemon. Forked ones start in
a tenth of the time and share most memory; daemons in the process of a server would hold up its connections. When a server
ends the whole part ends, and the agent starts it anew; a daemon is started anew here.
"""

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from holdfast.services.s3.conf import Listener, Program, backend_key
from holdfast.services.s3.inside import privileges

_BACKLOG = 4096
_PAUSE_S = 1.0
"""Before a daemon that ended is started anew."""
_LOADED = {
    "account-server": ("swift.account.server",),
    "container-server": ("swift.container.server",),
    "object-server": ("swift.obj.server",),
    "proxy-server": (
        "swift.proxy.server",
        "swift.common.middleware.s3api.s3api",
        *(
            f"swift.common.middleware.{name}"
            for name in ("catch_errors", "gatekeeper", "healthcheck", "listing_formats")
        ),
        *(f"swift.common.middleware.{name}" for name in ("bulk", "copy", "slo", "dlo", "symlink")),
        "swift.common.middleware.versioned_writes",
        "holdfast.services.s3.inside.auth",
        "holdfast.services.s3.inside.outdated",
        "holdfast.services.s3.inside.thawed",
        "holdfast.services.s3.inside.unreachable",
    ),
}
"""What each server needs, to be in memory before it is forked."""


def main() -> NoReturn:
    """Exit status 1: a server ended or could not begin."""
    program = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Program)
    sockets = [_bind(listener) for listener in program.listeners]
    privileges.drop(program.uid, program.gid)
    load(program.swift_dir)  # first: some of Swift's modules read its configuration when they are imported
    _load_parts(program)
    gc.collect()
    gc.freeze()
    supervisor = _Supervisor()
    for listener, bound in zip(program.listeners, sockets, strict=True):
        for _ in range(program.workers):
            supervisor.keep(partial(_serve, listener, bound), essential=True)
    for name in program.daemons:
        supervisor.keep(partial(_run_daemon, name, program.daemon_conf), essential=False)
    for bound in sockets:
        bound.close()
    supervisor.watch()


def _bind(listener: Listener) -> socket.socket:
    """Bound, not listening: nobody is to connect before a process accepts."""
    family = socket.AF_INET6 if ":" in listener.ip else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.bind((listener.ip, listener.port))
    return bound


def _load_parts(program: Program) -> None:
    for listener in program.listeners:
        for name in _LOADED[listener.section]:
            importlib.import_module(name)
    if program.daemons:
        importlib.import_module("holdfast.services.s3.inside.daemons")


def load(swift_dir: str) -> None:
    """Make this process one of the cluster's: its hash and rings, the backend key, and databases that are durable."""
    from swift.common import utils  # noqa: PLC0415

    utils.set_swift_dir(swift_dir)
    from swift.common.ring import ring  # noqa: PLC0415

    from holdfast.services.s3.inside import backend, durable  # noqa: PLC0415

    importlib.import_module("swift.common.storage_policy").reload_storage_policies()
    # A device that moved to a new server is asked for there within a second, not within fifteen.
    ring.DEFAULT_RELOAD_TIME = 1
    durable.install()
    backend.install(backend_key(utils.HASH_PATH_PREFIX.decode(), utils.HASH_PATH_SUFFIX.decode()))


def _serve(listener: Listener, bound: socket.socket) -> None:
    from eventlet import greenio  # noqa: PLC0415
    from swift.common import utils, wsgi  # noqa: PLC0415

    utils.monkey_patch()
    conf = wsgi.appconfig(listener.conf, name=listener.section)
    logger = utils.get_logger(conf, listener.section, log_route="wsgi")
    utils.FALLOCATE_RESERVE, utils.FALLOCATE_IS_PERCENT = utils.config_fallocate_value(
        conf.get("fallocate_reserve", "1%")
    )
    accepting = greenio.GreenSocket(bound)
    wsgi.run_server(
        conf,
        logger,
        accepting,
        global_conf={"log_name": listener.section},
        ready_callback=lambda: accepting.listen(_BACKLOG),
    )


def _run_daemon(name: str, conf: str) -> None:
    from holdfast.services.s3.inside import daemons  # noqa: PLC0415

    daemons.run(name, conf)


class _Supervisor:
    """Children of this process: started, watched, ended with it."""

    def __init__(self) -> None:
        self._children: dict[int, tuple[Callable[[], None], bool]] = {}
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)

    def keep(self, work: Callable[[], None], *, essential: bool) -> None:
        """Run `work` in a child. If it is essential its end is the end of all."""
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _be_child(work, parent)
        self._children[child] = (work, essential)

    def watch(self) -> NoReturn:
        while True:
            child, status = os.wait()
            work, essential = self._children.pop(child)
            print(f"process {child} ended with status {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
            if essential:
                self._kill()
                sys.exit(1)
            time.sleep(_PAUSE_S)
            self.keep(work, essential=essential)

    def _end(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self._kill()
        os._exit(0)

    def _kill(self) -> None:
        """What was not acknowledged may be lost, and what was is on the storage: nothing is gained by waiting."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _be_child(work: Callable[[], None], parent: int) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        privileges.die_with_parent(parent)
        work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
