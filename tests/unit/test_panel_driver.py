"""The panel's driver beyond the common contract, and its health probe against real TLS servers."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.config import NodeConfig, Tls
from holdfast.core.model import Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import DriverError
from holdfast.ports import Unit
from holdfast.services.admin_panel import PanelDriver, PanelProbe, listening


def instance(ip: str = "127.0.0.1") -> InstanceSpec:
    address = ServiceAddress(ip, "management") if ip else None
    return InstanceSpec("panel/admin", "panel", "admin", Exclusivity.ADVISORY, Role.MANAGEMENT, address=address)


def config(ca: Path = Path("/nowhere")) -> NodeConfig:
    return NodeConfig("n1", "lab", {"management": "127.0.0.1"}, (), tls=Tls(ca=str(ca)))


@dataclass
class Journal:
    """Runner port that keeps a journal; the unit ends by itself after its start if `dies`."""

    dies: bool = False
    did: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    unit: Unit | None = None

    async def start(self, unit: Unit) -> None:
        if unit.name not in self.alive:
            self.did.append(f"start {unit.name}")
            self.unit = unit
            if not self.dies:
                self.alive.add(unit.name)

    async def stop(self, name: str, *, grace_s: float) -> None:
        self.did.append(f"stop {name} after {grace_s:g}")
        self.alive.discard(name)

    async def running(self) -> list[str]:
        return sorted(self.alive)

    async def wait_exit(self, name: str) -> None:
        return

    def log_path(self, name: str) -> str:
        return f"/log/{name}"


class JumpingClock:
    time = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> str:
        return ""

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)


class Steps:
    def step(self, name: str) -> None:
        pass


async def test_the_unit_is_a_system_unit_with_an_absolute_program() -> None:
    runner = Journal()
    await PanelDriver(runner, JumpingClock(), config()).prepare([instance()])
    assert runner.unit is not None
    assert not runner.unit.strict
    assert Path(runner.unit.argv[0]).is_absolute()
    assert runner.unit.argv[0].endswith("/holdfast-panel")


async def test_stop_leaves_the_warm_process() -> None:
    runner = Journal()
    driver = PanelDriver(runner, JumpingClock(), config(), is_listening=lambda port: True)
    await driver.start(instance(), lambda: True, Steps())
    await driver.stop(instance(), 3.0)
    assert runner.alive == {"panel"}


async def test_restart_hung_gives_no_grace_and_waits_for_the_new_process() -> None:
    runner = Journal()
    opened: list[int] = []

    def is_listening(port: int) -> bool:
        opened.append(port)
        return len(opened) > 2

    driver = PanelDriver(runner, JumpingClock(), config(), is_listening=is_listening)
    await driver.prepare([instance()])
    await driver.restart_hung(instance())
    assert runner.did == ["start panel", "stop panel after 0", "start panel"]
    assert len(opened) == 3


async def test_a_process_that_ends_at_once_is_an_error_that_names_its_log() -> None:
    driver = PanelDriver(Journal(dies=True), JumpingClock(), config(), is_listening=lambda port: False)
    with pytest.raises(DriverError, match=r"ended before it listened.*/log/panel"):
        await driver.start(instance(), lambda: True, Steps())


def test_listening_reads_the_kernels_tables() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listening(port)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert listening(server.getsockname()[1])
    assert not listening(port)


def test_listening_ignores_connections_and_missing_tables(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st\n"
    (tmp_path / "tcp").write_text(head + "   0: 0100007F:20FB 0100007F:1234 01 00000000\n")
    assert not listening(0x20FB, tmp_path)
    (tmp_path / "tcp").write_text(head + "   0: 00000000:20FB 00000000:0000 0A 00000000\n")
    assert listening(0x20FB, tmp_path)


# --- the probe ---------------------------------------------------------------------------------------------------


def make_pki(directory: Path, name: str) -> tuple[Path, Path, Path]:
    """A CA and a server certificate that does not name 127.0.0.1: (ca, certificate, key)."""
    now = datetime.datetime.now(datetime.UTC)

    def build(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build(name, name, ca_key).add_extension(x509.BasicConstraints(True, None), True).sign(ca_key, hashes.SHA256())
    other = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("10.77.0.11"))])
    leaf = build("node", name, key).add_extension(other, False).sign(ca_key, hashes.SHA256())
    paths = tuple(directory / f"{name}-{part}.pem" for part in ("ca", "cert", "key"))
    paths[0].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths[0], paths[1], paths[2]


@asynccontextmanager
async def https(certificate: Path, key: Path, answer: bytes | None) -> AsyncIterator[int]:
    """A TLS server that reads a request and sends `answer`, or hangs (None). Yields its port."""
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await release.wait()
        else:
            writer.write(answer)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        release.set()
        server.close()


async def test_probe_accepts_a_certificate_of_the_cluster_that_does_not_name_the_address(tmp_path: Path) -> None:
    ca, certificate, key = make_pki(tmp_path, "lab")
    async with https(certificate, key, b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert await PanelProbe(config(ca), port=port).check(instance(), timeout=5) == ""


async def test_probe_refuses_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    ca, _, _ = make_pki(tmp_path, "lab")
    _, certificate, key = make_pki(tmp_path, "other")
    async with https(certificate, key, b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert "not the cluster's" in await PanelProbe(config(ca), port=port).check(instance(), timeout=5)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(b"HTTP/1.1 503 no\r\n\r\n", "status 503"), (b"SSH-2.0\r\n", "not an HTTP answer"), (b"", "not an HTTP answer")],
)
async def test_probe_says_what_is_wrong_with_the_answer(tmp_path: Path, answer: bytes, says: str) -> None:
    ca, certificate, key = make_pki(tmp_path, "lab")
    async with https(certificate, key, answer) as port:
        assert says in await PanelProbe(config(ca), port=port).check(instance(), timeout=5)


async def test_probe_gives_up_on_a_hung_process(tmp_path: Path) -> None:
    ca, certificate, key = make_pki(tmp_path, "lab")
    async with https(certificate, key, None) as port:
        assert "did not answer within 0.2 s" in await PanelProbe(config(ca), port=port).check(instance(), timeout=0.2)


async def test_probe_asks_the_node_itself_while_the_panel_has_no_address(tmp_path: Path) -> None:
    ca, certificate, key = make_pki(tmp_path, "lab")
    async with https(certificate, key, b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert await PanelProbe(config(ca), port=port).check(instance(""), timeout=5) == ""


async def test_probe_names_refusal_and_missing_ca(tmp_path: Path) -> None:
    ca, _, _ = make_pki(tmp_path, "lab")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "cannot be reached" in await PanelProbe(config(ca), port=port).check(instance(), timeout=5)
    assert "cannot be reached" in await PanelProbe(config(), port=port).check(instance(), timeout=5)
