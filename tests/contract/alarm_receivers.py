"""Real receivers of alarms on loopback: a webhook over TLS that may refuse, a mail server, an Alertmanager."""

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from holdfast.bootstrap.pki import create_authority, issue_server


class Pki:
    """A certificate for this host that no system trusts by itself."""

    def __init__(self, directory: Path) -> None:
        authority = create_authority("receivers")
        cert, key = issue_server(authority, "receiver", ["localhost", "127.0.0.1"])
        self.ca = authority.cert_pem.decode()
        for name, content in (("cert", cert), ("key", key)):
            (directory / name).write_bytes(content)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "cert", directory / "key")


class Webhook:
    """Answers 503 as long as `refuses`; keeps what it has taken, and how often it was asked."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.refuses = True
        self.refused = 0
        self.taken: list[dict[str, Any]] = []
        self.forged = 0
        self.port = 0

    @property
    def deliveries(self) -> list[str]:
        return [alarm["delivery"] for body in self.taken for alarm in body["alarms"]]

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext) -> AsyncIterator["Webhook"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        body = await reader.readexactly(int(headers["content-length"]))
        status = self._take(headers, body)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        signed = headers["x-holdfast-timestamp"].encode() + b"." + body
        right = "sha256=" + hmac.new(self._key.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, headers["x-holdfast-signature"]):
            self.forged += 1
            return 403
        if self.refuses:
            self.refused += 1
            return 503
        self.taken.append(json.loads(body))
        return 204


class Mailbox:
    """Takes mail from who logged in after STARTTLS."""

    def __init__(self, user: str, password: str) -> None:
        self._right = LoginPassword(user.encode(), password.encode())
        self.messages: list[EmailMessage] = []
        self.port = 0

    @contextmanager
    def serving(self, context: ssl.SSLContext) -> Iterator["Mailbox"]:
        self.port = free_port()
        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
        )
        controller.start()
        try:
            yield self
        finally:
            controller.stop()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        right = data == self._right
        return AuthResult(success=right, handled=right)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@asynccontextmanager
async def alertmanager(directory: Path) -> AsyncIterator[str]:
    """Debian's, on loopback; gives its URL."""
    config = directory / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    with (directory / "alertmanager.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={directory}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(60):
            while not await _ready(url):
                assert process.returncode is None, (directory / "alertmanager.log").read_text()
                await asyncio.sleep(0.1)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{url}/-/ready")).status_code == 200
    except httpx.HTTPError:
        return False


async def active(url: str) -> dict[str, dict[str, Any]]:
    """Alerts that it holds for active, by subject."""
    async with httpx.AsyncClient(trust_env=False) as client:
        found = (await client.get(f"{url}/api/v2/alerts", params={"active": "true"})).json()
    return {alert["labels"]["subject"]: alert for alert in found}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
