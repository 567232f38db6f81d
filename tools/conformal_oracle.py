"""P-values and selections of nonconform 2.0.0 -> tests/data/nonconform.json, an oracle.

pip install nonconform==2.0.0 needs Python 3.12, which this project does not, so the values are
kept: python -m tools.conformal_oracle
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

OUT = Path(__file__).parents[1] / "tests" / "data" / "nonconform.json"
RATES = (0.05, 0.1, 0.25)
SIZES = ((1, 3), (19, 8), (20, 40), (60, 25), (199, 60))  # calibration and new images


def main() -> None:
    """Write the values."""
    from nonconform import Empirical  # type: ignore[import-not-found]
    from nonconform._internal.p_value_selection import (  # type: ignore[import-not-found]
        adjusted_p_values,
    )

    rng, cases = np.random.default_rng(0), []
    for ties in (False, True):
        for known, new in SIZES:
            calibration, scores = (rng.normal(size=n).astype(np.float32) for n in (known, new))
            scores[: new // 3] -= 4.0
            if ties:
                calibration, scores = calibration.round(), scores.round()
            # nonconform's scores are higher for anomalies, those here for in-distribution images
            values = Empirical().compute_p_values(-scores, -calibration)
            adjusted = adjusted_p_values(values, method="bh", n_calibration=known)
            cases.append(
                {
                    "calibration": calibration.tolist(),
                    "scores": scores.tolist(),
                    "p_values": values.tolist(),
                    "selected": {str(rate): (adjusted <= rate).tolist() for rate in RATES},
                }
            )
    OUT.write_text(json.dumps({"nonconform": "2.0.0", "cases": cases}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
