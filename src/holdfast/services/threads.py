"""Calls that may block for ever, in threads: the event loop goes on, and whoever asked gives up in time."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.ports import Clock

T = TypeVar("T")


class TookTooLong(Exception):
    """The call has not ended in time. Its thread is left behind, since nothing can end it."""


async def in_thread(
    work: Callable[[], T], clock: Clock, timeout: float, *, name: str, late: Callable[[], None] = lambda: None
) -> T:
    """Run `work` in a thread of its own: one that hangs must not use up a pool. Raises what `work` raises, or TookTooLong
    after `timeout` seconds; if it ends after that, `late` is called in the event loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    given_up = False

    def settle(result: T | None, error: BaseException | None) -> None:
        if given_up:
            late()
        elif future.done():
            pass  # whoever wanted it was cancelled
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as error:
            outcome = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=body, daemon=True, name=name).start()
    try:
        async with clock.timeout(timeout):
            return await future
    except TimeoutError:
        if future.done() and not future.cancelled():
            return future.result()  # it came in the very last moment; or the error is the work's own
        given_up = True
        raise TookTooLong from None
