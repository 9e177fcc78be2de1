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


def lost_work(view: View, found: Guarantee) -> int:
    """How badly the guarantee is broken: the work that has no room now or would have none after the worst set of failures,
    each instance counting 1 + its priority. 0 if it holds."""
    names = {*found.unplaced, *found.waiting}
    return sum(1 + view.instances[name].spec.priority for name in names if name in view.instances)


def at_rest(view: View, now: float) -> View:
    """When all that is under way has arrived."""
    return settle(view, now).view
