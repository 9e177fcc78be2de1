"""Wait for what an operation asked for to be real, and show how far it is."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast.cli import output
from holdfast.cli.client import Api, ApiRefused, ApiUnreachable
from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError

_CLOCK = SystemClock()

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, not only accepted.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Give up waiting after so many seconds.", min=1)]
TIMEOUT_S = 300.0
POLL_S = 0.3
FAILING_S = 15.0
"""An instance that failed so long ago, and failed again since, will not get well by waiting."""
GONE_S = 5.0
"""An API that ended so long ago is not being restarted."""


class ApiEnded(HoldfastError):
    """This node's own API has ended while something was waited for through it."""


class KeepsFailing(HoldfastError):
    """What is being waited for was tried and failed, again and again."""


class StillWaiting(HoldfastError):
    """The change is committed but was not complete in time."""


def complete(
    api: Api,
    answer: dict[str, Any],
    missing: Callable[[dict[str, Any]], str],
    *,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """The end of a command that has changed something: wait until nothing of it is missing in the cluster's status, if
    that is wanted, and say what was done. Raises as `wait_for`."""
    if wait:
        wait_for(api, "/status", missing, timeout=timeout, revision=answer["revision"])
    output.outcome(answer, as_json=as_json)


def wait_for(api: Api, path: str, missing: Callable[[Any], str], *, timeout: float, revision: int = 0) -> Any:
    """Ask for `path` again and again until `missing(answer)` is empty; it says what is still being waited for.

    A moment without an answer is no failure: the panel may be moving. Raises StillWaiting, ApiEnded.
    """
    end = _CLOCK.now() + timeout
    gone_since = 0.0
    shown = ""
    while True:
        try:
            answer = api.get(path)
            gone_since = 0.0
            behind = isinstance(answer, dict) and answer.get("revision", revision) < revision
            text = "the panel to catch up" if behind else missing(answer)
            if not text:
                show_progress("", shown)
                return answer
        except ApiUnreachable:
            text = "the panel to answer"
            gone_since = (gone_since or _CLOCK.now()) if api.gone else 0.0
            if gone_since and _CLOCK.now() - gone_since > GONE_S:
                show_progress("", shown)
                raise ApiEnded(
                    "the API has ended on this node: it is no management node any more",
                    "The change is committed and goes on by itself: look at `holdfast status` on a management node.",
                ) from None
        except ApiRefused as error:
            if error.status < 500:
                raise
            text = error.message
        shown = show_progress(text, shown)
        if _CLOCK.now() >= end:
            show_progress("", shown)
            raise StillWaiting(
                f"after {timeout:.0f} s still waiting for {text}",
                "The change is committed and goes on by itself: look at `holdfast status`.",
            )
        time.sleep(POLL_S)


def show_progress(text: str, shown: str) -> str:
    """One line on a terminal, rewritten in place; a line per change elsewhere."""
    if text == shown:
        return shown
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{'Waiting for ' + text + ' …' if text else ''}")
        sys.stderr.flush()
    elif text:
        print(f"Waiting for {text} …", file=sys.stderr)
    return text


def instance_runs(instance_id: str) -> Callable[[Any], str]:
    """For a ClusterStatus: the instance runs and answered a check through its address. Raises KeepsFailing."""
    failing_since = 0.0

    def missing(status: Any) -> str:
        nonlocal failing_since
        found = find(status["instances"], instance_id)
        if found is None:
            return f"{instance_id} to appear"
        if found["state"] == "running" and found["healthy"]:
            return ""
        why = found["waiting"] or found["detail"]
        if found["state"] == "failed":
            failing_since = failing_since or _CLOCK.now()
            if _CLOCK.now() - failing_since > FAILING_S:
                raise KeepsFailing(
                    f"{instance_id} fails to start on {found['node']}: {why.rstrip('.')}",
                    f"It is tried again by itself; follow it with `holdfast service show {instance_id}`.",
                )
        where = f" on {found['node']}" if found["node"] else ""
        state = "running, not yet answering" if found["state"] == "running" else found["state"]
        return f"{instance_id} ({state}{where}{': ' + why if why else ''})"

    return missing


def find(items: list[dict[str, Any]], item_id: str) -> dict[str, Any] | None:
    return next((item for item in items if item["id"] == item_id), None)
