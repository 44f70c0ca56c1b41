"""`survey score`, `survey plot`: one star or a few, on the very path of a sweep, without Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from survey.cli.options import (
    CacheOption,
    CatalogsOption,
    EngineOption,
    JsonOption,
    MissionName,
    ObservationsOption,
    PresetOption,
    SetOption,
    SourceOption,
    choose_cache,
    load_config,
    load_resolver,
    open_source,
)
from survey.cli.tables import STATUS_STYLES, number, ranges, say, score_lines, show, tce_table
from survey.errors import StarError, UsageError

if TYPE_CHECKING:
    from survey.config import Config
    from survey.stars.pixels import LightCentre
    from survey.stars.sources import Source
    from survey.stars.targets import Target

FAILED = 3

ANSWERED = ("ok", "no_data", "too_short")
"""Statuses that are an answer; the others end with exit code 3."""

FILE_SUFFIXES = (".fits", ".fit", ".csv", ".gz", ".txt", ".dat", ".tbl")

StarArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET|FILE", help='A star, "TIC 441462736", or a FITS or CSV file.', show_default=False),
]
StarsArgument = Annotated[
    list[str],
    typer.Argument(metavar="TARGET|FILE...", help='Stars, "TIC 441462736", or FITS or CSV files.', show_default=False),
]
UploadMissionOption = Annotated[
    MissionName | None,
    typer.Option("--mission", help="A file's mission, where it does not say.", show_default="recognised"),
]
TimeZeroOption = Annotated[
    float | None,
    typer.Option("--time-zero", metavar="BJD", help="BJD of a file's time 0: 2457000.", show_default="recognised"),
]


def register(app: typer.Typer) -> None:
    app.command("score", no_args_is_help=True)(score)
    app.command("plot", no_args_is_help=True)(plot)


@dataclass(frozen=True)
class Query:
    """How the stars of one command are looked up."""

    config: "Config"
    source: str
    cache: str | None
    catalogs: Path | None
    observations: tuple[int, ...]
    mission: MissionName | None
    time_zero: float | None

    def open(self, text: str) -> "tuple[Target, Source]":
        """The star that a text names or a file holds, and its source. Raises UsageError; for a file also StarError."""
        from survey.stars.targets import Target, parse_target

        if is_file(text):
            source = open_source(f"file:{text}", self.config, None, mission=self.mission, time_zero=self.time_zero)
            target = next(iter(source.targets(None)))
        else:
            source = open_source(self.source, self.config, choose_cache(self.cache, self.source))
            target = parse_target(text, resolve=load_resolver(self.catalogs))
        return Target(target.target_id, target.mission, self.observations), source


def make_query(
    preset: str | None,
    settings: Sequence[str] | None,
    engine: Any,
    source: str | None,
    cache: str | None,
    catalogs: Path | None,
    observations: str | None,
    mission: MissionName | None,
    time_zero: float | None,
) -> Query:
    from survey.stars.targets import parse_numbers

    config = load_config(preset, settings, engine)
    numbers = () if observations is None else parse_numbers(observations)
    return Query(config, source or "mast", cache, catalogs, numbers, mission, time_zero)


def is_file(text: str) -> bool:
    """Whether a text means a file. Raises UsageError for the name of one that is not there."""
    path = Path(text)
    if path.is_file():
        return True
    if path.suffix.lower() in FILE_SUFFIXES or "/" in text:
        raise UsageError(f"no file {text}")
    return False


# Score


def score(
    stars: StarsArgument,
    source: SourceOption = None,
    json: JsonOption = False,
    observations: ObservationsOption = None,
    mission: UploadMissionOption = None,
    time_zero: TimeZeroOption = None,
    preset: PresetOption = None,
    settings: SetOption = None,
    engine: EngineOption = None,
    cache: CacheOption = None,
    catalogs: CatalogsOption = None,
) -> None:
    """Search single stars, or files, and print their signals; the same numbers as a sweep gives.

    With --json, a list with one object a star, fields as in targets.parquet. Exit code 3 where a star got no answer.

    [bold]Examples[/]

    survey score "TIC 441462736"

    survey score "TIC 900000001" --source demo --json

    survey score lightcurve.csv --mission tess --time-zero 2457000
    """
    from survey.runs.exports import plain_row, to_json

    query = make_query(preset, settings, engine, source, cache, catalogs, observations, mission, time_zero)
    rows = [_examine(text, query) for text in stars]
    if json:
        typer.echo(to_json([plain_row(row) for row in rows]))
    else:
        for row in rows:
            _say_star(row)
    if any(row["status"] not in ANSWERED for row in rows):
        raise typer.Exit(FAILED)


def _examine(text: str, query: Query) -> dict[str, Any]:
    """The scored row of a star; a file that is no light curve has one too."""
    from survey import schema
    from survey.runs.stages import examine, rows_of

    try:
        target, source = query.open(text)
    except StarError as error:
        row = dict.fromkeys(schema.SCORED.names)
        return row | {"target_id": text, "status": error.status, "error": str(error)}
    return rows_of(examine(target, query.config, source))[0]


def _say_star(row: Mapping[str, Any]) -> None:
    say(f"[bold]{escape(row['target_id'])}[/]  [dim]{escape(_star_words(row))}[/]")
    if row["status"] != "ok":
        style = STATUS_STYLES.get(row["status"], "")
        say(f"  [{style}]{row['status']}[/]: {escape(row['error'] or '')}\n")
        return
    for note in row.get("notes") or ():
        say(f"  [yellow]note:[/] {escape(note)}")
    if row["tces"]:
        show(tce_table(row["tces"]))
    else:
        say("  no signal above the threshold")
    for line in score_lines(row):
        say(f"  {escape(line)}")
    say()


def _star_words(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return row["mission"] or ""
    from survey.stars.targets import MISSIONS

    seen = sorted({product["observation"] for product in row["products"]} - {None})
    word = MISSIONS[row["mission"]].observation + ("s" if len(seen) > 1 else "")
    parts = [
        f"{word} {ranges(seen)}" if seen else "",
        f"{row['n_cadences']:,} cadences over {row['baseline_d']:.1f} d",
        f"{number(row['magnitude'], '.2f')} mag" if row["magnitude"] is not None else "",
        f"{number(row['radius'], '.2f')} solar radii" if row["radius"] is not None else "",
        f"scatter {row['scatter_ppm']:,.0f} ppm",
        f"times since BJD {row['time_zero']:.0f}",
    ]
    return ", ".join(part for part in parts if part)


# Plot


def plot(
    star: StarArgument,
    source: SourceOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PNG|PDF|DIR",
            help="A file, or a folder for PNG and PDF that are called by star and period.",
            show_default="this folder",
        ),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option("--period", metavar="DAYS", help="Fold here instead of searching.", show_default=False),
    ] = None,
    epoch: Annotated[
        float | None,
        typer.Option(
            "--epoch", metavar="DAYS", help="Mid-transit, as the light curve's times or as BJD.", show_default=False
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="HOURS", help="Of the transit.", show_default=False)
    ] = None,
    tce: Annotated[
        int | None,
        typer.Option(
            "--tce", metavar="N", min=1, help="Only this signal.", show_default="all candidates, else the strongest"
        ),
    ] = None,
    observations: ObservationsOption = None,
    mission: UploadMissionOption = None,
    time_zero: TimeZeroOption = None,
    preset: PresetOption = None,
    settings: SetOption = None,
    engine: EngineOption = None,
    cache: CacheOption = None,
    catalogs: CatalogsOption = None,
) -> None:
    """Draw the evidence for a star's signals: a page each, with a JSON of its figures beside it.

    Light curve and trend, spectrum, folds, odd and even transits, secondary, depths, pixels, every check.

    [bold]Examples[/]

    survey plot "TIC 900000001" --source demo --out sheets

    survey plot lightcurve.fits --period 3.4567 --epoch 1325.73 --duration 2.4
    """
    from survey.runs import sheet

    query = make_query(preset, settings, engine, source, cache, catalogs, observations, mission, time_zero)
    given = (period, epoch, duration)
    if any(value is not None for value in given) and None in given:
        raise UsageError("an ephemeris is --period, --epoch and --duration together")
    target, opened = query.open(star)
    if period is not None and epoch is not None and duration is not None:
        row = _examined(target, opened, query, searched=False)
        signal, row = sheet.given_signal(row, query.config, period, epoch, duration)
        signals: Sequence[Mapping[str, Any] | None] = [signal]
    else:
        row = _examined(target, opened, query, searched=True)
        signals = sheet.choose_signals(row, tce)
    kind = None if out is None else sheet.page_kind(out)
    if kind is not None and len(signals) > 1:
        raise UsageError(
            f"{row['target_id']} has {len(signals)} candidates: give a folder as --out, or one with --tce N"
        )
    centres = _light_centres(target, opened, query) if signals[0] else []
    for drawn in signals:
        path = out if out is not None and kind else (out or Path()) / sheet.sheet_name(row, drawn)
        evidence = sheet.gather_evidence(row, drawn, query.config, centres)
        *pages, sidecar = sheet.write_sheet(evidence, path, [kind] if kind else sheet.KINDS)
        say(f"{escape('  '.join(map(str, pages)))}  [dim]{escape(str(sidecar))}[/]")


def _examined(target: "Target", source: "Source", query: Query, *, searched: bool) -> dict[str, Any]:
    """The row of a star with its light curve. Raises the star's own error where there is none."""
    from survey.errors import SurveyError
    from survey.runs.stages import STAGES, examine, rows_of

    stages = STAGES if searched else [stage for stage in STAGES if stage.name in ("fetch", "detrend")]
    row = rows_of(examine(target, query.config, source, stages))[0]
    if row["status"] != "ok":
        raise SurveyError(f"{row['target_id']}: {row['status']}: {row['error']}")
    return row


def _light_centres(target: "Target", source: "Source", query: Query) -> "list[LightCentre]":
    """For the background of the sheet, which does without where the files cannot be had again."""
    from survey.errors import FetchFailed
    from survey.stars.sources import fetch_light_centres

    try:
        return fetch_light_centres(target, source, query.config)
    except FetchFailed:
        return []
