"""Scores that make trouble, as hypothesis strategies."""

import math

from hypothesis import strategies as st

# Few distinct values make ties; infinities, both zeros and huge neighbours make trouble.
AWKWARD = [-math.inf, -1e300, -1.0, -1e-310, -0.0, 0.0, 0.1, 0.1 + 2**-56, 1e16, 1e16 + 2, math.inf]
scores = st.lists(
    st.sampled_from(AWKWARD) | st.integers(-3, 3).map(float) | st.floats(allow_nan=False),
    min_size=1,
    max_size=25,
)
rates = st.sampled_from([0.05, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0])
