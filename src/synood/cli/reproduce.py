"""`synood reproduce`: a table or figure of the paper, on the embedded world or at full scale."""

from __future__ import annotations

from pathlib import Path

from synood.cli.console import deliver, reporter
from synood.cli.options import (  # noqa: TC001
    Assignments,
    Device,
    Models,
    Overwrite,
    RecipeName,
    Several,
    Whole,
)
from synood.errors import InputError


def reproduce(
    name: str = "list",
    /,
    *,
    out: Path = Path("reproduced"),
    overwrite: Overwrite = False,
    models: Models = "mini",
    benchmark: str | None = None,
    root: Path | None = None,
    recipe: RecipeName = "paper",
    seeds: Whole = 5,
    systems: Several = (),
    set_: Assignments = (),
    device: Device = "auto",
) -> None:
    """Run the paper's experiments and write their tables; without a name, list them.

    Experiments share one run, so a second experiment starts from what the first one made.

    Parameters
    ----------
    name
        Name of an experiment, "all", or "list".
    out
        Directory of the shared run; each experiment writes to its folder "reproduce/NAME".
    benchmark
        Benchmark to use; "mini" with the embedded models, else the paper's own if not given.
    root
        Folder that holds the benchmark's image sets.
    seeds
        Number of repetitions with different seeds.
    systems
        The only systems of tables 1 and 2, by their names in `synood benchmark methods`.
    """
    from synood.benchmark.experiments import experiments, find_experiment
    from synood.benchmark.experiments.index import write_index
    from synood.benchmark.experiments.setup import prepare
    from synood.benchmark.experiments.writing import write_outcome
    from synood.benchmark.suites.layouts import open_benchmark
    from synood.benchmark.systems import find_system
    from synood.cli.inputs import with_warnings
    from synood.models.bundles import load_bundle
    from synood.pipeline.recipe import resolve_recipe
    from synood.pipeline.stages.released import naming_of

    if name == "list":
        known = experiments().values()
        width = max(len(item.name) for item in known)
        deliver("".join(f"{item.name:<{width}}  {item.title}. {item.asks}\n" for item in known))
        return
    if seeds < 1:
        raise InputError(f"--seeds: must be at least 1, not {seeds}")
    for one in systems:
        find_system(one)
    if systems and name not in ("table-1", "table-2"):
        raise InputError(f"--systems: chooses rows of table-1 and table-2, not of {name}")
    bundle = load_bundle(models)
    resolved = resolve_recipe(recipe, bundle.recipe_defaults, with_warnings(set_))
    embedded = models.partition("+")[0] == "mini"
    for experiment in experiments().values() if name == "all" else [find_experiment(name)]:
        name_of_suite = benchmark or ("mini" if embedded else experiment.benchmark)
        suite = open_benchmark(name_of_suite, root, naming=naming_of(resolved))
        with reporter() as progress:
            stage = prepare(
                out if experiment.images_factor == 1 else out / f"run-x{experiment.images_factor}",
                suite,
                bundle,
                resolved,
                range(seeds),
                device=device,
                images_factor=experiment.images_factor,
                progress=progress,
                overwrite=overwrite,
                systems=systems,
            )
            outcome = experiment.run(stage)
        place = out / "reproduce" / experiment.name
        deliver(f"{write_outcome(place, experiment, stage, outcome)}\n{place}\n\n")
    deliver(f"{write_index(out / 'reproduce')}\n")
