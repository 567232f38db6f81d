"""Drift in `/metrics`: what the watches of the detectors say, asked when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from synood.detector.martingale import StreamState
    from synood.detector.watching import Watch, WindowState

_TESTED = ["model", "quantity", "test"]


class DriftCollector(Collector):
    """Shows `Watch.state` of each detector, by name."""

    def __init__(self, watches: Mapping[str, Watch]) -> None:
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of all detectors."""
        drift = GaugeMetricFamily(
            "synood_drift",
            "1 from the moment that images are found to be unlike the calibration images.",
            labels=["model"],
        )
        p_value = GaugeMetricFamily(
            "synood_drift_p_value",
            "Of a stream since the start, or of a window of the latest images.",
            labels=_TESTED,
        )
        distance = GaugeMetricFamily(
            "synood_drift_distance",
            "Of a stream log10 of its evidence, of a window the largest difference of fractions.",
            labels=_TESTED,
        )
        psi = GaugeMetricFamily(
            "synood_drift_psi",
            "Population stability index of the latest images.",
            labels=["model", "quantity"],
        )
        for name, watch in self._watches.items():
            state = watch.state
            drift.add_metric([name], float(state.is_drift))
            for test, found in (("stream", state.streams), ("window", state.windows)):
                for quantity, one in found.items():
                    _add(p_value, distance, [name, quantity, test], one)
            for quantity, window in state.windows.items():
                psi.add_metric([name, quantity], window.psi)
        yield from (drift, p_value, distance, psi)


def _add(
    p_value: GaugeMetricFamily,
    distance: GaugeMetricFamily,
    labels: list[str],
    found: StreamState | WindowState,
) -> None:
    p_value.add_metric(labels, found.p_val)
    distance.add_metric(labels, found.distance)
