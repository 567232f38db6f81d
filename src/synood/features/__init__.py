"""The road from an image to its features: decode once, encode in full batches, cache."""
