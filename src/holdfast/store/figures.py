"""What every daemon tells Prometheus of its store's client. Loaded when somebody asks for figures."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric

from holdfast import metrics
from holdfast.metrics import Labels
from holdfast.store.measured import Histogram, MeasuredStore


def store_families(store: MeasuredStore) -> Iterator[Metric]:
    text = "Calls of this process to the store."
    yield family("store_request_duration_seconds", text, ("operation", "result"), store.durations)
    text = "Transactions of this process that are under way."
    yield metrics.single("store_transactions_pending", text, store.pending)
    text = "So many were under way whenever another one began."
    yield family("store_transactions_queued", text, (), {(): store.queue})


def family(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, Histogram]) -> Metric:
    """Of histograms that have the same bounds."""
    bounds = next((found.bounds for found in values.values()), ())
    counts = {what: (found.counts, found.total) for what, found in values.items()}
    return metrics.histogram(name, text, labels, bounds, counts)
