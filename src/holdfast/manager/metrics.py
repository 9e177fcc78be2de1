"""What a manager tells Prometheus of its own work: whoever leads what it does, the others that they follow.

docs/monitoring.md explains each figure. What managers know of the cluster, panels tell.
"""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from holdfast import metrics
from holdfast.manager.loop import Manager
from holdfast.store.figures import family, store_families


def families(manager: Manager) -> Iterator[Metric]:
    yield metrics.build_info("manager")
    yield from _leadership(manager)
    yield from _work(manager)
    yield from store_families(manager.measured)


def _leadership(manager: Manager) -> Iterator[Metric]:
    yield metrics.single("manager_leading", "1: this manager leads; 0: it follows, ready.", float(manager.leads))
    known = manager.election.leader()
    text = "The term that this manager knows: all know the same."
    yield metrics.single("manager_known_term", text, known.term if known is not None else None)
    terms: dict[tuple[str, ...], float] = {(): manager.measures.terms}
    yield metrics.counter("manager_terms", "Terms in which this process has led.", (), terms)
    text = "Since the leader's last sign of life came in."
    yield metrics.single("manager_leader_silence_seconds", text, manager.election.silence_s)


def _work(manager: Manager) -> Iterator[Metric]:
    found = manager.measures
    yield family("manager_step_seconds", "Steps of a turn of the leading manager.", ("step",), found.steps)
    yield family("manager_job_seconds", "What runs beside its turns.", ("job",), found.jobs)
    text = "Attempts to tell a receiver of alarms."
    yield family("manager_delivery_seconds", text, ("receiver", "result"), found.deliveries)
