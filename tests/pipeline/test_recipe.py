"""Recipes: what they hold, how they are read, written, changed and refused."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import to_toml
from synood.pipeline.recipe import (
    RECIPES,
    read_recipe,
    recipe_to_toml,
    resolve_recipe,
    with_changes,
)
from synood.settings import Recipe, identity


def test_paper_is_the_text_of_the_paper():
    paper = RECIPES["paper"]

    assert (paper.guidance.strength, paper.guidance.num_inference_steps) == (0.6, 20)
    assert (paper.guidance.rounds, paper.guidance.step_size) == (3, 10.0)
    assert paper.guidance.objective == "energy"
    assert (paper.select.per_class, paper.negatives.learning_rate) == (50, 2e-3)
    assert (paper.negatives.epochs, paper.projection.learning_rate) == (5, 1e-3)


def test_released_differs_from_paper_only_where_the_authors_code_does():
    paper, released = (_flat(asdict(RECIPES[name])) for name in ("paper", "released"))

    different = {key: released[key] for key in paper if paper[key] != released[key]}
    assert different == {
        "name": "released",
        "describe.max_characters": 73,
        "guidance.objective": "uniformity",
        "guidance.step_size": 5.0,
        "guidance.redraw_grey": True,
        "guidance.preprocess": "torchvision",
        "mining.exclude_class_names": False,
        "mining.labels": "released",
        "mining.class_names": "first-synonym",
        "projection.class_prompt_set": "released",
        "negatives.learning_rate": 2e-2,
        "negatives.images": "four-kinds",
    }


def test_fields_that_came_later_leave_the_fingerprints_of_earlier_runs_alone():
    """Of a recipe, as of each of its parts: only what a run does differently counts."""
    paper = identity(RECIPES["paper"])
    later = _flat(asdict(RECIPES["paper"])).keys() - _flat(paper).keys()
    by_steps = {f"guidance.{name}" for name in ("method", "mu", "sigma", "guided_steps")}
    assert later == {
        *by_steps,
        *("guidance.redraw_grey", "guidance.preprocess"),
        *("mining.labels", "mining.class_names", "negatives.images"),
    }
    released = _flat(identity(RECIPES["released"]))
    assert {released[key] for key in later - by_steps} == {
        *(True, "torchvision", "released", "first-synonym", "four-kinds"),
    }
    assert identity(RECIPES["released"].negatives)["images"] == "four-kinds"
    assert "images" not in identity(RECIPES["paper"].negatives)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_survives_toml(tmp_path, name):
    path = tmp_path / "mine.toml"
    path.write_text(recipe_to_toml(RECIPES[name]))

    assert read_recipe(path) == RECIPES[name]


def test_a_run_file_is_read_as_a_recipe(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(to_toml({"seed": 3, "recipe": asdict(RECIPES["released"])}))

    assert read_recipe(path) == RECIPES["released"]


def test_a_file_changes_only_what_it_names(tmp_path):
    path = tmp_path / "warm.toml"
    path.write_text('base = "released"\n[negatives]\nepochs = 9\n')

    recipe = read_recipe(path)

    assert recipe.name == "warm"
    assert recipe.negatives.epochs == 9
    assert recipe.negatives.learning_rate == 2e-2
    assert recipe.guidance == RECIPES["released"].guidance


def test_layers_are_recipe_then_bundle_then_file_then_assignment(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("[select]\nper_class = 7\n[score]\ngroups = 7\n")
    bundle = {"select": {"per_class": 5}, "score.groups": 5, "mining.prompt_set": "photo"}

    named = resolve_recipe("paper", bundle)
    from_file = resolve_recipe(path, bundle)
    assigned = resolve_recipe(path, bundle, ["score.groups=9"])

    assert (named.select.per_class, named.score.groups) == (5, 5)
    assert (from_file.select.per_class, from_file.score.groups) == (7, 7)
    assert (assigned.select.per_class, assigned.score.groups) == (7, 9)
    assert {r.mining.prompt_set for r in (named, from_file, assigned)} == {"photo"}


@pytest.mark.parametrize(
    ("assignment", "section", "field", "value"),
    [
        ("select.per_class=3", "select", "per_class", 3),
        ("guidance.step_size=2", "guidance", "step_size", 2.0),
        ("guidance.renormalise=true", "guidance", "renormalise", True),
        ("guidance.objective=uniformity", "guidance", "objective", "uniformity"),
        ("describe.max_characters=none", "describe", "max_characters", None),
        ("describe.template=a picture of {}, alone", "describe", "template", None),
        ("describe.template={}", "describe", "template", "{}"),
        ("mining.prompt_set='photo'", "mining", "prompt_set", "photo"),
    ],
)
def test_assignments_are_typed_by_their_field(assignment, section, field, value):
    recipe = resolve_recipe("released", assignments=[assignment])

    got = getattr(getattr(recipe, section), field)
    expected = assignment.partition("=")[2] if field == "template" else value
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("negatives.lerning_rate=1", "did you mean negatives.learning_rate?"),
        ("selct.per_class=1", "did you mean select.per_class?"),
        ("learning_rate=1", "negatives.learning_rate or projection.learning_rate"),
        ("grops=1", "did you mean score.groups?"),
        ("select.per_class=many", "select.per_class must be a whole number, not 'many'"),
        ("select.per_class=2.5", "must be a whole number, not 2.5"),
        ("select.per_class=true", "must be a whole number, not True"),
        ("select.per_class=0", "must be at least 1, not 0"),
        ("guidance.strength=1.5", "greater than 0 and at most 1"),
        ("projection.images_per_class=0", "must be at least 1, not 0"),
        ("projection.views=-1", "must be 0 or more, not -1"),
        ("guidance.target=nan", "must be a number"),
        ("guidance.objective=engery", "'uniformity' or 'margin' or 'msp', not 'engery'"),
        ("nonsense={}", "unknown recipe field 'nonsense'"),
        ("describe.template=no slot", "one {} in it"),
        ("calibration.tpr=1", "between 0 and 1"),
        ("score.groups", "write it as field=value"),
    ],
)
def test_an_unfit_assignment_is_one_sentence_that_names_the_field(assignment, words):
    with pytest.raises(InputError) as caught:
        resolve_recipe("paper", assignments=[assignment])

    assert words in str(caught.value)
    assert assignment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[select]\nper_clas = 3\n")
    with pytest.raises(InputError, match=r"bad\.toml.*select\.per_class"):
        read_recipe(path)

    path.write_text("[select\n")
    with pytest.raises(InputError, match=r"bad\.toml.*TOML"):
        read_recipe(path)

    path.write_text('base = "papr"\n')
    with pytest.raises(InputError, match=r"bad\.toml.*'papr'"):
        read_recipe(path)

    with pytest.raises(InputError, match=r"none\.toml: no such file"):
        read_recipe(tmp_path / "none.toml")

    with pytest.raises(InputError, match="unknown recipe 'papr': use paper, released"):
        resolve_recipe("papr")


def test_every_setting_says_where_it_comes_from():
    """A hyperparameter without a source is an opinion; the source is a comment on its line."""
    from synood import settings as hyperparameters

    lines = Path(hyperparameters.__file__).read_text(encoding="utf-8").splitlines()
    bare = [
        line.strip()
        for line in lines
        if line.startswith("    ") and ": " in line and " = " in line
        if "# " not in line and "default_factory" not in line
    ]
    assert bare == []


scalars = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
)
documents = st.recursive(
    st.dictionaries(st.text(), scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(st.text(), scalars | inner, max_size=4),
    max_leaves=8,
)


@given(documents)
def test_toml_written_is_toml_read(document):
    assert tomllib.loads(to_toml(document, comment="two\nlines")) == document


@given(st.data())
def test_any_number_field_can_be_changed_and_survives_toml(data):
    flat = _flat(asdict(Recipe(name="r")))
    names = [key for key, value in flat.items() if type(value) is int]
    changes = data.draw(st.dictionaries(st.sampled_from(names), st.integers(2, 10**6)))

    recipe = with_changes(Recipe(name="r"), changes, "test")

    assert {key: _flat(asdict(recipe))[key] for key in changes} == changes
    written = tomllib.loads(recipe_to_toml(recipe))
    assert with_changes(Recipe(name="r"), written, "test") == recipe


def test_recipes_load_no_heavy_library():
    code = (
        "import sys, synood.pipeline.recipe; print('numpy' in sys.modules, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def _flat(nested, prefix=""):
    flat = {}
    for key, value in nested.items():
        flat.update(_flat(value, f"{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def test_the_sections_are_frozen_records():
    for field in fields(Recipe):
        section = getattr(Recipe(name="r"), field.name)
        assert field.name == "name" or (is_dataclass(section) and section.__hash__ is not None)


def test_a_bundles_target_of_energies_is_left_out_where_the_objective_is_another():
    defaults = {"guidance": {"target_quantile": 0.9}, "select": {"per_class": 3}}

    assert resolve_recipe("paper", defaults).guidance.target_quantile == 0.9
    released = resolve_recipe("released", defaults)
    assert released.guidance.target_quantile is None
    assert released.select.per_class == 3
    changed = resolve_recipe("paper", defaults, ["guidance.objective=uniformity"])
    assert changed.guidance.target_quantile is None
    margin = resolve_recipe("paper", defaults, ["guidance.objective=margin"])
    assert margin.guidance.target_quantile == 0.9
