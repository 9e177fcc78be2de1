"""The health check of a backup gateway: an HTTPS request through its address that makes it read its back-end."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping

from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError
from holdfast.services.backup_gateway.cluster import KIND, BackupCluster, place_of
from holdfast.services.backup_gateway.protocol import HEALTH_PATH

ANSWER_S = 3.0
_MAX_ANSWER = 16 << 10
OK = 200


class BackupProbe:
    """Port HealthProbe. `ca`: file of the cluster's authority. `clusters`: as the store has them."""

    kind = KIND

    def __init__(self, ca: str, clusters: Callable[[], Mapping[str, BackupCluster]]) -> None:
        self._ca = ca
        self._clusters = clusters

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """ "" if healthy, else one sentence. Never raises."""
        where = f"https://{instance.id}"
        try:
            name, ip, port = place_of(instance)
            where = f"https://{_host(ip)}:{port}"
            async with asyncio.timeout(timeout):
                status, body = await get(
                    ip, port, HEALTH_PATH, self._context(name), server_name=self._server_name(name, ip)
                )
        except TimeoutError:
            return f"{where} did not answer within {timeout:g} s"
        except ssl.SSLCertVerificationError as error:
            return f"{where} shows a certificate that is not its own: {error.verify_message}"
        except (OSError, ValueError) as error:
            return f"{where} does not answer: {error}"
        except HoldfastError as error:
            return f"{instance.id} is not healthy: {error.message}"
        return "" if status == OK else f"{where} answers, but its back-end does not work: {_said(body) or status}"

    def _server_name(self, cluster: str, ip: str) -> str:
        """An operator's own certificate names the domain and not each address."""
        found = self._clusters().get(cluster)
        return found.domain if found is not None and found.certificate else ip

    def _context(self, cluster: str) -> ssl.SSLContext:
        """Trusts the cluster's authority, or an operator's own certificate itself, and nothing else. Read anew each time, so
        that a change counts at once."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        found = self._clusters().get(cluster)
        if found is not None and found.certificate:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata=found.certificate)
        else:
            context.load_verify_locations(self._ca)
        return context


async def answers(ip: str, port: int) -> bool:
    """Whether a gateway there answers at all: a hung process does not, one without its back-end does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(ANSWER_S):
            await get(ip, port, "/", context, server_name=ip)
    except (OSError, ValueError, TimeoutError):
        return False
    return True


async def get(ip: str, port: int, path: str, context: ssl.SSLContext, *, server_name: str) -> tuple[int, bytes]:
    """Status and body of a GET on a new connection. Raises OSError, ValueError."""
    reader, writer = await asyncio.open_connection(ip, port, ssl=context, server_hostname=server_name)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {_host(server_name)}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = b""
        while len(answer) < _MAX_ANSWER and (chunk := await reader.read(_MAX_ANSWER)):
            answer += chunk
    finally:
        # Not closed politely: the other side may hang, and the verdict is known.
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError(f"not an HTTP answer: {answer[:40]!r}")
    return int(rest.split(b" ", 1)[0]), body


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _said(body: bytes) -> str:
    """What the gateway says of its back-end."""
    try:
        return str(json.loads(body)["status"])
    except (ValueError, KeyError, TypeError):
        return ""
