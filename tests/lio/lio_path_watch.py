"""Watches the paths of an iSCSI target from outside: runs in the lab's client host, asks every portal for its access state.

A line of JSON for each change: {"t", "lun", "states": {node: state}}, and {"t", "lun", "doubled": […]} where two nodes say
*optimized* again and again in turn: one moment's answers may stand for two moments. State `silent`: no answer.
"""

import argparse
import asyncio
import json
import time

from holdfast.errors import HoldfastError
from holdfast.services.iscsi.initiator import Path
from holdfast.services.iscsi.journal import read_chap
from holdfast.services.iscsi.session import Login, Session

SILENT, OPTIMIZED = "silent", "optimized"
PERIOD_S, ANSWER_S = 0.3, 1.5
SURE = 3
"""How often in a row all of them must say it."""


class Portal:
    """One node's, for all units."""

    def __init__(self, node: str, portal: str, login: Login) -> None:
        self.node, self._portal, self._login = node, portal, login
        self._session: Session | None = None

    async def state(self, lun: int) -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._session is None or self._session.problem:
                    self._session = await Session.open(self._portal, self._login, timeout_s=ANSWER_S)
                found = await Path(self._session, lun, ANSWER_S).port_groups()
                return ",".join(access.name.lower() for access in found.values())
        except (HoldfastError, TimeoutError):
            return SILENT


async def watch(portals: list[Portal], luns: list[int]) -> None:
    last: dict[int, dict[str, str]] = {}
    while True:
        for lun in luns:
            states = dict(
                zip((p.node for p in portals), await asyncio.gather(*(p.state(lun) for p in portals)), strict=True)
            )
            if states != last.get(lun):
                last[lun] = states
                say(lun=lun, states=states)
            serving = [portal for portal in portals if states[portal.node] == OPTIMIZED]
            if len(serving) > 1 and await doubled(serving, lun):
                say(lun=lun, doubled=[portal.node for portal in serving])
        await asyncio.sleep(PERIOD_S)


async def doubled(serving: list[Portal], lun: int) -> bool:
    for _ in range(SURE):
        for portal in serving:
            if await portal.state(lun) != OPTIMIZED:
                return False
    return True


def say(**values: object) -> None:
    print(json.dumps({"t": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3), **values}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portal", action="append", required=True, help="NODE=ADDRESS:PORT")
    parser.add_argument("--target", required=True)
    parser.add_argument("--initiator", required=True)
    parser.add_argument("--chap", default="")
    parser.add_argument("--lun", action="append", type=int, required=True)
    options = parser.parse_args()
    login = Login(options.target, options.initiator, *read_chap(options.chap))
    named = [text.partition("=") for text in options.portal]
    asyncio.run(watch([Portal(node, portal, login) for node, _, portal in named], options.lun))


if __name__ == "__main__":
    main()
