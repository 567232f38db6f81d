"""`synood serve`: detectors behind HTTP, with batching across requests, limits and metrics."""
