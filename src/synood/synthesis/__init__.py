"""From an in-distribution image to a near-boundary OOD image."""
