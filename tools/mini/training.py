"""What the trainers of the mini models share: a resumable loop under a budget of time or steps.

A step's randomness depends on the seed and the step's number alone, so a run that was killed and
resumed gives the weights of one that was not (where the budget is counted in steps; a budget in
minutes ties the learning rate to the clock).
"""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from synood.errors import InputError
from synood.files import fingerprint, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)


class Scenes(Protocol):
    """What the trainers draw from; `synood.mini.world.World` is one."""

    def painter_batch(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, list[str]]:
        """Return uint8 (n, S, S, 3) images of one or two things and a caption each."""
        ...

    def scene_batch(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, list[str]]:
        """Return uint8 (n, S, S, 3) scenes of every kind and a caption each."""
        ...

    def painter_captions(self) -> list[str]:
        """Return captions that together hold every word a caption can hold."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to train; the rate warms up, stays, then cools down linearly.

    With `cosine` it falls from the end of the warm-up on, along half a cosine to a fiftieth.
    """

    minutes: float | None = None  # of training over all resumed runs
    steps: int | None = None  # likewise; whichever budget is spent first ends the run
    learning_rate: float = 1e-3
    warmup: int = 200  # steps
    cooldown: float = 0.3  # fraction of the budget
    cosine: bool = False
    average_decay: float = 0.999  # of the moving average of the weights, used for all output
    gradient_clip: float = 1.0
    seed: int = 0
    bf16: bool = True  # twice as fast on CPUs with avx512_bf16 or amx, slow on others
    save_minutes: float = 3.0
    check_minutes: float = 5.0
    log_steps: int = 50


@dataclass
class Randomness:
    """All the randomness that one step may use: for numpy, and for torch on the CPU."""

    numpy: np.random.Generator
    torch: torch.Generator

    @classmethod
    def of(cls, seed: int, *stream: int) -> Randomness:
        """Return generators that depend on these numbers alone."""
        rng = np.random.default_rng([seed, *stream])
        return cls(rng, torch.Generator().manual_seed(int(rng.integers(2**62))))


@dataclass
class Run:
    """A resumable training run of one or more modules; its state lives in one file.

    Args:
        modules: what is trained; must be on its device already.
        settings: budget, rate and seed.
        state_file: where the state is kept; an existing one of equal `identity` is resumed.
        identity: JSON-like description of the model; another one is an `InputError`.
        parameters: groups for AdamW, each with its "scale" of the rate; all parameters if None.
        weight_decay: of AdamW.
    """

    modules: torch.nn.ModuleDict
    settings: LoopSettings
    state_file: Path
    identity: Mapping[str, object]
    parameters: Sequence[dict[str, Any]] | None = None
    weight_decay: float = 1e-4
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    averages: torch.nn.ModuleDict = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.averages = copy.deepcopy(self.modules).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self.parameters or [{"params": [*self.modules.parameters()], "scale": 1.0}],
            self.settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.weight_decay,
            fused=True,  # four times as fast on CPU
        )
        if self.state_file.is_file():
            self._load()

    @property
    def _fingerprint(self) -> str:
        return fingerprint(dict(self.identity), self.settings.seed)

    def save(self) -> None:
        """Write weights, average, optimiser, step and seconds; whole or not at all."""
        state = {
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "modules": self.modules.state_dict(),
            "averages": self.averages.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with replacing(self.state_file) as part:
            torch.save(state, part)

    def _load(self) -> None:
        device = next(self.modules.parameters()).device
        state = torch.load(self.state_file, map_location=device, weights_only=True)
        if state.get("fingerprint") != self._fingerprint:
            raise InputError(
                f"{self.state_file}: holds a run of another model or seed; "
                "give another --work folder or --restart"
            )
        self.modules.load_state_dict(state["modules"])
        self.averages.load_state_dict(state["averages"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("resumed at step %d, minute %.1f", self.step, self.seconds / 60)

    def progress(self) -> float:
        """Return the fraction of the budget that is spent."""
        spent = [0.0]
        if self.settings.steps is not None:
            spent.append(self.step / max(self.settings.steps, 1))
        if self.settings.minutes is not None:
            spent.append(self.seconds / 60 / max(self.settings.minutes, 1e-9))
        return min(max(spent), 1.0)

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        warm = min(1.0, (self.step + 1) / max(self.settings.warmup, 1))
        if self.settings.cosine:
            fall = 0.02 + 0.98 * (1 + math.cos(math.pi * self.progress())) / 2
            return self.settings.learning_rate * warm * fall
        cool = min(1.0, (1 - self.progress()) / max(self.settings.cooldown, 1e-9))
        return self.settings.learning_rate * warm * cool

    def train(
        self,
        loss_of: Callable[[Randomness], torch.Tensor],
        check: Callable[[], None],
        batch_size: int,
    ) -> None:
        """Train until the budget is spent; save and check by the clock and at the end.

        Args:
            loss_of: the loss of one step from that step's randomness.
            check: measures and exports; called every `check_minutes` and at the end.
            batch_size: for the logged images a second.
        """
        meter = _Meter(self, batch_size)
        start = time.monotonic() - self.seconds
        saved = checked = self.seconds
        while self.progress() < 1.0:
            meter.add(self._one_step(loss_of))
            self.seconds = time.monotonic() - start
            if self.seconds - saved > 60 * self.settings.save_minutes:
                self.save()
                saved = self.seconds
            if self.seconds - checked > 60 * self.settings.check_minutes:
                check()
                checked = self.seconds
        self.save()
        check()

    def _one_step(self, loss_of: Callable[[Randomness], torch.Tensor]) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * self.learning_rate()
        device = next(self.modules.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.bf16):
            loss = loss_of(Randomness.of(self.settings.seed, 0, self.step))
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), self.settings.gradient_clip)
        self.optimiser.step()
        self.step += 1
        self._average()
        return float(loss.detach())

    def _average(self) -> None:
        decay = min(self.settings.average_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.averages.parameters()),
            [parameter.detach() for parameter in self.modules.parameters()],
            1 - decay,
        )


class _Meter:
    """Logs the mean loss and the speed every `log_steps` steps."""

    def __init__(self, run: Run, batch_size: int) -> None:
        self.run, self.batch_size = run, batch_size
        self._reset()

    def _reset(self) -> None:
        self.losses: list[float] = []
        self.since = time.monotonic()

    def add(self, loss: float) -> None:
        """Add the loss of the last step."""
        run = self.run
        self.losses.append(loss)
        if run.step % run.settings.log_steps:
            return
        speed = len(self.losses) * self.batch_size / max(time.monotonic() - self.since, 1e-9)
        log.info(
            "step %6d  %5.1f min  loss %.4f  %4.0f images/s  rate %.1e",
            run.step, run.seconds / 60, np.mean(self.losses), speed, run.learning_rate(),
        )  # fmt: skip
        self._reset()


def to_signed(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Turn uint8 (B, S, S, 3) into float32 (B, 3, S, S) in [-1, 1]."""
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous()
    return pixels.float() / 127.5 - 1


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """Turn (B, 3, S, S) in [-1, 1], clipped, into uint8 (B, S, S, 3)."""
    levels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.asarray(levels.permute(0, 2, 3, 1).cpu().numpy())


def half(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with float16 parameters on the CPU: what is shipped."""
    twin = copy.deepcopy(module).cpu()
    for parameter in twin.parameters():  # .to() of a diffusers model warns without need
        parameter.data = parameter.data.half()
    return twin
