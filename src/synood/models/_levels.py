"""How much of a clean image and of noise is in a sample, before and after a scheduler's step.

A sample is signal * clean + noise * e, whatever the sampler: so the clean latent that a prediction
implies, and how much a change of it weighs in the next sample, need these two numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch


@dataclass(frozen=True)
class Level:
    """The content of a sample: `signal` times the clean latent and `noise` times unit noise."""

    signal: float
    noise: float

    @property
    def clean_share(self) -> float:
        """Share of the clean latent in the variance, the cumulative alpha of the schedule."""
        return self.signal**2 / (self.signal**2 + self.noise**2)

    @property
    def noise_deviation(self) -> float:
        """Deviation of the noise where the sample is scaled to unit variance."""
        share: float = (1 - self.clean_share) ** 0.5
        return share

    def clean(self, sample: torch.Tensor, prediction: torch.Tensor, kind: str) -> torch.Tensor:
        """Return the clean latent that a model's prediction implies, all (B, c, h, w).

        `kind` is the scheduler's `prediction_type`; "flow" is a velocity e - clean.
        """
        if kind == "sample":
            return prediction
        if kind == "flow":
            return sample - self.noise * prediction
        if kind == "epsilon":
            return (sample - self.noise * prediction) / self.signal
        length: float = (self.signal**2 + self.noise**2) ** 0.5  # v is of a sample of unit variance
        return sample * (self.signal / length**2) - prediction * (self.noise / length)


@dataclass(frozen=True)
class Transition:
    """The levels of a sample before and after one step."""

    before: Level
    after: Level


Transitions: TypeAlias = "list[Transition | None]"
"""One for each call of the model; None where the sampler throws the resulting sample away."""


def transitions(scheduler: Any, timesteps: torch.Tensor) -> Transitions:  # noqa: ANN401
    """Return what each call at the last `timesteps` of a scheduler that is set up does.

    Raises an `InputError` for a scheduler of which this is not known.
    """
    check_known(scheduler)
    steps = [float(step) for step in timesteps]
    return _KNOWN[type(scheduler).__name__](scheduler, steps)


def check_known(scheduler: Any) -> None:  # noqa: ANN401
    """Raise an `InputError` for a scheduler whose steps cannot be guided."""
    name = type(scheduler).__name__
    known = ", ".join(sorted(_KNOWN))
    if name not in _KNOWN:
        raise InputError(
            f"guidance.method: 'step' cannot guide the steps of {name}; name one of {known} in "
            "the in-painting model's scheduler_config.json, or use guidance.method = 'rounds'"
        )
    if name == "PNDMScheduler" and not scheduler.config.skip_prk_steps:
        raise InputError(
            "guidance.method: 'step' cannot guide the Runge-Kutta steps of PNDMScheduler; set "
            "skip_prk_steps in scheduler_config.json, or use guidance.method = 'rounds'"
        )


def _from_alphas(scheduler: Any, at: float, to: float) -> Transition:  # noqa: ANN401
    """Return the step between two timesteps; one below 0 is the end of the schedule."""

    def level(time: float) -> Level:
        ends = time < 0
        alpha = scheduler.final_alpha_cumprod if ends else scheduler.alphas_cumprod[int(time)]
        return Level(float(alpha) ** 0.5, (1 - float(alpha)) ** 0.5)

    return Transition(level(at), level(to))


def _ddim(scheduler: Any, steps: Sequence[float]) -> Transitions:  # noqa: ANN401
    stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    return [_from_alphas(scheduler, step, step - stride) for step in steps]


def _pndm(scheduler: Any, steps: Sequence[float]) -> Transitions:  # noqa: ANN401
    """Pseudo linear multistep: the second call takes the first step again, from where it began."""
    found: Transitions = [*_ddim(scheduler, steps)]
    if len(steps) > 1:
        found[:2] = [None, _from_alphas(scheduler, steps[1], steps[1])]
    return found


def _consistency(scheduler: Any, steps: Sequence[float]) -> Transitions:  # noqa: ANN401
    """Latent consistency models: noised again to the next timestep, and not after the last."""
    found: Transitions = [_from_alphas(scheduler, *pair) for pair in pairwise(steps)]
    last = _from_alphas(scheduler, steps[-1], steps[-1]).before
    return [*found, Transition(last, Level(1.0, 0.0))]


def _by_sigma(
    level: Callable[[float], Level],
) -> Callable[[Any, Sequence[float]], Transitions]:
    """Return the reader of a scheduler that keeps its levels in `sigmas`, one more than calls."""

    def read(scheduler: Any, steps: Sequence[float]) -> Transitions:  # noqa: ANN401
        levels = [level(float(sigma)) for sigma in scheduler.sigmas[-len(steps) - 1 :]]
        return [Transition(*pair) for pair in pairwise(levels)]

    return read


def _unit_variance(sigma: float) -> Level:
    return Level((1 + sigma**2) ** -0.5, sigma * (1 + sigma**2) ** -0.5)


_exploding = _by_sigma(lambda sigma: Level(1.0, sigma))
_KNOWN: dict[str, Callable[[Any, Sequence[float]], Transitions]] = {
    "DDIMScheduler": _ddim,
    "PNDMScheduler": _pndm,
    "LCMScheduler": _consistency,
    "DPMSolverMultistepScheduler": _by_sigma(_unit_variance),
    "EulerDiscreteScheduler": _exploding,
    "EulerAncestralDiscreteScheduler": _exploding,
    "FlowMatchEulerDiscreteScheduler": _by_sigma(lambda sigma: Level(1 - sigma, sigma)),
}
