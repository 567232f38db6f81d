"""How well one score separates in-distribution (ID) from out-of-distribution (OOD) images.

Convention: a higher score means more in-distribution. Both sets are sorted once and merged into
integer counts per distinct score; every figure is derived from those counts, so ties, dtype and
magnitude cannot change a result. All figures are fractions in [0, 1].
"""

from synood.metrics._curve import Places, Side, places_of
from synood.metrics._figures import (
    OODMetrics,
    PrecisionArea,
    aupr,
    auroc,
    checked_rate,
    fpr_at_tpr,
    ood_metrics,
    redrawn_figure,
)
from synood.metrics._intervals import (
    Everything,
    bootstrap_interval,
    delong_interval,
    everything,
)
from synood.metrics._paired import Figure, PairedTest, bootstrap_test, delong_test
from synood.metrics._risk import aurc, aurc_with_ood
from synood.metrics._sets import SetMetrics, ood_metrics_by_set

__all__ = [
    "Everything",
    "Figure",
    "OODMetrics",
    "PairedTest",
    "Places",
    "PrecisionArea",
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
    "everything",
    "fpr_at_tpr",
    "ood_metrics",
    "ood_metrics_by_set",
    "places_of",
    "redrawn_figure",
]
