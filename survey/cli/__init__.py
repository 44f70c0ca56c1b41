"""The `survey` command.

Exit codes: 0 complete (a star without data is complete), 1 the work could not be done, 2 usage, 3 finished with failed
targets, 130 interrupted (run again to go on). Heavy modules are imported inside the commands, so that help is instant.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from survey.cli import (
    anomalies,
    archives,
    cite,
    compare,
    data,
    doctor,
    inject,
    learning,
    models,
    predict,
    report,
    rescore,
    runs,
    serve,
    stars,
    sweep,
    tune,
)
from survey.errors import SurveyError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="survey",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"survey {version('transit-survey')}")
        raise typer.Exit


@app.callback(epilog="Begin with: survey sweep --demo")
def begin(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """From a list of stars to a ranked catalogue of transiting-planet candidates."""


sweep.register(app)
inject.register(app)
runs.register(app)
report.register(app)
rescore.register(app)
compare.register(app)
cite.register(app)
stars.register(app)
serve.register(app)
archives.register(app)
data.register(app)
learning.register(app)
anomalies.register(app)
predict.register(app)
models.register(app)
tune.register(app)
doctor.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; what goes wrong becomes one line on standard error."""
    code: int | str | None = 0
    try:
        app(list(sys.argv[1:] if arguments is None else arguments), prog_name="survey")
    except SystemExit as end:
        code = end.code
    except UsageError as error:
        _say(f"[bold red]survey:[/] {escape(_one_line(error))}")
        return 2
    except SurveyError as error:
        _say(f"[bold red]survey:[/] {escape(_one_line(error))}")
        return 1
    if code == INTERRUPTED:
        _say("[bold]survey:[/] interrupted; what was finished is kept: run the same command to go on")
    return code if isinstance(code, int) else int(code is not None)


def _say(words: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(words)


def _one_line(error: SurveyError) -> str:
    return " ".join(str(error).split())
