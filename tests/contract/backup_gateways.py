"""Real gateway processes, and restic as their client."""

import contextlib
import hashlib
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.services.backup_gateway.config import Backend, GatewayConfig, to_bytes, users_to_bytes

HANG_S = 90
PASSWORDS = {"alice": "wonderland", "bob": "builder", "logs": "append only"}


def certificate(directory: Path, *addresses: str) -> tuple[Path, Path]:
    """A self-signed one; (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "backup")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(a)) for a in addresses])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "gateway.crt", directory / "gateway.key"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as handle:
        handle.bind((address, 0))
        return int(handle.getsockname()[1])


class Gateway:
    """One gateway process."""

    def __init__(self, site: "Site", name: str, address: str, port: int, backend: Backend, append_only: bool) -> None:
        self.site = site
        self.address, self.port = address, port
        self.file = site.directory / f"{name}.json"
        self.log = site.directory / f"{name}.log"
        self.file.write_bytes(
            to_bytes(
                GatewayConfig(
                    f"backup/test/{name}",
                    address,
                    str(site.cert),
                    str(site.key),
                    str(site.users),
                    backend,
                    port,
                    append_only,
                )
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def start(self, *before: str) -> None:
        """`before`: words that start the program elsewhere, e.g. in a namespace."""
        with self.log.open("ab") as log:
            program = [sys.executable, "-m", "holdfast.services.backup_gateway.gateway", str(self.file)]
            self.process = subprocess.Popen([*before, *program], stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(HANG_S)

    def wait_healthy(self, client: httpx.Client) -> None:
        deadline = time.monotonic() + HANG_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{self.url}/-/health").status_code == 200:
                    return
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


class Site:
    """Certificate, users and gateways of one test."""

    def __init__(self, directory: Path, *addresses: str) -> None:
        self.directory = directory
        self.cert, self.key = certificate(directory, *(addresses or ("127.0.0.1",)))
        self.users = directory / "users.json"
        hasher = PasswordHasher(time_cost=1, memory_cost=1024)
        self.write_users(
            [BackupUser(name, hasher.hash(word), append_only=name == "logs") for name, word in PASSWORDS.items()]
        )
        self.gateways: list[Gateway] = []

    def write_users(self, users: list[BackupUser]) -> None:
        temporary = self.users.with_suffix(".new")
        temporary.write_bytes(users_to_bytes(users))
        temporary.replace(self.users)

    def gateway(
        self, backend: Backend, *, address: str = "127.0.0.1", port: int = 0, append_only: bool = False
    ) -> Gateway:
        name = f"gw-{len(self.gateways)}"
        gateway = Gateway(self, name, address, port or free_port(), backend, append_only)
        self.gateways.append(gateway)
        return gateway

    def client(self, user: str | None = "alice") -> httpx.Client:
        auth = (user, PASSWORDS[user]) if user else None
        return httpx.Client(verify=ssl.create_default_context(cafile=str(self.cert)), auth=auth, timeout=HANG_S)

    def restic(
        self,
        base: str,
        *words: str,
        user: str = "alice",
        before: tuple[str, ...] = (),
        repository: str = "",
        **popen: Any,
    ) -> "subprocess.Popen[str]":
        """restic against the gateways at `base` (URL without a path)."""
        scheme, _, place = base.partition("://")
        url = f"rest:{scheme}://{user}:{PASSWORDS[user].replace(' ', '%20')}@{place}/{user}/{repository}"
        environment = {
            **os.environ,
            "RESTIC_PASSWORD": "secret",
            "RESTIC_REPOSITORY": url,
            "RESTIC_CACHE_DIR": str(self.directory / "cache"),
            "GOMAXPROCS": "2",
        }
        command = [*before, "restic", "--no-cache", "--cacert", str(self.cert), *words]
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen
        )

    def run(self, base: str, *words: str, **options: Any) -> str:
        """restic's output; it must succeed."""
        process = self.restic(base, *words, **options)
        try:
            output, _ = process.communicate(timeout=HANG_S)
        finally:
            process.kill()
        assert process.returncode == 0, output
        return output

    def close(self) -> None:
        for gateway in self.gateways:
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.process.kill()
                gateway.process.wait(HANG_S)


@contextlib.contextmanager
def site(directory: Path, *addresses: str) -> Iterator[Site]:
    made = Site(directory, *addresses)
    try:
        yield made
    finally:
        made.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(directory: Path, files: int, size: int, seed: int = 0) -> Path:
    """Incompressible files; other ones for each seed."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        content = hashlib.shake_256(f"{seed} {number}".encode()).digest(size)
        (directory / f"file-{seed}-{number}").write_bytes(content)
    return directory


def same_tree(first: Path, second: Path) -> bool:
    def content(root: Path) -> dict[str, str]:
        return {str(p.relative_to(root)): sha256(p.read_bytes()) for p in root.rglob("*") if p.is_file()}

    return content(first) == content(second)


def snapshots(output: str) -> list[dict[str, Any]]:
    return list(json.loads(output))
