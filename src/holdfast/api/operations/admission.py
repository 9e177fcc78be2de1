"""Admission control: no operation takes away the room that the tolerated failures need, unless it is forced to.

An operation collects its writes and then calls `admit`. What the cluster comes to before and after them is foreseen by the
code that will do it (`core/preview.py`), and both are asked whether every set of so many failures leaves room for all
(`core/assurance.py`).

A guarantee that is broken already does not forbid what breaks it no more (`lost_work`).
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from holdfast.api.operations.draft import Draft
from holdfast.api.operations.foresight import check
from holdfast.core.admission import Guarantee
from holdfast.core.assurance import at_rest, lost_work
from holdfast.core.view import View
from holdfast.errors import Conflict
from holdfast.manager.guarantee import word
from holdfast.store.view import Listing, people_view

SHOWN = 5


class GuaranteeBroken(Conflict):
    """The operation would leave too little room for the failures that the cluster is to tolerate."""

    def __init__(self, message: str, advice: str, then: Guarantee) -> None:
        super().__init__(message, advice)
        unplaced = {instance: dict(reasons) for instance, reasons in then.unplaced.items()}
        self.members = {"worst": list(then.worst), "unplaced": unplaced, "waiting": list(then.waiting)}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the guarantee."""

    broken: str = ""
    """Why it must be refused."""
    warning: str = ""
    """What else is to be said."""
    then: Guarantee | None = None
    """After it; None: no compute cluster."""


async def admit(draft: Draft, *, force: bool = False) -> None:
    """Call it last in an operation. Raises GuaranteeBroken, with the worst set of failures and what would not fit. `force`:
    goes on, and records that it did."""
    before, after = await draft.before_and_after()
    effect = await asyncio.to_thread(compare, _view(draft, before), _view(draft, after), 0.0)
    draft.guarantee = word(effect.then) if effect.then else None
    if effect.broken and effect.then and not force:
        raise GuaranteeBroken(effect.broken, "Make room first, lower --tolerate, or insist with --force.", effect.then)
    if effect.broken:
        draft.note("guarantee-overridden", effect.broken)
        draft.warn(f"Done by force: {effect.broken}.")
    elif effect.warning:
        draft.warn(effect.warning)


def _view(draft: Draft, records: Listing) -> View:
    return people_view(records, draft.revision, 0.0)


def compare(before: View, after: View, now: float) -> Effect:
    """Nothing needs to be at rest."""
    if after.compute is None:
        return Effect()
    tolerate = after.compute.tolerate
    after = at_rest(after, now)
    then = check(after, tolerate, now)
    if then.holds:
        return Effect(then=then)
    earlier = before.compute
    if earlier is None:
        return Effect(warning=f"The guarantee does not hold: {sentence(then)}.", then=then)
    if tolerate < earlier.tolerate:
        return Effect(warning=f"The guarantee does still not hold: {sentence(then)}.", then=then)
    raised = tolerate > earlier.tolerate
    before = at_rest(before, now)
    already = check(before, tolerate, now)
    if not raised and not already.holds and lost_work(after, then) <= lost_work(before, already):
        return Effect(warning=f"The guarantee was broken already and still is: {sentence(then)}.", then=then)
    return Effect(f"the cluster would not survive {failures(tolerate)} any more: {sentence(then)}", then=then)


def failures(count: int) -> str:
    return "the failure of any one node" if count == 1 else f"the failure of any {count} nodes"


def sentence(found: Guarantee) -> str:
    """What would not fit, and after which failures."""
    said = []
    if found.waiting:
        said.append(f"already now there is no room for {_named(found.waiting)}")
    if not found.survivable:
        said.append(f"if {' and '.join(found.worst)} failed, there would be no room for {_named(found.unplaced)}")
    return "; ".join(said)


def _named(instances: Collection[str]) -> str:
    names = sorted(instances)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
