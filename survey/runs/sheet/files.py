"""The sheet as files: the page as PNG and PDF, and its numbers as JSON beside it."""

import io
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from survey import schema
from survey.errors import UsageError
from survey.runs.exports import plain_row, to_json
from survey.runs.sheet.evidence import Evidence, Signal
from survey.runs.sheet.page import draw_page
from survey.runs.stages import Row

LONGEST_NAME: Final = 120

FOLDS: Final = ("close", "wide", "odd", "even", "secondary_bins", "background")


def sheet_name(row: Row, tce: Signal | None) -> str:
    """TIC_441462736_p3.456789: star and period; `single_2`: one transit, the star's second signal; the star alone where
    there is no signal."""
    star = re.sub(r"[^\w.+-]+", "_", str(row["target_id"]))[:LONGEST_NAME]
    if not tce:
        return star
    return f"{star}_single_{tce['number']}" if tce["period"] is None else f"{star}_p{tce['period']:.6f}"


KINDS: Final = ("png", "pdf")


def page_kind(path: Path) -> str | None:
    """png or pdf, as the ending of a path says; None for a folder."""
    kind = path.suffix.lower().removeprefix(".")
    return kind if kind in KINDS else None


def write_sheet(evidence: Evidence, path: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Writes the page in every kind, and its numbers as JSON; returns the files, in this order.

    path: with or without one of the endings. Raises UsageError where it cannot be written.
    """
    stem = path.with_suffix("") if page_kind(path) else path
    written = []
    figure = draw_page(evidence) if kinds else None
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            assert figure is not None
            page = stem.with_name(f"{stem.name}.{kind}")
            figure.savefig(page, metadata=METADATA[kind])
            written.append(page)
        sidecar = stem.with_name(f"{stem.name}.json")
        sidecar.write_text(to_json(sheet_values(evidence, written[0].name if written else None)) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {stem}: {error.strerror}") from None
    return [*written, sidecar]


def render_sheet(evidence: Evidence) -> bytes:
    """The page as PNG, the same bytes as `write_sheet` writes."""
    sink = io.BytesIO()
    draw_page(evidence).savefig(sink, format="png", metadata=METADATA["png"])
    return sink.getvalue()


METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": "transit-survey"},
    "pdf": {"Creator": "transit-survey", "Producer": None, "CreationDate": None},
}
"""Without a date: the same star gives the same bytes."""


def sheet_values(evidence: Evidence, page: str | None) -> dict[str, Any]:
    """The sheet as JSON values: signal and star as their row holds them, where they come from, and what was drawn."""
    row, config = evidence.row, evidence.config
    star = {name: value for name, value in plain_row(row).items() if name != "tces"}
    return {
        "sheet": page,
        "signal": evidence.tce,
        "star": star,
        "provenance": {
            "survey_version": version("transit-survey"),
            "schema_version": schema.SCHEMA_VERSION,
            "science_hash": config.science_hash(),
            "science": config.science(),
        },
        "drawn": drawn_values(evidence),
    }


def drawn_values(evidence: Evidence) -> dict[str, Any]:
    """The arrays behind the panels, so that others can draw them anew: hours, phase, ppm, days."""
    drawn: dict[str, Any] = {}
    for name in FOLDS:
        bins = getattr(evidence, name)
        if bins is not None:
            drawn[name.removesuffix("_bins")] = {
                "phase" if name == "wide" else "hours": _digits(bins.x),
                "electron_s" if name == "background" else "flux_ppm": _digits(bins.mean),
                "error": _digits(bins.error),
            }
    for name in ("events", "products", "model", "power"):
        part = getattr(evidence, name)
        if part is not None:
            drawn[name] = {key: _digits(value) for key, value in asdict(part).items()}
    for name in ("pair", "secondary"):
        part = getattr(evidence, name)
        if part is not None:
            drawn["odd_even_depths" if name == "pair" else "secondary_depth"] = part._asdict()
    return drawn


def _digits(value: Any) -> Any:
    """Arrays to seven digits, more than a drawing has."""
    return [float(f"{number:.7g}") for number in value] if isinstance(value, np.ndarray) else value
