"""What every test relies on: one thread, no network, no cache."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["SYNOOD_CACHE_SIZE"] = "0"  # nobody's cache is read or filled; tests of it turn it on
