"""`synood reproduce`: a table or figure of the paper, on the embedded world or at full scale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from synood.errors import InputError

Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]


def reproduce(
    name: str = "list",
    /,
    *,
    out: Path = Path("reproduced"),
    models: str = "mini",
    benchmark: str | None = None,
    root: Path | None = None,
    recipe: str = "paper",
    seeds: int = 5,
    set_: Annotated[Several, Parameter(name="--set")] = (),
    device: str = "auto",
) -> int:
    """Run one of the paper's experiments and write its table; without a name, list them.

    Parameters
    ----------
    name
        Name of an experiment, "all" for every one of them, or "list".
    out
        Directory of the run that experiments share; each writes into its folder "reproduce/NAME".
        What is there already is used, so a second experiment starts where the first one ended.
    models
        Which models to use: "mini", "paper" or a directory with a bundle.json.
    benchmark
        Name of a benchmark (`synood benchmark list`); "mini" with the embedded models, else the
        paper's own for the experiment.
    root
        Folder that holds the benchmark's sets.
    recipe
        The hyperparameters: "paper", "plus", "released", or a TOML file.
    seeds
        How many times what is drawn or tuned is repeated.
    set_
        Change a field of the recipe, e.g. --set negatives.epochs=10; may be repeated.
    device
        Where the models run: "auto", "cpu" or a name that torch knows.
    """
    from synood.benchmark.experiments import experiments, find_experiment
    from synood.benchmark.experiments.index import write_index
    from synood.benchmark.experiments.stage import prepare
    from synood.benchmark.experiments.writing import write_outcome
    from synood.benchmark.suites.layouts import open_benchmark
    from synood.cli.console import deliver, reporter
    from synood.models.bundles import load_bundle
    from synood.models.device import pick_device
    from synood.pipeline.recipe import resolve_recipe

    if name == "list":
        known = experiments().values()
        deliver("".join(f"{item.name:<10} {item.title}. {item.asks}\n" for item in known))
        return 0
    if seeds < 1:
        raise InputError(f"seeds: needs at least 1, not {seeds}")
    bundle = load_bundle(models)
    resolved = resolve_recipe(recipe, bundle.recipe_defaults, set_)
    embedded = models.partition("+")[0] == "mini"
    for experiment in experiments().values() if name == "all" else [find_experiment(name)]:
        suite = open_benchmark(benchmark or ("mini" if embedded else experiment.benchmark), root)
        with reporter() as progress:
            stage = prepare(
                out if experiment.pictures == 1 else out / f"run-x{experiment.pictures}",
                suite,
                bundle,
                resolved,
                range(seeds),
                device=pick_device(device),
                pictures=experiment.pictures,
                progress=progress,
            )
            outcome = experiment.run(stage)
        place = out / "reproduce" / experiment.name
        deliver(f"{write_outcome(place, experiment, stage, outcome)}\n{place}\n\n")
    deliver(f"{write_index(out / 'reproduce')}\n")
    return 0
