"""What operators ask of the planner: explain, what-if, the precheck of a maintenance, evening out the load.

The answers are made from a view that anybody can build (`holdfast.store.view.people_view`), so every node's API has them,
also while the store is away. They take processor time: call them in a thread.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from holdfast.api.operations import admission, checks, foresight
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.explain import Explanation, explain
from holdfast.core.model import Desired, MoveRequest
from holdfast.core.plan import evacuate
from holdfast.core.policy import Maintenance
from holdfast.core.preview import Preview, settle, with_failures, with_placements
from holdfast.core.rebalance import MOVES, Balance, rebalance, spread
from holdfast.core.view import View
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.view import people_view

NO_LIMIT = 1000
PAUSED = "High availability is paused: nothing is moved before `holdfast ha resume`."


@dataclass(frozen=True, slots=True)
class Assurance:
    """What the cluster survives."""

    tolerate: int
    """So many node failures were asked about."""
    survivable: bool
    remains: int
    """So many of them it survives."""
    worst: tuple[str, ...]
    """The set of failures that leaves most without room; empty where it survives."""
    unplaced: dict[str, dict[str, str]]
    """Instance → node → why it would not fit, after the worst set."""
    waiting: tuple[str, ...]
    """What has no room already without a failure."""
    text: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    failed: tuple[str, ...]
    moved: dict[str, tuple[str, str]]
    """Instance → (from, to) of what is migrated to make room."""
    placements: dict[str, str]
    """Instance → node, of what loses its node or waits now."""
    stopped: tuple[str, ...]
    """What is stopped to make room."""
    unplaced: dict[str, dict[str, str]]
    """Instance → node → why it does not fit."""
    after: Assurance
    """What the cluster survives then."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    instance: str
    to: str
    how: str
    """`live`, `restart`, or `rest`: it is stopped and only gets another home."""


@dataclass(frozen=True, slots=True)
class Precheck:
    node: str
    moves: tuple[PlannedMove, ...]
    stays: dict[str, str]
    """Instance → why it will not leave the node."""
    during: Assurance
    """What the cluster survives during the maintenance."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evening:
    """A proposal to even out the load."""

    moves: Balance
    before: float
    """How far the fullest node is above the mean, 0 to 1."""
    after: float
    warning: str
    """What becomes of the guarantee, if it does not simply stay: then the moves are made by force only, or it was broken
    already."""


def explanation(view: View, instance_id: str, now: float, *, said: str = "") -> Explanation:
    """`said`: why it waits by the leading manager's word, who knows more than the records tell."""
    if instance_id not in view.instances:
        raise checks.not_found("instance", instance_id, view.instances)
    found = explain(view, instance_id, now)
    return replace(found, waiting=said) if said else found


def assurance(view: View, tolerate: int, now: float) -> Assurance:
    """`view`: as it comes to rest."""
    found = fewer = foresight.check(view, tolerate, now)
    while not fewer.survivable and fewer.tolerate > 0:
        fewer = foresight.check(view, fewer.tolerate - 1, now)
    remains = fewer.tolerate
    text = "the cluster survives " + ("" if remains == tolerate else "only ") + admission.failures(remains)
    text = text if remains else "the cluster survives no failure of a node"
    why = admission.sentence(found)
    unplaced = {instance: dict(reasons) for instance, reasons in found.unplaced.items()}
    text = f"{text}: {why}" if why else text
    return Assurance(tolerate, found.survivable, remains, tuple(found.worst), unplaced, found.waiting, text)


def guarantee(view: View, now: float, tolerate: int | None = None) -> Assurance:
    """Of the cluster as it is, when all that is under way has arrived. `tolerate`: other than it is to survive."""
    return assurance(settle(view, now).view, tolerated(view) if tolerate is None else tolerate, now)


def tolerated(view: View) -> int:
    """How many failures the cluster is to survive; 1 where nobody has said so."""
    return view.compute.tolerate if view.compute else 1


def what_if(view: View, failed: Sequence[str], now: float) -> WhatIf:
    """These nodes fail at once. Raises NotFound and InvalidInput."""
    for name in failed:
        if name not in view.nodes:
            raise checks.not_found("node", name, view.nodes)
    if not failed:
        raise InvalidInput("no node is named", "Say which nodes fail, e.g. `--fail n3,n4`.")
    if len(set(failed)) >= len(view.nodes):
        raise InvalidInput("all nodes are named", "Leave at least one that is to carry something.")
    at_rest = settle(view, now).view
    plan = evacuate(at_rest, tuple(failed), solver=foresight.SOLVER, now=now)
    after = with_placements(with_failures(at_rest, failed), {**plan.placements, **_targets(plan.moved)})
    return WhatIf(
        tuple(failed),
        dict(plan.moved),
        dict(plan.placements),
        tuple(plan.stopped),
        {instance: dict(reasons) for instance, reasons in plan.unplaced.items()},
        assurance(after, tolerated(view), now),
    )


def _targets(moved: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {instance: to for instance, (_, to) in moved.items()}


def precheck(view: View, node_id: str, now: float) -> Precheck:
    """What a maintenance of this node would do, before anything is done. Raises NotFound."""
    node = view.nodes.get(node_id)
    if node is None:
        raise checks.not_found("node", node_id, view.nodes)
    asked = replace(node, maintenance=node.maintenance or Maintenance())
    foreseen = settle(replace(view, nodes={**view.nodes, node_id: asked}), now)
    moves, stays = [], {}
    for name, instance in sorted(view.instances.items()):
        if instance.placement is None or instance.placement.node != node_id:
            continue
        then = foreseen.view.instances.get(name)
        if then is None or instance.spec.desired is Desired.DISABLED:  # it is being deleted; nothing is done for it
            continue
        if then.placement is None or then.placement.node == node_id:
            stays[name] = _why_it_stays(foreseen, name, instance.spec.desired)
        else:
            moves.append(PlannedMove(name, then.placement.node, _how(foreseen, name, instance.spec.desired)))
    warnings = [PAUSED] if view.pause else []
    during = assurance(foreseen.view, tolerated(view), now)
    if view.compute is not None and not during.survivable:
        warnings.append(f"During the maintenance, {during.text}.")
    return Precheck(node_id, tuple(moves), stays, during, tuple(warnings))


def _why_it_stays(foreseen: Preview, name: str, desired: Desired) -> str:
    if desired is Desired.IGNORED:
        return "it is to be left alone"
    return foreseen.waiting.get(name) or "it is not known where it would go"


def _how(foreseen: Preview, name: str, desired: Desired) -> str:
    if desired is Desired.STOPPED:
        return "rest"
    return "live" if name in foreseen.live else "restart"


def evening(view: View, now: float, *, limit: int = MOVES, restarts: bool = True) -> Evening:
    """Moves that even out the load. Nothing is done."""
    found = rebalance(view, now, limit=limit, restarts=restarts)
    moves = {move.instance: MoveRequest(move.target, live=move.live) for move in found.moves}
    moving = {name: replace(view.instances[name], move=move) for name, move in moves.items()}
    what = admission.compare(view, replace(view, instances={**view.instances, **moving}), now)
    broken = f"Only with --force: {what.broken}." if what.broken else ""
    return Evening(found, spread(found.before), spread(found.after), broken or what.warning)


async def even_out(
    store: Store, actor: Actor, *, limit: int = MOVES, restarts: bool = True, force: bool = False, service: str = ""
) -> Outcome:
    """Ask for the moves of `evening`, one after the other as room comes free. `force`: also where the cluster then survives
    less than it is to. `service`: only of the parts of this one (`<kind>/<name>`)."""

    async def operation(draft: Draft) -> str:
        records, _ = await draft.before_and_after()
        view = people_view(records, draft.revision, 0.0)
        if view.pause is not None:
            raise Conflict("high availability is paused", "End that first: holdfast ha resume.")
        found = await asyncio.to_thread(rebalance, view, 0.0, limit=NO_LIMIT if service else limit, restarts=restarts)
        moves = [move for move in found.moves if not service or move.instance.startswith(f"{service}/")][:limit]
        for move in moves:
            await draft.fetch(keys.placement(move.instance), rely=True)
            await draft.fetch(keys.move(move.instance))
            draft.put(keys.move(move.instance), MoveRequest(move.target, actor.name, live=move.live))
        await admission.admit(draft, force=force)
        draft.data["moves"] = [msgspec.to_builtins(move) for move in moves]
        count, what = len(moves), f"the load of {service}" if service else "the load"
        if not count:
            return f"{what} is even: no move gains more than it costs"
        return f"{count} {'move evens' if count == 1 else 'moves even'} out {what}"

    return await transact(store, actor, operation)
