"""The command line as a whole: help, versions, exit codes."""

import resource
import subprocess
import sys

import pytest

from synood import OODDetector, __version__
from synood.cli import main
from synood.cli.app import app


def processor_seconds(command):
    """The least time of three runs: the machine may be busy with something else."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = command()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds), result


def test_help_is_quick_and_loads_nothing_heavy(in_process):
    parser = [sys.executable, "-c", "import cyclopts, rich.console"]
    needed, _ = processor_seconds(lambda: subprocess.run(parser, check=True))
    seconds, result = processor_seconds(lambda: in_process("--help"))
    assert seconds < 3 * needed  # 1.5 times; importing torch alone takes ten times as long
    assert result.returncode == 0
    for command in ("demo", "fit", "zero-shot", "score", "calibrate", "evaluate", "mine"):
        assert f" {command} " in result.stdout
    code = "import sys, synood.cli; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


COMMANDS = [name for name in app if not name.startswith("-")]
NESTED = [(name, inner) for name in COMMANDS for inner in app[name] if not inner.startswith("-")]


def arguments_of(command):
    if command.default_command is None:  # only a group of commands
        return []
    return command.assemble_argument_collection(parse_docstring=True)


def test_every_command_is_there():
    assert set(COMMANDS) == {
        "demo", "fit", "zero-shot", "score", "calibrate", "evaluate", "mine", "synthesize",
        "report", "reproduce", "bench", "benchmark", "status", "models", "cache", "show", "explain",
        "push", "export", "serve", "drift",
    }  # fmt: skip
    assert set(NESTED) == {
        ("benchmark", "list"), ("benchmark", "check"), ("benchmark", "methods"), ("cache", "clear"),
    }  # fmt: skip


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *NESTED], ids=" ".join)
def test_every_option_is_explained(words, capsys):
    command = app
    for word in words:
        command = command[word]
    assert command.help
    assert main([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for argument in arguments_of(command):
        if argument.children:  # a group of options, of which each is shown
            continue
        assert argument.parameter.help, argument.name
        assert argument.parameter.help.split(".")[0].split("\n")[0] in shown
        assert "\n" not in argument.parameter.help  # it would break the line in the wrong place
    assert "None]" not in shown


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *NESTED], ids=" ".join)
def test_the_usage_line_names_every_argument_and_needed_option(words, capsys):
    command = app
    for word in words:
        command = command[word]
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out.split("\n\n")[0].split()
    assert shown[: 2 + len(words)] == ["Usage:", "synood", *words]
    found = arguments_of(command)
    expected = [
        (one.name if one.required else f"[{one.name}]")
        if one.field_info.kind is not one.field_info.VAR_POSITIONAL
        else f"[{one.name}...]"
        for one in sorted((one for one in found if one.index is not None), key=lambda o: o.index)
    ]
    assert shown[len(shown) - len(expected) :] == expected or words == ("cache",)
    for one in found:
        assert (one.name in shown) == one.required or one.index is not None


def test_one_option_has_one_explanation():
    helps = {}
    for name in ("fit", "zero-shot", "mine", "score", "calibrate", "evaluate", "demo", "reproduce"):
        for argument in arguments_of(app[name]):
            for option in argument.names:
                helps.setdefault(option, {})[name] = argument.parameter.help
    assert "--empty-set" not in helps
    own = {
        "--out",
        "--models",
        "--set",
        "--classes",
        "--benchmark",
        "--seeds",
        "--recipe",
        "--per-class",
        "--features",
    }
    several = {option for option, found in helps.items() if len(set(found.values())) > 1}
    assert {option for option in several if option.startswith("--")} <= own


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_missing_folder_in_a_process_of_its_own(in_process, bundle, tmp_path):
    result = in_process("fit", tmp_path / "nowhere", "--models", bundle, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("synood: ")
    assert len(result.stderr.splitlines()) == 1


def test_our_own_fault_is_exit_code_1_with_a_traceback(monkeypatch, capsys, detector, images):
    monkeypatch.setattr(OODDetector, "iter_predict", lambda *_, **__: 1 / 0)
    assert main(["score", str(detector), str(images)]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "fault in synood" in shown


def test_interrupted_by_hand_is_one_line(monkeypatch, capsys, detector, images):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OODDetector, "iter_predict", interrupted)
    assert main(["score", str(detector), str(images)]) == 130
    assert "Traceback" not in capsys.readouterr().err
