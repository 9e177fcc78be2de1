"""A fake BMC for a lab node that speaks real Redfish over HTTPS, with faults that can be switched on.

It serves the part of the Redfish specification (DMTF DSP0266) that power control needs: ServiceRoot, SessionService with
login, the Systems collection and one ComputerSystem with PowerState and the action #ComputerSystem.Reset, with basic
and session authentication and errors in the standard's own form. Debian's fence_redfish works against it.
"""

import base64
import hmac
import json
import logging
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from holdfast.lab.bmc_socket import listening_socket, make_certificate

__all__ = ["BmcMode", "PowerSwitch", "RedfishBmc", "listening_socket", "make_certificate"]

log = logging.getLogger(__name__)

SYSTEM = "/redfish/v1/Systems/1"
_RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
_SESSIONS = "/redfish/v1/SessionService/Sessions"
_RESET_TYPES = ("On", "ForceOff", "GracefulShutdown", "ForceRestart")
_HANDSHAKE_TIMEOUT_S = 10


class PowerSwitch(Protocol):
    """The node's power, as the BMC sees and switches it. The methods may block while they act."""

    def state(self) -> str:
        """ "on" or "off"."""
        ...

    def on(self) -> None: ...

    def off(self) -> None: ...


class BmcMode(StrEnum):
    NORMAL = "normal"
    UNREACHABLE = "unreachable"
    """Answers nothing, as if it had died with the power supply. What was asked meanwhile is never done."""
    SLOW = "slow"
    """Acts and answers `slow_s` seconds late."""
    LIE = "lie"
    """Accepts a power-off, reports Off from then on, and switches nothing."""
    STUCK = "stuck"
    """Accepts every action and does nothing; the power state it reports is true."""
    REFUSES = "refuses"
    """Answers every action with an internal error."""


class RedfishBmc:
    """One BMC. `start()`, then set `mode` as wished at any time; `stop()` ends every thread's service.

    Give `listener` (see `listening_socket`) where the endpoint must live in another network namespace; otherwise it binds
    `host`:`port` itself (port 0: any, see `port`). `graceful` is what GracefulShutdown does; without it: power off.
    """

    def __init__(
        self,
        host: str,
        port: int,
        power: PowerSwitch,
        username: str,
        password: str,
        cert: Path,
        key: Path,
        *,
        listener: socket.socket | None = None,
        graceful: Callable[[], None] | None = None,
        mode: BmcMode = BmcMode.NORMAL,
        slow_s: float = 5.0,
    ) -> None:
        self.mode = mode
        self.slow_s = slow_s
        self.resets: list[str] = []
        """Every reset type that was accepted, in order (for tests)."""
        self._power = power
        self._username = username
        self._password = password
        self._graceful = graceful or power.off
        self._tokens: dict[str, str] = {}
        self._switching = threading.Lock()
        self._lied_off = False
        self._ended = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self._server = _Server(listener or listening_socket(host, port), context, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="lab-bmc", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    # --- what the handler asks

    def delay(self) -> bool:
        """Apply the mode to a request that has just been read. False: drop the connection without an answer."""
        if self.mode == BmcMode.SLOW:
            return not self._ended.wait(self.slow_s)
        return self.reachable()

    def reachable(self) -> bool:
        """Says nothing for as long as the mode is `unreachable`, and then False: what was asked meanwhile is forgotten."""
        dropped = False
        while self.mode == BmcMode.UNREACHABLE and not self._ended.wait(0.05):
            dropped = True
        return not dropped and not self._ended.is_set()

    def authorized(self, basic: str, token: str) -> bool:
        """A right `Authorization: Basic …` value or a session's X-Auth-Token."""
        if token:
            return token in self._tokens
        scheme, _, encoded = basic.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return False
        return self._right(name, password)

    def _right(self, name: str, password: str) -> bool:
        same_name = hmac.compare_digest(name.encode(), self._username.encode())
        return hmac.compare_digest(password.encode(), self._password.encode()) and same_name

    def get(self, path: str) -> "_Answer":
        body = self._resource(path.rstrip("/"))
        return _Answer(200, body) if body is not None else _error(404, "ResourceMissingAtURI", f"{path} does not exist")

    def _resource(self, path: str) -> dict[str, Any] | None:
        match path:
            case "/redfish":
                return {"v1": "/redfish/v1/"}
            case "/redfish/v1":
                return {
                    "@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot",
                    "@odata.id": "/redfish/v1/",
                    "Id": "RootService",
                    "Name": "Holdfast lab BMC",
                    "RedfishVersion": "1.15.0",
                    "Systems": {"@odata.id": "/redfish/v1/Systems"},
                    "SessionService": {"@odata.id": "/redfish/v1/SessionService"},
                    "Links": {"Sessions": {"@odata.id": _SESSIONS}},
                }
            case "/redfish/v1/SessionService":
                sessions = {"@odata.id": _SESSIONS}
                return {"@odata.id": path, "Id": "SessionService", "Name": "Sessions", "Sessions": sessions}
            case "/redfish/v1/SessionService/Sessions":
                members = [{"@odata.id": f"{_SESSIONS}/{number}"} for number in self._tokens.values()]
                return _collection(path, "SessionCollection", members)
            case "/redfish/v1/Systems":
                return _collection(path, "ComputerSystemCollection", [{"@odata.id": SYSTEM}])
            case "/redfish/v1/Systems/1":
                return self._system()
            case _:
                return None

    def _system(self) -> dict[str, Any]:
        return {
            "@odata.type": "#ComputerSystem.v1_20_0.ComputerSystem",
            "@odata.id": SYSTEM,
            "Id": "1",
            "Name": "Lab node",
            "SystemType": "Physical",
            "PowerState": "Off" if self._lied_off else self._power.state().capitalize(),
            "Status": {"State": "Enabled", "Health": "OK"},
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": _RESET,
                    "ResetType@Redfish.AllowableValues": list(_RESET_TYPES),
                }
            },
        }

    def post(self, path: str, body: Any) -> "_Answer":
        path = path.rstrip("/")
        if not isinstance(body, dict):
            return _error(400, "MalformedJSON", "the body is not a JSON object")
        if path == _SESSIONS:
            return self._login(body)
        if path == _RESET:
            return self._reset(body.get("ResetType"))
        return _error(404, "ResourceMissingAtURI", f"{path} does not exist")

    def delete(self, path: str) -> "_Answer":
        for token, number in self._tokens.items():
            if path == f"{_SESSIONS}/{number}":
                del self._tokens[token]
                return _Answer(204)
        return _error(404, "ResourceMissingAtURI", f"{path} does not exist")

    def _login(self, body: dict[str, Any]) -> "_Answer":
        if not self._right(str(body.get("UserName", "")), str(body.get("Password", ""))):
            return _error(401, "ResourceAtUriUnauthorized", "wrong user name or password")
        token, number = secrets.token_hex(16), secrets.token_hex(4)
        self._tokens[token] = number
        location = f"{_SESSIONS}/{number}"
        document = {"@odata.id": location, "Id": number, "Name": "Session", "UserName": self._username}
        return _Answer(201, document, {"X-Auth-Token": token, "Location": location})

    def _reset(self, kind: object) -> "_Answer":
        if self.mode == BmcMode.REFUSES:
            return _error(500, "InternalError", "the power controller does not answer")
        if kind not in _RESET_TYPES:
            return _error(400, "ActionParameterValueNotInList", f"ResetType {kind!r} is not one of {_RESET_TYPES}")
        assert isinstance(kind, str)
        self.resets.append(kind)
        with self._switching:
            self._switch(kind)
        return _Answer(204)

    def _switch(self, kind: str) -> None:
        if self.mode == BmcMode.STUCK:
            return
        if self.mode == BmcMode.LIE:
            self._lied_off = kind in ("ForceOff", "GracefulShutdown")
            return
        self._lied_off = False
        if kind == "GracefulShutdown":
            self._graceful()
            return
        if kind in ("ForceOff", "ForceRestart"):
            self._power.off()
        if kind in ("On", "ForceRestart") and self._power.state() == "off":
            self._power.on()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


def _collection(path: str, kind: str, members: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "@odata.type": f"#{kind}.{kind}",
        "@odata.id": path,
        "Name": kind,
        "Members@odata.count": len(members),
        "Members": members,
    }


def _error(status: int, code: str, message: str) -> _Answer:
    """An error in the form of DSP0266, section "Error responses"."""
    information = {"MessageId": f"Base.1.8.{code}", "Message": message, "Severity": "Critical"}
    error = {"code": f"Base.1.8.{code}", "message": message, "@Message.ExtendedInfo": [information]}
    headers = {"WWW-Authenticate": 'Basic realm="Redfish"'} if status == 401 else None
    return _Answer(status, {"error": error}, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, bmc: RedfishBmc) -> None:
        # The socket is bound already, perhaps in another network namespace: activate nothing here.
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()[:2]
        self.context = context
        self.bmc = bmc

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's own thread: a client that never ends its handshake holds up nobody else."""
        if not self.bmc.reachable():
            return
        request.settimeout(_HANDSHAKE_TIMEOUT_S)
        try:
            tls = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return  # not TLS, or the client does not like our certificate
        tls.settimeout(None)
        with tls:
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("lab BMC: connection from %s ended abruptly", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._serve(lambda bmc, _body: bmc.get(self.path))

    def do_POST(self) -> None:
        self._serve(lambda bmc, body: bmc.post(self.path, body))

    def do_DELETE(self) -> None:
        self._serve(lambda bmc, _body: bmc.delete(self.path))

    def _serve(self, act: Callable[[RedfishBmc, Any], _Answer]) -> None:
        bmc = self.server.bmc
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not bmc.delay():
            self.close_connection = True
            return
        try:
            self._send(act(bmc, json.loads(raw) if raw else {}) if self._allowed(bmc) else _unauthorized())
        except ValueError:
            self._send(_error(400, "MalformedJSON", "the body is not JSON"))
        except OSError:
            self.close_connection = True
        except Exception:
            log.exception("lab BMC: request failed")
            self._send(_error(500, "InternalError", "the lab's power switch failed"))

    def _allowed(self, bmc: RedfishBmc) -> bool:
        open_to_all = ("/redfish", "/redfish/v1") if self.command == "GET" else (_SESSIONS,)
        if self.command != "DELETE" and self.path.rstrip("/") in open_to_all:
            return True
        return bmc.authorized(self.headers.get("Authorization", ""), self.headers.get("X-Auth-Token", ""))

    def _send(self, answer: _Answer) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("OData-Version", "4.0")
        if answer.status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        for name, value in (answer.headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("lab BMC: " + format, *args)


def _unauthorized() -> _Answer:
    return _error(401, "ResourceAtUriUnauthorized", "authentication is required")
