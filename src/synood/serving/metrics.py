"""What `/metrics` shows, in the format of Prometheus; `docs/serving.md` has the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector

from synood.detector.watching import Watch
from synood.features.extractor import BATCH
from synood.serving.drift import DriftCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from synood.detector import Prediction
    from synood.serving.served import Served

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SCORES = (-20, -15, -10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 10, 15, 20)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        # a second series for each, which nothing here reads
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "synood_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "synood_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.decode_seconds = Histogram(
            "synood_decode_seconds",
            "Seconds to decode and shrink an image.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.encode_seconds = Histogram(
            "synood_encode_seconds",
            "Seconds to encode and score a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_images = Histogram(
            "synood_batch_images",
            "Images in a batch.",
            buckets=tuple(range(1, BATCH + 1)),
            registry=registry,
        )
        self._queue = Gauge(
            "synood_queue_images", "Images that have no answer yet.", registry=registry
        )
        self._uploads = Gauge(
            "synood_upload_bytes", "Bytes of request bodies in memory.", registry=registry
        )
        self._verdicts = Counter(
            "synood_verdicts",
            "Images scored, by detector, nearest class and verdict (in, ood).",
            ["model", "class", "verdict"],
            registry=registry,
        )
        self._scores = Histogram(
            "synood_score",
            "Scores of images (log odds; higher = more in-distribution).",
            ["model"],
            buckets=_SCORES,
            registry=registry,
        )
        self._threshold = Gauge(
            "synood_threshold", "Threshold of a detector.", ["model"], registry=registry
        )
        self._errors = Counter(
            "synood_errors", "What went wrong, by kind.", ["kind"], registry=registry
        )
        self._watches: dict[str, Watch] = {}
        registry.register(DriftCollector(self._watches))

    def watch_queue(self, images: Callable[[], int], upload_bytes: Callable[[], int]) -> None:
        """Read the length of the queue and the bytes of uploads from these."""
        self._queue.set_function(images)
        self._uploads.set_function(upload_bytes)

    def announce(self, served: Served) -> None:
        """Show a detector's threshold, and begin to watch it."""
        if served.detector.threshold is not None:
            self._threshold.labels(served.name).set(served.detector.threshold)
        self._scores.labels(served.name)
        self._watches[served.name] = Watch.of(served.detector.calibration)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is a pattern, never what a client wrote."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def verdict(self, served: Served, prediction: Prediction) -> None:
        """Count a verdict and its score, or that there is none."""
        self._watches[served.name].add(prediction)
        if prediction.error:
            self.error("unreadable")
            return
        verdict = {True: "ood", False: "in", None: "none"}[prediction.is_ood]
        self._verdicts.labels(served.name, prediction.label, verdict).inc()
        self._scores.labels(served.name).observe(prediction.score)

    def error(self, kind: str) -> None:
        """Count something that went wrong; kinds are few."""
        self._errors.labels(kind).inc()

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self.registry)
