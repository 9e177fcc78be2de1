"""Commands inside an emulated node, as `enter.py` runs them in the others.

`python -m holdfast.lab.emulated.shell serve` in the node, `python -m holdfast.lab.emulated.shell NETNS PORT -- COMMAND…` on
the machine: it goes into the namespace NETNS, where QEMU forwards PORT, and hands on standard input, both outputs and the
exit status. The command dies with this process. Lines of JSON: {"argv"}, {"in"}… one way, {"pid"}, {"out"}, {"err"}…,
{"exit"} back.
"""

import base64
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from holdfast.lab import kernel

PORT = 2222
"""In the node."""
NOT_STARTED = 125
"""Exit status when the node does not answer, or died meanwhile."""
_ANSWERS_S = 60.0
"""A node that boots answers when it is ready."""
_CHUNK = 1 << 16


class Session(socketserver.StreamRequestHandler):
    """One command."""

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        pipe = subprocess.PIPE
        sending = threading.Lock()

        def send(**what: Any) -> None:
            with sending:
                self.wfile.write(json.dumps(what).encode() + b"\n")

        try:
            process = subprocess.Popen(json.loads(line)["argv"], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        except OSError as error:
            send(err=base64.b64encode(f"{error}\n".encode()).decode())
            send(exit=127)
            return
        send(pid=process.pid)
        with process:
            self._serve(process, send)

    def _serve(self, process: "subprocess.Popen[bytes]", send: Callable[..., None]) -> None:
        assert process.stdin and process.stdout and process.stderr

        def output(name: str, stream: IO[bytes]) -> None:
            while data := os.read(stream.fileno(), _CHUNK):
                send(**{name: base64.b64encode(data).decode()})

        threads = [
            threading.Thread(target=output, args=("out", process.stdout)),
            threading.Thread(target=output, args=("err", process.stderr)),
        ]
        for thread in threads:
            thread.start()
        reader = threading.Thread(target=self._input, args=(process, process.stdin), daemon=True)
        reader.start()
        for thread in threads:
            thread.join()
        send(exit=process.wait())
        with suppress(OSError):  # nobody is there any more
            self.connection.shutdown(socket.SHUT_RD)  # else `finish` closes the file that the reader waits on
        reader.join()

    def _input(self, process: "subprocess.Popen[bytes]", stdin: IO[bytes]) -> None:
        for line in self.rfile:
            data = base64.b64decode(json.loads(line)["in"])
            with suppress(OSError, ValueError):  # it does not read, or has ended
                if not data:
                    stdin.close()
                _write(stdin.fileno(), data)
        process.kill()  # nobody waits for it any more


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve() -> None:
    with Server(("", PORT), Session) as server:
        server.serve_forever()


def run(netns: str, port: int, argv: list[str]) -> int:
    """The command's exit status."""
    kernel.enter_netns(netns)
    end = time.monotonic() + _ANSWERS_S
    while time.monotonic() < end:
        status = attempt(port, argv)
        if status is not None:
            return status
        time.sleep(0.2)
    sys.stderr.write("holdfast lab: the emulated node does not answer\n")
    return NOT_STARTED


def attempt(port: int, argv: list[str]) -> int | None:
    """None if nobody was there: then nothing was started."""
    started = False
    try:
        with socket.create_connection(("127.0.0.1", port)) as link, link.makefile("rb") as answers:
            link.sendall(json.dumps({"argv": argv}).encode() + b"\n")
            for line in answers:
                answer = json.loads(line)
                if "pid" in answer:
                    started = True
                    threading.Thread(target=_hand_on_input, args=(link,), daemon=True).start()
                if "exit" in answer:
                    code = int(answer["exit"])
                    return code if code >= 0 else 128 - code
                for name, target in (("out", 1), ("err", 2)):
                    if name in answer:
                        _write(target, base64.b64decode(answer[name]))
    except OSError:
        pass
    return NOT_STARTED if started else None


def _hand_on_input(link: socket.socket) -> None:
    try:
        data = b"x"
        while data:
            data = os.read(0, _CHUNK)
            link.sendall(json.dumps({"in": base64.b64encode(data).decode()}).encode() + b"\n")
    except OSError:
        return  # it has ended


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def main() -> None:
    if sys.argv[1] == "serve":
        return serve()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    netns, port, _dashes, *argv = sys.argv[1:]
    status = run(netns, int(port), argv)
    os._exit(status)  # a thread may still wait for input


if __name__ == "__main__":
    main()
