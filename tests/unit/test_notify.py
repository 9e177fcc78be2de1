"""How receivers of alarms are told, where it does not need one: what is sent, and what a bad one can keep busy."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from holdfast.core.alarm_model import Alarm, AlarmState, Notice, Receiver, ReceiverType
from holdfast.core.history import Severity
from holdfast.manager.threads import AT_ONCE, Threads
from holdfast.net.notify import NotDelivered, mail, notifier, webhook
from holdfast.net.notify.alertmanager import alerts

RAISED = Alarm(
    "hold:cluster", "hold", "cluster", Severity.ERROR, "text", "advice", AlarmState.RAISED, "2026-01-01T00:00:00Z"
)
OPTIONS = {"from": "a@example.com", "to": "b@example.com", "tls": "none"}
MAIL = Receiver("m", ReceiverType.EMAIL, options=OPTIONS)


def notice(*alarms: Alarm, receiver: Receiver = MAIL) -> Notice:
    return Notice(receiver, alarms, "hall 7", "n1", "2026-01-01T00:00:09Z")


def test_an_alarm_that_was_forgotten_and_raised_again_is_another_delivery() -> None:
    """Its number begins anew, and receivers leave out what they know."""
    again = replace(RAISED, raised_at="2026-03-01T00:00:00Z")
    sent = [json.loads(webhook.body(notice(one)))["alarms"][0]["delivery"] for one in (RAISED, RAISED, again)]
    assert sent[0] == sent[1] != sent[2]


def test_mails_that_tell_of_other_alarms_are_other_mails() -> None:
    one, two, three = (replace(RAISED, id=f"node-dead:n{n}", subject=f"n{n}") for n in (1, 2, 3))
    names = [mail.message(notice(*some))["Message-ID"] for some in ((one, two), (one, three), (one, two), (one,))]
    assert names[0] == names[2] and len(set(names)) == 3


def test_what_became_worse_is_over_with_its_former_severity() -> None:
    def said(alarm: Alarm) -> dict[str, str]:
        return {each["labels"]["severity"]: each["endsAt"] for each in alerts(alarm, notice(alarm))}

    assert set(said(RAISED)) == {"critical"}
    worse = said(replace(RAISED, change=2))
    assert worse["info"] == worse["warning"] == "2026-01-01T00:00:09Z" < worse["critical"]
    assert set(said(replace(RAISED, change=3, state=AlarmState.CLEARED, cleared_at="2026-01-01T00:00:08Z"))) == {
        "critical"
    }


# --- receivers that keep somebody busy --------------------------------------------------------------------------------


@asynccontextmanager
async def tarpit() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A mail server that greets for ever, a line after the other: its port, and whether somebody came and went."""
    came, went = asyncio.Event(), asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        try:
            while not reader.at_eof():
                writer.write(b"220-wait\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            went.set()
            writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came, went


async def test_a_mail_server_that_never_ends_its_greeting_holds_no_thread() -> None:
    async with asyncio.timeout(60), tarpit() as (port, came, went):
        receiver = replace(MAIL, options=OPTIONS | {"server": "127.0.0.1", "port": str(port)})
        sending = asyncio.create_task(mail.send(notice(RAISED, receiver=receiver), {}))
        await came.wait()
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await went.wait()


async def test_a_receiver_that_does_not_come_to_an_end_is_given_up() -> None:
    async with asyncio.timeout(60), tarpit() as (port, _, went):
        receiver = replace(MAIL, options=OPTIONS | {"server": "127.0.0.1", "port": str(port)})
        with pytest.raises(NotDelivered, match="did not take it within"):
            await notifier(str, within_s=0.5)(notice(RAISED, receiver=receiver))
        await went.wait()


async def test_who_waits_for_names_or_mail_servers_holds_up_nothing_that_computes() -> None:
    """Names are looked up, and mails sent, by the event loop's own threads, of which there are few."""
    free, threads = threading.Event(), Threads()
    stuck = [asyncio.create_task(asyncio.to_thread(free.wait, 60)) for _ in range(64)]
    try:
        async with asyncio.timeout(50):
            assert await asyncio.gather(*(threads.run(pow, 2, n) for n in range(2 * AT_ONCE))) == [
                2**n for n in range(2 * AT_ONCE)
            ]
        assert not any(one.done() for one in stuck)
    finally:
        free.set()
        await asyncio.gather(*stuck)
