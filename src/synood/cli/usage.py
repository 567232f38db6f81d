"""What is wrong with a command line, in plain sentences instead of the parser's."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_READS_INPUT = ("score", "explain")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raise an `InputError` for an empty argument: as a path it would be the current folder."""
    for before, argument in zip(["synood", *arguments], arguments, strict=False):
        if argument == "":
            raise InputError(f"empty argument after {before}; is a variable of the shell unset?")
        if argument.startswith("--") and argument.endswith("="):
            raise InputError(f"{argument[:-1]}: needs a value, not an empty one")


def with_standard_input(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with "-" as a name, which the parser would take for an option.

    Only for commands that read a list of images from standard input.
    """
    reads = bool(arguments) and arguments[0] in _READS_INPUT
    return ["/dev/stdin" if reads and word == "-" else word for word in arguments]


def usage_message(error: CycloptsError) -> str:
    """Return one sentence on what is wrong with the command line and how to mend it."""
    match error:
        case UnknownOptionError():
            return _unknown_option(error)
        case UnknownCommandError():
            return _unknown_command(error)
        case UnusedCliTokensError():
            return f"{_quoted(error.unused_tokens or [])}: unexpected argument; see {_help(error)}"
        case RepeatArgumentError():
            return f"{error.token.keyword}: given twice"
        case MissingArgumentError():
            return _missing(error)
        case CoercionError() if error.token is not None:
            return _wrong_kind(error)
    error.verbose = False
    return str(error)


def _unknown_option(error: UnknownOptionError) -> str:
    given = (error.token.keyword or error.token.value).partition("=")[0]
    if given == "-":
        return "-: standard input is not read; name a file or a folder"
    if not given.startswith("--"):
        return (
            f"{given}: unknown option; see {_help(error)} "
            f"(a file whose name begins with a hyphen is written ./{given})"
        )
    names = [name for argument in error.argument_collection for name in argument.names]
    return f"unknown option {given}; {_nearest(given, names) or f'see {_help(error)}'}"


def _unknown_command(error: UnknownCommandError) -> str:
    given = (error.unused_tokens or [""])[0]
    if given.startswith("-"):
        return f"unknown option {given}; see {_help(error)}"
    commands = [] if error.app is None else [name for name in error.app if name[0] != "-"]
    near = _nearest(given, commands) or f"use one of {', '.join(commands)}"
    return f"unknown command {given!r}; {near}"


def _missing(error: MissingArgumentError) -> str:
    name = error.argument.name if error.argument else "an argument"
    if error.keyword is not None:
        return f"{error.keyword}: needs a value; see {_help(error)}"
    misspelt = [token for token in error.unused_tokens or [] if token.startswith("--")]
    for token in misspelt:
        if difflib.get_close_matches(token.partition("=")[0], [name]):
            return f"unknown option {token.partition('=')[0]}; did you mean {name}?"
    return f"{name}: is missing; see {_help(error)}"


def _wrong_kind(error: CoercionError) -> str:
    assert error.token is not None
    given = error.token.value
    name = error.token.keyword or (error.argument.name if error.argument else "the argument")
    if error.msg is not None:
        return f"{name}: {error.msg}"
    choices, kinds = _choices(error.target_type)
    words = [*(_KINDS[kind] for kind in kinds), *(repr(choice) for choice in choices)]
    near = _nearest(given, choices)
    wanted = " or ".join(words) if words else "a value of another kind"
    return f"{name}: must be {wanted}, not {given!r}" + (f"; {near}" if near else "")


def _choices(kind: Any) -> tuple[list[str], list[type]]:  # noqa: ANN401 - a type annotation
    """Return the texts and the plain types that an annotation allows."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)], []
    parts = [_choices(part) for part in get_args(kind)]
    texts = [text for found, _ in parts for text in found]
    types = [one for _, found in parts for one in found]
    return texts, [*types, *([kind] if kind in _KINDS else [])]


def _nearest(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _quoted(tokens: list[str]) -> str:
    return ", ".join(repr(token) for token in tokens[:3])


def _help(error: CycloptsError) -> str:
    return f"`{' '.join(['synood', *(error.command_chain or ())])} --help`"
