"""A detector of synood as a model of FiftyOne's zoo; docs/sharing.md shows how to use it."""

from .zoo import download_model, load_model, resolve_input

__all__ = ["download_model", "load_model", "resolve_input"]
