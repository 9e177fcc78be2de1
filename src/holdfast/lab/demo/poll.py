"""A client of the panel that never stops asking: `python -m holdfast.lab.demo.poll ADDRESS PORT`, with the cluster's CA on
standard input. Runs in the lab's client host.

While the panel answers it asks each 20 ms over a connection that it keeps, as a browser does. As soon as an answer is late
or the connection breaks it tries a new TCP and TLS connection each 20 ms, whatever became of the earlier ones, until one
of them brings an answer. So the first moment at which the panel can be used again is seen to within 20 ms.

One JSON line per answer: {"sent", "got"} in CLOCK_BOOTTIME seconds, and "new": 1 when it came over a new connection.
"""

import argparse
import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress

ATTEMPT_S = 1.0
"""An attempt on a new connection ends after so long: before the kernel repeats its SYN."""
LATE_S = 0.06
"""An answer over the kept connection is late after so long; new connections are tried besides it."""
LOST_S = 2.0
"""The kept connection is given up after so long without an answer."""
MOST_ATTEMPTS = 64

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Poller:
    """Asks `https://host:port/healthz` for ever."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, interval_s: float) -> None:
        self._host, self._port, self._context, self._interval_s = host, port, context, interval_s
        self._request = f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        self._kept: Link | None = None
        self._asked_at = 0.0
        """When the kept connection was asked what it has not answered yet; 0: nothing."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts = 0

    async def run(self) -> None:
        due = now()
        while True:
            if self._kept is not None and not self._asked_at:
                self._asked_at = now()
                self._spawn(self._ask_kept(self._kept))
            elif (self._kept is None or now() - self._asked_at > LATE_S) and self._attempts < MOST_ATTEMPTS:
                self._spawn(self._ask_anew())
            due = max(due + self._interval_s, now() - self._interval_s)
            await asyncio.sleep(due - now())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_kept(self, link: Link) -> None:
        sent = self._asked_at
        try:
            async with asyncio.timeout(LOST_S):
                await self._ask(link)
            _say(sent=sent, got=now())
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            link[1].transport.abort()
            if self._kept is link:
                self._kept = None
        if self._kept is link or self._kept is None:
            self._asked_at = 0.0

    async def _ask_anew(self) -> None:
        self._attempts += 1
        sent = now()
        link: Link | None = None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                link = await asyncio.open_connection(self._host, self._port, ssl=self._context)
                await self._ask(link)
            _say(sent=sent, got=now(), new=1)
            self._keep(link)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            if link is not None:
                link[1].transport.abort()
        finally:
            self._attempts -= 1

    def _keep(self, link: Link) -> None:
        """The newest connection that works is the one to keep; the former one is lost or late."""
        if self._kept is not None:
            self._kept[1].transport.abort()
        self._kept, self._asked_at = link, 0.0

    async def _ask(self, link: Link) -> None:
        """One request and its answer. Raises OSError, ValueError, IncompleteReadError."""
        reader, writer = link
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise ValueError(f"not the answer of a healthy panel: {head[:40]!r}")
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))


def _say(**values: float) -> None:
    print(json.dumps({key: round(value, 6) for key, value in values.items()}), flush=True)


async def _main(options: argparse.Namespace, ca: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the address may be younger than the nodes' certificates
    context.load_verify_locations(cadata=ca)
    polling = asyncio.create_task(Poller(options.host, options.port, context, options.interval).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, polling.cancel)
    with suppress(asyncio.CancelledError):
        await polling


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m holdfast.lab.demo.poll", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--interval", type=float, default=0.02, help="seconds between questions")
    asyncio.run(_main(parser.parse_args(), sys.stdin.read()))


if __name__ == "__main__":
    main()
