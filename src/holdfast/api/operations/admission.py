"""Admission control: no operation takes away the room that the tolerated failures need, unless it is forced to.

An operation collects its writes and then calls `admit`. What the cluster comes to before and after them is foreseen by the
code that will do it (`core/preview.py`), and both are asked whether every set of so many failures leaves room for all
(`core/assurance.py`).

A guarantee that is broken already does not forbid what breaks it no more (`lost_work`).
"""

import asyncio
from collections.abc import Collection

from holdfast.api.operations.draft import Draft
from holdfast.core.admission import Guarantee
from holdfast.core.assurance import assure, at_rest, lost_work
from holdfast.core.view import View
from holdfast.errors import Conflict
from holdfast.planning.cpsat import CpSatSolver
from holdfast.store.view import Listing, people_view

SHOWN = 5
SOLVER = CpSatSolver(1.0)
"""The make-room step of every answer given here. It loads its library when something does not fit otherwise."""


class GuaranteeBroken(Conflict):
    """The operation would leave too little room for the failures that the cluster is to tolerate."""


async def admit(draft: Draft, *, force: bool = False) -> None:
    """Call it last in an operation. Raises GuaranteeBroken, with the worst set of failures and what would not fit. `force`:
    goes on, and records that it did."""
    before, after = await draft.before_and_after()
    broken, warning = await asyncio.to_thread(compare, _view(draft, before), _view(draft, after), 0.0)
    if broken and not force:
        raise GuaranteeBroken(broken, "Make room first, lower --tolerate, or insist with --force.")
    if broken:
        draft.note("guarantee-overridden", broken)
        draft.warn(f"Done by force: {broken}.")
    elif warning:
        draft.warn(warning)


def _view(draft: Draft, records: Listing) -> View:
    return people_view(records, draft.revision, 0.0)


def compare(before: View, after: View, now: float) -> tuple[str, str]:
    """(why the change must be refused, what else is to be said); "" each. Nothing needs to be at rest."""
    if after.compute is None:
        return "", ""
    tolerate = after.compute.tolerate
    after = at_rest(after, now)
    then = check(after, tolerate, now)
    if then.holds:
        return "", ""
    earlier = before.compute
    if earlier is None:
        return "", f"The guarantee does not hold: {sentence(then)}."
    if tolerate < earlier.tolerate:
        return "", f"The guarantee does still not hold: {sentence(then)}."
    raised = tolerate > earlier.tolerate
    before = at_rest(before, now)
    already = check(before, tolerate, now)
    if not raised and not already.holds and lost_work(after, then) <= lost_work(before, already):
        return "", f"The guarantee was broken already and still is: {sentence(then)}."
    return f"the cluster would not survive {failures(tolerate)} any more: {sentence(then)}", ""


def check(view: View, tolerate: int, now: float) -> Guarantee:
    """Of a cluster at rest."""
    return assure(view, tolerate, now, SOLVER)


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
