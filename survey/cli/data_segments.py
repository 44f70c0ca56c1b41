"""`survey data segments`: labelled windows of light curves to learn from."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from survey.cli.options import (
    CacheOption,
    CatalogsOption,
    MissionName,
    PresetOption,
    SetOption,
    choose_cache,
    load_config,
    load_resolver,
    open_source,
)
from survey.cli.tables import say, say_problems
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.learning.sets.segments import SegmentSetConfig
    from survey.stars.lists import Targets
    from survey.stars.sources import Source


def segments(
    source: Annotated[
        str, typer.Option("--source", metavar="SOURCE", help="mirror:DIR or URL, mast, demo.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", help="Where the set is written.")],
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="FILE", help="Stars.", show_default="all of the source"),
    ] = None,
    mission: Annotated[MissionName | None, typer.Option("--mission", help="Of the source's stars.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="So many stars at most.")] = None,
    catalogs: CatalogsOption = None,
    window: Annotated[
        int | None, typer.Option("--window", metavar="BINS", min=16, help="Of a segment.", show_default="1024")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            metavar="BINS",
            min=1,
            help="From one window to the next.",
            show_default="a quarter of the window",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option("--channels", min=1, max=2, help="1: flattened flux; 2: raw and flattened.", show_default="2"),
    ] = None,
    level: Annotated[
        Literal["zscore", "centre"] | None,
        typer.Option("--level", help="What is done to each segment.", show_default="zscore"),
    ] = None,
    inject: Annotated[
        int | None,
        typer.Option("--inject", metavar="N", min=0, help="Curves with injected transits, a star.", show_default="4"),
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Flux turned upside down as negatives.", show_default="mirror"),
    ] = None,
    per_star: Annotated[
        int | None, typer.Option("--per-star", metavar="N", min=2, help="Segments at most.", show_default="400")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", min=10, help="Of the set at most.", show_default="50000")
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option("--negatives", metavar="RATIO", min=0.0, help="To a positive, at most.", show_default="1"),
    ] = None,
    hard_share: Annotated[
        float | None,
        typer.Option("--hard", metavar="SHARE", min=0, max=1, help="Hard ones of the negatives.", show_default="0.25"),
    ] = None,
    hard_from: Annotated[
        str | None,
        typer.Option("--hard-from", metavar="ARTIFACT", help="Hard is what this model takes for a transit."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of every draw.", show_default="0")] = None,
    cache: CacheOption = None,
    preset: PresetOption = None,
    overrides: SetOption = None,
) -> None:
    """Cut light curves into labelled segments, to learn where a transit or an eclipse is.

    Labels come from the ephemerides that the catalogues list; transits of every depth are injected into flux without
    listed ones; hard negatives lie beside transits or look like something.

    [bold]Examples[/]

    survey data segments --source mirror:archive --inject 8 --out segments.parquet

    survey data segments --source mast --targets stars.csv --window 512 --negatives 7 --out segments.parquet
    """
    from survey.runs.sets.curves import Listed
    from survey.runs.sets.segments import write_segments

    given = {"inject": inject, "mirror": mirror, "per_star": per_star, "rows": rows, "hard_share": hard_share}
    given |= {"negatives_per_positive": ratio, "seed": seed}
    asked = _asked(given, {"window": window, "stride": stride, "channels": channels, "level": level})
    config = load_config(preset, overrides, None)
    opened = open_source(source, config, choose_cache(cache, source))
    chosen = _targets(targets, opened, mission, limit, catalogs)
    hardness, model = _hardness(hard_from, asked)
    done = write_segments(
        out, chosen, opened, Listed(catalogs, config), config, asked, hardness=hardness, hard_from=model
    )
    say(
        f"{done.rows:,} segments of {done.stars:,} stars, {done.positives:,} with a transit, in "
        f"[bold]{escape(str(done.path))}[/] ({done.sha256[:12]})"
    )
    for one in done.left_out:
        say(f"[dim]left out: {escape(one['target_id'])}: {escape(one['reason'])}[/]")


def _asked(given: dict[str, Any], spec: dict[str, Any]) -> "SegmentSetConfig":
    import pydantic

    from survey.learning.sets.segments import SegmentSetConfig

    chosen = {key: value for key, value in given.items() if value is not None}
    chosen["spec"] = {key: value for key, value in spec.items() if value is not None}
    try:
        return SegmentSetConfig.model_validate(chosen)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].lower()}") from None


def _targets(
    targets: str | None, source: "Source", mission: MissionName | None, limit: int | None, catalogs: Path | None
) -> "Targets":
    from survey.stars.lists import Targets, read_targets

    if targets is None:
        return Targets.of(source.targets(mission, limit=limit))
    found = read_targets(targets, resolve=load_resolver(catalogs), mission=mission)
    say_problems(found.problems)
    return found.targets[:limit]


def _hardness(model: str | None, asked: "SegmentSetConfig") -> "tuple[Callable[..., Any] | None, str | None]":
    if model is None:
        return None, None
    from survey.learning.artifact import find_artifact, load_artifact
    from survey.learning.segments import hardness_by

    artifact = load_artifact(find_artifact(model))
    return hardness_by(artifact, asked.spec), artifact.id
