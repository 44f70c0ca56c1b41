"""`survey train`, `survey evaluate`: models that are learnt from labelled sets, and what they are worth."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.anomalies import ANOMALY, ContaminationOption, WindowOption, train_anomaly
from survey.cli.options import CatalogsOption, PresetOption, load_config, sort_sets
from survey.cli.tables import make_console, say, show
from survey.errors import UsageError
from survey.interruption import interruption_kept

if TYPE_CHECKING:
    from survey.learning.fit import Epoch

InputsName = Literal["all", "views"]

PLAIN_PROGRESS_S = 5.0
"""Where there is no terminal, a line of progress at most this often."""

SetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "--views",
        metavar="FILE",
        help="The labelled set: Parquet of `survey data`; views as npz or CSV too. KEY=VALUE overrides a setting.",
        show_default=False,
    ),
]


def split_sets(values: Sequence[str] | None) -> tuple[Path | None, list[str]]:
    """The file that --set names, if it does, and the settings that it overrides. Raises UsageError for two files."""
    files, settings = sort_sets(values)
    if len(files) > 1:
        raise UsageError(f"one labelled set at a time, not {' and '.join(files)}")
    return (Path(files[0]) if files else None), settings


def register(app: typer.Typer) -> None:
    app.command("train", no_args_is_help=True)(train)
    app.command("evaluate", no_args_is_help=True)(evaluate)


def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="What is learnt: triage, vetting, segments and so on.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model is written.")],
    sets: SetsOption = None,
    base: Annotated[
        str | None,
        typer.Option("--from", metavar="ARTIFACT", help="Fine-tune this model, in two stages.", show_default=False),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="N", min=2, help="Groups of stars.", show_default="5")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Members of each fold.", show_default="3")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="At most so many.", show_default="20")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--lr", metavar="RATE", help="From scratch, or of the head alone.", show_default="0.004"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", metavar="N", min=1, help="Epochs without anything better.", show_default="8"),
    ] = None,
    freeze: Annotated[
        int | None,
        typer.Option("--freeze-epochs", metavar="N", min=0, help="Of the head alone, with --from.", show_default="5"),
    ] = None,
    unfreeze: Annotated[
        int | None,
        typer.Option("--unfreeze-blocks", metavar="N", min=0, help="That learn after that.", show_default="2"),
    ] = None,
    finetune_rate: Annotated[
        float | None, typer.Option("--finetune-lr", metavar="RATE", help="Of head and blocks.", show_default="0.0001")
    ] = None,
    inputs: Annotated[
        InputsName | None,
        typer.Option("--inputs", help="views: without period, duration, S/N and the like.", show_default="all"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="That share the work.", show_default="1")
    ] = None,
    gpu: Annotated[bool | None, typer.Option("--gpu", help="One GPU a worker.", show_default=False)] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="Half precision on a GPU.", show_default="amp")
    ] = None,
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="A Ray of its own (local), auto, or a cluster's.")
    ] = "local",
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="CSV, a line a training.", show_default="training.csv beside DIR"),
    ] = None,
    simulated: Annotated[
        int | None, typer.Option("--simulated", metavar="N", min=1, help="anomaly: from so many simulated stars.")
    ] = None,
    contamination: ContaminationOption = None,
    window: WindowOption = None,
    catalogs: CatalogsOption = None,
    preset: PresetOption = None,
) -> None:
    """Train a model from a labelled set and measure it on stars that it has not seen.

    triage tells transits and eclipses from the rest by their views, vetting planet candidates. DIR holds weights,
    figures and a model card. A training that was interrupted goes on when it is run again. With --from, the head of
    another model learns first, the rest frozen, then its last blocks with it.

    [bold]Examples[/]

    survey train triage --set views.npz --out models/triage

    survey train vetting --set views.csv --out models/vetting --seeds 1 --workers 2 --set train.average=0.9

    survey train vetting --set mine.parquet --from vetting --out models/mine

    survey train anomaly --set quiet_1.fits --set quiet_2.csv --out models/anomaly
    """
    if model == ANOMALY:
        train_anomaly(sets, simulated, contamination, window, catalogs, preset, out)
        return
    from survey.learning.artifact import find_artifact, load_artifact
    from survey.learning.lessons import train_model

    given = {
        "folds": folds,
        "seeds": seeds,
        "epochs": epochs,
        "learning_rate": rate,
        "patience": patience,
        "freeze_epochs": freeze,
        "unfreeze_blocks": unfreeze,
        "finetune_lr": finetune_rate,
        "inputs": inputs,
        "workers": workers,
        "gpu": gpu,
        "amp": amp,
    }
    path, settings = split_sets(sets)
    words = [f"train.{key}={_toml(value)}" for key, value in given.items() if value is not None]
    config = load_config(preset, [*settings, *words], None)
    known = load_artifact(find_artifact(base)) if base is not None else None
    with interruption_kept(), _progress() as tell:
        trained = train_model(model, path, config, out, base=known, address=address, log=log, on_epoch=tell)
    if trained.evaluation is not None:
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
        str,
        typer.Argument(metavar="ARTIFACT", help="A model's folder, or the name of a shipped one.", show_default=False),
    ],
    sets: SetsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="PNG of curves and reliability.", show_default=False),
    ] = None,
) -> None:
    """Measure a model on a labelled set: ranking, decisions and calibration, with intervals over stars.

    Stars that the model was trained on are scored only by those of its members that never saw them.

    [bold]Examples[/]

    survey evaluate triage --set views.npz --figure triage.png

    survey evaluate models/vetting --set views.npz --json > metrics.json
    """
    from survey.learning.artifact import find_artifact, load_artifact
    from survey.learning.evaluate import write_figure
    from survey.learning.lessons import measure_model

    path, settings = split_sets(sets)
    if path is None:
        raise UsageError("give the labelled set to measure on: --set FILE")
    config = load_config(None, settings, None)
    evaluation = measure_model(load_artifact(find_artifact(model)), path, config)
    if figure is not None:
        write_figure(evaluation, figure)
    if as_json:
        print(json.dumps(evaluation.figures, indent=1))
        return
    _show_figures(evaluation.title, evaluation.figures)


def _show_figures(title: str, figures: dict[str, Any]) -> None:
    from survey.learning.card import figure_rows

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_row("rows, stars, positives", f"{figures['rows']:,}, {figures['stars']:,}, {figures['positives']:,}")
    if figures.get("simulated"):
        table.add_row("simulated", escape(figures["simulated"]))
    if figures.get("seen_rows"):
        table.add_row("rows of stars it was trained on", f"{figures['seen_rows']:,}, by members that never saw them")
    for name, value in figure_rows(figures):
        table.add_row(name, value)
    show(table)
    for note in figures.get("notes", []):
        say(f"[dim]{escape(note)}[/]")
