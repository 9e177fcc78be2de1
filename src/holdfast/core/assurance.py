"""What the compute cluster survives: `core.admission.survives`, asked for what belongs to it.

What belongs to other kinds takes its room, but its own fail-over is no question of room: a panel that may run on one node
only would break the guarantee of every small cluster.
"""

from holdfast.core.admission import Guarantee, survives
from holdfast.core.make_room import Solver
from holdfast.core.model import Role
from holdfast.core.preview import settle
from holdfast.core.view import View


def assure(view: View, tolerate: int, now: float, solver: Solver | None = None) -> Guarantee:
    """`view`: as it comes to rest (`at_rest`). Takes seconds for the largest cluster."""
    return survives(view, tolerate, solver, now=now, role=Role.COMPUTE)


def at_rest(view: View, now: float) -> View:
    """When all that is under way has arrived."""
    return settle(view, now).view
