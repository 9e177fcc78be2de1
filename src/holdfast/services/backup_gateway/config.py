"""The gateway program's own configuration file (JSON, 0600: it holds the back-end's secrets) and its users file. Pure.

The driver writes both; the program reads the configuration once, and the users file whenever it changes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from holdfast.errors import ConfigError, InvalidInput
from holdfast.services.backup_gateway.cluster import PORT, BackupUser

T = TypeVar("T")


class Local(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="local"):
    """A directory that every node sees under the same path."""

    path: str


class Nfs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="nfs"):
    """A directory of an NFS server, which the gateway mounts itself."""

    source: str
    """HOST:/PATH."""
    mount_point: str
    options: str = "vers=4.2,hard,timeo=50,retrans=2,noatime"


class S3(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="s3"):
    """A prefix in a bucket; the bucket must exist."""

    endpoint: str
    """http(s)://HOST[:PORT]"""
    bucket: str
    access_key: str
    secret_key: str
    prefix: str = ""
    """Without slashes around it; empty: the whole bucket."""
    region: str = "us-east-1"
    ca: str = ""
    """Authorities' certificates, PEM; empty: those of the system."""


class Sftp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sftp"):
    """A directory behind an SSH server. It must speak OpenSSH's extensions `hardlink` and `fsync`."""

    host: str
    user: str
    path: str
    host_key: str
    """The server's public key, as ssh-keyscan prints it after the host: `ssh-ed25519 AAAA…`. Nothing else is trusted."""
    port: int = 22
    private_key: str = ""
    """PEM or OpenSSH text; empty: the password is used."""
    password: str = ""


Backend = Local | Nfs | S3 | Sftp


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the gateway program must know."""

    name: str
    """The instance, e.g. backup/main/gw-n1; part of the names of its temporary files."""
    address: str
    """IP address to listen at; it need not be on this node yet."""
    cert: str
    key: str
    users: str
    """Path of the users file."""
    backend: Backend
    port: int = PORT
    append_only: bool = False
    """No user deletes or changes what was stored (locks excepted)."""


def to_bytes(config: GatewayConfig) -> bytes:
    """The configuration file's content."""
    return msgspec.json.encode(config)


def from_bytes(data: bytes, file: str) -> GatewayConfig:
    """Raises ConfigError naming `file` and what does not fit."""
    return _decode(data, GatewayConfig, file)


def users_to_bytes(users: Sequence[BackupUser]) -> bytes:
    """The users file's content."""
    return msgspec.json.encode(list(users))


def users_from_bytes(data: bytes, file: str) -> list[BackupUser]:
    """Raises ConfigError."""
    return _decode(data, list[BackupUser], file)


def _decode(data: bytes, kind: type[T], file: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{file} is not usable: {error}", "The agent writes it; restart the gateway to have it written anew."
        ) from None


# --- back-ends as operators write them -------------------------------------------------------------------------------

CREDENTIALS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "local": ((), ()),
    "nfs": ((), ("options",)),
    "s3": (("access_key", "secret_key"), ("region", "ca")),
    "sftp": (("host_key",), ("private_key", "password")),
}
"""Kind → what must and what may be told beside the text."""

_FORMS = {
    "local": "local:/DIRECTORY",
    "nfs": "nfs:HOST:/PATH",
    "s3": "s3:https://HOST[:PORT]/BUCKET[/PREFIX]",
    "sftp": "sftp:USER@HOST:/PATH or sftp://USER@HOST[:PORT]/PATH",
}
_PATH = re.compile(r"/[A-Za-z0-9/._+:@-]*")
_HOST = re.compile(r"\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SSH_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def parse_backend(text: str, told: Mapping[str, str], mount_point: str) -> Backend:
    """A back-end from the operator's text and what is told beside it (see CREDENTIALS); `mount_point`: where NFS is
    mounted. Raises InvalidInput."""
    kind, _, rest = text.partition(":")
    if kind not in _FORMS:
        raise InvalidInput(f"{text!r} is no back-end", f"Write one of: {'; '.join(_FORMS.values())}.")
    required, optional = CREDENTIALS[kind]
    missing = [name for name in required if not told.get(name)]
    unknown = sorted(set(told) - {*required, *optional})
    if missing or unknown:
        problem = f"needs {' and '.join(missing)}" if missing else f"has no use for {', '.join(unknown)}"
        raise InvalidInput(f"the back-end {text!r} {problem}", f"It takes {', '.join((*required, *optional))}.")
    match kind:
        case "local":
            return Local(_path(text, rest))
        case "nfs":
            return _nfs(text, rest, told, mount_point)
        case "s3":
            return _s3(text, rest, told)
        case _:
            return _sftp(text, rest, told)


def _nfs(text: str, rest: str, told: Mapping[str, str], mount_point: str) -> Nfs:
    host, _, path = rest.partition(":/") if not rest.startswith("[") else rest.partition("]:/")
    host += "]" if rest.startswith("[") else ""
    if not _HOST.fullmatch(host):
        raise _wrong(text)
    source = f"{host}:{_path(text, f'/{path}')}"
    return Nfs(source, mount_point, told["options"]) if told.get("options") else Nfs(source, mount_point)


def _s3(text: str, rest: str, told: Mapping[str, str]) -> S3:
    try:
        url = urlsplit(rest)
        port = url.port
    except ValueError:
        raise _wrong(text) from None
    bucket, _, prefix = url.path.strip("/").partition("/")
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    usable = url.scheme in ("http", "https") and _HOST.fullmatch(host) and _BUCKET.fullmatch(bucket)
    if not usable or url.query or url.fragment or url.username is not None:
        raise _wrong(text)
    if prefix:
        _path(text, f"/{prefix}")
    endpoint = f"{url.scheme}://{host}" + (f":{port}" if port else "")
    optional = {name: told[name] for name in ("region", "ca") if told.get(name)}
    return S3(endpoint, bucket, told["access_key"], told["secret_key"], prefix, **optional)


def _sftp(text: str, rest: str, told: Mapping[str, str]) -> Sftp:
    if not told.get("private_key") and not told.get("password"):
        raise InvalidInput(f"the back-end {text!r} needs private_key or password", "Tell one of them.")
    try:
        url = urlsplit(f"sftp:{rest}" if rest.startswith("//") else f"sftp://{rest.replace(':/', '/', 1)}")
        port = url.port or 22
    except ValueError:
        raise _wrong(text) from None
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    if not _HOST.fullmatch(host) or not _SSH_USER.fullmatch(url.username or "") or url.password:
        raise _wrong(text)
    private = {name: told.get(name, "") for name in ("private_key", "password")}
    return Sftp(url.hostname or "", url.username or "", _path(text, url.path), told["host_key"], port, **private)


def _path(text: str, path: str) -> str:
    parts = path.rstrip("/").split("/")[1:]
    if not _PATH.fullmatch(path) or not parts or any(part in ("", ".", "..") for part in parts):
        raise _wrong(text)
    return str(PurePosixPath(path))


def _wrong(text: str) -> InvalidInput:
    return InvalidInput(f"{text!r} is no back-end", f"Write it like {_FORMS[text.partition(':')[0]]}.")
