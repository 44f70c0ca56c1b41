"""`survey data periods`: light curves by the periods of their planets, to learn periods from."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from survey.cli.options import (
    CacheOption,
    CatalogsOption,
    MissionName,
    PresetOption,
    choose_cache,
    load_config,
    load_resolver,
    open_source,
)
from survey.cli.tables import say, say_problems
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.learning.sets.periods import PeriodsConfig
    from survey.stars.lists import Targets
    from survey.stars.sources import Source


def periods(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", help="Where the set is written.")],
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="SOURCE", help="mirror:DIR or URL, mast, demo.", show_default=False),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples", metavar="DIR", help="Instead: npz with arr_0 (flux) and arr_1 (weights).", show_default=False
        ),
    ] = None,
    targets: Annotated[
        str | None, typer.Option("--targets", metavar="FILE", help="Stars.", show_default="all of the source")
    ] = None,
    mission: Annotated[MissionName | None, typer.Option("--mission", help="Of the source's stars.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.json", help="Counts, bins, lengths.", show_default=False)
    ] = None,
    positives: Annotated[
        int | None, typer.Option("--positives", metavar="N", min=0, help="Stars with planets.", show_default="500")
    ] = None,
    negatives: Annotated[
        int | None, typer.Option("--negatives", metavar="N", min=0, help="Light without.", show_default="1000")
    ] = None,
    synthetics: Annotated[
        int | None, typer.Option("--synthetics", metavar="N", min=0, help="With injected ones.", show_default="250")
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option("--npz", metavar="DIR", help="Write every light curve as npz, too.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")] = 0,
    catalogs: CatalogsOption = None,
    cache: CacheOption = None,
    preset: PresetOption = None,
) -> None:
    """Light curves of stars with planets, without, and with injected ones, and what periods they have.

    Planets and their periods come from the catalogues; stars without are those of which none lists anything and in
    which no signal passes for a candidate; planets are injected into stars in which a search finds nothing else. Each
    light curve is kept as its folded spectrum on fixed bins of period, each bin with the weight it ought to get.

    [bold]Examples[/]

    survey data periods --source mirror:archive --synthetics 2500 --out periods.parquet

    survey data periods --source mast --targets stars.txt --config config.json --npz data --out periods.parquet
    """
    from survey.learning.sets.periods import make_config, read_config
    from survey.learning.sets.table import check_place

    check_place(out)
    asked, notes = read_config(config_file) if config_file else (make_config({}, "defaults"), ())
    for note in notes:
        say(f"[yellow]{escape(note)}[/]")
    counts = {
        "positive_sample_count": positives,
        "negative_sample_count": negatives,
        "synthetic_samples_count": synthetics,
    }
    asked = asked.model_copy(update={name: count for name, count in counts.items() if count is not None})
    if (source is None) == (samples is None):
        raise UsageError("give --source for stars, or --samples for a folder of npz")
    if samples is not None:
        _from_samples(samples, out, asked, seed)
        return
    assert source is not None
    config = load_config(preset, (), None)
    opened = open_source(source, config, choose_cache(cache, source))
    chosen = _targets(targets or asked.star_catalog_files, opened, mission, catalogs)
    from survey.runs.sets.periods import write_periods

    done = write_periods(out, chosen, opened, catalogs, config, asked, seed=seed, npz=npz)
    say(
        f"{done.rows:,} light curves of {done.stars:,} stars, {done.positives:,} with planets, in "
        f"[bold]{escape(str(out))}[/] ({done.sha256[:12]})"
    )
    if npz is not None:
        say(f"{done.samples:,} samples in [bold]{escape(str(npz))}[/]")
    for reason in done.left_out:
        say(f"[dim]left out: {escape(reason)}[/]")


def _targets(given: str | None, source: "Source", mission: MissionName | None, catalogs: Path | None) -> "Targets":
    from survey.stars.lists import Targets, read_targets

    if given is None:
        return Targets.of(source.targets(mission))
    found = read_targets(given, resolve=load_resolver(catalogs), mission=mission)
    say_problems(found.problems)
    return found.targets


def _from_samples(folder: Path, out: Path, asked: "PeriodsConfig", seed: int) -> None:
    from survey.learning.sets.period_samples import read_samples
    from survey.learning.sets.periods import describe_config, make_table
    from survey.learning.sets.table import drop_copies, write_set

    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    rows: Iterator[dict[str, Any]] = read_samples(folder, asked)
    table, copies = drop_copies(make_table(rows))
    provenance = {
        "configuration": describe_config(asked),
        "sources": [{"source": f"samples:{folder.name}"}],
        "simulated": "the samples called synthetic" if "synthetic" in table.column("origin").to_pylist() else "",
        "copies_dropped": copies,
        "seed": seed,
    }
    sha256 = write_set(out, "periods", table, provenance)
    say(f"{len(table):,} samples in [bold]{escape(str(out))}[/] ({sha256[:12]})")
