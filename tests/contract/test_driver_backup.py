"""What the driver of backup gateways does beside the contract: settings reach a gateway that runs, secrets do not stay, and
only one that does not answer is restarted. And the probe, against the real gateway program's own answers."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_driver import FakeClock, FakeRunner, Steps, yes

from holdfast import locks
from holdfast.bootstrap import pki, secrets
from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser, gateways
from holdfast.services.backup_gateway.config import S3, GatewayConfig, from_bytes, users_from_bytes
from holdfast.services.backup_gateway.driver import BackupDriver
from holdfast.services.backup_gateway.probe import BackupProbe, answers
from holdfast.services.backup_gateway.protocol import HEALTH_PATH
from holdfast.services.backup_gateway.records import Records

SECRET = secrets.new_secret()
CREDENTIALS = locks.lock(json.dumps({"access_key": "AK", "secret_key": "SK"}).encode(), SECRET)
CLUSTER = BackupCluster(
    "main", "backup.test", {"n1": "127.0.0.1"}, "public", (), "s3:https://objects.test/bucket", CREDENTIALS
)


@dataclass
class Rig:
    """A driver whose store and gateways are played."""

    directory: Path
    cluster: BackupCluster | None = CLUSTER
    users: dict[str, BackupUser] = field(default_factory=dict)
    hangs: bool = False
    certified: list[tuple[str, ...]] = field(default_factory=list)
    runner: FakeRunner = field(default_factory=FakeRunner)
    instance: InstanceSpec = field(default_factory=lambda: gateways(CLUSTER, ha=True)[0])

    def driver(self) -> BackupDriver:
        """A new one finds what the last one left, as after a restart of the agent."""

        async def alive(_ip: str, _port: int) -> bool:
            return not self.hangs

        records = Records(
            lambda: {self.cluster.name: self.cluster} if self.cluster else {},
            lambda _: self.users,
            lambda locked: locks.unlock(locked, SECRET),
            self._certify,
        )
        directory = self.directory / "run"
        return BackupDriver(
            self.runner,
            FakeClock(),
            records,
            str(self.directory),
            str(directory),
            answers=alive,
            is_listening=lambda _ip, _port: self.runner.listening(0),
        )

    def _certify(self, _name: str, names: object) -> tuple[bytes, bytes]:
        assert isinstance(names, tuple)
        self.certified.append(names)
        return f"certificate {len(self.certified)}".encode(), b"key"

    def file(self, name: str) -> Path:
        return self.directory / "run" / "backup" / "main:gw-n1" / name

    def config(self) -> GatewayConfig:
        return from_bytes(self.file("gateway.json").read_bytes(), "it")

    def named(self) -> list[str]:
        return [user.name for user in users_from_bytes(self.file("users.json").read_bytes(), "it")]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_gateway_is_told_what_it_must_know_and_nobody_else(rig: Rig) -> None:
    driver = rig.driver()
    await driver.start(rig.instance, yes, Steps())
    config = rig.config()
    assert config.backend == S3("https://objects.test", "bucket", "AK", "SK")
    assert (config.address, config.name) == ("127.0.0.1", "backup/main/gw-n1")
    assert rig.certified == [("backup.test", "127.0.0.1")]
    assert rig.file("").stat().st_mode & 0o777 == 0o700
    await driver.stop(rig.instance, 1.0)
    assert not [path for path in rig.file("").iterdir() if path.is_file()], "no secret is left"


async def test_users_come_and_go_without_a_restart_and_other_settings_with_one(rig: Rig) -> None:
    driver = rig.driver()
    await driver.start(rig.instance, yes, Steps())
    waiting = asyncio.create_task(driver.wait_exit(rig.instance))
    unit = rig.runner.units[rig.instance.id]
    rig.users["web-1"] = BackupUser("web-1", "hash")
    await driver.tick(rig.instance)
    assert rig.named() == ["web-1"]
    rig.users.clear()
    await driver.tick(rig.instance)
    assert rig.named() == [] and rig.runner.units[rig.instance.id] is unit
    rig.cluster = replace(CLUSTER, append_only=True)
    await driver.tick(rig.instance)
    assert rig.config().append_only and rig.runner.units[rig.instance.id] is not unit
    await driver.tick(rig.instance)
    assert rig.runner.starts == [rig.instance.id] * 2
    assert not waiting.done(), "a restart of the driver's own is no end"
    rig.runner.end(rig.instance.id)
    assert not await asyncio.wait_for(waiting, 5)


async def test_an_own_certificate_is_taken_over_in_place(rig: Rig) -> None:
    driver = rig.driver()
    await driver.start(rig.instance, yes, Steps())
    rig.cluster = replace(CLUSTER, certificate="own", certificate_key=locks.lock(b"own key", SECRET))
    await driver.tick(rig.instance)
    assert rig.file("cert.pem").read_bytes() == b"own" and rig.file("key.pem").read_bytes() == b"own key"
    assert rig.runner.starts == [rig.instance.id], "the program follows its certificate"


async def test_a_certificate_is_made_once_and_again_for_other_names(rig: Rig) -> None:
    await rig.driver().start(rig.instance, yes, Steps())
    await rig.driver().start(rig.instance, yes, Steps())
    assert len(rig.certified) == 1 and rig.runner.starts == [rig.instance.id]
    rig.cluster = replace(CLUSTER, domain="other.test")
    await rig.driver().reconfigure(rig.instance)
    assert rig.certified[-1] == ("other.test", "127.0.0.1")
    assert rig.file("cert.pem").read_bytes() == b"certificate 2"


async def test_only_a_gateway_that_does_not_answer_is_restarted(rig: Rig) -> None:
    driver = rig.driver()
    await driver.start(rig.instance, yes, Steps())
    await driver.restart_hung(rig.instance)
    assert rig.runner.starts == [rig.instance.id], "its back-end is away, and it says so"
    rig.hangs = True
    await driver.restart_hung(rig.instance)
    assert rig.runner.starts == [rig.instance.id] * 2


async def test_a_cluster_that_is_gone_starts_nothing_and_stops_nothing(rig: Rig) -> None:
    driver = rig.driver()
    await driver.start(rig.instance, yes, Steps())
    rig.cluster = None
    await driver.tick(rig.instance)
    assert rig.instance.id in rig.runner.units
    await driver.stop(rig.instance, 1.0)
    with pytest.raises(DriverError, match="backup cluster main, which this node does not know"):
        await driver.start(rig.instance, yes, Steps())


# --- the probe ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def gateway(directory: Path, ca: pki.Authority, status: int, names: list[str]) -> AsyncIterator[int]:
    """Answers the health check as the gateway program does; the port."""
    cert, key = pki.issue_server(ca, "x", names)
    (directory / "cert").write_bytes(cert)
    (directory / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert", directory / "key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"status": "ok" if status == 200 else "the bucket is gone", "full": False}).encode()
        code = status if head.startswith(f"GET {HEALTH_PATH} ".encode()) else 401
        writer.write(f"HTTP/1.1 {code} x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def at(port: int) -> InstanceSpec:
    return gateways(replace(CLUSTER, port=port), ha=True)[0]


async def test_the_probe_tells_a_sick_back_end_from_a_silent_gateway(tmp_path: Path) -> None:
    ca = pki.create_authority("x")
    (tmp_path / "ca").write_bytes(ca.cert_pem)
    probe = BackupProbe(str(tmp_path / "ca"), lambda: {"main": CLUSTER})
    async with gateway(tmp_path, ca, 200, ["backup.test", "127.0.0.1"]) as port:
        assert await probe.check(at(port), timeout=10) == ""
    async with gateway(tmp_path, ca, 503, ["backup.test", "127.0.0.1"]) as port:
        said = await probe.check(at(port), timeout=10)
        assert said.endswith("its back-end does not work: the bucket is gone"), said
        assert await answers("127.0.0.1", port), "it answers all the same"
    assert "does not answer" in await probe.check(at(port), timeout=10)
    assert not await answers("127.0.0.1", port)


async def test_the_probe_trusts_the_clusters_authority_or_the_operators_certificate_alone(tmp_path: Path) -> None:
    ca, other = pki.create_authority("x"), pki.create_authority("y")
    (tmp_path / "ca").write_bytes(ca.cert_pem)
    found = {"main": CLUSTER}
    probe = BackupProbe(str(tmp_path / "ca"), lambda: found)
    async with gateway(tmp_path, ca, 200, ["somebody.else"]) as port:
        assert "not its own" in await probe.check(at(port), timeout=10)
    async with gateway(tmp_path, other, 200, ["backup.test"]) as port:
        assert "not its own" in await probe.check(at(port), timeout=10)
        found["main"] = replace(CLUSTER, certificate=(tmp_path / "cert").read_text())
        assert await probe.check(at(port), timeout=10) == "", "the name is the domain, not each address"
