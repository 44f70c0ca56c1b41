"""`survey cite`: what to cite for a run."""

import sys
from typing import Annotated, Literal

import typer

from survey.cli.runs import RunArgument


def register(app: typer.Typer) -> None:
    app.command("cite", no_args_is_help=True)(cite)


def cite(
    root: RunArgument,
    form: Annotated[Literal["text", "bibtex"], typer.Option("--format", help="How to write them.")] = "text",
) -> None:
    """The data, catalogues, methods and programs that a publication resting on this run should cite.

    [bold]Examples[/]

    survey cite runs/demo

    survey cite runs/demo --format bibtex > references.bib
    """
    from survey.runs import citations, store

    sys.stdout.write(citations.CITATION_FORMATS[form](citations.cite(store.load_run(root))))
