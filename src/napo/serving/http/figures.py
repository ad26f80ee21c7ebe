"""What the server counts, for Prometheus.

Path    app, models -> [serving.http.figures] -> GET /metrics
Takes   requests with their status and time, sizes of batches; what models say of themselves when asked
Gives   the text that Prometheus reads. No user, title or history is in it
"""

import time
from collections.abc import Iterable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from napo.serving.http.guard import App, Receive, Scope, Send
from napo.serving.http.models import Served, ServedModels

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH")


class Figures:
    """Of one server; two in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "napo_requests", "Requests answered.", ("path", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "napo_request_seconds", "Time of a request.", ("path",), buckets=SECONDS, registry=self.registry
        )
        self.batch = Histogram(
            "napo_batch_size", "Requests scored together.", ("model",), buckets=SIZES, registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def batch_seen(self, model: str, size: int) -> None:
        """A batch of so many requests has begun."""
        self.batch.labels(model).observe(size)

    def watch(self, models: ServedModels) -> None:
        """Ask these models about themselves whenever the figures are asked for."""
        self.registry.register(_OfModels(models))

    def text(self) -> bytes:
        """For Prometheus."""
        return generate_latest(self.registry)


class _OfModels(Collector):
    def __init__(self, models: ServedModels) -> None:
        self.models = models

    def collect(self) -> Iterable[Metric]:
        gauges = {
            "napo_waiting": ("Requests that wait for the model.", lambda one: one.batcher.waiting),
            "napo_items": ("Items of the catalog.", lambda one: len(one.recommender.catalog)),
            "napo_loaded_timestamp_seconds": ("When the model was loaded.", lambda one: one.loaded),
            "napo_prefix_cache_bytes": ("States of histories that are kept.", lambda one: _cache(one, "bytes")),
        }
        counts = {
            "napo_refused": ("Requests that found no room, since the model was loaded.", lambda o: o.batcher.refused),
            "napo_prefix_cache_hits": ("Histories whose states were there.", lambda one: _cache(one, "hits")),
            "napo_prefix_cache_misses": ("Histories that had to be run.", lambda one: _cache(one, "misses")),
        }
        for kind, figures in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counts)):
            for name, (said, value) in figures.items():
                family = kind(name, said, labels=["model"])
                for one in self.models:
                    family.add_metric([one.name], float(value(one)))
                yield family


def _cache(served: Served, figure: str) -> float:
    return float(getattr(served.recommender.remembered, figure, 0))


class Counted:
    """Counts what passes, outside of everything else: refusals too."""

    def __init__(self, app: App, figures: Figures) -> None:
        self.app, self.figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            # the route's pattern, not what was asked for: anybody can make up paths, and methods
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.figures.requests.labels(path, method, str(status)).inc()
            self.figures.seconds.labels(path).observe(time.perf_counter() - begun)
