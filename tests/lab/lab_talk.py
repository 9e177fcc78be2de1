"""Small programs run inside lab hosts, and how the tests talk with them line by line."""

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.lab import LabClient

PYTHON = sys.executable
ANSWER_S = 20.0
HANG_S = 30.0
CLOCK_OFFSET_S = 3600
SIZE = (7, 3000)
"""Cores and MiB that n2 of the bare lab believes to have."""

COLLECT = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5000)); print("ready", flush=True)
seen = []
while not seen or seen[-1] != "end": seen.append(s.recv(100).decode())
print(",".join(seen), flush=True)
"""
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
for word in sys.argv[2:]: s.sendto(word.encode(), (sys.argv[1], 5000))
"""
TCP_SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 5001)); print("ready", flush=True)
links = []
while True: links.append(s.accept())
"""
TCP_CLIENT = """
import select, socket, sys
s = socket.create_connection((sys.argv[1], 5001)); print("connected", flush=True)
sys.stdin.readline()
print("silence" if not select.select([s], [], [], 0)[0] else "something came", flush=True)
"""
FEED_WATCHDOG = """
import fcntl, os, struct, sys, time
fd = os.open("/dev/watchdog", os.O_WRONLY)
fcntl.ioctl(fd, 0xC0045706, bytearray(struct.pack("i", 1))); print("armed", flush=True)
while True: os.write(fd, b"p"); time.sleep(0.1)
"""
REDFISH = """
import base64, json, ssl, sys, urllib.request
url, user, password, *reset = sys.argv[1:]
path = "/redfish/v1/Systems/1" + ("/Actions/ComputerSystem.Reset" if reset else "")
body = json.dumps({"ResetType": reset[0]}).encode() if reset else None
request = urllib.request.Request(url.rstrip("/") + path, body, {"Content-Type": "application/json"})
request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
answer = urllib.request.urlopen(request, timeout=5, context=context).read()
print("done" if reset else json.loads(answer)["PowerState"])
"""
EXECUTOR = 'exec -a ganesha.nfsd bash -c "echo up; read" bash -F -f "$0"'
"""Run by `bash -c` with a configuration path: looks like the server of a volume until its standard input closes."""


def until(condition: Callable[[], bool], what: str, timeout_s: float = HANG_S) -> None:
    """Wait until it holds; the bound only catches hangs."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"still not after {timeout_s} s: {what}"
        time.sleep(0.02)


@contextmanager
def talk(lab: LabClient, host: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a host with pipes; it is ended with the block."""
    process = lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def hear(process: "subprocess.Popen[str]", timeout_s: float = ANSWER_S) -> str:
    """Its next line; empty if it says nothing in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    return process.stdout.readline().strip() if ready else ""


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")


def reaches(lab: LabClient, source: str, address: str, timeout_s: int = 2) -> bool:
    """A ping from a host is answered."""
    return lab.exec(source, ["busybox", "ping", "-c1", f"-W{timeout_s}", address]).returncode == 0


def redfish(lab: LabClient, source: str, node: str, *reset: str) -> "subprocess.CompletedProcess[str]":
    """Ask a node's BMC, from another node, for the power state, or for a reset."""
    url = f"https://{lab.host(node).bmc_address}/"
    return lab.exec(source, [PYTHON, "-c", REDFISH, url, *lab.bmc_credentials, *reset])
