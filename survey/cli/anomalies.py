"""`survey anomalies`: strange stretches of light curves, and how a detector of them is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import (
    CacheOption,
    CatalogsOption,
    JsonOption,
    ObservationsOption,
    PresetOption,
    SetOption,
    SourceOption,
    choose_catalogs,
    sort_sets,
)
from survey.cli.stars import ANSWERED, FAILED, Query, StarsArgument, TimeZeroOption, UploadMissionOption, make_query
from survey.cli.tables import say, show
from survey.errors import StarError, UsageError

if TYPE_CHECKING:
    from survey.learning.anomaly import AnomalyModel
    from survey.learning.models.anomaly import Light

ANOMALY: Final = "anomaly"
SHOWN: Final = 20
"""Intervals of a star in a table, the strangest."""

WindowOption = Annotated[
    int | None,
    typer.Option("--window", metavar="POINTS", min=10, max=2000, help="Points of a window.", show_default="50"),
]
ContaminationOption = Annotated[
    float | None,
    typer.Option(
        "--contamination",
        metavar="SHARE",
        min=0.0001,
        max=0.5,
        help="Share of quiet windows that count as strange.",
        show_default="0.05",
    ),
]
VoteOption = Annotated[
    float | None,
    typer.Option(
        "--vote-threshold",
        metavar="SHARE",
        min=0.01,
        max=1.0,
        help="Share of the windows over a point that must be strange to flag it.",
        show_default="0.3",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("anomalies", no_args_is_help=True)(anomalies)


def anomalies(
    stars: StarsArgument,
    source: SourceOption = None,
    model: Annotated[
        str, typer.Option("--model", metavar="ARTIFACT", help="A detector's folder; own: fit on the star itself.")
    ] = ANOMALY,
    contamination: ContaminationOption = None,
    window: WindowOption = None,
    vote_threshold: VoteOption = None,
    json: JsonOption = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="The light curve, flagged points in red.", show_default=False),
    ] = None,
    observations: ObservationsOption = None,
    mission: UploadMissionOption = None,
    time_zero: TimeZeroOption = None,
    preset: PresetOption = None,
    settings: SetOption = None,
    cache: CacheOption = None,
    catalogs: CatalogsOption = None,
) -> None:
    """Find strange stretches in light curves: dips, flares, whatever is unlike the light of quiet stars.

    A star's score is 0 for the usual window of a quiet star, and 1 where its strangest windows are as strange as one in
    twenty of theirs. With --json, a list with one object a star. Exit code 3 where a star got no answer.

    [bold]Examples[/]

    survey anomalies lightcurve.csv --plot strange.png

    survey anomalies "TIC 900000001" --source demo --json

    survey anomalies lightcurve.fits --model own --window 80 --contamination 0.02
    """
    from survey.runs.exports import to_json
    from survey.runs.lights import OWN

    query = make_query(preset, settings, None, source, cache, catalogs, observations, mission, time_zero)
    given = {"contamination": contamination, "window": window, "vote_threshold": vote_threshold}
    if plot is not None and len(stars) > 1:
        raise UsageError("--plot draws one star at a time")
    detector = None if model == OWN else _open(model, window)
    rows = [_examine(text, query, detector, given, plot) for text in stars]
    if json:
        typer.echo(to_json(rows))
    else:
        for row in rows:
            _say_star(row)
    if any(row["status"] not in ANSWERED for row in rows):
        raise typer.Exit(FAILED)


def _open(name: str, window: int | None) -> "AnomalyModel":
    from survey.learning.anomaly import load_detector
    from survey.learning.artifact import find_artifact

    found = load_detector(find_artifact(name))
    if window not in (None, found.detector.inputs.points):
        raise UsageError(
            f"{found.record.name} knows windows of {found.detector.inputs.points} points: fit on the star itself "
            f"(--model own --window {window}), or train one (survey train anomaly --set anomaly.window={window})"
        )
    return found


def _examine(
    text: str, query: Query, model: "AnomalyModel | None", given: Mapping[str, Any], plot: Path | None
) -> dict[str, Any]:
    """A star's answer as plain values, and its picture where one is asked for. given: options of `look_at_light`."""
    from survey.runs.lights import look_at_light

    row = _read_row(text, query)
    if row["status"] != "ok":
        return row
    look = look_at_light(row, model, query.config.anomaly, **given)
    if plot is not None:
        from survey.runs.sheet.anomalies import draw_anomalies

        draw_anomalies(look.found, look.light.time, look.light.flat, row["time_zero"], plot)
    return look.as_values()


def _read_row(text: str, query: Query) -> dict[str, Any]:
    """The detrended row of a star; a file that is no light curve has status and error."""
    from survey.runs.lights import detrended_row

    try:
        target, source = query.open(text)
    except StarError as error:
        return {"target_id": text, "status": error.status, "error": str(error)}
    row = detrended_row(target, source, query.config)
    return row if row["status"] == "ok" else {name: row[name] for name in ("target_id", "status", "error")}


def _say_star(row: dict[str, Any]) -> None:
    if row["status"] != "ok":
        say(f"[bold]{escape(row['target_id'])}[/]  {row['status']}: {escape(row['error'] or '')}\n")
        return
    if row["score"] is None:
        say(f"[bold]{escape(row['target_id'])}[/]  no stretch is as long as a window: nothing was looked at\n")
        return
    words = (
        f"score {row['score']:.2f}, {row['n_strange_windows']:,} of {row['n_windows']:,} windows strange, "
        f"{row['n_flagged_points']:,} of {row['n_points']:,} points flagged"
    )
    say(f"[bold]{escape(row['target_id'])}[/]  [dim]{words}[/]")
    if row["seen_in_training"]:
        say("  [yellow]note:[/] the model was trained on this star: what it does is less strange to it")
    if row["intervals"]:
        show(_interval_table(row["intervals"], row["time_zero"]))
    say()


def _interval_table(intervals: Sequence[dict[str, Any]], time_zero: float) -> Table:
    strangest = sorted(intervals, key=lambda part: -abs(part["sigmas"]))[:SHOWN]
    left = len(intervals) - len(strangest)
    table = Table(box=None, caption=f"{left} more, with --json" if left else None, caption_justify="left")
    for name in (f"begin (BJD - {time_zero:.0f})", "end", "peak", "points", "votes", "sigmas", "looks like"):
        table.add_column(name, justify="left" if name == "looks like" else "right")
    for part in sorted(strangest, key=lambda part: part["begin"]):
        table.add_row(
            f"{part['begin']:.3f}",
            f"{part['end']:.3f}",
            f"{part['peak']:.3f}",
            f"{part['n_points']:,}",
            f"{part['votes']:.2f}",
            f"{part['sigmas']:+.1f}",
            part["kind"],
        )
    return table


# Training, as a part of `survey train`


def train_anomaly(
    sets: Sequence[str] | None,
    simulated: int | None,
    contamination: float | None,
    window: int | None,
    catalogs: Path | None,
    preset: str | None,
    out: Path,
) -> None:
    """`survey train anomaly`: from light curves of quiet stars, or from so many simulated ones."""
    from survey.learning.anomaly import train_anomaly_detector
    from survey.learning.artifact import check_place
    from survey.runs.lights import choose

    files, settings = sort_sets(sets)
    if bool(files) == (simulated is not None):
        raise UsageError("anomaly learns from light curves of quiet stars, --set FILE --set FILE, or --simulated N")
    query = make_query(preset, settings, None, None, None, catalogs, None, None, None)
    config = choose(query.config.anomaly, contamination=contamination, window=window)
    check_place(out)
    lights = _read_quiet(files, query) if simulated is None else simulated
    _say_trained(train_anomaly_detector(lights, config, out), out)


def _read_quiet(files: Sequence[str], query: Query) -> "list[Light]":
    """The light in files, catalogued transits cut out where catalogues are at hand."""
    from survey.runs.lights import light_of
    from survey.runs.sets.curves import Listed

    folder = choose_catalogs(query.catalogs)
    listed = None if folder is None else Listed(folder, query.config)
    lights = []
    for file in files:
        row = _read_row(file, query)
        if row["status"] != "ok":
            raise UsageError(f"{file}: {row['error']}")
        lights.append(light_of(row, listed.ephemerides_of(row) if listed else ()))
    return lights


def _say_trained(model: "AnomalyModel", out: Path) -> None:
    from survey.learning.anomaly import figure_rows

    facts = model.record.training
    table = Table(
        title=f"{model.record.name}: {facts['windows']:,} windows of {facts['stars']:,} stars, simulated events",
        title_justify="left",
        title_style="bold",
        box=None,
    )
    for name in ("", "precision", "recall", "F1", "average precision (95%)", "base rate"):
        table.add_column(name)
    for name, values in figure_rows(model.record.figures):
        table.add_row(name, *values)
    show(table)
    say(f"model {model.id[:12]} in [bold]{escape(str(out))}[/]")
