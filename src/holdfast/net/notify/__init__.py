"""Telling receivers of alarms: one module per type of receiver."""

import asyncio
from collections.abc import Awaitable, Callable

from holdfast.core.alarm_model import Notice, ReceiverType
from holdfast.errors import HoldfastError

Unlock = Callable[[str], str]
"""A secret of a receiver, as it was given."""


class NotDelivered(HoldfastError):
    """A receiver did not take what it was told."""

    http_status = 502


def notifier(unlock: Unlock, *, within_s: float = 15.0) -> Callable[[Notice], Awaitable[None]]:
    """Tells a receiver; returns once it has taken the notice. Raises NotDelivered, also of one that answers ever a little
    and does not come to an end within `within_s`, and what `unlock` raises."""

    async def send(notice: Notice) -> None:
        from holdfast.net.notify import alertmanager, mail, webhook  # noqa: PLC0415 - HTTP and TLS, for who has receivers

        secrets = {name: unlock(locked) for name, locked in notice.receiver.secrets.items()}
        tell = {
            ReceiverType.WEBHOOK: webhook.send,
            ReceiverType.EMAIL: mail.send,
            ReceiverType.ALERTMANAGER: alertmanager.send,
        }[notice.receiver.type]
        try:
            async with asyncio.timeout(within_s):
                await tell(notice, secrets)
        except TimeoutError:
            text = f"the receiver {notice.receiver.name} did not take it within {within_s:g} s"
            raise NotDelivered(text, "Look at how busy it is, and at the network to it.") from None

    return send
