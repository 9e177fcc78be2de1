"""How this command reaches the API: the node's own socket, or HTTPS with a session from `holdfast login`."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from holdfast.client import Api
from holdfast.errors import ConfigError, HoldfastError

SOCKET = Path("/run/holdfast/api.sock")
NODE_TOML = Path("/etc/holdfast/node.toml")
PATIENCE_S = 10.0
"""So long a command waits for an answer while the management plane fails over."""
NODE_CA = Path("/etc/holdfast/pki/ca.crt")


@dataclass
class _Given:
    url: str = ""
    ca: str = ""


_given = _Given()


def configure(*, url: str, ca: str) -> None:
    """What the global options said."""
    _given.url, _given.ca = url, ca


def api() -> Api:
    """The API to use. Raises ConfigError that says what to do where there is none."""
    url, session = _given.url, saved_session()
    if not url:
        local = Path(os.environ.get("HOLDFAST_SOCKET", str(SOCKET)))
        if local.exists():
            return Api(socket_path=local, patience_s=PATIENCE_S, on_wait=_tell)
        url = str(session.get("url", ""))
    if not url:
        raise _nowhere()
    token = os.environ.get("HOLDFAST_TOKEN", "")
    if not token and session.get("url") == url.rstrip("/"):
        token = str(session.get("token", ""))
    return at(url, ca_file(session), token)


def at(url: str, ca: str, token: str = "") -> Api:
    """`url`: one or several, by commas. Raises ConfigError."""
    return Api(url=url.split(","), ca=ca, token=token, patience_s=PATIENCE_S, on_wait=_tell)


def _tell(why: str) -> None:
    print(f"Waiting: {why} …", file=sys.stderr)


def remote() -> tuple[str, str]:
    """(URL, CA file) for `login`. Raises ConfigError."""
    url = _given.url or str(saved_session().get("url", ""))
    if not url:
        raise ConfigError(
            "no URL is given", "Say where the panel is: holdfast --url https://ADDRESS:8443 --ca ca.crt login."
        )
    return url.rstrip("/"), ca_file(saved_session())


def ca_file(session: dict[str, object]) -> str:
    return _given.ca or str(session.get("ca", "")) or (str(NODE_CA) if NODE_CA.exists() else "")


def _nowhere() -> HoldfastError:
    if NODE_TOML.exists():
        others = _management_nodes()
        where = f"a management node ({', '.join(others)})" if others else "a management node"
        return ConfigError(
            "the API does not run on this node",
            f"Run the command on {where}, or give --url https://ADDRESS:8443 after `holdfast login`. "
            "If this is a management node: systemctl status holdfast-agent.",
        )
    return ConfigError(
        "this machine belongs to no cluster",
        "Create one with `holdfast cluster create`, or reach one with --url https://ADDRESS:8443 and `holdfast login`.",
    )


def _management_nodes() -> list[str]:
    """As this node's agent saw them last; nothing where that cannot be told."""
    from holdfast.config import load  # noqa: PLC0415 - only errors need it

    try:
        found = json.loads((Path(load(NODE_TOML).state_dir) / "management.json").read_text())
        return [str(node) for node in found["nodes"]]
    except (OSError, ValueError, KeyError, TypeError, HoldfastError):
        return []


def session_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "holdfast" / "session.json"


def saved_session() -> dict[str, object]:
    try:
        found = json.loads(session_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save_session(url: str, ca: str, token: str) -> None:
    """For the next commands of this user only. Raises ConfigError."""
    path = session_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": url, "ca": str(Path(ca).absolute()) if ca else "", "token": token}, file)
        path.with_suffix(".new").replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", "Set HOLDFAST_TOKEN instead.") from error


def forget_session() -> None:
    session_file().unlink(missing_ok=True)
