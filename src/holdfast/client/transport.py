"""The API over the standard library: one connection for each call, several addresses, repeats over a fail-over.

Not httpx: its import alone takes longer (0.3 s) than a command may.
"""

import contextlib
import http.client
import itertools
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from holdfast.client.errors import ApiRefused, ApiUnreachable
from holdfast.client.streams import ServerEvent, parse
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError, NotPermitted

T = TypeVar("T")

TIMEOUT_S = 30.0
"""For an answer."""
CONNECT_S = 3.0
"""For a connection: an address that moves drops packets."""
PATIENCE_S = 20.0
"""So long calls are repeated while nobody answers: longer than a fail-over takes."""
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.0)
POLL_S = 0.3
SILENCE_S = 10.0
"""A stream that says nothing for so long is dead: its server speaks every second."""
AWAY = (502, 503, 504)
"""The API is there, but cannot answer at the moment (no leader of the store, a proxy before a panel that moves)."""
DEFAULT_PORT = 8443


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


class Api:
    """Ways to one cluster's API.

    What fails because nobody answers is repeated, at the other addresses too, until `patience_s` is over. That is safe for
    changes as well: each goes with an idempotency key, so that it is done once however often it arrives.
    """

    def __init__(
        self,
        *,
        socket_path: Path | None = None,
        url: str | Sequence[str] = "",
        ca: str = "",
        token: str = "",
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[str], None] = lambda _why: None,
    ) -> None:
        """`url`: one address or several (the panel's own address, and those of management nodes). `on_wait` is told why a
        call is being repeated, once for each call. Raises ConfigError."""
        self._socket_path = socket_path
        self._ca = ca
        self._token = token
        self._patience_s = patience_s
        self._on_wait = on_wait
        self._clock = SystemClock()
        self._tls: ssl.SSLContext | None = None
        urls = [url] if isinstance(url, str) else list(url)
        self._addresses = [] if socket_path else [_address(text) for text in urls]
        self.where = str(socket_path) if socket_path else ", ".join(text.rstrip("/") for text in urls)
        self.headers: dict[str, str] = {}
        """Of the last answer, names in small letters."""

    @property
    def gone(self) -> bool:
        """The API of this very node has ended, as it does when the node is no management node any more."""
        return self._socket_path is not None and not self._socket_path.exists()

    def get(self, path: str, **query: object) -> Any:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        return self.call("POST", path, body if body is not None else {}, query)

    def put(self, path: str, body: object, **query: object) -> Any:
        return self.call("PUT", path, body, query)

    def delete(self, path: str, **query: object) -> Any:
        return self.call("DELETE", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded answer. Raises ApiRefused, ApiUnreachable, NotPermitted, ConfigError."""
        target = f"/api/v1{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        sent = {"Accept": "application/json", **self._identity(), **(headers or {})}
        if method != "GET":
            sent.setdefault("Idempotency-Key", secrets.token_hex(16))
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        return self._patiently(lambda: self._decode(*self._exchange(method, target, payload, sent)))

    def events(self, since: str = "") -> Iterator[ServerEvent]:
        """Live updates, for ever: over a fail-over they go on where they stopped. Raises as `call`."""
        last = since
        while True:
            headers = {"Accept": "text/event-stream", **self._identity()} | ({"Last-Event-ID": last} if last else {})
            for event in self._stream(headers):
                last = event.id or last
                yield ServerEvent(event.name, event.data, last)

    def _stream(self, headers: dict[str, str]) -> Iterator[ServerEvent]:
        """One connection; ends with it."""
        connection, answer = self._patiently(lambda: self._open_stream(headers))
        try:
            if connection.sock is not None:
                connection.sock.settimeout(SILENCE_S)
            with contextlib.suppress(OSError, http.client.HTTPException):
                yield from parse(answer)
        finally:
            connection.close()

    def _open_stream(self, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection, answer = self._begin("GET", "/api/v1/stream", None, headers)
        if answer.status >= 400:
            with contextlib.closing(connection):
                self._decode(answer.status, answer.read())
        return connection, answer

    def _identity(self) -> dict[str, str]:
        found = {"X-Holdfast-Request": "1"}
        return {**found, "Authorization": f"Bearer {self._token}"} if self._token else found

    # --- one attempt ---

    def _exchange(self, method: str, target: str, payload: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection, answer = self._begin(method, target, payload, headers)
        try:
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, content

    def _begin(
        self, method: str, target: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The next attempt goes to the next address."""
        connection = self._connection()
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(TIMEOUT_S)
            connection.request(method, target, payload, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._addresses = [*self._addresses[1:], *self._addresses[:1]]
            raise self._unreachable(error) from error

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket_path is not None:
            return _UnixConnection(self._socket_path)
        if self._tls is None:
            try:
                self._tls = ssl.create_default_context(cafile=self._ca or None)
            except OSError as error:
                raise ConfigError(
                    f"the CA certificate {self._ca} cannot be read: {error}", "Give --ca FILE."
                ) from error
        host, port = self._addresses[0]
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=self._tls)

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
        text, advice = str(problem.get("detail", f"HTTP status {status}")), str(problem.get("advice", ""))
        raise ApiRefused(status, text, advice, problem)

    def pauses(self, timeout_s: float) -> Iterator[Callable[[], None]]:
        """For loops that ask again and again until `timeout_s` is over: what each has to call before it asks again."""
        end = self._clock.now() + timeout_s
        while True:
            yield lambda: time.sleep(POLL_S)
            if self._clock.now() >= end:
                return

    # --- again ---

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Again while nobody answers and there is patience left."""
        end = self._clock.now() + self._patience_s
        for number in itertools.count():
            try:
                return attempt()
            except (ApiUnreachable, ApiRefused) as error:
                if not self._worth_repeating(error) or self._clock.now() >= end:
                    raise
                if not number:
                    self._on_wait(error.message)
            time.sleep(PAUSES_S[min(number, len(PAUSES_S) - 1)])
        raise AssertionError

    def _worth_repeating(self, error: ApiUnreachable | ApiRefused) -> bool:
        if isinstance(error, ApiRefused):
            return error.status in AWAY
        return self._socket_path is None  # this node's own API answers, or it is not there


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(f"`{url}` is not the URL of a Holdfast API", "Write it like https://10.77.0.100:8443.")
    return parts.hostname, parts.port or DEFAULT_PORT
