"""Receivers of alarms: add, remove, look at, test. Their secrets are locked at once and never shown."""

import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import SplitResult, urlsplit

from holdfast import locks
from holdfast.api.operations import checks
from holdfast.api.operations.alarms import known_severity
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.clock import SystemClock
from holdfast.core.alarm_model import Alarm, AlarmKind, AlarmState, Delivery, Notice, Receiver, ReceiverType
from holdfast.core.history import Severity
from holdfast.errors import Conflict, InvalidInput
from holdfast.net.notify import notifier
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.view import Source

Secret = Callable[[], bytes]
"""The cluster secret. Raises ConfigError."""

RECEIVERS = 20
TLS = ("starttls", "tls", "none")
SHOWN = ("host", "server", "port", "tls", "from", "to", "user", "url")


@dataclass(frozen=True, slots=True)
class NewReceiver:
    """As an operator gives it: `options` are kept as they are, `secrets` locked."""

    name: str
    type: ReceiverType
    options: dict[str, str]
    secrets: dict[str, str]
    min_severity: str = "warning"


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """A receiver without its secrets, and how deliveries to it go."""

    name: str
    type: ReceiverType
    min_severity: Severity
    options: dict[str, str]
    secrets: tuple[str, ...]
    """Names of those that are set."""
    error: str = ""
    """Why the last attempt failed; empty: it did not."""
    failures: int = 0
    at: str = ""


def webhook(name: str, url: str, key: str, ca: str, severity: str) -> NewReceiver:
    """Raises InvalidInput."""
    host = _url(url, plain=False).hostname or ""
    secrets = {"url": url} | ({"key": key} if key else {})
    return NewReceiver(name, ReceiverType.WEBHOOK, _with_ca({"host": host}, ca), secrets, severity)


def alertmanager(name: str, url: str, user: str, password: str, ca: str, severity: str) -> NewReceiver:
    """Raises InvalidInput."""
    parts = _url(url, plain=not password)
    if parts.query or parts.fragment:
        raise InvalidInput(
            f"`{url}` is not the root of an Alertmanager", "Write it like https://alerts.example.com:9093."
        )
    options = _with_ca({"url": url, "user": _line(user, "user")}, ca)
    return NewReceiver(name, ReceiverType.ALERTMANAGER, options, {"password": password} if password else {}, severity)


def email(
    name: str,
    *,
    server: str,
    port: int,
    tls: str,
    sender: str,
    to: list[str],
    user: str,
    password: str,
    ca: str,
    severity: str,
) -> NewReceiver:
    """Raises InvalidInput."""
    if tls not in TLS:
        raise InvalidInput(f"there is no encryption `{tls}`", f"Choose from {', '.join(TLS)}.")
    if tls == "none" and password:
        raise InvalidInput("a password is not sent without encryption", "Choose starttls or tls.")
    if not server or not all(c.isalnum() or c in ".-:" for c in server):
        raise InvalidInput(f"`{server}` is no mail server", "Give its name or address.")
    addresses = [_address(one) for one in (sender, *to)]
    options = {
        "server": server,
        "port": str(port),
        "tls": tls,
        "from": addresses[0],
        "to": ", ".join(addresses[1:]),
        "user": _line(user, "user"),
    }
    secrets = {"password": password} if password else {}
    return NewReceiver(name, ReceiverType.EMAIL, _with_ca(options, ca), secrets, severity)


async def add(store: Store, actor: Actor, secret: Secret, new: NewReceiver) -> Outcome:
    """It is told of everything that is open now, and from now on."""
    checks.name(new.name, "receiver")
    severity = known_severity(new.min_severity)
    locked = {name: locks.lock(value.encode(), secret()) for name, value in new.secrets.items()}

    async def operation(draft: Draft) -> str:
        known = draft.specs(keys.RECEIVERS, Receiver)
        if any(other.name == new.name for other in known):
            raise Conflict(f"a receiver `{new.name}` exists already", "Remove it first, or choose another name.")
        if len(known) >= RECEIVERS:
            raise Conflict(f"there are {RECEIVERS} receivers already", "Remove one that nobody reads.")
        draft.put(
            keys.receiver(new.name),
            Receiver(new.name, new.type, severity, new.options, locked, serial=draft.revision + 1),
        )
        draft.warn(f"See that alarms come through: holdfast alarm receiver test {new.name}")
        return f"receiver {new.name} is told of alarms from severity {severity} on ({new.type})"

    return await transact(store, actor, operation)


async def remove(store: Store, actor: Actor, name: str) -> Outcome:
    """It is told nothing any more."""

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.receiver(name), Receiver) is None:
            raise checks.not_found("receiver", name, [other.name for other in draft.specs(keys.RECEIVERS, Receiver)])
        draft.delete(keys.receiver(name))
        if await draft.fetch(keys.delivery(name)) is not None:
            draft.delete(keys.delivery(name))
        return f"receiver {name} is removed"

    return await transact(store, actor, operation)


async def test(source: Source, secret: Secret, name: str, *, node: str, cluster: str) -> str:
    """Send a test alarm now, from this process. The sentence says that it was taken. Raises NotDelivered."""
    receiver = found(source, name)
    wall = SystemClock().wall()
    alarm = Alarm(
        f"{AlarmKind.TEST}:{name}",
        AlarmKind.TEST,
        name,
        Severity.INFO,
        f"this is a test of the receiver {name}",
        "Nothing is wrong and there is nothing to do.",
        AlarmState.CLEARED if receiver.type is ReceiverType.ALERTMANAGER else AlarmState.RAISED,
        wall,
        cleared_at=wall if receiver.type is ReceiverType.ALERTMANAGER else "",
    )
    send = notifier(lambda locked: locks.unlock(locked, secret()).decode())
    await send(Notice(receiver, (alarm,), cluster, node, wall))
    return f"{name} has taken a test alarm"


def listed(source: Source) -> list[ReceiverView]:
    return [_view(source, one) for one in _receivers(source)]


def found(source: Source, name: str) -> Receiver:
    """Raises NotFound."""
    known = {one.name: one for one in _receivers(source)}
    if name not in known:
        raise checks.not_found("receiver", name, list(known))
    return known[name]


def _receivers(source: Source) -> list[Receiver]:
    read = (source.read(key, Receiver) for key in source.keys_below(keys.RECEIVERS))
    return [one for one in read if one is not None]


def _view(source: Source, one: Receiver) -> ReceiverView:
    state = source.read(keys.delivery(one.name), Delivery)
    if state is None or state.serial != one.serial:
        state = Delivery()
    options = {name: value for name, value in one.options.items() if name in SHOWN and value}
    secrets = tuple(sorted(one.secrets))
    return ReceiverView(one.name, one.type, one.min_severity, options, secrets, state.error, state.failures, state.at)


# --- checks --------------------------------------------------------------------------------------------------------


def _url(url: str, *, plain: bool) -> SplitResult:
    """`plain`: unencrypted is all right, too. Messages do not repeat the URL: it may be a secret."""
    advice = "Write it like https://alerts.example.com/holdfast."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("the URL cannot be read", advice) from None
    if not host or not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
        raise InvalidInput("the URL cannot be used", advice)
    if parts.username or parts.password:
        raise InvalidInput("the URL holds a user or a password", "Give those by themselves.")
    if parts.scheme != "https" and not (parts.scheme == "http" and (plain or _local(host))):
        raise InvalidInput("the URL does not begin with https://", advice)
    return parts


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_ca(options: dict[str, str], ca: str) -> dict[str, str]:
    if not ca:
        return options
    try:
        ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise InvalidInput("the authority is no certificate", "Give it as PEM.") from None
    return options | {"ca": ca}


def _address(text: str) -> str:
    address = parseaddr(text)[1]
    user, at, where = address.rpartition("@")
    if address != text.strip() or not at or not user or not where or not address.isascii() or not address.isprintable():
        raise InvalidInput(f"`{text}` is not a mail address", "Write it like ops@example.com.")
    if any(c in address for c in ' ,;<>"'):
        raise InvalidInput(f"`{text}` is not a mail address", "Write it like ops@example.com.")
    return address


def _line(text: str, what: str) -> str:
    if not text.isprintable():
        raise InvalidInput(f"the {what} cannot be used", "Write it in one line.")
    return text
