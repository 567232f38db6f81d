"""The command line: the app, a file for each command, its options and what it prints."""

from synood.cli.app import main

__all__ = ["main"]
