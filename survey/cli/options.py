"""Options that several commands share, and what they mean."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import platformdirs
import typer

from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.config import Config, Engine
    from survey.stars.sources import Source
    from survey.stars.targets import Resolve

EngineName = Literal["auto", "jax", "numba", "numpy"]
MissionName = Literal["tess", "kepler", "k2"]

PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME|FILE", help="Named configuration, or a TOML file.", show_default=False),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one value of the configuration; may be repeated: --set search.period_max=20",
        show_default=False,
    ),
]
EngineOption = Annotated[
    EngineName | None, typer.Option("--engine", help="What folds the light curves.", show_default="auto")
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="mirror:DIR, mirror:s3://BUCKET, mirror:https://HOST/ROOT, all with the archive's keys; mast; demo.",
        show_default="the public archive",
    ),
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache", metavar="DIR", help="Where fetched light curves are kept, 'none' to keep none.", show_default=False
    ),
]
CatalogsOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogs",
        metavar="DIR",
        help="Folder of the catalogue tables: they know TOI and KOI names and what is listed already.",
        show_default=False,
    ),
]
ObservationsOption = Annotated[
    str | None,
    typer.Option(
        "--sector",
        "--quarter",
        "--campaign",
        metavar="LIST",
        help="Search only these sectors, quarters or campaigns: 1,14-16",
        show_default="all",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


_SETTING = re.compile(r"[a-z_]+(\.[a-z_]+)+=")


def sort_sets(values: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The files that --set names, and the settings, KEY=VALUE, that it overrides."""
    settings = [value for value in values or () if _SETTING.match(value)]
    return [value for value in values or () if not _SETTING.match(value)], settings


def load_config(preset: str | None, overrides: Sequence[str] | None, engine: "Engine | None") -> "Config":
    from survey import config

    return config.load(preset, overrides or (), engine=engine)


def load_resolver(catalogs: Path | None) -> "Resolve":
    """Names to stars, by the tables in `catalogs`, else those in the usual folder."""
    from survey.stars.catalogs import resolver

    if catalogs is not None and not catalogs.is_dir():
        raise UsageError(f"no folder {catalogs}: `survey catalogs fetch --folder {catalogs}` makes it")
    return resolver(catalogs)


def choose_catalogs(catalogs: Path | None) -> Path | None:
    """The folder of tables that signals are compared with; None where nobody named one and the usual one has none."""
    from survey.stars.catalogs import default_folder, signal_tables

    folder = default_folder() if catalogs is None else catalogs
    if signal_tables(folder):
        return folder
    if catalogs is not None:
        raise UsageError(f"no catalogue table in {catalogs}: `survey catalogs fetch --folder {catalogs}` brings them")
    return None


def is_remote(source: str) -> bool:
    """Whether a source lies behind a network."""
    return source == "mast" or (source.startswith("mirror:") and "://" in source)


def default_cache() -> Path:
    """Where fetched light curves are kept: the environment's SURVEY_CACHE, or a folder in the user's cache."""
    chosen = os.environ.get("SURVEY_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("transit-survey") / "light-curves"


def choose_cache(cache: str | None, source: str) -> str | None:
    """The cache folder for a source; what lies on a disk already needs none."""
    if cache == "none" or not is_remote(source):
        return None
    return str(default_cache()) if cache is None else cache


def open_source(
    source: str, config: "Config", cache: str | None, *, mission: str | None = None, time_zero: float | None = None
) -> "Source":
    from survey.stars import sources
    from survey.stars.cache import open_cache

    kept_in = None if cache is None else open_cache(cache, max_gb=config.run.cache_gb)
    return sources.open_source(source, config, cache=kept_in, mission=mission, time_zero=time_zero)
