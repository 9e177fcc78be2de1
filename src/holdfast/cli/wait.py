"""Wait for what an operation asked for to be real, and show how far it is."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast.cli import output
from holdfast.client import Api, ApiRefused, ApiUnreachable, part
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


class TaskFailed(HoldfastError):
    """What is being waited for will not come true."""


class StillWaiting(HoldfastError):
    """The change is committed but was not complete in time."""


def complete(api: Api, answer: dict[str, Any], *, wait: bool, timeout: float, as_json: bool) -> None:
    """The end of a command that has changed something: follow its task, if that is wanted, and say what was done. Raises as
    `follow`."""
    if wait:
        answer = follow(api, answer, timeout=timeout)
    output.outcome(answer, as_json=as_json)
    if answer.get("task") and not (wait or as_json):
        output.say(f"It goes on: holdfast task show {answer['task']}.")


def follow(api: Api, answer: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """Until the task of an answer is done; at once where there is none. The answer with the task's last word. Raises
    TaskFailed, KeepsFailing, and as `wait_for`."""
    failing_since = 0.0

    def missing(task: Any) -> str:
        nonlocal failing_since
        if task["state"] == "done":
            return ""
        if task["state"] != "running":
            raise TaskFailed(f"it is {task['state']}: {task['detail']}", f"See `holdfast task show {task['id']}`.")
        failing_since = (failing_since or _CLOCK.now()) if task["failing"] else 0.0
        if failing_since and _CLOCK.now() - failing_since > FAILING_S:
            failing = next(step for step in task["steps"] if step["failing"])
            raise KeepsFailing(
                f"{failing['subject']} fails to start: {failing['detail'].rstrip('.')}",
                f"It is tried again by itself; follow it with `holdfast task show {task['id']}`.",
            )
        return str(task["detail"] or task["text"])

    if not answer["task"]:
        return answer
    path = f"/tasks/{part(answer['task'])}"
    try:
        text = wait_for(api, path, missing, timeout=timeout, revision=answer["revision"])["text"]
    except KeyboardInterrupt:
        print(f"\nInterrupted. It goes on without you: holdfast task show {answer['task']}.", file=sys.stderr)
        raise typer.Exit(130) from None
    return {**answer, "text": text}


def wait_for(
    api: Api,
    path: str,
    missing: Callable[[Any], str],
    *,
    timeout: float,
    revision: int = 0,
    begins: bool = False,
) -> Any:
    """Ask for `path` again and again until `missing(answer)` is empty; it says what is still being waited for.

    A moment without an answer is no failure: the panel may be moving, or, if it `begins` only now, may not be there yet for
    long. Raises StillWaiting, ApiEnded.
    """
    end = _CLOCK.now() + timeout
    gone_since = 0.0
    shown = ""
    while True:
        try:
            answer = api.get(path)
            gone_since, begins = 0.0, False
            behind = isinstance(answer, dict) and answer.get("revision", revision) < revision
            text = "the panel to catch up" if behind else missing(answer)
            if not text:
                show_progress("", shown)
                return answer
        except ApiUnreachable:
            text = "the panel to answer"
            gone_since = (gone_since or _CLOCK.now()) if api.gone and not begins else 0.0
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


def find(items: list[dict[str, Any]], item_id: str) -> dict[str, Any] | None:
    return next((item for item in items if item["id"] == item_id), None)
