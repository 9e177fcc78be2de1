"""Figures for Prometheus: families of samples made at the moment of a scrape, and their text.

Nothing is counted twice: a family is made from what its owner knows. Labels take values from closed sets, or names of what
an operator made (nodes, fence devices, receivers): never instances, clients or texts, whose number has no bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from holdfast import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "holdfast_"

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""Values of the labels, in the order of their names."""


def gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """Label values → value now."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for found, value in values.items():
        family.add_metric(found, float(value))
    return family


def single(name: str, text: str, value: float | None) -> Metric:
    """Without labels; None: there is no such figure now."""
    values: dict[tuple[str, ...], float] = {} if value is None else {(): value}
    return gauge(name, text, (), values)


def counter(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """Label values → so often since the process began. `_total` is added to the name."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for found, value in values.items():
        family.add_metric(found, float(value))
    return family


def histogram(
    name: str,
    text: str,
    labels: Sequence[str],
    bounds: Sequence[float],
    values: Mapping[Labels, tuple[Sequence[int], float]],
) -> Metric:
    """Label values → (how many per bound, the last one beyond all; their sum)."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for found, (counts, total) in values.items():
        buckets, seen = [], 0
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        family.add_metric(found, buckets, total)
    return family


def build_info(daemon: str) -> Metric:
    return gauge("build_info", "Version of the daemon; always 1.", ("version", "daemon"), {(__version__, daemon): 1})


def render(source: Callable[[], Iterable[Metric]]) -> bytes:
    """All families of the source, and the figures of this process, as Prometheus reads them."""
    return generate_latest(_Once(source))


class _Once:
    """What `generate_latest` wants of a registry."""

    def __init__(self, source: Callable[[], Iterable[Metric]]) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        yield from self._source()
        yield from ProcessCollector(registry=None).collect()
