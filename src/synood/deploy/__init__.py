"""A detector in other hands: published on the model hub, exported for other runtimes."""
