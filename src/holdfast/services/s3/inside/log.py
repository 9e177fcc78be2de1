"""Swift's log goes where the unit's output goes, not to the system's logger."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def to_console(_conf: Mapping[str, str], *about: Any) -> None:
    """Hook `log_custom_handlers` of Swift: the last but one argument is the logger. The syslog handler that Swift made
    sends its lines to nobody, or to a system log that knows nothing of units."""
    logger: logging.Logger = about[-2]
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
