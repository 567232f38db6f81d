"""How well a score separates in-distribution (ID) from out-of-distribution (OOD) images.

A higher score means more in-distribution. Both sets are sorted once and merged into integer counts
per distinct score; every metric is computed from those counts, so ties, dtype and magnitude cannot
change a result. All metrics are fractions in [0, 1].
"""

from synood.metrics._curve import Ranks, Side, ranks_of
from synood.metrics._intervals import (
    FullMetrics,
    bootstrap_interval,
    delong_interval,
    full_metrics,
)
from synood.metrics._ood_metrics import (
    MetricName,
    OODMetrics,
    PrecisionArea,
    aupr,
    auroc,
    checked_rate,
    fpr_at_tpr,
    least_count,
    ood_metrics,
    resampled_metric,
)
from synood.metrics._paired import PairedTest, bootstrap_test, delong_test
from synood.metrics._risk import aurc, aurc_with_ood
from synood.metrics._sets import SetMetrics, ood_metrics_by_set

__all__ = [
    "FullMetrics",
    "MetricName",
    "OODMetrics",
    "PairedTest",
    "PrecisionArea",
    "Ranks",
    "SetMetrics",
    "Side",
    "aupr",
    "aurc",
    "aurc_with_ood",
    "auroc",
    "bootstrap_interval",
    "bootstrap_test",
    "checked_rate",
    "delong_interval",
    "delong_test",
    "fpr_at_tpr",
    "full_metrics",
    "least_count",
    "ood_metrics",
    "ood_metrics_by_set",
    "ranks_of",
    "resampled_metric",
]
