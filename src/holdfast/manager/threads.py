"""Threads of the manager's own for what computes: whoever waits for names or mail servers elsewhere cannot use them up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 6
"""Looking for room, the guarantee, evening out, judging alarms: one of each at most, and what is left of a former term."""


class Threads:
    """Calls run beside the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="computes")

    async def run(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*arguments, **named))
