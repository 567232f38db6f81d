"""What every test relies on: one thread, no network, no cache; a bundle and pictures for runs."""

import os

import hypothesis
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("SYNOOD_CACHE", None)  # as set by who runs the tests: they have folders of their own
os.environ["SYNOOD_CACHE_SIZE"] = "0"  # nobody's cache is read or filled; tests of it turn it on

# how long an example takes says more about the machine than about the code
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A tiny bundle that paints; nobody may write to it."""
    from bundling import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("models") / "bundle", inpainter=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A small folder per class; nobody may write to it."""
    from small_run import make_pictures

    return make_pictures(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture
def pixels():
    """Two random pictures for the tiny in-painters: (2, 3, 32, 32) in [0, 1]."""
    from painting import random_pixels

    return random_pixels()
