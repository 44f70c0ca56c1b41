"""`survey train`, `survey evaluate`: models that are learnt from labelled views, and what they are worth."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import PresetOption, SetOption, load_config
from survey.cli.tables import make_console, say, show

if TYPE_CHECKING:
    from survey.learning.fit import Epoch

TaskName = Literal["triage", "vetting"]
InputsName = Literal["all", "views"]

PLAIN_PROGRESS_S = 5.0
"""Where there is no terminal, a line of progress at most this often."""

ViewsOption = Annotated[
    Path,
    typer.Option("--views", metavar="FILE", help="Labelled views: npz, or CSV with global_0.., local_0.., label."),
]


def register(app: typer.Typer) -> None:
    app.command("train", no_args_is_help=True)(train)
    app.command("evaluate", no_args_is_help=True)(evaluate)


def train(
    task: Annotated[TaskName, typer.Argument(metavar="MODEL", help="triage or vetting.", show_default=False)],
    views: ViewsOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model is written.")],
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="N", min=2, help="Groups of stars.", show_default="5")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Members of each fold.", show_default="3")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="At most so many.", show_default="20")
    ] = None,
    inputs: Annotated[
        InputsName | None,
        typer.Option("--inputs", help="views: without period, duration, S/N and the like.", show_default="all"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="That share the work.", show_default="1")
    ] = None,
    gpu: Annotated[bool | None, typer.Option("--gpu", help="One GPU a worker.", show_default=False)] = None,
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="A Ray of its own (local), auto, or a cluster's.")
    ] = "local",
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="CSV, a line a training.", show_default="training.csv beside DIR"),
    ] = None,
    preset: PresetOption = None,
    overrides: SetOption = None,
) -> None:
    """Train a classifier of views from scratch and measure it on stars that it has not seen.

    triage tells transits and eclipses from the rest, vetting planet candidates from the rest. DIR holds weights,
    figures and a model card. A training that was interrupted goes on when it is run again.

    [bold]Examples[/]

    survey train triage --views views.npz --out models/triage

    survey train vetting --views views.csv --out models/vetting --seeds 1 --workers 2 --set train.patience=4
    """
    from survey.learning.train import train as train_model
    from survey.learning.sets.views import read_views

    given = {"folds": folds, "seeds": seeds, "epochs": epochs, "inputs": inputs, "workers": workers, "gpu": gpu}
    words = [f"train.{key}={_toml(value)}" for key, value in given.items() if value is not None]
    config = load_config(preset, [*(overrides or ()), *words], None).train
    with _progress() as tell:
        trained = train_model(read_views(views), task, config, out, address=address, log=log, on_epoch=tell)
    _show_figures(trained.evaluation.title, trained.evaluation.figures)
    say(f"model {trained.id[:12]} in [bold]{escape(str(trained.folder))}[/]")


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def _progress() -> Iterator[Callable[["Epoch"], None]]:
    """A bar on a terminal; a line every few seconds in a job."""
    if sys.stdout.isatty():
        from rich.progress import Progress

        with Progress(console=make_console(), transient=True) as bar:
            task = bar.add_task("training", total=None)
            yield lambda epoch: bar.update(
                task,
                completed=epoch.member * epoch.epochs + epoch.epoch + 1,
                total=epoch.members * epoch.epochs,
                description=epoch_words(epoch),
            )
    else:
        yield _plain_progress()


def _plain_progress() -> Callable[["Epoch"], None]:
    last = 0.0

    def tell(epoch: "Epoch") -> None:
        nonlocal last
        if time.monotonic() - last > PLAIN_PROGRESS_S:
            last = time.monotonic()
            say(epoch_words(epoch))
            sys.stdout.flush()

    return tell


def epoch_words(epoch: "Epoch") -> str:
    """member 2/15 (fold 0, seed 1), epoch 7/20: loss 0.112, validation AP 0.971"""
    return (
        f"member {epoch.member + 1}/{epoch.members} (fold {epoch.fold}, seed {epoch.seed}), "
        f"epoch {epoch.epoch + 1}/{epoch.epochs}: loss {epoch.loss:.3f}, validation AP {epoch.validation_ap:.3f}"
    )


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A model's folder, or triage or vetting.", show_default=False)
    ],
    views: ViewsOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="PNG of curves and reliability.", show_default=False),
    ] = None,
) -> None:
    """Measure a model on labelled views: ranking, decisions and calibration, with intervals over stars.

    Stars that the model was trained on are scored only by those of its members that never saw them.

    [bold]Examples[/]

    survey evaluate triage --views views.npz --figure triage.png

    survey evaluate models/vetting --views views.npz --json > metrics.json
    """
    from survey.learning import evaluate as measured
    from survey.learning.artifact import find_artifact, load_artifact
    from survey.learning.sets.views import read_views

    evaluation = measured.evaluate(load_artifact(find_artifact(model)), read_views(views))
    if figure is not None:
        measured.write_figure(evaluation, figure)
    if as_json:
        print(json.dumps(evaluation.figures, indent=1))
        return
    _show_figures(evaluation.title, evaluation.figures)


def _show_figures(title: str, figures: dict[str, Any]) -> None:
    from survey.learning.card import figure_rows

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_row("rows, stars, positives", f"{figures['rows']:,}, {figures['stars']:,}, {figures['positives']:,}")
    if figures.get("seen_rows"):
        table.add_row("rows of stars it was trained on", f"{figures['seen_rows']:,}, by members that never saw them")
    for name, value in figure_rows(figures):
        table.add_row(name, value)
    show(table)
    for note in figures.get("notes", []):
        say(f"[dim]{escape(note)}[/]")
