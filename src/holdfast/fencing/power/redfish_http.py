"""HTTPS to a Redfish service: one kept connection, certificate checks, and every failure as one clear FenceError."""

import asyncio
import hashlib
import importlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from holdfast.errors import FenceError, HoldfastError

# httpx loads these at the first request, which takes up to a second on a busy machine: not in the middle of a failover.
for _module in ("anyio._backends._asyncio", "certifi", "h11", "httpcore"):
    importlib.import_module(_module)

_CONNECT_TIMEOUT_S = 3.0
_SESSIONS = "/redfish/v1/SessionService/Sessions"


class RedfishHttp:
    """Requests to the service at `url` (https://HOST[:PORT]).

    Trust, first that is given: `insecure` (none), `fingerprint` (SHA-256 of the service's own certificate, hexadecimal),
    `ca` (file with the certificates to trust), the system's certificates. `session` logs in for a token instead of
    sending the password with each request. Passwords never appear in errors.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        ca: str = "",
        fingerprint: str = "",
        insecure: bool = False,
        session: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self._username = username
        self._password = password
        self._ca = ca
        self._fingerprint = fingerprint.replace(":", "").lower()
        self._insecure = insecure
        self._session = session
        self._session_path = ""
        self._connect_s = _CONNECT_TIMEOUT_S
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def limit(self, timeout: float) -> AsyncIterator[None]:
        """Ends its body within `timeout` seconds, and turns everything that goes wrong in it into a FenceError."""
        # TCP and TLS each get less than half, so that httpx itself ends a hanging one: cancelled from outside in the
        # middle of a TLS handshake it leaves the socket to the garbage collector.
        self._connect_s = min(_CONNECT_TIMEOUT_S, 0.45 * timeout)
        try:
            async with asyncio.timeout(timeout):
                yield
        except (TimeoutError, httpx.TimeoutException) as error:
            within = self._connect_s if isinstance(error, httpx.ConnectTimeout) else timeout
            advice = "Check that the BMC has power and that this node reaches its network."
            raise FenceError(f"{self.url} is unreachable: no answer within {within:g} s", advice) from None
        except httpx.HTTPError as error:
            raise self._transport_failed(error) from error
        except ssl.SSLError as error:
            raise FenceError(f"{self.url} cannot be used: {error}", f"Check its `ca` file {self._ca}.") from error
        except OSError as error:
            raise FenceError(
                f"{self.url} cannot be used: {error}",
                f"Check its address{f' and its `ca` file {self._ca}' if self._ca else ''}.",
            ) from error

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`. To be called within `limit`."""
        response = await self._request("GET", path, None)
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise FenceError(f"{self.url}{path} is not a Redfish resource", "Check the url: is it a BMC?")
        return document

    async def post(self, path: str, body: Mapping[str, object]) -> None:
        """To be called within `limit`."""
        await self._request("POST", path, body)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            if self._session_path:
                async with asyncio.timeout(1.0):
                    await client.delete(self._session_path)
        except (httpx.HTTPError, TimeoutError):
            pass  # the service drops idle sessions by itself
        finally:
            self._session_path = ""
            await client.aclose()

    # --- one request

    async def _request(self, method: str, path: str, body: object) -> httpx.Response:
        response = await self._send(method, path, body)
        if response.status_code == 401 and self._session_path:
            self._session_path = ""  # the session has expired: log in once more
            response = await self._send(method, path, body)
        if response.status_code >= 400:
            raise self._refused(method, path, response)
        return response

    async def _send(self, method: str, path: str, body: object) -> httpx.Response:
        if self._client is None:
            self._client = await self._connect()
        if self._session and not self._session_path:
            await self._log_in(self._client)
        # A redirected GET (…/v1 to …/v1/) is followed; a redirected action is not.
        return await self._client.request(
            method, path, json=body, follow_redirects=method == "GET", timeout=self._timeout()
        )

    def _timeout(self) -> httpx.Timeout:
        return httpx.Timeout(None, connect=self._connect_s)

    async def _connect(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            verify=await self._tls(),
            auth=None if self._session else httpx.BasicAuth(self._username, self._password),
            headers={"Accept": "application/json", "OData-Version": "4.0"},
            limits=httpx.Limits(max_connections=2, keepalive_expiry=60.0),
            trust_env=False,  # fencing never goes through a proxy
        )

    async def _log_in(self, client: httpx.AsyncClient) -> None:
        credentials = {"UserName": self._username, "Password": self._password}
        response = await client.post(_SESSIONS, json=credentials, timeout=self._timeout())
        if response.status_code >= 400:
            raise self._refused("POST", _SESSIONS, response)
        client.headers["X-Auth-Token"] = response.headers.get("X-Auth-Token", "")
        self._session_path = urlsplit(response.headers.get("Location", _SESSIONS)).path

    # --- certificates

    async def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._fingerprint:
            # Trust exactly the certificate with this fingerprint, before any password is sent to whoever holds it.
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(await self._pinned_certificate()))
        elif self._ca:
            context.load_verify_locations(self._ca)
        else:
            context.load_default_certs()
        return context

    async def _pinned_certificate(self) -> bytes:
        parts = urlsplit(self.url)
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        _reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=blind)
        try:
            certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        found = hashlib.sha256(certificate).hexdigest()
        if found != self._fingerprint:
            raise FenceError(
                f"{self.url} shows another certificate than the pinned one (SHA-256 {found})",
                "If the BMC got a new certificate, set the new fingerprint; otherwise somebody else answers there.",
            )
        return certificate

    # --- failures

    def _transport_failed(self, error: httpx.HTTPError) -> HoldfastError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return FenceError(
                    f"{self.url} shows a certificate that is not trusted: {cause.verify_message}",
                    "Give the BMC's CA file as `ca`, pin its certificate with `fingerprint`, or set insecure=true.",
                )
            cause = cause.__cause__ or cause.__context__
        return FenceError(
            f"{self.url} is unreachable: {error or type(error).__name__}",
            "Check the address, and that this node reaches the BMC's network.",
        )

    def _refused(self, method: str, path: str, response: httpx.Response) -> HoldfastError:
        said = _message(response)
        if response.status_code in (401, 403):
            return FenceError(
                f"{self.url} refuses user `{self._username}`: wrong user name or password, or missing rights ({said})",
                "Correct username and password of the fence device; the account needs the right to control power.",
            )
        if response.status_code == 404:
            return FenceError(
                f"{self.url} knows no {path}",
                "Leave `system` out if the BMC has only one, or list /redfish/v1/Systems.",
            )
        return FenceError(f"{self.url} answered {method} {path} with {response.status_code}: {said}")


def _message(response: httpx.Response) -> str:
    """What a Redfish error says (DSP0266, "Error responses"), at most 200 characters."""
    try:
        error = json.loads(response.content)["error"]
        details = error.get("@Message.ExtendedInfo") or [{}]
        text = details[0].get("Message") or error.get("message")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        text = None
    return str(text or response.reason_phrase or "no reason given")[:200]
