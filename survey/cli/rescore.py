"""`survey rescore`: other models, or another gate, for a finished run."""

from typing import Annotated

import typer
from rich.markup import escape

from survey.cli.options import SetOption
from survey.cli.tables import SHOWN_CANDIDATES, candidate_table, say, show


def register(app: typer.Typer) -> None:
    app.command("rescore", no_args_is_help=True)(rescore)


def rescore(
    root: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or URL.", show_default=False)],
    settings: SetOption = None,
) -> None:
    """Score and judge the signals of a finished run again, without fetching or searching.

    Takes settings of the models (score.*), of the classes of stars and of most of the gate. Scores of whole light
    curves stay as they are: a run does not keep those. Where it was interrupted, run it again.

    [bold]Examples[/]

    survey rescore runs/demo --set score.vetting=models/mine

    survey rescore runs/demo --set gate.mes=9 --set score.pixels=none
    """
    from survey.runs import rescore as again

    done = again.rescore(root, settings or ())
    for line in done.changes or ("nothing is set otherwise: the same models and gate, again",):
        say(escape(line))
    if done.kept:
        say(f"kept as they were, since they need the light curves: {', '.join(done.kept)}")
    if done.unseen:
        say(f"[yellow]{done.unseen:,} signals pass only now:[/] nobody looked at their pixels; sweep again")
    candidates = done.candidates.filter(done.candidates.column("is_candidate"))
    show(candidate_table(candidates.slice(0, SHOWN_CANDIDATES).to_pylist()))
    say(f"[bold]{len(done.candidates):,} signals[/], [bold]{len(candidates):,} candidates[/]")
