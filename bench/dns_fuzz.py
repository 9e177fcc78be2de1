#!/usr/bin/env python3
"""Malformed packets against the real name server, by UDP from many networks and by TCP: nothing may end it, and nobody
gets what is no answer to what he sent.

    .venv/bin/python bench/dns_fuzz.py [--packets 100000] [--seed 1]           # a minute or two; loopback only

Each packet's answers are judged as in the unit test: same id, QR set, never an answer to an answer, at most a header for
what was not understood. In between and at the end the server must answer a proper question. Exit status 1 if not.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import dns.message

from dns_world import ADDRESSES, NAME, desk, judge, malformed
from holdfast.clock import SystemClock
from holdfast.net.dns.server import NameServer

SERVER = "127.0.0.53"
NETWORKS = 2000
"""Sources on loopback, each in a /24 of its own, so that the limit of answers does not hide anything."""
ALIVE_EVERY = 5000
TCP_SHARE = 20
"""Every so manieth packet goes by TCP too."""


def serve(port: int) -> None:
    world = desk(many=20)

    async def run() -> None:
        await NameServer((SERVER,), SystemClock(), lambda: world, port=port).run()

    asyncio.run(run())


def alive(port: int) -> None:
    """It answers a proper question, from a network of its own."""
    wire = dns.message.make_query(NAME, "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.255.255.1", 0))
        own.settimeout(5)
        for _ in range(5):
            own.sendto(wire, (SERVER, port))
            with contextlib.suppress(TimeoutError):
                answer = dns.message.from_wire(own.recv(4096))
                assert {str(rdata) for rdata in answer.answer[0]} == set(ADDRESSES)
                return
    raise AssertionError("the server does not answer a proper question any more")


def by_udp(wire: bytes, port: int, source: str) -> list[bytes]:
    """What comes back. A proper question sent right behind it, from the same socket, marks the end of the answers."""
    mark = dns.message.make_query(NAME, "A", id=wire[0] << 8 ^ 0x5A00 | 0x77 if wire else 0x77)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((source, 0))
        own.settimeout(10)
        own.sendto(wire, (SERVER, port))
        own.sendto(mark.to_wire(), (SERVER, port))
        found = []
        while True:
            answer = own.recv(65535)
            if answer[:2] == struct.pack("!H", mark.id):
                return found
            found.append(answer)


def by_tcp(wire: bytes, port: int) -> int:
    """Bytes that came back; the server may close at any time."""
    with contextlib.suppress(OSError), socket.create_connection((SERVER, port), timeout=5) as own:
        own.sendall(struct.pack("!H", len(wire)) + wire)
        own.shutdown(socket.SHUT_WR)
        got = 0
        while data := own.recv(65535):
            got += len(data)
        return got
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind((SERVER, 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,))
    process.start()
    chance, answered, tcp, largest, began = random.Random(arguments.seed), 0, 0, 0, time.monotonic()
    try:
        time.sleep(2)
        for number, wire in enumerate(malformed(arguments.packets, arguments.seed)):
            network = chance.randrange(NETWORKS)
            found = by_udp(wire, port, f"127.{1 + network // 250}.{network % 250}.7")
            judge(wire, tuple(found))
            answered += bool(found)
            largest = max([largest, *map(len, found)])
            if number % TCP_SHARE == 0:
                tcp += bool(by_tcp(wire, port))
            if number % ALIVE_EVERY == 0:
                alive(port)
        alive(port)
        assert process.is_alive(), "the server ended"
    finally:
        process.terminate()
        process.join(10)
    print(
        json.dumps(
            {
                "packets": arguments.packets,
                "answered": answered,
                "answered_by_tcp": tcp,
                "largest_answer_bytes": largest,
                "elapsed_s": round(time.monotonic() - began, 1),
                "violations": 0,
            }
        )
    )


if __name__ == "__main__":
    main()
