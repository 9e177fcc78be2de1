"""Alarms reach real receivers, though one refuses at first and the manager fails over: webhook, mail, Alertmanager."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alarm_receivers import Mailbox, Pki, Webhook, active, alertmanager, free_port

from holdfast import locks
from holdfast.clock import SystemClock
from holdfast.core.alarm_model import (
    Alarm,
    AlarmState,
    Delivery,
    Notice,
    Receiver,
    ReceiverType,
)
from holdfast.core.history import Severity
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    Fence,
    FenceDeviceSpec,
    NodeSpec,
    Proof,
    Role,
    WatchdogAttestation,
)
from holdfast.core.observers import Suspicion
from holdfast.manager.loop import Manager
from holdfast.net.notify import NotDelivered, notifier
from holdfast.ports import PowerFence, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import MemoryCluster, MemoryStore

SECRET = b"s" * 32
KEY, PASSWORD, USER = "the webhook's key", "the mail's password", "holdfast"
DOG = WatchdogAttestation("/dev/watchdog", "test", 5)


class Eyes:
    """Port Detector: misses nobody."""

    settled = True

    def suspicion(self, node: str, network: str, domains: Mapping[str, str]) -> Suspicion | None:
        return None

    def missed(self, domains: Mapping[str, str]) -> frozenset[str]:
        return frozenset()

    def next_look(self) -> float:
        return float("inf")


class NoDevices:
    def open(self, device: FenceDeviceSpec) -> PowerFence:
        raise AssertionError("there is no fence device")


def unlock(locked: str) -> str:
    return locks.unlock(locked, SECRET).decode()


def lock(text: str) -> str:
    return locks.lock(text.encode(), SECRET)


class Cluster:
    """A store, a node that lives and one that was claimed, and managers."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.cluster = MemoryCluster(self.clock)
        self._sequence = 0
        self.put(keys.CLUSTER, ClusterSpec("hall 7", "c", "fast"))
        for name in ("n1", "n2"):
            self.put(keys.node_spec(name), NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"}))
        self.put(keys.fence("n1"), Fence(1))
        self.put(keys.fence("n2"), Fence(2, Proof.POWER_OFF))
        self.put(keys.beat("n2"), Beat("s2", "b", "m2", 1, 1, BeatPhase.ACTIVE, DOG))

    def put(self, key: str, value: object) -> None:
        self.cluster.txn([], [Put(key, encode(value))], ())

    async def beat(self) -> None:
        while True:
            self._sequence += 1
            self.put(keys.beat("n1"), Beat("s1", "b", "m1", self._sequence, 1, BeatPhase.ACTIVE, DOG))
            await asyncio.sleep(1)

    def back(self) -> None:
        self.put(keys.beat("n2"), Beat("s3", "b2", "m2", 2, 2, BeatPhase.ACTIVE, DOG))

    @property
    def alarm(self) -> Alarm | None:
        entry = self.cluster.get(keys.alarm("node-dead:n2"))
        return decode(entry.value, Alarm) if entry else None

    @property
    def raised_at(self) -> str:
        return self.alarm.raised_at if self.alarm is not None else ""

    def delivery(self, receiver: str) -> Delivery:
        entry = self.cluster.get(keys.delivery(receiver))
        return decode(entry.value, Delivery) if entry else Delivery()

    @asynccontextmanager
    async def managed(self, session: str) -> AsyncIterator[None]:
        """By one manager, as long as the block lasts; it ends as a killed one does."""
        store = MemoryStore(self.cluster, self.clock)
        manager = Manager(
            store,
            self.clock,
            "n1",
            session,
            NoDevices(),
            {},
            detector=Eyes(),
            send=notifier(unlock),
            apart=asyncio.to_thread,
        )
        tasks = [asyncio.create_task(manager.run()), asyncio.create_task(self.beat())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


async def test_every_receiver_is_told_although_one_refuses_and_the_manager_dies(tmp_path: Path) -> None:
    pki, cluster, hook, mail = Pki(tmp_path), Cluster(), Webhook(KEY), Mailbox(USER, PASSWORD)
    async with hook.serving(pki.context), alertmanager(tmp_path) as alerts:
        with mail.serving(pki.context):
            receivers = (
                Receiver(
                    "hook",
                    ReceiverType.WEBHOOK,
                    options={"host": "localhost", "ca": pki.ca},
                    secrets={"url": lock(f"https://localhost:{hook.port}/secret-path"), "key": lock(KEY)},
                    serial=1,
                ),
                Receiver(
                    "mail",
                    ReceiverType.EMAIL,
                    options={
                        "server": "localhost",
                        "port": str(mail.port),
                        "tls": "starttls",
                        "from": "holdfast@example.com",
                        "to": "ops@example.com, night@example.com",
                        "user": USER,
                        "ca": pki.ca,
                    },
                    secrets={"password": lock(PASSWORD)},
                    serial=2,
                ),
                Receiver("alerts", ReceiverType.ALERTMANAGER, options={"url": alerts}, serial=3),
            )
            for receiver in receivers:
                cluster.put(keys.receiver(receiver.name), receiver)
            async with cluster.managed("first"):
                await until(lambda: mail.messages and hook.refused >= 2)
                assert "n2" in await active(alerts)
                await until(lambda: cluster.delivery("mail").told and cluster.delivery("alerts").told)
            assert "refused it" in cluster.delivery("hook").error and cluster.delivery("hook").failures
            assert "secret-path" not in cluster.delivery("hook").error
            async with cluster.managed("second"):
                await until(lambda: hook.refused >= 4)
                hook.refuses = False
                await until(lambda: hook.taken)
                assert hook.deliveries == [f"node-dead:n2#1.1@{cluster.raised_at}"]
                cluster.back()
                await until(lambda: len(mail.messages) == 2 and len(hook.taken) == 2)
                await until(lambda: cluster.alarm is not None and cluster.alarm.state is AlarmState.CLEARED)
                await until(lambda: cluster.delivery("alerts").told.get("node-dead:n2") == (1, 2))
                assert "n2" not in await active(alerts)
    assert hook.deliveries == [f"node-dead:n2#1.{change}@{cluster.raised_at}" for change in (1, 2)]
    assert not hook.forged
    assert [body["alarms"][0]["state"] for body in hook.taken] == ["raised", "cleared"]
    assert len(mail.messages) == 2, "the second manager repeated nothing"
    first, last = mail.messages
    assert first["Subject"] == "[hall 7] error raised: n2 failed, was proven dead (P1), and is not back"
    assert first["To"] == "ops@example.com, night@example.com" and first["Message-ID"] != last["Message-ID"]
    assert "seen: holdfast alarm acknowledge node-dead:n2" in first.get_content()
    assert "\ncleared: 20" in last.get_content()


RAISED = Alarm(
    "node-dead:n2", "node-dead", "n2", Severity.ERROR, "n2 failed", "mend it", AlarmState.RAISED, "2026-01-01T00:00:00Z"
)


async def refusal(receiver: Receiver) -> str:
    """Why it was not delivered."""
    with pytest.raises(NotDelivered) as caught:
        await notifier(unlock)(Notice(receiver, (RAISED,), "c", "n1", "2026-01-01T00:00:00Z"))
    return str(caught.value)


async def test_what_is_not_delivered_says_why_and_no_secret(tmp_path: Path) -> None:
    pki, hook, mail = Pki(tmp_path), Webhook(KEY), Mailbox(USER, PASSWORD)
    async with hook.serving(pki.context):
        secrets = {"url": lock(f"https://localhost:{hook.port}/secret-path"), "key": lock(KEY)}
        untrusted = await refusal(Receiver("h", ReceiverType.WEBHOOK, secrets=secrets))
        assert "certificate" in untrusted and "secret-path" not in untrusted
        assert not hook.refused, "it was told nothing before its certificate was known to be good"
    with mail.serving(pki.context):
        options = {"server": "localhost", "port": str(mail.port), "from": "a@example.com", "to": "b@example.com"}
        options |= {"user": USER, "ca": pki.ca}
        wrong = await refusal(Receiver("m", ReceiverType.EMAIL, options=options, secrets={"password": lock("wrong")}))
        assert "does not accept the login of holdfast" in wrong
        assert "certificate" in await refusal(Receiver("m", ReceiverType.EMAIL, options=options | {"ca": ""}))
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "did not take it" in await refusal(Receiver("a", ReceiverType.ALERTMANAGER, options={"url": nobody}))
