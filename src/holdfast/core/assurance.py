"""What the compute cluster survives: `core.admission.survives`, asked for what belongs to it.

What belongs to other kinds takes its room, but its own fail-over is no question of room: a panel that may run on one node
only would break the guarantee of every small cluster.
"""

from dataclasses import replace

from holdfast.core.admission import Guarantee, survives
from holdfast.core.make_room import Solver
from holdfast.core.model import Exclusivity, Role
from holdfast.core.preview import settle
from holdfast.core.view import View


def assure(view: View, tolerate: int, now: float, solver: Solver | None = None) -> Guarantee:
    """`view`: as it comes to rest (`at_rest`). Takes seconds for the largest cluster."""
    found = survives(_asked_for(view), tolerate, solver, now=now)
    waiting = tuple(name for name in found.waiting if view.instances[name].spec.role is Role.COMPUTE)
    return replace(found, waiting=waiting)


def at_rest(view: View, now: float) -> View:
    """When all that is under way has arrived."""
    return settle(view, now).view


def _asked_for(view: View) -> View:
    """Nobody asks for room for what runs everywhere anyway: so others are made to look."""
    instances = {
        name: instance
        if instance.spec.role is Role.COMPUTE
        else replace(instance, spec=replace(instance.spec, exclusivity=Exclusivity.EVERYWHERE))
        for name, instance in view.instances.items()
    }
    return replace(view, instances=instances)
