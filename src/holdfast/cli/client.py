"""A client of the HTTP API in a few lines of the standard library.

Not httpx: its import alone takes longer (0.3 s) than a command may.
"""

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from holdfast.errors import ConfigError, HoldfastError, InvalidInput, NotPermitted

TIMEOUT_S = 30.0


class ApiUnreachable(HoldfastError):
    """Nothing answers; it may be a moment of a fail-over."""


class ApiRefused(HoldfastError):
    """The API's own refusal, with its own words."""

    def __init__(self, status: int, message: str, advice: str) -> None:
        super().__init__(message, advice)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


class Api:
    """One way to the API. Each call opens a connection of its own, so a fail-over between two calls goes unnoticed."""

    def __init__(self, *, socket_path: Path | None = None, url: str = "", ca: str = "", token: str = "") -> None:
        self._socket_path = socket_path
        self._ca = ca
        self._token = token
        parts = urlsplit(url)
        if socket_path is None and (parts.scheme != "https" or not parts.hostname):
            raise ConfigError(f"`{url}` is not the URL of a Holdfast API", "Write it like https://10.77.0.100:8443.")
        self._host, self._port = parts.hostname or "", parts.port or 8443
        self.where = str(socket_path) if socket_path else f"https://{parts.netloc}"

    @property
    def gone(self) -> bool:
        """The API of this very node has ended, as it does when the node is no management node any more."""
        return self._socket_path is not None and not self._socket_path.exists()

    def get(self, path: str, **query: object) -> Any:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: object = None) -> Any:
        return self.call("POST", path, body if body is not None else {})

    def put(self, path: str, body: object) -> Any:
        return self.call("PUT", path, body)

    def delete(self, path: str, **query: object) -> Any:
        return self.call("DELETE", path, query=query)

    def call(self, method: str, path: str, body: object = None, query: dict[str, object] | None = None) -> Any:
        """The decoded answer. Raises ApiRefused, ApiUnreachable, NotPermitted, ConfigError."""
        target = f"/api/v1{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "X-Holdfast-Request": "1"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, target, payload, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        return self._decode(answer.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket_path is not None:
            return _UnixConnection(self._socket_path)
        try:
            context = ssl.create_default_context(cafile=self._ca or None)
        except OSError as error:
            raise ConfigError(f"the CA certificate {self._ca} cannot be read: {error}", "Give --ca FILE.") from error
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)

    def _unreachable(self, error: Exception) -> HoldfastError:
        if isinstance(error, PermissionError):
            return NotPermitted(f"{self.where} may be opened by root only", "Use sudo, or --url and `holdfast login`.")
        if isinstance(error, ssl.SSLCertVerificationError):
            return NotPermitted(
                f"the certificate of {self.where} is not trusted: {error.verify_message}",
                "Give the cluster's CA with --ca; on any node it is /etc/holdfast/pki/ca.crt.",
            )
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self._socket_path is not None:
            advice = "Look at `systemctl status holdfast-agent` and /var/log/holdfast/panel.log, or use another node."
        else:
            advice = "Check address and port (8443), or try the address of another management node."
        return ApiUnreachable(f"the API at {self.where} does not answer: {why}", advice)

    def _decode(self, status: int, content: bytes) -> Any:
        try:
            value = json.loads(content) if content else None
        except ValueError:
            raise ApiUnreachable(
                f"{self.where} answers, but is not a Holdfast API (HTTP status {status})", "Check the URL."
            ) from None
        if status < 400:
            return value
        problem = value if isinstance(value, dict) else {}
        raise ApiRefused(status, str(problem.get("detail", f"HTTP status {status}")), str(problem.get("advice", "")))


def part(text: str) -> str:
    """One part of a path, quoted. Raises InvalidInput for what no name can be: it would lead to another path."""
    if not text or "/" in text or text in (".", ".."):
        raise InvalidInput(
            f"`{text}` cannot be a name", "Names have no slash and are not empty; look at `holdfast status`."
        )
    return quote(text, safe="")


def parts(text: str) -> str:
    """An instance id in a path: its slashes stay. Raises InvalidInput."""
    return "/".join(part(piece) for piece in text.split("/"))
