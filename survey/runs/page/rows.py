"""The signals of a run as compact JSON for the page's table: one list of values a column.

Numbers are rounded to what is shown; columns that are null everywhere are left out. Words that come again and again are
numbered. What it writes is safe inside a <script>: no name or error text can end it.
"""

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from survey import schema
from survey.runs.sheet import sheet_name
from survey.runs.sheet.words import FLAWS, flaw


@dataclass(frozen=True)
class Column:
    """How a column of schema.CANDIDATE is shown.

    decimals: of a number (None: words); digits: significant ones instead; wide: a column of the table and not of a
    signal's own panel only; filtered: by a range; error: column of its standard error; star: of the star.
    """

    name: str
    label: str
    unit: str = ""
    decimals: int | None = None
    digits: int | None = None
    wide: bool = False
    filtered: bool = False
    error: str = ""
    star: bool = False


COLUMNS: Final = (
    Column("rank", "rank", decimals=0, wide=True),
    Column("target_id", "target", wide=True),
    Column("number", "TCE", decimals=0),
    Column("period", "period", "d", decimals=6, wide=True, filtered=True, error="period_err"),
    Column("period_err", "period error", "d", digits=2),
    Column("epoch_bjd", "epoch, BJD", "d", decimals=5),
    Column("depth_ppm", "depth", "ppm", digits=4, wide=True, filtered=True, error="depth_err_ppm"),
    Column("depth_err_ppm", "depth error", "ppm", digits=2),
    Column("duration_h", "duration", "h", decimals=2, wide=True, filtered=True),
    Column("mes", "MES", decimals=1, wide=True, filtered=True),
    Column("planet_radius", "radius", "R⊕", decimals=2, wide=True, filtered=True, error="planet_radius_err"),
    Column("planet_radius_err", "radius error", "R⊕", digits=2),
    Column("n_transits", "transits", decimals=0, wide=True, filtered=True),
    Column("triage_probability", "triage", decimals=3, wide=True, filtered=True, error="triage_spread"),
    Column("triage_spread", "spread of triage", decimals=3),
    Column("vetting_probability", "vetting", decimals=3, wide=True, filtered=True, error="vetting_spread"),
    Column("vetting_spread", "spread of vetting", decimals=3),
    Column("pixels_probability", "pixels", decimals=3, wide=True, filtered=True, error="pixels_spread"),
    Column("pixels_spread", "spread of pixels", decimals=3),
    Column("fusion_probability", "fusion", decimals=3, wide=True, filtered=True, error="fusion_spread"),
    Column("fusion_spread", "spread of fusion", decimals=3),
    Column("out_of_support", "unlike the training of"),
    Column("not_scored", "not scored"),
    Column("snr", "SNR", decimals=1),
    Column("pink_snr", "SNR in pink noise", decimals=1),
    Column("sde", "SDE", decimals=1),
    Column("fap", "FAP", digits=2),
    Column("rest_mes", "MES without best event", decimals=2),
    Column("box_over_sine", "box over sine", decimals=2),
    Column("inverted_mes", "inverted MES", decimals=1),
    Column("n_open_periods", "periods left open", decimals=0),
    Column("equilibrium_temp", "equilibrium temperature", "K", decimals=0),
    Column("insolation", "insolation", "of Earth's", digits=3),
    Column("star_class", "class", wide=True),
    Column("novelty", "novelty", wide=True),
    Column("known_name", "known as"),
    Column("known_catalogue", "listed in"),
    Column("known_disposition", "listed disposition"),
    Column("match_kind", "shared signal"),
    Column("match_target", "signal comes from"),
    Column("match_ratio", "period over that of the match", decimals=3),
    Column("match_separation_arcsec", "distance of the match", "arcsec", decimals=1),
    Column("n_same_epoch", "stars that dim together", decimals=0),
    Column("flags", "flags", wide=True),
    Column("magnitude", "magnitude", "mag", decimals=2, star=True),
    Column("teff", "temperature", "K", decimals=0, star=True),
    Column("radius", "radius", "R☉", decimals=2, star=True),
    Column("logg", "log g", decimals=2, star=True),
    Column("ra", "right ascension", "deg", decimals=5, star=True),
    Column("dec", "declination", "deg", decimals=5, star=True),
    Column("star_probability", "probability of any transit", decimals=3, star=True),
    Column("star_score", "best segments", decimals=3, star=True),
    Column("scatter_ppm", "scatter", "ppm", decimals=0, star=True),
    Column("baseline_d", "baseline", "d", decimals=1, star=True),
    Column("observed", "sectors, quarters or campaigns", star=True),
)

NUMBERED: Final = ("star_class", "novelty", "known_catalogue", "known_disposition", "match_kind")
LISTS: Final = ("flags", "observed", "out_of_support", "not_scored")

CHECKED_ROWS: Final = 300
"""Signals whose checks are on the page, from the first rank on; those of the others stand in candidates.parquet."""


def table(candidates: pa.Table, sheets: Container[str]) -> dict[str, Any]:
    """Columns, checks and sheets of every signal, as JSON values; sheets: names of those that are drawn."""
    names = [sheet_name(row, row) for row in candidates.select(["target_id", "number", "period"]).to_pylist()]
    checked = candidates.slice(0, CHECKED_ROWS).column("checks").to_pylist()
    flaws = {flag for flags in candidates.column("flags").to_pylist() for flag in flags or ()}
    flaws |= {check["name"] for checks in checked for check in checks or ()}
    return {
        "columns": [_head(column) | _values(candidates, column) for column in shown_columns(candidates)],
        "candidate": [int(bool(value)) for value in candidates.column("is_candidate").to_pylist()],
        "sheets": {k: name for k, name in enumerate(names) if name in sheets},
        "checks": [_checks(checks) for checks in checked],
        "flaws": {name: [flaw(name), FLAWS.get(name, ("", ""))[1]] for name in sorted(flaws)},
    }


def shown_columns(candidates: pa.Table) -> list[Column]:
    """Those that hold anything; a run of an older version has fewer columns."""
    return [column for column in COLUMNS if column.name in ALWAYS or _holds(candidates, column.name)]


ALWAYS: Final = ("rank", "target_id", "flags")


def _holds(candidates: pa.Table, name: str) -> bool:
    if name not in candidates.column_names:
        return False
    column = candidates.column(name)
    if pa.types.is_list(column.type):
        column = pc.fill_null(pc.list_value_length(column), 0)
        return bool(pc.any(pc.greater(column, 0)).as_py())
    return column.null_count < len(candidates)


def _head(column: Column) -> dict[str, Any]:
    help_ = schema.CANDIDATE.field(column.name).metadata[b"description"].decode()
    head = {"name": column.name, "label": column.label, "unit": column.unit, "help": help_}
    is_number = column.decimals is not None or column.digits is not None
    kind = "number" if is_number else "list" if column.name in LISTS else "words"
    return head | {
        "kind": kind,
        "decimals": column.decimals,
        "digits": column.digits,
        "wide": column.wide,
        "filtered": column.filtered,
        "error": column.error,
        "star": column.star,
    }


def _values(candidates: pa.Table, column: Column) -> dict[str, Any]:
    values = candidates.column(column.name).to_pylist()
    if column.name in LISTS:
        words = sorted({str(word) for value in values for word in value or ()}, key=_natural)
        places = {word: k for k, word in enumerate(words)}
        return {"words": words, "values": [[places[str(word)] for word in value or ()] for value in values]}
    if column.name in NUMBERED:
        words = sorted({value for value in values if value is not None})
        places = {word: k for k, word in enumerate(words)}
        return {"words": words, "values": [None if value is None else places[value] for value in values]}
    return {"values": [rounded(value, column) for value in values]}


def _natural(word: str) -> tuple[int, str]:
    return (int(word), "") if word.isdigit() else (-1, word)


def rounded(value: Any, column: Column) -> Any:
    """A number as it is shown; null where it is not finite."""
    if not isinstance(value, float | int) or isinstance(value, bool):
        return value
    if not math.isfinite(value):
        return None
    if column.digits is not None:
        value = float(f"{value:.{column.digits}g}")
    elif column.decimals is not None:
        value = round(value, column.decimals)
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else value


def _checks(checks: Sequence[Mapping[str, Any]] | None) -> list[list[Any]]:
    """[name, value, uncertainty, unit, score, threshold, passed] of every check, the flaws that were found first."""
    order = {False: 0, None: 2, True: 1}
    found = sorted(checks or (), key=lambda check: order[check["passed"]])
    return [
        [check["name"], *map(_short, (check["value"], check["uncertainty"])), check["unit"],
         *map(_short, (check["score"], check["threshold"])), check["passed"]]
        for check in found
    ]  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def embed(value: Any) -> Markup:
    """JSON that may stand inside a <script>, whatever words are in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for mark in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)
