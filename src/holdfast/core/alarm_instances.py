"""What is wrong with instances and gateways. Part of `core.alarm`.

All of them are looked at each second, beside the failovers that the same process has to do: what is well costs one look, and
of what is not only so many are put in words as can become alarms.
"""

from collections.abc import Collection, Iterator, Mapping
from heapq import nsmallest

from holdfast.core.alarm_model import MANY, AlarmKind, Condition, Facts, alarm_id
from holdfast.core.history import Severity
from holdfast.core.model import Desired, Exclusivity
from holdfast.core.view import InstanceView, View

UNWELL_S = 30.0
"""An instance that runs and does not answer for so long is one that failed: restarts in place did not help."""
GATEWAYS = ("s3", "backup")


def instances(view: View, facts: Facts, now: float, open_ids: Collection[str]) -> Iterator[Condition]:
    """A source of conditions, as `core.alarm.judge` takes them together."""
    unwell, gateways = _looked_through(view, now)
    waiting = {name: _severity(view.instances[name]) for name in facts.waiting if _is_wanted(view, name)}
    for name in _few(AlarmKind.INSTANCE_WAITING, waiting, open_ids):
        text, advice = f"{name} waits: {facts.waiting[name]}", f"See why each node was refused: holdfast explain {name}"
        yield Condition(AlarmKind.INSTANCE_WAITING, name, waiting[name], text, advice)
    names = [*(name for name in facts.failed if name in view.instances), *unwell]
    failed = {name: Severity.ERROR for name in names if name not in facts.waiting}
    for name in _few(AlarmKind.INSTANCE_FAILED, failed, open_ids):
        yield _failed(view.instances[name], facts.failed.get(name))
    for service, found in gateways.items():
        yield from _gateways_left(view, service, found, now)


def _looked_through(view: View, now: float) -> tuple[list[str], dict[str, list[InstanceView]]]:
    """Instances that have not answered for long, and service → its gateways that are to run."""
    unwell: list[str] = []
    gateways: dict[str, list[InstanceView]] = {}
    for name, instance in view.instances.items():
        if instance.unhealthy_since is not None and now - instance.unhealthy_since > UNWELL_S:
            unwell.append(name)
        spec = instance.spec
        if spec.kind in GATEWAYS and spec.exclusivity is Exclusivity.EVERYWHERE and _is_wanted(view, name):
            gateways.setdefault("/".join(name.split("/")[:2]), []).append(instance)
    return unwell, gateways


def _is_wanted(view: View, name: str) -> bool:
    instance = view.instances.get(name)
    return instance is not None and instance.spec.desired is Desired.STARTED and not instance.deleting


def _severity(instance: InstanceView) -> Severity:
    return Severity.WARNING if instance.running() else Severity.ERROR


def _failed(instance: InstanceView, how: str | None) -> Condition:
    """`how`: the manager's word for it; None: it runs and does not answer."""
    name = instance.id
    advice = f"Its log on the node says more; then: holdfast explain {name}"
    if how is not None:
        return Condition(AlarmKind.INSTANCE_FAILED, name, Severity.ERROR, f"{name} failed: {how}", advice)
    detail = instance.status.detail if instance.status is not None else ""
    node = instance.placement.node if instance.placement is not None else "its node"
    text = f"{name} runs on {node} and does not answer: {detail}"
    return Condition(
        AlarmKind.INSTANCE_FAILED, name, Severity.ERROR, text, f"It is restarted in place, then moved. {advice}"
    )


def _gateways_left(view: View, service: str, gateways: list[InstanceView], now: float) -> Iterator[Condition]:
    good = {one.placement.node for one in gateways if one.placement is not None and _answers(view, one, now)}
    if len(gateways) > 1 and len(good) <= 1:
        left = f"only the one on {good.pop()} is left" if good else "none is left"
        severity = Severity.WARNING if left.startswith("only") else Severity.ERROR
        text = f"of {len(gateways)} gateways of {service} {left}"
        advice = "Bring the others' nodes back. See: holdfast status"
        yield Condition(AlarmKind.SINGLE_GATEWAY, service, severity, text, advice)


def _answers(view: View, instance: InstanceView, now: float) -> bool:
    """It runs healthily, on a node that is there."""
    placement, word = instance.placement, instance.word
    node = view.nodes.get(placement.node) if placement is not None else None
    return bool(node and node.up(view.timing, now) and word and instance.running() and word.healthy)


def _few(kind: AlarmKind, severities: Mapping[str, Severity], open_ids: Collection[str]) -> Collection[str]:
    """Of subjects of one kind those on which it depends what is raised. Where there are more than MANY: those that are
    raised already, the first of the others, and one that is as severe as the rest."""
    if len(severities) <= MANY:
        return severities
    raised = [name for name in severities if alarm_id(kind, name) in open_ids]
    known = set(raised)
    first = nsmallest(MANY + 1, (name for name in severities if name not in known))
    known.update(first)
    worst = (name for name, severity in severities.items() if severity is Severity.ERROR and name not in known)
    return [*raised, *first, *(name for name in [next(worst, None)] if name is not None)]
