"""Real name servers on loopback: Knot and BIND, as primary that takes updates and as secondary of ours."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

ZONE = "cloud.example"
KEY, SECRET = "cluster-key", "c2VjcmV0LW9mLXRoZS1jbHVzdGVyLWtleS0wMTIzNDU="
HANG_S = 60.0

ZONE_FILE = f"""$ORIGIN {ZONE}.
$TTL 60
@ SOA ns.{ZONE}. admin.{ZONE}. 1 60 60 3600 5
@ NS ns.{ZONE}.
ns A 127.0.0.1
kept A 192.0.2.7
"""


@dataclass
class Daemon:
    """One that runs."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, name: str, rdtype: str = "A") -> set[str]:
        answer = self.answer(name, rdtype)
        return {str(rdata).strip('"') for rrset in answer.answer for rdata in rrset}

    def answer(self, name: str, rdtype: str = "A") -> dns.message.Message:
        return dns.query.tcp(dns.message.make_query(name, rdtype), "127.0.0.1", timeout=10, port=self.port)

    def serial(self) -> int:
        """0: it does not have the zone."""
        with contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
            for soa in self.ask(ZONE, "SOA"):
                return int(soa.split()[2])
        return 0


def free_port() -> int:
    """Free for TCP and UDP on 127.0.0.1."""
    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                datagrams.bind(stream.getsockname())
                return int(stream.getsockname()[1])


@contextlib.contextmanager
def primary(kind: str) -> Iterator[Daemon]:
    """Has the zone, and takes updates signed with the key."""
    with _running(kind, _knot_primary if kind == "knot" else _bind_primary, ZONE_FILE) as daemon:
        _wait(lambda: daemon.serial() != 0, daemon)
        yield daemon


@contextlib.contextmanager
def secondary(kind: str, port: int, secret: str = SECRET) -> Iterator[Daemon]:
    """Copies the zone from 127.0.0.1 with the key, from this port. Ready when it answers anything."""
    made = _knot_secondary if kind == "knot" else _bind_secondary
    with _running(kind, lambda own, place: made(own, place, port, secret), "") as daemon:
        _wait(lambda: _answers(daemon), daemon)
        yield daemon


def _answers(daemon: Daemon) -> bool:
    with contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
        return daemon.answer(ZONE, "SOA").rcode() in (dns.rcode.NOERROR, dns.rcode.SERVFAIL, dns.rcode.REFUSED)
    return False


def _wait(condition: Callable[[], bool], daemon: Daemon) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end and daemon.process.poll() is None, daemon.log.read_text()[-3000:]
        time.sleep(0.05)


@contextlib.contextmanager
def _running(kind: str, configure: Callable[[int, Path], str], zone_file: str) -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="h-dns-") as where:
        place, port = Path(where), free_port()
        (place / "zone").write_text(zone_file)
        (place / "db").mkdir()
        config = place / "server.conf"
        config.write_text(configure(port, place))
        words = ["knotd", "-c", str(config)] if kind == "knot" else ["named", "-g", "-n", "1", "-c", str(config)]
        log = place / "log"
        with log.open("w") as output:
            process = subprocess.Popen(words, cwd=place, stdout=output, stderr=output)
        try:
            yield Daemon(port, log, process)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _knot(port: int, place: Path, secret: str) -> str:
    return f"""
server:
    rundir: "{place}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{place}/db"
key:
  - id: {KEY}
    algorithm: hmac-sha256
    secret: {secret}
"""


def _knot_primary(port: int, place: Path) -> str:
    return f"""{_knot(port, place, SECRET)}
acl:
  - id: updates
    key: {KEY}
    action: [update, query]
zone:
  - domain: {ZONE}
    storage: "{place}"
    file: zone
    acl: updates
"""


def _knot_secondary(port: int, place: Path, of: int, secret: str) -> str:
    return f"""{_knot(port, place, secret)}
remote:
  - id: holdfast
    address: 127.0.0.1@{of}
    key: {KEY}
acl:
  - id: told
    address: 127.0.0.1
    key: {KEY}
    action: notify
zone:
  - domain: {ZONE}
    storage: "{place}"
    file: copied
    master: holdfast
    acl: told
"""


def _bind(port: int, place: Path, secret: str) -> str:
    return f"""
options {{ directory "{place}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  session-keyfile none; recursion no; dnssec-validation no; notify no; }};
controls {{ }};
key "{KEY}" {{ algorithm hmac-sha256; secret "{secret}"; }};
"""


def _bind_primary(port: int, place: Path) -> str:
    return f"""{_bind(port, place, SECRET)}
zone "{ZONE}" {{ type primary; file "zone"; update-policy {{ grant {KEY} zonesub A AAAA TXT; }}; }};
"""


def _bind_secondary(port: int, place: Path, of: int, secret: str) -> str:
    return f"""{_bind(port, place, secret)}
zone "{ZONE}" {{ type secondary; file "copied"; primaries {{ 127.0.0.1 port {of} key "{KEY}"; }};
  allow-notify {{ key "{KEY}"; }}; masterfile-format text; }};
"""
