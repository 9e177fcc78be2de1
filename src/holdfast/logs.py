"""Structured log lines on standard error; the unit that runs the daemon keeps them.

One line per event, as `key=value` pairs or as JSON (`log_format` in node.toml). The same names in both, and in every daemon:
`timestamp` (UTC), `level`, `event`, `daemon`, `host` (the node whose log it is; `node` is the one that the event is about),
then what the event brings along, `request` where it was caused by a request to the API. Explained in docs/monitoring.md.

Nobody can draw lines of their own into a log: control characters are escaped. What has the name of a secret is not written.
"""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

FORMAT_VARIABLE, HOST_VARIABLE = "HOLDFAST_LOG_FORMAT", "HOLDFAST_LOG_HOST"
ORDER = ["timestamp", "level", "event", "daemon", "host"]
HIDDEN = "(hidden)"
_SECRET = re.compile(
    r"pass(word|phrase)?$|secret|token|credential|private|authorization|cookie|_key$|hash", re.IGNORECASE
)

Event = MutableMapping[str, Any]


def configure(level: int = logging.INFO, *, form: str = "", daemon: str = "", host: str = "") -> None:
    """To be called first without a format, and again once the configuration is read; a program that does not read it is told
    by its environment. Also what libraries say by `logging` goes this way, from warnings on."""
    form = form or os.environ.get(FORMAT_VARIABLE, "")
    host = host or os.environ.get(HOST_VARIABLE, "")

    def stamp(_logger: object, _method: str, event: Event) -> Event:
        for name, value in (("daemon", daemon), ("host", host)):
            if value:
                event.setdefault(name, value)
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        stamp,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        harmless,
    ]
    render: Any = structlog.processors.LogfmtRenderer(key_order=ORDER, drop_missing=True, bool_as_flag=False)
    if form == "json":
        shared.append(_in_order)
        render = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[remove, render], foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def harmless(_logger: object, _method: str, event: Event) -> Event:
    """No secrets by their names, no control characters."""
    for name, value in list(event.items()):
        if name.startswith("_"):
            continue  # of the formatter itself
        if _SECRET.search(name):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = plain(value)
    return event


def plain(text: str) -> str:
    """One line that steers no terminal: what cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _in_order(_logger: object, _method: str, event: Event) -> Event:
    first = {name: event[name] for name in ORDER if name in event}
    return {**first, **{name: value for name, value in event.items() if name not in first}}
