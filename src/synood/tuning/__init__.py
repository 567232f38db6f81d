"""From cached features to tuned weights."""
