"""Asks the network who has an address, before it is used."""

import asyncio
import socket

from holdfast.net.links import Link, own_hardware, readable
from holdfast.net.packet_socket import FrameSender, open_listener
from holdfast.net.packets import answer, ethertype, question

PROBES = 3
INTERVAL_S = 0.045
"""Three probes in 135 ms: a live owner on a LAN answers within a millisecond, and two lost packets are tolerated."""


async def probe(link: Link, ip: str, sender: FrameSender) -> str:
    """The MAC address that answers for `ip` on this link, "" if nobody does. Answers of this node are ignored.

    Returns at the first answer, otherwise after PROBES * INTERVAL_S seconds. Raises DriverError if it cannot ask.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()
    own = own_hardware()
    handle = open_listener(link, ethertype(ip))

    def hear() -> None:
        for frame in _frames(handle):
            hardware = answer(frame, ip)
            if hardware is not None and hardware not in own and not found.done():
                found.set_result(readable(hardware))

    loop.add_reader(handle, hear)
    try:
        for _ in range(PROBES):
            sender.send(link, question(ip, link.hardware), ethertype(ip))
            done, _ = await asyncio.wait([found], timeout=INTERVAL_S)
            if done:
                return found.result()
        return ""
    finally:
        loop.remove_reader(handle)
        loop.run_in_executor(None, handle.close)
        found.cancel()


def _frames(handle: socket.socket) -> list[bytes]:
    """What is queued now, at most 64 frames, so that a storm cannot hold the event loop."""
    frames: list[bytes] = []
    while len(frames) < 64:
        try:
            frames.append(handle.recv(2048))
        except OSError:  # empty, or the interface went down: the next send will say so
            break
    return frames
