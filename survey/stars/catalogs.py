"""Catalogues of planets, candidates and eclipsing binaries: fetch them, look names up, list a star's known signals.

The tables are files in a folder: `survey catalogs fetch` writes `nasa_toi_2026-07-23.csv.gz` and the like, and files
that were saved from the archive's pages are read too, CSV (gzipped or not) or Parquet. Of several of one table the
newest, by the date in its name, is read.

The archives' units differ from table to table and are made one here: periods in days, epochs of mid-transit in days
since the time zero of the star's mission (BTJD, BKJD), durations in hours, depths in ppm [science rules 1 and 21].
"""

import email.message
import functools
import gzip
import hashlib
import http.client
import io
import os
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import platformdirs
import polars as pl

from survey.config import RunConfig
from survey.errors import FetchFailed, UsageError
from survey.stars.targets import MISSIONS, Resolve, parse_target


@dataclass(frozen=True)
class Catalogue:
    """One table: how its files are called and which columns are kept of it.

    files: names that a file may have before its date, the first being the one that `fetch_catalogs` gives it.
    """

    name: str
    files: tuple[str, ...]
    required: tuple[str, ...]
    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    """Columns of catalogue numbers, also where they are written as "TIC 293607057" or 185259483.0."""
    table: str | None = None
    """Name at the archive's table service; None: not fetched, only read where the folder has it."""
    where: str = ""


# fmt: off
CATALOGUES: Final[dict[str, Catalogue]] = {
    catalogue.name: catalogue
    for catalogue in (
        Catalogue(
            "toi",
            ("nasa_toi", "toi"),
            required=("toi", "tid", "pl_tranmid", "pl_orbper"),
            words=("tfopwg_disp", "toi_created", "rowupdate"),
            numbers=("toi", "pl_tranmid", "pl_tranmiderr1", "pl_orbper", "pl_orbpererr1", "pl_trandurh", "pl_trandep",
                     "pl_rade", "st_tmag", "st_dist", "st_teff", "st_logg", "st_rad", "ra", "dec", "st_pmra",
                     "st_pmdec"),
            integers=("tid",),
            table="toi",
        ),
        Catalogue(
            "koi",
            ("koi_cumulative", "nasa_cumulative", "cumulative"),
            required=("kepid", "kepoi_name", "koi_period", "koi_time0bk"),
            words=("kepoi_name", "kepler_name", "koi_disposition", "koi_pdisposition"),
            numbers=("koi_score", "koi_fpflag_nt", "koi_fpflag_ss", "koi_fpflag_co", "koi_fpflag_ec", "koi_period",
                     "koi_period_err1", "koi_time0bk", "koi_time0bk_err1", "koi_impact", "koi_duration", "koi_depth",
                     "koi_prad", "koi_model_snr", "koi_steff", "koi_slogg", "koi_srad", "koi_kepmag", "ra", "dec"),
            integers=("kepid",),
            table="cumulative",
        ),
        Catalogue(
            "k2",
            ("nasa_k2pandc", "k2pandc"),
            required=("pl_name", "hostname", "default_flag", "pl_orbper"),
            words=("pl_name", "hostname", "epic_hostname", "disposition", "pl_tsystemref"),
            numbers=("default_flag", "pl_orbper", "pl_orbpererr1", "pl_tranmid", "pl_tranmiderr1", "pl_trandur",
                     "pl_trandep", "pl_rade", "st_teff", "st_logg", "st_rad", "sy_gaiamag", "ra", "dec", "sy_pmra",
                     "sy_pmdec"),
            table="k2pandc",
            where="default_flag=1",
        ),
        Catalogue(
            "planets",
            ("pscomppars",),
            required=("pl_name", "hostname", "tic_id", "pl_orbper"),
            words=("pl_name", "hostname", "pl_tranmid_systemref", "pl_tsystemref"),
            numbers=("pl_orbper", "pl_orbpererr1", "pl_tranmid", "pl_tranmiderr1", "pl_trandur", "pl_trandep",
                     "pl_rade", "pl_bmasse", "st_teff", "st_logg", "st_rad", "sy_tmag", "ra", "dec", "sy_pmra",
                     "sy_pmdec"),
            integers=("tic_id",),
            table="pscomppars",
        ),
        Catalogue(
            "tess_ebs",
            ("tess_ebs",),
            required=("tess_id", "bjd0", "period"),
            numbers=("bjd0", "bjd0_uncert", "period", "period_uncert", "morph_coeff", "prim_width_pf", "prim_depth_pf",
                     "sec_width_pf", "sec_depth_pf", "Tmag", "ra", "dec"),
            integers=("tess_id",),
        ),
        Catalogue(
            "kepler_ebs",
            ("kepler_ebs",),
            required=("KIC", "period"),
            numbers=("period", "period_err", "pdepth", "sdepth", "morph", "Teff"),
            integers=("KIC",),
        ),
    )
}
# fmt: on

_SUFFIXES = (".csv.gz", ".csv", ".parquet")
_DATE = r"(?:[_-]([0-9]{4})[-._]([0-9]{2})[-._]([0-9]{2})(?:[_T.-][0-9.:-]*[0-9])?)?"

HOW_TO_FETCH = "run `survey catalogs fetch`"


def default_folder() -> Path:
    """Where the tables are: the environment's SURVEY_CATALOGS, or a folder in the user's cache."""
    chosen = os.environ.get("SURVEY_CATALOGS")
    return Path(chosen) if chosen else platformdirs.user_cache_path("transit-survey") / "catalogs"


# --------------------------------------------------------------------------------------------------- tables in a folder


def find_table(name: str, folder: str | Path | None = None) -> Path | None:
    """The newest file of a table in the folder by the date in its name, one without date being the oldest; or None."""
    there = _folder(folder)
    pattern = re.compile(f"(?:{'|'.join(CATALOGUES[name].files)}){_DATE}({'|'.join(map(re.escape, _SUFFIXES))})", re.I)
    found = [
        ((match[1] or "", match[2] or "", match[3] or "", path.name), path)
        for path in (there.iterdir() if there.is_dir() else ())
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    ]
    return max(found)[1] if found else None


def load_table(name: str, folder: str | Path | None = None) -> pl.DataFrame:
    """The columns of a table that its `Catalogue` names, typed; columns that the file lacks are null.

    name: a key of CATALOGUES. Raises UsageError if the folder has no such table or if its file is none.
    """
    path = find_table(name, folder)
    if path is None:
        raise UsageError(f"no {name} table in {_folder(folder)}: {HOW_TO_FETCH}")
    status = path.stat()
    return _load(name, path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=16)
def _load(name: str, path: Path, _changed: int, _size: int) -> pl.DataFrame:
    try:
        content = path.read_bytes()
        table = pl.read_parquet(io.BytesIO(content)) if path.suffix == ".parquet" else _parse_csv(_decompress(content))
        return _select(CATALOGUES[name], table)
    except (OSError, EOFError, zlib.error, ValueError, pl.exceptions.PolarsError) as error:
        reason = _first_line(error)
        raise UsageError(
            f"{path} cannot be read as the {name} table ({reason}): remove it and {HOW_TO_FETCH}"
        ) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _folder(folder: str | Path | None) -> Path:
    return default_folder() if folder is None else Path(folder)


def _decompress(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _parse_csv(content: bytes) -> pl.DataFrame:
    """All columns as text. Lines of # are comments, but for a header that is written as one."""
    lines = content.decode("utf-8-sig").splitlines()
    first = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = lines[first - 1].removeprefix("#") if first else ""
    if "," in header and first < len(lines) and header.count(",") == lines[first].count(","):
        first -= 1
        lines[first] = header
    return pl.read_csv("\n".join(lines[first:]).encode(), infer_schema=False, comment_prefix="#")


def _select(catalogue: Catalogue, table: pl.DataFrame) -> pl.DataFrame:
    """Raises ValueError where a column is missing that nothing can be done without, or where there is no row."""
    if missing := [column for column in catalogue.required if column not in table.columns]:
        raise ValueError(f"no column {', '.join(missing)}")
    if table.is_empty():
        raise ValueError("no rows")

    def column(name: str, kind: type[pl.DataType], value: pl.Expr) -> pl.Expr:
        return (value if name in table.columns else pl.lit(None)).cast(kind, strict=False).alias(name)

    return table.select(
        *(column(name, pl.Int64, _digits(table, name)) for name in catalogue.integers),
        *(column(name, pl.String, pl.col(name)) for name in catalogue.words),
        *(column(name, pl.Float64, pl.col(name)) for name in catalogue.numbers),
    )


def _digits(table: pl.DataFrame, name: str) -> pl.Expr:
    """The number in a column of names: 293607057 of "TIC 293607057", 185259483 of "185259483.0"."""
    is_text = name in table.columns and table.schema[name] == pl.String
    return pl.col(name).str.extract(r"([0-9]+)") if is_text else pl.col(name)


# ------------------------------------------------------------------------------------------------------------- fetching


@dataclass(frozen=True)
class FetchedTable:
    """A table that was fetched and stored."""

    name: str
    path: Path
    rows: int
    bytes: int


def fetch_catalogs(
    folder: str | Path | None = None,
    *,
    base_url: str | None = None,
    names: Collection[str] | None = None,
    run: RunConfig | None = None,
) -> list[FetchedTable]:
    """Fetch the tables of the archive's table service into the folder, dated today (UTC); older files stay.

    A table is checked (its columns, at least one row) before it takes its place, so that an error page or a torn
    download never replaces a good one. names: keys of CATALOGUES, all that are fetched by default.

    Raises UsageError for unknown names or a folder that cannot be written, and, after all were tried, FetchFailed.
    """
    run = run or RunConfig()
    base_url = (base_url or run.catalogs_url).rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"{base_url}: the address of a table service begins with http:// or https://")
    there = _folder(folder)
    try:
        there.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"folder of the catalogues {there}: {error.strerror}") from None
    fetched, failures = [], []
    for catalogue in _fetchable(names):
        try:
            fetched.append(_fetch_table(catalogue, base_url, there, run))
        except FetchFailed as error:
            failures.append(str(error))
    if failures:
        done = ", ".join(table.name for table in fetched) or "none"
        raise FetchFailed(f"{'; '.join(failures)} (fetched: {done})")
    return fetched


def _fetchable(names: Collection[str] | None) -> list[Catalogue]:
    choices = {name: catalogue for name, catalogue in CATALOGUES.items() if catalogue.table}
    if unknown := sorted(set(names or ()) - choices.keys()):
        raise UsageError(f"no table {', '.join(unknown)} to fetch: choose among {', '.join(choices)}")
    return [catalogue for name, catalogue in choices.items() if names is None or name in names]


def _fetch_table(catalogue: Catalogue, base_url: str, folder: Path, run: RunConfig) -> FetchedTable:
    # All columns are asked for, and the known ones kept: one that the archive drops or renames fails no query.
    query = f"select * from {catalogue.table}" + (f" where {catalogue.where}" if catalogue.where else "")
    url = f"{base_url}/sync?{urllib.parse.urlencode({'query': query, 'format': 'csv'})}"
    content = _download(url, run)
    try:
        table = _parse_csv(content)
        _select(catalogue, table)
    except (ValueError, pl.exceptions.PolarsError) as error:
        start = content[:100].decode("utf-8", "replace").split()
        reason = f"{_first_line(error)}; it begins {' '.join(start)!r}"
        raise FetchFailed(f"{catalogue.name}: the answer is no such table ({reason})") from None
    kept = [*catalogue.integers, *catalogue.words, *catalogue.numbers]
    now = datetime.now(UTC)
    note = f"# Fetched {now:%Y-%m-%d %H:%M:%S} UTC from {base_url}: {query}\n"
    text = note + table.select(column for column in table.columns if column in kept).write_csv()
    path = folder / f"{catalogue.files[0]}_{now:%Y-%m-%d}.csv.gz"
    packed = gzip.compress(text.encode(), mtime=0)
    _write_whole(path, packed)
    return FetchedTable(catalogue.name, path, table.height, len(packed))


def _write_whole(path: Path, content: bytes) -> None:
    """The whole file or none of it: written beside, flushed to disk, renamed."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


_ASK_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 60.0


def _download(url: str, run: RunConfig) -> bytes:
    """The whole answer, unpacked; `run.attempts` tries with growing pauses. Raises FetchFailed."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip", "User-Agent": "transit-survey"})
    for attempt in range(1, run.attempts + 1):
        asked_wait = 0.0
        try:
            with urllib.request.urlopen(request, timeout=run.timeout_s) as answer:
                content: bytes = answer.read()
                if answer.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                return content
        except urllib.error.HTTPError as error:
            with error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code not in _ASK_AGAIN:
                    raise FetchFailed(f"{url}: {reason}") from None
                asked_wait = _retry_after(error.headers)
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        if attempt < run.attempts:
            backoff = run.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            time.sleep(min(max(backoff, asked_wait), _LONGEST_WAIT_S))
    raise FetchFailed(f"{url}: {reason}, {run.attempts} times")


def _retry_after(headers: email.message.Message) -> float:
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0


# ---------------------------------------------------------------------------------------------------------------- names


def resolver(folder: str | Path | None = None) -> Resolve:
    """A function from a name to its star: "TOI-700.02" to "TIC 150428135", "K00351.01" to "KIC 11442793".

    It knows TOIs, KOIs, Kepler and K2 planets and their hosts, and the planets of the composite table, in any case and
    spacing. The tables are read at the first name. It raises UsageError for names that no table has.
    """
    # Where two tables have a name, the one that comes first in _NAMES decides.
    star_of_key: dict[str, str] = {}

    def resolve(name: str) -> str:
        if not star_of_key:
            for table, stars in reversed(_NAMES.items()):
                if find_table(table, folder) is not None:
                    star_of_key.update(stars(load_table(table, folder)))
        key = _key(name)
        if key not in star_of_key:
            raise UsageError(_explain_unknown(name, key, star_of_key, folder))
        return star_of_key[key]

    return resolve


def _key(name: str) -> str:
    """One spelling a name: "toi700.02", "koi351.01", "kepler90b"."""
    name = name.strip().casefold()
    name = re.sub(r"^k(?=[0-9]{5}(\.[0-9]+)?$)", "koi", name)
    name = re.sub(r"[^a-z0-9.+]", "", name)
    found = re.fullmatch(r"(toi|koi)0*([0-9]+)(?:\.0*([0-9]+))?", name)
    if found is None:
        return name
    return f"{found[1]}{found[2]}" + (f".{found[3]:0>2}" if found[3] else "")


def _named(prefix: str, numbers: pl.Series, *names: pl.Series) -> dict[str, str]:
    """Star of each name; the first row that has a name decides."""
    stars: dict[str, str] = {}
    for column in names:
        for name, number in zip(column, numbers, strict=True):
            if name is not None and number is not None:
                stars.setdefault(_key(name), f"{prefix} {number}")
    return stars


def _host(names: pl.Series) -> pl.Series:
    """ "Kepler-90" of "Kepler-90 b", "TOI-700" of "TOI-700.02"."""
    return names.str.replace(r"( [b-z]|\.[0-9]+)$", "")


def _toi_names(table: pl.DataFrame) -> dict[str, str]:
    names = table.select(_TOI_NAME).to_series()
    return _named("TIC", table["tid"], names, _host(names))


def _koi_names(table: pl.DataFrame) -> dict[str, str]:
    columns = [table["kepoi_name"], table["kepler_name"]]
    return _named("KIC", table["kepid"], *columns, *map(_host, columns))


def _k2_names(table: pl.DataFrame) -> dict[str, str]:
    # Only names that K2 gave: its stars that others named first are TESS's too.
    rows = table.with_columns(_EPIC_NUMBER.alias("epic")).filter(pl.col("pl_name").str.starts_with("K2-"))
    return _named("EPIC", rows["epic"], rows["pl_name"], rows["hostname"])


def _planet_names(table: pl.DataFrame) -> dict[str, str]:
    return _named("TIC", table["tic_id"], table["pl_name"], table["hostname"])


_TOI_NAME = pl.lit("TOI-") + pl.col("toi").round(2).cast(pl.Decimal(12, 2)).cast(pl.String)
_EPIC_NUMBER = pl.coalesce(
    pl.col(column).str.extract(r"^EPIC ([0-9]+)") for column in ("epic_hostname", "hostname")
).cast(pl.Int64)

_NAMES: Final[dict[str, Callable[[pl.DataFrame], dict[str, str]]]] = {
    "toi": _toi_names,
    "koi": _koi_names,
    "k2": _k2_names,
    "planets": _planet_names,
}


def _explain_unknown(name: str, key: str, star_of_key: Mapping[str, str], folder: str | Path | None) -> str:
    there = _folder(folder)
    star, _, candidate = key.partition(".")
    if candidate and star in star_of_key:
        known = sorted(other.removeprefix(star) for other in star_of_key if other.startswith(f"{star}."))
        return f"{name}: {star_of_key[star]} has no candidate .{candidate}, only {', '.join(known)}"
    missing = [table for table in _NAMES if find_table(table, folder) is None]
    if missing:
        return (
            f"{name!r} is no TIC, KIC or EPIC number, and {there} lacks the tables {', '.join(missing)}: {HOW_TO_FETCH}"
        )
    return (
        f"{name!r} is no TIC, KIC or EPIC number and in none of the tables of {there}: {HOW_TO_FETCH} for the newest, "
        "or write the star's TIC, KIC or EPIC number"
    )


# -------------------------------------------------------------------------------------------------------------- signals


@dataclass(frozen=True)
class KnownSignal:
    """A periodic signal that a catalogue lists; None where it does not say."""

    target_id: str
    name: str
    period: float | None
    """Days; None for a single transit."""
    epoch: float | None
    """Mid-transit, days since the time zero of the star's mission: BTJD for TIC, BKJD for KIC and EPIC."""
    duration_h: float | None
    depth_ppm: float | None
    disposition: str | None
    """The catalogue's own word: CP, KP, PC, APC, FP, FA; CONFIRMED, CANDIDATE, FALSE POSITIVE, REFUTED; EB."""
    catalogue: str
    """Key of CATALOGUES."""
    period_err: float | None = None
    epoch_err: float | None = None
    """Standard errors, days."""
    ra: float | None = None
    dec: float | None = None
    """Degrees, J2000."""
    magnitude: float | None = None
    """In TESS's or Kepler's band, Gaia's for K2."""


SIGNAL_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    "target_id": pl.String,
    "name": pl.String,
    "period": pl.Float64,
    "epoch": pl.Float64,
    "duration_h": pl.Float64,
    "depth_ppm": pl.Float64,
    "disposition": pl.String,
    "catalogue": pl.String,
    "period_err": pl.Float64,
    "epoch_err": pl.Float64,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "magnitude": pl.Float64,
}
_PPM_PER_PERCENT = 1e4


def known_signals(folder: str | Path | None, target_id: str) -> list[KnownSignal]:
    """What the catalogues list for a star, in order of period; none for a star of which they list nothing.

    Raises UsageError if the folder holds no table of the star's mission at all.
    """
    target = parse_target(target_id)
    table = signals_table(folder, mission=target.mission).filter(pl.col("target_id") == target.target_id)
    return [KnownSignal(**row) for row in table.iter_rows(named=True)]


def signals_table(folder: str | Path | None = None, *, mission: str | None = None) -> pl.DataFrame:
    """Every known signal, a row each: the fields of `KnownSignal`, in order of star and period.

    A planet of the composite table that is a TOI too, by its star and period, stands once. A star's position and
    magnitude are taken from another of its signals where a table has none. Raises UsageError if the folder holds no
    table of the mission.
    """
    files = signal_tables(folder, mission=mission)
    if not files:
        wanted = ", ".join(_tables_of(mission))
        raise UsageError(f"none of the tables {wanted} in {_folder(folder)}: {HOW_TO_FETCH}")
    return _signals(tuple((name, path, path.stat().st_mtime_ns, path.stat().st_size) for name, path in files.items()))


def signal_tables(folder: str | Path | None = None, *, mission: str | None = None) -> dict[str, Path]:
    """The files of a folder that `signals_table` reads, by name of the table."""
    found = {name: find_table(name, folder) for name in _tables_of(mission)}
    return {name: path for name, path in found.items() if path is not None}


def describe_tables(files: Mapping[str, Path]) -> list[dict[str, str]]:
    """name, file and sha256 of tables, for the record of what something was compared with."""
    return [
        {"name": name, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, path in files.items()
    ]


def _tables_of(mission: str | None) -> list[str]:
    return [name for name, of_mission in _MISSION_OF_TABLE.items() if mission in (None, of_mission)]


@functools.lru_cache(maxsize=8)
def _signals(files: tuple[tuple[str, Path, int, int], ...]) -> pl.DataFrame:
    tables = {name: _SIGNALS[name](_load(name, *file)) for name, *file in files}
    if "toi" in tables and "planets" in tables:
        tables["planets"] = _not_listed(tables["planets"], tables["toi"])
    parts = [
        table.with_columns(pl.lit(name).alias("catalogue")).select(
            (pl.col(column) if column in (*table.columns, "catalogue") else pl.lit(None)).cast(kind).alias(column)
            for column, kind in SIGNAL_SCHEMA.items()
        )
        for name, table in tables.items()
    ]
    listed = pl.concat(parts).filter(pl.col("target_id").is_not_null()).sort(*_SIGNAL_ORDER, nulls_last=True)
    of_the_star = pl.col("ra", "dec", "magnitude")
    return listed.with_columns(of_the_star.fill_null(of_the_star.drop_nulls().first().over("target_id")))


def _toi_signals(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        target_id=pl.format("TIC {}", "tid"),
        name=_TOI_NAME,
        period=_positive("pl_orbper"),
        epoch=pl.col("pl_tranmid") - MISSIONS["tess"].time_zero,
        duration_h=_positive("pl_trandurh"),
        depth_ppm=_positive("pl_trandep"),
        disposition="tfopwg_disp",
        period_err=_positive("pl_orbpererr1"),
        epoch_err=_positive("pl_tranmiderr1"),
        **_positions("st_pmra", "st_pmdec"),
        magnitude="st_tmag",
    )


def _koi_signals(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        target_id=pl.format("KIC {}", "kepid"),
        name=pl.concat_str("kepoi_name", "kepler_name", separator="/", ignore_nulls=True),
        period=_positive("koi_period"),
        epoch="koi_time0bk",
        duration_h=_positive("koi_duration"),
        depth_ppm=_positive("koi_depth"),
        disposition="koi_disposition",
        period_err=_positive("koi_period_err1"),
        epoch_err=_positive("koi_time0bk_err1"),
        ra="ra",
        dec="dec",
        magnitude="koi_kepmag",
    )


def _k2_signals(table: pl.DataFrame) -> pl.DataFrame:
    defaults = table.filter(pl.col("default_flag") == 1).with_columns(magnitude="sy_gaiamag")
    return _planet_signals(defaults, pl.format("EPIC {}", _EPIC_NUMBER), MISSIONS["k2"].time_zero)


def _composite_signals(table: pl.DataFrame) -> pl.DataFrame:
    confirmed = table.with_columns(disposition=pl.lit("CONFIRMED"), magnitude="sy_tmag")
    return _planet_signals(confirmed, pl.format("TIC {}", "tic_id"), MISSIONS["tess"].time_zero)


def _planet_signals(table: pl.DataFrame, target_id: pl.Expr, time_zero: float) -> pl.DataFrame:
    """Tables of published planets: depths in percent, epochs of several systems, of which only BJD is taken."""
    system = pl.coalesce(column for column in ("pl_tranmid_systemref", "pl_tsystemref") if column in table.columns)
    return table.select(
        target_id=target_id,
        name="pl_name",
        period=_positive("pl_orbper"),
        epoch=pl.when(system.str.starts_with("BJD")).then(pl.col("pl_tranmid") - time_zero),
        duration_h=_positive("pl_trandur"),
        depth_ppm=_positive("pl_trandep") * _PPM_PER_PERCENT,
        disposition="disposition",
        period_err=_positive("pl_orbpererr1"),
        epoch_err=_positive("pl_tranmiderr1"),
        **_positions("sy_pmra", "sy_pmdec"),
        magnitude="magnitude",
    )


def _tess_eb_signals(table: pl.DataFrame) -> pl.DataFrame:
    """Widths are fractions of the period, depths of the flux; the column called bjd0 is in BTJD already."""
    return table.select(
        target_id=pl.format("TIC {}", "tess_id"),
        name=pl.format("TIC {} EB", "tess_id"),
        period=_positive("period"),
        epoch="bjd0",
        duration_h=_positive("prim_width_pf") * _positive("period") * 24,
        depth_ppm=_positive("prim_depth_pf") * 1e6,
        disposition=pl.lit("EB"),
        period_err=_positive("period_uncert"),
        epoch_err=_positive("bjd0_uncert"),
        ra="ra",
        dec="dec",
        magnitude="Tmag",
    )


def _kepler_eb_signals(table: pl.DataFrame) -> pl.DataFrame:
    """Depths are fractions of the flux, -1 where not measured; there are no epochs and no positions."""
    return table.select(
        target_id=pl.format("KIC {}", "KIC"),
        name=pl.format("KIC {} EB", "KIC"),
        period=_positive("period"),
        epoch=pl.lit(None),
        duration_h=pl.lit(None),
        depth_ppm=_positive("pdepth") * 1e6,
        disposition=pl.lit("EB"),
        period_err=_positive("period_err"),
    )


def _positions(pmra: str, pmdec: str) -> dict[str, pl.Expr]:
    """J2000 positions from the archive's, which are Gaia's of 2015.5, and proper motions in mas/yr (0 where unknown).

    The tables do not say so: compared with the eclipsing binaries' and KOIs' J2000 positions they are 15.50 years late.
    """
    degrees = 15.5 / 3.6e6
    dec = pl.col("dec") - pl.col(pmdec).fill_null(0.0) * degrees
    return {"ra": pl.col("ra") - pl.col(pmra).fill_null(0.0) * degrees / pl.col("dec").radians().cos(), "dec": dec}


def _positive(column: str) -> pl.Expr:
    """Zeros and negatives stand for what was not measured."""
    return pl.when(pl.col(column) > 0).then(pl.col(column))


def _not_listed(planets: pl.DataFrame, tois: pl.DataFrame) -> pl.DataFrame:
    """The planets that are no TOI: none of the same star within 0.1% of the period."""
    listed = (
        planets.join(tois.select("target_id", listed="period"), on="target_id")
        .filter((pl.col("period") - pl.col("listed")).abs() < 1e-3 * pl.col("period"))
        .select("target_id", "name")
    )
    return planets.join(listed, on=["target_id", "name"], how="anti")


_SIGNALS: Final[dict[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "toi": _toi_signals,
    "koi": _koi_signals,
    "k2": _k2_signals,
    "planets": _composite_signals,
    "tess_ebs": _tess_eb_signals,
    "kepler_ebs": _kepler_eb_signals,
}
_MISSION_OF_TABLE: Final[dict[str, str]] = {
    "toi": "tess",
    "planets": "tess",
    "tess_ebs": "tess",
    "koi": "kepler",
    "kepler_ebs": "kepler",
    "k2": "k2",
}
_SIGNAL_ORDER = ("target_id", "period", "name", "catalogue")
