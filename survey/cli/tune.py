"""`survey tune`: which settings of a training do best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.learning import SetsOption, split_sets
from survey.cli.options import PresetOption, load_config
from survey.cli.tables import NOTHING, say, show
from survey.errors import UsageError
from survey.interruption import interruption_kept

if TYPE_CHECKING:
    from survey.learning.tune import Trial, Tuned

SHOWN_TRIALS = 10


def register(app: typer.Typer) -> None:
    app.command("tune", no_args_is_help=True)(tune)


def tune(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A network: triage, vetting, segments and so on.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The best settings, as TOML; a CSV beside it.")],
    sets: SetsOption = None,
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=2, help="The first changes nothing.")] = 16,
    space: Annotated[
        Path | None,
        typer.Option("--space", metavar="FILE", help="What is searched, as TOML.", show_default="five settings"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of what is drawn.")] = 0,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="At most so many.", show_default="20")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Trials at a time.", show_default="1")
    ] = None,
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="A Ray of its own (local), auto, or a cluster's.")
    ] = "local",
    preset: PresetOption = None,
) -> None:
    """Search for better settings of a training, by star: one fold is put aside and tells what the search gained.

    Poor trials are stopped after the first folds. A search that was interrupted goes on when it is run again. The space
    is TOML with a table \\[train]: each setting with a list of values, or {low = 1e-3, high = 1e-2, log = true}.

    [bold]Examples[/]

    survey tune vetting --set views.npz --trials 20 --out best.toml

    survey train vetting --set views.npz --preset best.toml --out models/vetting
    """
    from survey.learning.lessons import make_lesson
    from survey.learning.tune import SPACE, read_space
    from survey.learning.tune import tune as search

    path, overrides = split_sets(sets)
    if path is None:
        raise UsageError(f"{model} learns from labelled rows: give --set FILE")
    given = {"epochs": epochs, "workers": workers}
    words = [f"train.{key}={value}" for key, value in given.items() if value is not None]
    config = load_config(preset, [*overrides, *words], None).train
    searched = SPACE if space is None else read_space(space)
    lesson = make_lesson(path, model, config)
    with interruption_kept():
        tuned = search(lesson, config, searched, trials, out, seed=seed, address=address, on_trial=_say_trial)
    _show(tuned, sorted(searched), out)


def _say_trial(trial: "Trial") -> None:
    folds = f"{len(trial.figures)} folds" + ("" if trial.complete else ", stopped")
    settings = ", ".join(f"{name} {value}" for name, value in trial.settings.items()) or "as they are"
    say(f"trial {trial.number}: AP {trial.mean:.4f} ({folds}); {escape(settings)}")


def _show(tuned: "Tuned", names: list[str], out: Path) -> None:
    table = Table(title="The best trials", title_justify="left", title_style="bold", header_style="bold", box=None)
    for name in ("trial", "AP", "folds", *names):
        table.add_column(name, justify="right")
    ranked = sorted(tuned.trials, key=lambda trial: (-len(trial.figures), -trial.mean))
    for trial in ranked[:SHOWN_TRIALS]:
        values = [str(trial.settings.get(name, NOTHING)) for name in names]
        table.add_row(str(trial.number), f"{trial.mean:.4f}", str(len(trial.figures)), *values)
    show(table)
    aside, gain = tuned.aside, tuned.aside["gain"]
    interval = "" if gain["low"] is None else f" ({gain['low']:+.4f} to {gain['high']:+.4f})"
    say(
        f"on {aside['stars']:,} stars that no trial saw: AP {aside['best']:.4f}, before {aside['before']:.4f}, "
        f"gain {gain['value']:+.4f}{interval}"
    )
    say(f"settings in [bold]{escape(str(out))}[/], all trials in {escape(str(out.with_suffix('.csv')))}")
