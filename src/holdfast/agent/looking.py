"""Looking again and again whether what the store says is done here."""

from collections.abc import Awaitable, Callable

import structlog

from holdfast.ports import Clock
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

LOOK_S = 1.0


async def keep_looking(mirror: Mirror, clock: Clock, look: Callable[[], Awaitable[None]], what: str) -> None:
    """Call `look` each LOOK_S for ever, once the mirror is filled. What fails is said, under the name `what`, each time that
    it fails otherwise than before, and tried again."""
    failure = ""
    while True:
        try:
            if mirror.ready.is_set():
                await look()
            failure = ""
        except Exception as error:  # a bad record must not end the agents, which would be all of them at once
            if str(error) != failure:
                log.warning(what, error=str(error))
            failure = str(error)
        await clock.sleep(LOOK_S)
