"""The command line: the commands of this folder put together, and errors as exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter

from synood import __version__
from synood.cli.bench import bench
from synood.cli.benchmark import benchmark
from synood.cli.cache import cache
from synood.cli.calibrate import calibrate
from synood.cli.console import discard, own_warnings_as_lines, tell, use_any_text
from synood.cli.demo import demo
from synood.cli.drift import drift
from synood.cli.evaluate import evaluate
from synood.cli.exits import DONE, INPUT_FAULT, OUR_FAULT, STOPPED, TERMINATED
from synood.cli.explain import explain
from synood.cli.export import export
from synood.cli.fit import fit
from synood.cli.mine import mine
from synood.cli.models import models
from synood.cli.push import push
from synood.cli.report import report
from synood.cli.reproduce import reproduce
from synood.cli.score import score
from synood.cli.serve import serve
from synood.cli.show import show
from synood.cli.signals import Terminated, terminable
from synood.cli.status import status
from synood.cli.synthesize import synthesize
from synood.cli.usage import refuse_empty, usage_message, with_standard_input
from synood.cli.zero_shot import zero_shot
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATH_FAULTS = {
    errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
    errno.ENAMETOOLONG, errno.EEXIST, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC),
}  # fmt: skip

_HELP = """
Tell whether an image shows one of your classes or something else (out-of-distribution, OOD).

A detector is made from class names alone (zero-shot) or from a folder of images per class (fit). \
`fit` synthesizes images near the boundary of the classes and tunes the detector on them.

Exit codes: 0 done, 1 fault in synood, 2 fault in the input, 3 OOD image or drift \
found (--fail-on-ood, --fail-on-drift).
"""

app = App(
    name="synood",
    version=__version__,
    help=_HELP,
    help_format="plaintext",
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
_ORDER: tuple[Callable[..., int | None], ...] = (
    demo, fit, zero_shot, show, score, explain, serve, calibrate, drift, evaluate, export, push,
    mine, synthesize, report, reproduce, status, models, bench,
)  # fmt: skip
_USAGE: dict[Callable[..., int | None], str] = {  # where cyclopts would say [ARGS]
    fit: "fit --out PATH [OPTIONS] [IMAGES]",
    score: "score [OPTIONS] DETECTOR [IMAGES...]",
    explain: "explain [OPTIONS] DETECTOR [IMAGES...]",
    evaluate: "evaluate [OPTIONS] DETECTOR [OTHERS...]",
    reproduce: "reproduce [OPTIONS] [NAME]",
    models: "models [BUNDLES...]",
}
for _place, _command in enumerate(_ORDER):
    _usage = f"Usage: synood {_USAGE[_command]}" if _command in _USAGE else None
    app.command(_command, sort_key=_place, usage=_usage)
app.command(benchmark)
app.command(cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one line on stderr."""
    # What the libraries say about their own loading is of no use here.
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    use_any_text()
    try:
        words = sys.argv[1:] if arguments is None else arguments
        refuse_empty(words)
        with terminable(), own_warnings_as_lines():
            code = app(
                with_standard_input(words),
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a closed or full standard output can still be reported
    except CycloptsError as error:
        return _fail(usage_message(error), INPUT_FAULT)
    except InputError as error:
        return _fail(str(error), INPUT_FAULT)
    except (BrokenPipeError, SystemExit):  # as of `... | head`: the reader has seen enough
        discard(sys.stdout)  # rich, which prints the help, makes a closed pipe a SystemExit
        return DONE
    except OSError as error:
        if error.errno not in _PATH_FAULTS:
            return _our_fault()
        return _fail(f"{error.filename or 'writing'}: {error.strerror}", INPUT_FAULT)
    except KeyboardInterrupt as error:
        code = TERMINATED if isinstance(error, Terminated) else STOPPED
        return _fail("stopped; `fit` and `demo` resume when run again", code)
    except Exception:  # noqa: BLE001 - the outermost place: whatever it is, it is our fault
        return _our_fault()
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    tell(f"synood: {' '.join(message.split())}")
    return code


def _our_fault() -> int:
    traceback.print_exc()
    return _fail("this is a fault in synood, not in your input; please report it", OUR_FAULT)


if __name__ == "__main__":
    sys.exit(main())
