"""What an initiator outside the cluster sees of every path, run in a lab's client host.

`look`: reads from each unit through each portal, over and over. Prints a line per round: when, through which portals
each unit served ("active"), and through which at the same time ("twice"). `login`: logs in to each portal once; prints
`in`, `lost`, or the refusal's class and detail (`2/1`; RFC 7143, 11.13.5). `size`: prints the bytes of each unit.
"""

import argparse
import asyncio
import json

from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError
from holdfast.services.iscsi.initiator import Path, open_path
from holdfast.services.iscsi.journal import read_chap
from holdfast.services.iscsi.session import Login, LoginRefused, PathLost, Session

ANSWER_S = 0.5
LOGIN_S = 3.0


class Portal:
    """A session to one portal, made again when it is lost."""

    def __init__(self, address: str, login: Login) -> None:
        self.address, self.login = address, login
        self.session: Session | None = None

    async def ready(self) -> bool:
        if self.session is None or self.session.problem:
            self.session = None
            try:
                self.session = await Session.open(self.address, self.login, timeout_s=ANSWER_S)
            except HoldfastError:
                return False
        return True

    async def reads(self, lun: int) -> bool:
        """A READ through this portal succeeds. A session that is silent is given up."""
        if self.session is None or self.session.problem:
            return False
        try:
            await Path(self.session, lun, ANSWER_S).read(0, 1, 512)
        except HoldfastError:
            return False
        return True


async def through(portals: list[Portal], lun: int) -> list[Portal]:
    answers = await asyncio.gather(*(portal.reads(lun) for portal in portals))
    return [portal for portal, served in zip(portals, answers, strict=True) if served]


async def look(options: argparse.Namespace, login: Login) -> None:
    clock = SystemClock()
    portals = [Portal(address, login) for address in options.portal]
    while True:
        began = clock.now()
        await asyncio.gather(*(portal.ready() for portal in portals))
        active, twice = {}, {}
        for lun in options.lun:
            found = await through(portals, lun)
            active[lun] = [portal.address for portal in found]
            if len(found) > 1:  # a path may have moved meanwhile; those that serve before and after it serve together
                again = await through(found, lun)
                if len(again) > 1:
                    twice[lun] = [portal.address for portal in again]
        print(json.dumps({"at": clock.now(), "began": began, "active": active, "twice": twice}), flush=True)
        await clock.sleep(began + options.period - clock.now())


async def log_in(portal: str, login: Login) -> str:
    try:
        async with await Session.open(portal, login, timeout_s=LOGIN_S):
            return "in"
    except LoginRefused as refused:
        return f"{refused.status_class}/{refused.status_detail}"
    except PathLost:
        return "lost"


async def size(portal: str, login: Login, lun: int) -> int:
    try:
        async with open_path(portal, login, lun, timeout_s=LOGIN_S) as path:
            capacity = await path.capacity()
            return capacity.blocks * capacity.block_bytes
    except HoldfastError:
        return 0


async def main() -> None:
    made = argparse.ArgumentParser()
    made.add_argument("what", choices=["look", "login", "size"])
    made.add_argument("--portal", action="append", required=True)
    made.add_argument("--target", required=True)
    made.add_argument("--initiator", required=True)
    made.add_argument("--chap", default="")
    made.add_argument("--lun", type=int, action="append", default=[])
    made.add_argument("--period", type=float, default=0.2)
    options = made.parse_args()
    login = Login(options.target, options.initiator, *read_chap(options.chap))
    if options.what == "look":
        await look(options, login)
    elif options.what == "login":
        print(json.dumps({portal: await log_in(portal, login) for portal in options.portal}))
    else:
        found = {lun: max([await size(portal, login, lun) for portal in options.portal]) for lun in options.lun}
        print(json.dumps(found))


asyncio.run(main())
