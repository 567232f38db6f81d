"""The options that all trainers share, and what they set up."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from synood.mini.artwork import Artwork
from synood.mini.world import World
from tools.mini.training import LoopSettings


def parser(description: str, minutes: float) -> argparse.ArgumentParser:
    """Return a parser with the options that all trainers share."""
    shared = argparse.ArgumentParser(description=description)
    add = shared.add_argument
    add("--work", type=Path, required=True, help="folder for state, log, sheets and the result")
    add("--artwork", type=Path, help="pack of tools.mini.artwork; default WORK/artwork.zip")
    add("--minutes", type=float, default=minutes, help="training time, resumed runs included")
    add("--steps", type=int, help="number of steps, instead of --minutes")
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=0)
    add("--batch-size", type=int)
    add("--learning-rate", type=float)
    add("--check-minutes", type=float, default=5.0)
    add("--device", help="torch device (default: the accelerator if there is one, else the CPU)")
    add("--fp32", action="store_true", help="float32; faster on CPUs that emulate bfloat16")
    add("--restart", action="store_true", help="start over instead of resuming")
    return shared


def loop_settings(options: argparse.Namespace, learning_rate: float) -> LoopSettings:
    """Return the loop settings given by the shared options."""
    return LoopSettings(
        minutes=options.minutes if options.steps is None else None,
        steps=options.steps,
        learning_rate=options.learning_rate or learning_rate,
        seed=options.seed,
        bf16=not options.fp32,
        check_minutes=options.check_minutes,
    )


def prepare(options: argparse.Namespace, name: str) -> tuple[World, torch.device]:
    """Set up threads, logging and device, drop the old state with --restart, load the world."""
    options.work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[
            logging.StreamHandler(sys.stdout),
            logging.FileHandler(options.work / f"{name}.log"),
        ],
    )
    torch.set_num_threads(options.threads)
    if options.restart:
        (options.work / f"{name}.state").unlink(missing_ok=True)
    artwork = Artwork.load(options.artwork or options.work / "artwork.zip")
    return World(artwork), device_of(options.device)


def device_of(name: str | None) -> torch.device:
    """Return the device of this name, or the accelerator if there is one, else the CPU."""
    if name is not None:
        return torch.device(name)
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    return torch.device("cpu")
