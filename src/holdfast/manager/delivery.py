"""Tells receivers of alarms, at least once, and notes in the store what they have taken: the next leader goes on there.

Each receiver has a task of its own during a term: one that hangs holds up neither the others nor any decision.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from holdfast.core.alarm_life import after, due, first_delivery
from holdfast.core.alarm_model import RANK, Alarm, Delivery, Notice, Receiver, ReceiverType
from holdfast.core.model import ClusterSpec
from holdfast.errors import HoldfastError, StoreError, StoreUnavailable
from holdfast.manager.election import Election, LostLeadership
from holdfast.ports import Change, Clock, Compare, Put
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.mirror import Mirror
from holdfast.store.view import all_said, said

log = structlog.get_logger("holdfast.manager")

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
"""Pauses between attempts are doubled up to this."""
REPEAT_S = 60.0
"""An Alertmanager forgets what it is not told again."""
AGAIN_S = 600.0
SEND_S = 20.0
"""Time-out of one attempt."""
AT_ONCE = 50
ERROR_CHARS = 300
"""So much of why it failed is kept: some servers say a lot."""

Send = Callable[[Notice], Awaitable[None]]
"""Returns when the receiver has taken it. Raises HoldfastError."""


class Couriers:
    """All receivers, while their manager leads."""

    def __init__(self, mirror: Mirror, clock: Clock, election: Election, node: str, send: Send | None = None) -> None:
        """`send`: None: nobody is told."""
        self._mirror = mirror
        self._clock = clock
        self._election = election
        self._node = node
        self._send = send
        self._couriers: dict[str, _Courier] = {}
        mirror.on_change(self._changed)

    def follow(self) -> None:
        """To be called now and then during a term: one courier for each receiver as it is set now."""
        if self._send is None:
            return
        wanted = all_said(self._mirror, keys.RECEIVERS, Receiver)
        for name in [name for name, courier in self._couriers.items() if wanted.get(name) != courier.receiver]:
            self._couriers.pop(name).stop()
        for name, receiver in wanted.items():
            if name not in self._couriers:
                self._couriers[name] = _Courier(
                    receiver, self._mirror, self._clock, self._election, self._node, self._send
                )

    def stop(self) -> None:
        for courier in self._couriers.values():
            courier.stop()
        self._couriers.clear()

    def _changed(self, change: Change) -> None:
        if change.key.startswith(keys.ALARMS):
            for courier in self._couriers.values():
                courier.look()


class _Courier:
    """Keeps one receiver informed during one term."""

    def __init__(
        self, receiver: Receiver, mirror: Mirror, clock: Clock, election: Election, node: str, send: Send
    ) -> None:
        self.receiver = receiver
        self._mirror = mirror
        self._clock = clock
        self._election = election
        self._node = node
        self._send = send
        self._state = said(mirror, keys.delivery(receiver.name), Delivery) or Delivery()
        self._noted = True
        """Does the store hold this state?"""
        self._repeated_at = clock.now()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def look(self) -> None:
        """There may be something to tell."""
        self._news.set()

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        retry_s, failing = FIRST_RETRY_S, False
        while True:
            self._news.clear()
            wait_s = REPEAT_S if self._repeats else AGAIN_S
            if self._election.blind():  # a send could not be noted: it would be sent again by the next leader
                await self._clock.sleep(FIRST_RETRY_S)
                continue
            try:
                await self._catch_up()
                retry_s, failing = FIRST_RETRY_S, False
            except LostLeadership:
                return
            except StoreError as error:  # no fault of the receiver's
                log.info("delivery not noted", receiver=self.receiver.name, error=str(error))
                wait_s, failing = FIRST_RETRY_S, True
            except Exception as error:  # also a fault of ours must not silence a receiver for good
                await self._failed(error)
                wait_s, retry_s, failing = retry_s, min(LAST_RETRY_S, retry_s * 2), True
            await self._wait(wait_s, news=not failing)

    async def _wait(self, seconds: float, *, news: bool) -> None:
        """So long, or until there is news. While a receiver fails, news wait for the next attempt."""
        if not news:
            return await self._clock.sleep(seconds)
        try:
            async with self._clock.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    @property
    def _repeats(self) -> bool:
        return self.receiver.type is ReceiverType.ALERTMANAGER

    async def _catch_up(self) -> None:
        await self._note()
        alarms = all_said(self._mirror, keys.ALARMS, Alarm)
        if self._state.serial != self.receiver.serial:
            await self._say(first_delivery(self.receiver, alarms))
        while pending := due(self.receiver, self._state, alarms)[:AT_ONCE]:
            if self._election.blind():
                raise StoreUnavailable("the store does not take what would be noted; nothing is sent")
            await self._tell(tuple(pending))
            await self._say(after(self._state, pending, alarms, self._clock.wall()))
        if self._repeats and self._clock.now() - self._repeated_at >= REPEAT_S:
            standing = self._standing(alarms)
            if standing:
                await self._tell(standing, repeats=True)
            self._repeated_at = self._clock.now()
        if self._state.failures:
            await self._say(replace(self._state, error="", failures=0))

    def _standing(self, alarms: Mapping[str, Alarm]) -> tuple[Alarm, ...]:
        return tuple(
            alarm for alarm in alarms.values() if alarm.open and alarm.id in self._state.told and self._for(alarm)
        )

    def _for(self, alarm: Alarm) -> bool:
        return RANK[alarm.severity] >= RANK[self.receiver.min_severity]

    async def _tell(self, alarms: tuple[Alarm, ...], *, repeats: bool = False) -> None:
        cluster = self._mirror.read(keys.CLUSTER, ClusterSpec)
        name = cluster.name if cluster is not None else ""
        notice = Notice(self.receiver, alarms, name, self._node, self._clock.wall(), repeats)
        try:
            async with self._clock.timeout(SEND_S):
                await self._send(notice)
        except TimeoutError:
            raise HoldfastError(f"it did not answer within {SEND_S:g} s") from None

    async def _failed(self, error: Exception) -> None:
        text = str(error) if isinstance(error, HoldfastError) else f"unexpected failure: {error!r}"
        text = " ".join(text.split())[:ERROR_CHARS]
        if text != self._state.error:
            log.warning("alarms not delivered", receiver=self.receiver.name, error=text)
        try:
            await self._say(replace(self._state, error=text, failures=self._state.failures + 1))
        except (StoreError, LostLeadership) as lost:
            log.info("delivery not noted", receiver=self.receiver.name, error=str(lost))

    async def _say(self, state: Delivery) -> None:
        """It is so from now on, and noted in the store: what cannot be noted at once is not sent again, but noted later."""
        if replace(state, at="") != replace(self._state, at=""):
            self._state, self._noted = replace(state, at=self._clock.wall()), False
            await self._note()

    async def _note(self) -> None:
        """Compares the receiver: what it was told of before it was removed is nobody's business any more."""
        if self._noted:
            return
        name = self.receiver.name
        alive = self._mirror.revision_of(keys.receiver(name))
        ops = [Put(keys.delivery(name), encode(self._state))]
        if not alive or not (await self._election.commit([Compare(keys.receiver(name), alive)], ops)).succeeded:
            raise StoreError("the receiver was changed or removed meanwhile")
        self._noted = True
