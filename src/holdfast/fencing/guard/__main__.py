"""holdfast-guard: owns this node's watchdog device. Started before the agent and stopped after it."""

import fcntl
import os
import sys
from pathlib import Path

from holdfast import config as configuration
from holdfast.errors import HoldfastError
from holdfast.fencing.guard.device import WatchdogDevice
from holdfast.fencing.guard.group import StrictGroup
from holdfast.fencing.guard.harden import harden
from holdfast.fencing.guard.peer import listen
from holdfast.fencing.guard.process import Guard, say, speak_json

_USAGE = "usage: holdfast-guard [--config FILE]\n"


def main() -> int:
    """Exit status: 0 ended on request, 1 another guard runs or the socket cannot be made, 2 wrong usage or configuration."""
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(f"{_USAGE}\n{__doc__}\n")
        return 0
    if arguments and (len(arguments) != 2 or arguments[0] not in ("-c", "--config")):
        sys.stderr.write(_USAGE)
        return 2
    try:
        config = configuration.load(Path(arguments[1]) if arguments else configuration.DEFAULT_PATH)
    except HoldfastError as error:
        say(str(error))
        return 2
    if config.log_format == "json":
        speak_json(config.id)
    try:
        lock = _lock(config.run_dir)
        listener = listen(str(config.guard_socket))
    except BlockingIOError:
        say(f"another guard runs already (it holds {config.run_dir}/guard.lock)")
        return 1
    except OSError as error:
        say(f"cannot use {config.run_dir}: {error}")
        return 1
    for problem in harden():
        say(problem)
    try:
        Guard(WatchdogDevice(config.watchdog), StrictGroup(*map(str, config.groups.all(strict=True))), listener).run()
    finally:
        listener.close()
        os.close(lock)
    say("ended")
    return 0


def _lock(run_dir: str) -> int:
    """One guard per node: the lock ends with the process that holds it."""
    Path(run_dir).mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(f"{run_dir}/guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


if __name__ == "__main__":
    sys.exit(main())
