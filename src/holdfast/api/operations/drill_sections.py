"""All sections of a drill, and those that rest on what nodes and manager report all the time: certificates and clocks."""

from collections.abc import Awaitable, Callable, Iterator, Mapping

from holdfast.api.operations import drill_checks
from holdfast.api.operations.drill_checks import Means, Scope
from holdfast.core.alarm import AUTHORITY_S, CERTIFICATE_S, CERTIFICATE_URGENT_S, SKEW_S, seconds_between
from holdfast.core.alarm_model import ManagerHealth, NodeReport
from holdfast.core.drill import DrillCheck, Grade
from holdfast.store import keys

RENEW = "It should renew it by itself: see the agent's log there, and `holdfast cluster certificates`."
NTP = "Nothing is decided by it, but logs, certificates and file times need it: see that NTP works there."


async def certificates(means: Means, scope: Scope) -> list[DrillCheck]:
    """When each node's certificate ends, and the authority's, as the nodes have them."""
    return list(_certificates(means, scope))


def _certificates(means: Means, scope: Scope) -> Iterator[DrillCheck]:
    wall = means.clock.wall()
    authority = ""
    for node in scope.of(means.status()):
        report = means.source().read(keys.report(node.id), NodeReport)
        left_s = seconds_between(wall, report.certificate_ends) if report and node.state.up else None
        if report is None or left_s is None:
            text = "does not say when its certificate ends"
            yield DrillCheck("certificates", node.id, Grade.WARNING, text, "See the agent's log there.")
            continue
        authority = report.authority_ends or authority
        urgent = Grade.FAILED if left_s < CERTIFICATE_URGENT_S else Grade.WARNING
        grade = urgent if left_s < CERTIFICATE_S else Grade.OK
        text = f"its certificate is good until {report.certificate_ends[:10]}"
        yield DrillCheck("certificates", node.id, grade, text, "" if grade is Grade.OK else RENEW)
    left_s = seconds_between(wall, authority) if authority else None
    if left_s is not None:
        grade = Grade.WARNING if left_s < AUTHORITY_S else Grade.OK
        advice = "" if grade is Grade.OK else "Change it: see `holdfast cluster certificates`."
        yield DrillCheck("certificates", "", grade, f"the authority is good until {authority[:10]}", advice)


async def clocks(means: Means, scope: Scope) -> list[DrillCheck]:
    """Each node's wall clock against the median of all, as the leading manager measures it."""
    health = means.source().read(keys.MANAGER_HEALTH, ManagerHealth)
    found = []
    for node in scope.of(means.status()):
        offset = health.clock_offsets_s.get(node.id) if health else None
        if offset is None:
            if node.state.up:
                text = "its wall clock was not compared with the others' yet"
                found.append(DrillCheck("clocks", node.id, Grade.WARNING, text, "Repeat the drill in two minutes."))
        elif abs(offset) > SKEW_S:
            text = f"its wall clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the others"
            found.append(DrillCheck("clocks", node.id, Grade.WARNING, text, NTP))
        else:
            found.append(
                DrillCheck("clocks", node.id, Grade.OK, f"its wall clock is within {SKEW_S:g} s of the others")
            )
    return found


SECTIONS: Mapping[str, Callable[[Means, Scope], Awaitable[list[DrillCheck]]]] = {
    "nodes": drill_checks.nodes,
    "fencing": drill_checks.fencing,
    "watchdogs": drill_checks.watchdogs,
    "addresses": drill_checks.addresses,
    "storage": drill_checks.storage,
    "dns": drill_checks.dns,
    "room": drill_checks.room,
    "store": drill_checks.store,
    "certificates": certificates,
    "clocks": clocks,
}
"""In the order in which they are looked at."""
