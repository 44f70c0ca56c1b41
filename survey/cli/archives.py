"""`survey cache`, `survey catalogs`, `survey simulate`: what lies on the disk around the runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import default_cache
from survey.cli.tables import say, show, size
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.stars.cache import Cache

cache = typer.Typer(help="The light curves that were fetched: how much, whether whole, and away with old ones.")
catalogs = typer.Typer(help="The tables of known planets and candidates, which know the TOI and KOI names.")
simulate = typer.Typer(help="Simulated light curves in the true file formats, with known signals in them.")


def register(app: typer.Typer) -> None:
    for name, commands in (("cache", cache), ("catalogs", catalogs), ("simulate", simulate)):
        commands.info.no_args_is_help = True
        app.add_typer(commands, name=name)


# Cache

CachePlace = Annotated[
    str | None, typer.Argument(metavar="DIR_OR_URL", help="The cache.", show_default="the one that sweeps use")
]


@contextlib.contextmanager
def _opened(place: str | None) -> "Iterator[Cache]":
    """The cache that is meant; of one at a URL itself, without what lies in front of it on this machine."""
    from survey.stars.cache import open_shared

    place = str(default_cache()) if place is None else place
    if "://" not in place and not Path(place).is_dir():
        raise UsageError(f"no cache in {place}: nothing was fetched to it yet")
    try:
        yield open_shared(place)
    except OSError as error:
        raise UsageError(f"cannot reach the cache {place}: {str(error).splitlines()[0]}") from None


@cache.command("du", epilog="Example: survey cache du")
def cache_du(place: CachePlace = None) -> None:
    """How many light curves are kept, how large they are, and how many are known not to exist."""
    with _opened(place) as opened:
        usage = opened.usage()
    say(
        f"{escape(opened.place)}: {usage.files:,} files, {size(usage.n_bytes)}, "
        f"{usage.missing:,} known to be missing in the archive"
    )


@cache.command("verify", epilog="Example: survey cache verify")
def cache_verify(place: CachePlace = None) -> None:
    """Compare every file with its checksum; damaged ones are removed, and fetched again when they are needed."""
    with _opened(place) as opened:
        damaged = opened.verify()
        files = opened.usage().files
    for key in damaged:
        say(f"removed {escape(key)}: damaged")
    say(f"{escape(opened.place)}: {files:,} files are whole, {len(damaged)} were damaged")
    if damaged:
        raise typer.Exit(1)


@cache.command("prune", epilog="Example: survey cache prune --max-size 20GB --older-than 90")
def cache_prune(
    place: CachePlace = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size", metavar="SIZE", help="Remove what was not used for longest until this is left: 20GB, 500MB."
        ),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Remove what was not used for so long.")
    ] = None,
) -> None:
    """Remove old light curves, and what is remembered as missing for too long."""
    if max_size is None and older_than is None:
        raise UsageError("say what may go: --max-size 20GB, --older-than 90, or both")
    limit = None if max_size is None else parse_size(max_size)
    with _opened(place) as opened:
        removed = opened.prune(max_bytes=limit, older_than_days=older_than)
        left = opened.usage().n_bytes
    say(f"{escape(opened.place)}: {removed:,} files removed, {size(left)} left")


_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> int:
    """Bytes of "20GB". Raises UsageError."""
    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper()[len(number) :].strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if unit not in _SIZES or not 0 <= value < 1e12:
        raise UsageError(f"{text!r} is no size: write 500MB or 20GB")
    return int(value * _SIZES[unit])


# Catalogues

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="Folder of the tables.", show_default="SURVEY_CATALOGS or the user's cache"
    ),
]


@catalogs.command("fetch", epilog="Example: survey catalogs fetch toi koi")
def catalogs_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TABLE...", help="Which tables.", show_default="all")
    ] = None,
    folder: FolderOption = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Another table service (TAP).")] = None,
) -> None:
    """Fetch the tables of the NASA Exoplanet Archive; older ones stay beside them."""
    from survey.stars.catalogs import fetch_catalogs

    for table in fetch_catalogs(folder, base_url=url, names=names or None):
        say(f"{table.name}: {table.rows:,} rows, {size(table.bytes)}, {escape(str(table.path))}")


@catalogs.command("path", epilog="Example: ls $(survey catalogs path)")
def catalogs_path() -> None:
    """Print the folder where the tables are looked for."""
    from survey.stars.catalogs import default_folder

    typer.echo(default_folder())


@catalogs.command("list", epilog="Example: survey catalogs list")
def catalogs_list(folder: FolderOption = None) -> None:
    """The tables that are there, and their rows."""
    from survey.stars.catalogs import CATALOGUES, find_table, load_table

    table = Table("table", "rows", "file", box=None, pad_edge=False, header_style="bold")
    for name in CATALOGUES:
        path = find_table(name, folder)
        if path is None:
            table.add_row(name, "–", "not there")
        else:
            table.add_row(name, f"{len(load_table(name, folder)):,}", escape(str(path)))
    show(table)


# Simulation

OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into.", show_default=False)]


@simulate.command("archive", epilog="Example: survey simulate archive --out mirror --stars 64")
def simulate_archive(
    out: OutFolder,
    stars: Annotated[int, typer.Option("--stars", min=1, help="How many stars.")] = 64,
    seed: Annotated[int | None, typer.Option("--seed", help="Another draw of stars.", show_default="fixed")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="One sector of TESS 2-min stars only: quick, for thousands.")
    ] = False,
) -> None:
    """Write a mirror of simulated TESS and Kepler stars under the archive's own keys, and truth.csv beside it."""
    from survey.stars.simulate import DEMO_SEED, many_stars, write_archive

    seed = DEMO_SEED if seed is None else seed
    try:
        truth = many_stars(out, stars, seed=seed) if plain else write_archive(out, n_stars=stars, seed=seed)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    say(f"{stars:,} stars with {len(truth):,} signals in {escape(str(out))}; the signals are in truth.csv")
    say(
        f"next: survey sweep --source mirror:{escape(str(out))} --targets {escape(str(out / 'targets.txt'))}",
        style="dim",
    )


@simulate.command("samples", epilog="Example: survey simulate samples --format both --n-samples 5 --out samples")
def simulate_samples(
    out: OutFolder,
    form: Annotated[Literal["csv", "fits", "both"], typer.Option("--format", help="Kind of files.")] = "both",
    n_samples: Annotated[int, typer.Option("--n-samples", min=1, help="How many light curves.")] = 5,
) -> None:
    """Write single light curves: a normal star, a transit every 15 days, flares, outliers, and a complex system."""
    from survey.stars import simulate as simulated

    formats = ("csv", "fits") if form == "both" else (form,)
    try:
        paths = simulated.simulate_samples(out, formats, n_samples)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    for path in paths:
        say(escape(str(path)))
    say(f"next: survey score {escape(str(paths[min(2, len(paths) - 1)]))}", style="dim")
