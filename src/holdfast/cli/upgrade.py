"""holdfast upgrade: bring the installed version into force, one node after the other, while services run.

It reads the cluster's picture from the store itself, with the node's own certificate: the panel is one of the things that it
has replaced, and nodes without management have none.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from holdfast import __version__, config
from holdfast.api.status import ClusterStatus, NodeStatus, build_status
from holdfast.api.upgrade import backwards, hindrances, not_yet, versions
from holdfast.cli import output
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, StillWaiting, Timeout, show_progress
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.errors import Conflict, HoldfastError, NotPermitted
from holdfast.ports import Compare, Get, Put, Store
from holdfast.software import is_current
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.etcd import EtcdStore

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")

_CLOCK = SystemClock()
GUARD, AGENT = "holdfast-guard", "holdfast-agent"
POLL_S = 0.5
_SYSTEMCTL_S = 60.0
BACK = (
    "Nothing was done: this node still runs what it ran. Install the newer package again; or delete first, while the newer "
    "version runs everywhere, what only that one knows."
)
_SETTLED = 2
"""So many beats after the guard was replaced the agent has told it everything again."""


@app.command()
def status(as_json: Json = False) -> None:
    """Which version runs on which node."""
    found = versions(_look(config.load()))
    if as_json:
        output.emit_json({"installed": __version__, "running": {text: list(nodes) for text, nodes in found.items()}})
        return
    rows = [(text or "older than 0.1.0+640", ", ".join(nodes)) for text, nodes in found.items()]
    output.table(("Version that runs", "On"), rows, empty="No node was seen yet.")
    output.say(f"Installed here: {__version__}. To bring it into force on this node: holdfast upgrade node")


@app.command()
def node(
    check: Annotated[bool, typer.Option("--check", help="Only say what stands against it; nothing is done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Whatever stands against it.")] = False,
    timeout: Timeout = TIMEOUT_S,
) -> None:
    """Replace this node's guard and agent by the installed version, in place: what runs here goes on."""
    mine = config.load()
    before, unknown = _picture(mine)
    back = backwards(before, unknown, __version__)
    against = [*back, *hindrances(before, mine.id)]
    for text in against:
        output.warn(text + ".")
    if check or (against and not force):
        if back:
            raise Conflict(f"{mine.id} is not to go back to {__version__}", BACK)
        if against:
            raise Conflict(f"{mine.id} is not to be upgraded now", "Mend what is named, or insist with --force.")
        output.say(f"Nothing stands against an upgrade of {mine.id}.")
        return
    here = before.node(mine.id)
    if here is None or os.geteuid() != 0 or not Path("/run/systemd/system").exists():
        raise NotPermitted(
            f"{mine.id} cannot be upgraded by this", "Run it as root on a node that systemd has started."
        )
    lease = _in_store(mine, lambda store: take_turn(store, mine.id, int(2 * timeout)))
    try:
        _replace_guard(mine, here, timeout)
        output.say("The guard is replaced.")
        _systemctl("reload", AGENT)
        _wait(mine, lambda now: not_yet(now, here, __version__) or _older(mine, now), timeout)
    finally:
        with suppress(HoldfastError):  # it ends by itself
            _in_store(mine, lambda store: store.revoke(lease))
    output.say(f"{mine.id} runs {__version__}; what it carries was not interrupted.")
    behind = sorted(each for text, nodes in versions(_look(mine)).items() if text != __version__ for each in nodes)
    output.say(f"Still with another version: {', '.join(behind)}." if behind else "All nodes run it.")


def _replace_guard(mine: NodeConfig, here: NodeStatus, timeout: float) -> None:
    """A guard with a deadline refuses to end, so it is killed. systemd starts the new one at once, and the agent, which
    notices, tells it the deadline again: that is the path of a crash, and within the watchdog's time-out."""
    former = _main_pid(GUARD)
    _systemctl("kill", "--signal=KILL", GUARD)
    seen = here.beat_sequence

    def missing(now: ClusterStatus) -> str:
        current = now.node(mine.id)
        if _main_pid(GUARD) in ("0", former):
            return "the guard to start"
        if current is None or current.session != here.session or current.beat_sequence < seen + _SETTLED:
            return "the agent to beat with the new guard"
        return "" if current.watchdog or not here.watchdog else "the watchdog to be attested again"

    _wait(mine, missing, timeout)


def _older(mine: NodeConfig, now: ClusterStatus) -> str:
    manages = mine.id in now.management.nodes
    return next(
        (
            f"the {unit} to be replaced"
            for unit in ("manager", "panel")
            if manages and not is_current(mine.run_dir, unit)
        ),
        "",
    )


def _wait(mine: NodeConfig, missing: Callable[[ClusterStatus], str], timeout: float) -> None:
    """Raises StillWaiting."""
    end, shown = _CLOCK.now() + timeout, ""
    while True:
        try:
            text = missing(_look(mine))
        except HoldfastError as error:
            text = error.message
        if not text:
            show_progress("", shown)
            return
        shown = show_progress(text, shown)
        if _CLOCK.now() > end:
            raise StillWaiting(
                f"after {timeout:.0f} s still waiting for {text}",
                f"Look at `holdfast status` and at `journalctl -u {AGENT}`; leave the other nodes as they are.",
            )
        time.sleep(POLL_S)


def _look(mine: NodeConfig) -> ClusterStatus:
    """The picture now. Raises StoreError."""
    return _picture(mine)[0]


def _picture(mine: NodeConfig) -> tuple[ClusterStatus, list[str]]:
    """The picture now, and the keys that this version has no name for. Raises StoreError."""
    everything = _in_store(mine, lambda store: store.list(""))
    unknown = [entry.key for entry in everything.entries if not keys.known(entry.key)]
    return build_status(everything.entries, everything.revision), unknown


async def take_turn(store: Store, node: str, seconds: int) -> int:
    """The lease under which it is this node's turn; it ends by itself if whoever took it dies. It only keeps two operators
    apart. Raises Conflict, StoreError."""
    lease = await store.lease(seconds)
    result = await store.txn(
        [Compare(keys.UPGRADING, 0)], [Put(keys.UPGRADING, encode(node), lease)], [Get(keys.UPGRADING)]
    )
    if not result.succeeded:
        await store.revoke(lease)
        entry = result.gets[keys.UPGRADING]
        other = decode(entry.value, str, entry.key) if entry else "another node"
        raise Conflict(f"{other} is being upgraded", "One node at a time: wait until that one is done.")
    return lease


def _in_store(mine: NodeConfig, work: Callable[[Store], Awaitable[T]]) -> T:
    async def do() -> T:
        store = EtcdStore(config.store_endpoints(mine), mine.tls, clock=_CLOCK, spread=mine.id)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(do())


def _main_pid(unit: str) -> str:
    return _systemctl("show", "--property=MainPID", "--value", unit).strip()


def _systemctl(*words: str) -> str:
    """Raises Conflict with systemd's own words."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=_SYSTEMCTL_S, check=False)
    if done.returncode:
        raise Conflict(f"systemctl {' '.join(words)}: {done.stderr.strip()}", "See `journalctl -e`.")
    return done.stdout
