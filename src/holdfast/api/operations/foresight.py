"""What the cluster would survive with records as they are, or as an operation would leave them."""

import asyncio

from holdfast.core.admission import Guarantee
from holdfast.core.assurance import assure, at_rest
from holdfast.core.history import GuaranteeWord
from holdfast.core.view import View
from holdfast.manager.guarantee import word
from holdfast.planning.cpsat import CpSatSolver
from holdfast.store.view import Listing, people_view

SOLVER = CpSatSolver(1.0)
"""The make-room step of every answer given here. It loads its library when something does not fit otherwise."""


async def guarantee(records: Listing, revision: int) -> GuaranteeWord | None:
    """None: there is no compute cluster."""
    return await asyncio.to_thread(_guarantee, people_view(records, revision, 0.0))


def _guarantee(view: View) -> GuaranteeWord | None:
    if view.compute is None:
        return None
    return word(check(at_rest(view, 0.0), view.compute.tolerate, 0.0))


def check(view: View, tolerate: int, now: float) -> Guarantee:
    """Of a cluster at rest."""
    return assure(view, tolerate, now, SOLVER)
