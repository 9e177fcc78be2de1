"""Run in the client host: `python restic_client.py RESTIC_ARGUMENT…` runs `restic backup --json …` and says how it gets on.

Prints lines of JSON: {"bytes"} as restic counts what it has read; {"at": CLOCK_BOOTTIME seconds} whenever a gateway has
acknowledged more of what was sent to it, as the kernel counts that; {"at", "held"} when a connection ended or went on that
had something to send and got nothing through for so many seconds; and at the end {"exit", "bytes", "said"}: the status, and
what restic complained of (its retries). SIGTERM ends it.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_telling = threading.Lock()


def tell(**what: Any) -> None:
    with _telling:
        print(json.dumps(what), flush=True)


SOCKETS = ["ss", "-Htin", "state", "established", "dport", "=", ":8000"]
ACKED = re.compile(r"bytes_acked:(\d+)")
LOOK_S = 0.1
HELD_S = 0.4


def sockets() -> dict[str, tuple[int, int]]:
    """Connection → (bytes that wait to be acknowledged, bytes that were)."""
    lines = subprocess.run(SOCKETS, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, tuple[int, int]] = {}
    for socket, details in zip(lines[::2], lines[1::2], strict=False):
        _, waiting, *ends = socket.split()
        if acked := ACKED.search(details):
            found[" ".join(ends[:2])] = (int(waiting), int(acked[1]))
    return found


def watch() -> None:
    """Tell each time that a gateway has got something, and of connections that were stuck."""
    known: dict[str, int] = {}
    stuck: dict[str, float] = {}
    while True:
        now, at = sockets(), boottime()
        moved = {socket for socket, (_, acked) in now.items() if acked > known.get(socket, 0)}
        if moved:
            tell(at=at)
        for socket in [socket for socket in stuck if socket in moved or socket not in now]:
            held = at - stuck.pop(socket)
            if held > HELD_S:
                tell(at=at, held=held)
        for socket, (waiting, _) in now.items():
            if waiting and socket not in moved:
                stuck.setdefault(socket, at)
        known = {socket: acked for socket, (_, acked) in now.items()}
        time.sleep(LOOK_S)


def main() -> None:
    arguments = ["restic", "backup", "--json", *sys.argv[1:]]
    restic = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGTERM, lambda *_: restic.kill())
    said: list[str] = []

    def complaints() -> None:
        assert restic.stderr is not None
        said.extend(line.strip() for line in restic.stderr)

    reader = threading.Thread(target=complaints, daemon=True)
    reader.start()
    done = 0
    threading.Thread(target=watch, daemon=True).start()
    assert restic.stdout is not None
    for text in restic.stdout:
        try:
            line = json.loads(text)
        except ValueError:
            said.append(text.strip())
            continue
        if line.get("message_type") == "summary":
            line["bytes_done"] = line["total_bytes_processed"]
        if line.get("bytes_done", 0) > done:
            done = line["bytes_done"]
            tell(bytes=done)
    status = restic.wait()
    reader.join(5)
    tell(exit=status, bytes=done, said=said[-40:])


if __name__ == "__main__":
    main()
