"""E-mail: one message per notice. TLS at once or by STARTTLS, with a verified certificate."""

import asyncio
import hashlib
import smtplib
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from holdfast.core.alarm_model import Alarm, AlarmState, Notice
from holdfast.net.notify import NotDelivered

TIMEOUT_S = 10.0
END_S = 0.5
POLICY = SMTP.clone(max_line_length=250)
"""A subject stays in one line."""
WORDS = {AlarmState.RAISED: "raised", AlarmState.ACKNOWLEDGED: "acknowledged", AlarmState.CLEARED: "cleared"}


class _Client(smtplib.SMTP):
    """One that is known before it has connected, so that somebody else can end it."""

    def __init__(self, opened: list[smtplib.SMTP], *arguments: Any, **options: Any) -> None:
        opened.append(self)
        super().__init__(*arguments, **options)


class _TlsClient(smtplib.SMTP_SSL):
    """Likewise."""

    def __init__(self, opened: list[smtplib.SMTP], *arguments: Any, **options: Any) -> None:
        opened.append(self)
        super().__init__(*arguments, **options)


async def send(notice: Notice, secrets: Mapping[str, str]) -> None:
    """In a thread: smtplib waits. Whoever cancels this ends the thread too, by its connection."""
    opened: list[smtplib.SMTP] = []
    sending = asyncio.create_task(asyncio.to_thread(_send, notice, secrets, opened))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        ending = asyncio.create_task(_end(sending, opened))
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)
        raise


_ending: set[asyncio.Task[None]] = set()
"""So that nothing forgets them."""


async def _end(sending: asyncio.Task[None], opened: list[smtplib.SMTP]) -> None:
    """Take the connection away, as soon as there is one, from a thread that a server may feed for ever."""
    while not sending.done():
        for client in opened:
            if client.sock is not None:
                with suppress(OSError):
                    client.sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([sending], timeout=END_S)
    sending.exception()


def _send(notice: Notice, secrets: Mapping[str, str], opened: list[smtplib.SMTP]) -> None:
    options = notice.receiver.options
    server, port, tls = options["server"], int(options["port"]), options.get("tls", "starttls")
    where = f"the mail server {server}"
    try:
        context = ssl.create_default_context(cadata=options.get("ca") or None)
        if tls == "tls":
            client: smtplib.SMTP = _TlsClient(opened, server, port, timeout=TIMEOUT_S, context=context)
        else:
            client = _Client(opened, server, port, timeout=TIMEOUT_S)
        with client:
            if tls == "starttls":
                client.starttls(context=context)
            if options.get("user"):
                client.login(options["user"], secrets.get("password", ""))
            refused = client.send_message(message(notice))
    except smtplib.SMTPAuthenticationError as error:
        raise NotDelivered(f"{where} does not accept the login of {options['user']}", "Set it anew.") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotDelivered(f"{where} did not take it: {error}", "Check server, port and encryption.") from error
    if refused:
        raise NotDelivered(f"{where} refused {', '.join(sorted(refused))}", "Check the addresses.")


def message(notice: Notice) -> EmailMessage:
    made = EmailMessage(POLICY)
    options, first = notice.receiver.options, notice.alarms[0]
    made["From"] = options["from"]
    made["To"] = ", ".join(part.strip() for part in options["to"].split(","))
    made["Subject"] = _line(_subject(notice))[:200]
    made["Date"] = format_datetime(datetime.fromisoformat(notice.wall))
    every = "".join(map(_key, notice.alarms))
    key = _key(first) if len(notice.alarms) == 1 else f"{_key(first)}-{hashlib.sha256(every.encode()).hexdigest()[:12]}"
    made["Message-ID"] = f"<{key}@{_plain(notice.cluster) or 'cluster'}.holdfast>"
    made["Auto-Submitted"] = "auto-generated"
    parts = [_paragraph(alarm) for alarm in notice.alarms]
    made.set_content("\n\n".join([*parts, f"-- \nHoldfast, cluster {notice.cluster}, sent by {notice.node}"]) + "\n")
    return made


def _subject(notice: Notice) -> str:
    first = notice.alarms[0]
    more = f" and {len(notice.alarms) - 1} more" if len(notice.alarms) > 1 else ""
    return f"[{notice.cluster}] {first.severity} {WORDS[first.state]}: {first.text[:120]}{more}"


def _paragraph(alarm: Alarm) -> str:
    lines = [f"{alarm.severity.upper()} {WORDS[alarm.state]}: {alarm.text}", f"since: {alarm.raised_at}"]
    if alarm.open:
        lines.append(f"what to do: {alarm.advice}")
        lines.append(f"seen: holdfast alarm acknowledge {alarm.id}")
    else:
        lines.append(f"cleared: {alarm.cleared_at}")
    return "\n".join(lines)


def _key(alarm: Alarm) -> str:
    """The same for a repetition, so that mail programs show it once."""
    return _plain(f"{alarm.id}.{alarm.number}.{alarm.change}.{alarm.raised_at}")


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in text)


def _line(text: str) -> str:
    """Headers are one line."""
    return " ".join(text.split())
