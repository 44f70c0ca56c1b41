"""The report of a run: one page that opens from a disk, without a network, and the sheets of its signals beside it.

    RUN/report/index.html      the page, with its charts, its table and small pictures of the signals inside
    RUN/report/candidates.csv  the ranked signals
    RUN/report/sheets/         one sheet a signal, as it is drawn (`sheets.draw_sheets`)

What stands on the page follows from the run folder; only the words on time and the moment at the foot differ between
equal runs.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata, resources
from typing import Any, Final

from markupsafe import Markup

from survey.runs import exports
from survey.runs.citations import cite, to_text
from survey.runs.page import facts as reading
from survey.runs.page import figures, rows
from survey.runs.page.facts import Facts, read_facts, source_of
from survey.runs.page.sheets import (
    SUFFIXES,
    Key,
    best_signals,
    draw_sheets,
    existing_sheets,
    signals_of,
    thumbnails,
    without_sheet,
)
from survey.runs.sheet.words import flaw
from survey.runs.store import Run

__all__ = [
    "PAGE",
    "best_signals",
    "draw_sheets",
    "read_facts",
    "render",
    "signals_of",
    "source_of",
    "without_sheet",
    "write_report",
]

PAGE: Final = "report/index.html"
TABLE: Final = "report/candidates.csv"

THUMBNAILS: Final = 300
"""Small pictures on a page at most, of the best candidates: some 3 kB each."""

LISTED: Final = 400
"""Stars named under one reason at most."""

STATUS_WORDS: Final = {
    "ok": "searched",
    "failed": "a defect of the survey itself; the traceback says where",
    "fetch_failed": "the archive could not be asked; the same `survey sweep` asks again",
    "bad_file": "the file is damaged or is not what its name says",
    "too_short": "too few good cadences, or too short a time, for a search",
    "no_data": "the source has no light curve of this star",
}


def write_report(run: Run, facts: Facts, undrawn: Mapping[Key, str] | None = None) -> None:
    """Writes the page and its table. undrawn: signals without a sheet and the reasons, as `draw_sheets` gives them."""
    small = thumbnails(run, best_signals(facts.candidates, THUMBNAILS))
    page = render(facts, small, existing_sheets(run), undrawn or {})
    run.folder.write(TABLE, exports.export(facts.candidates, "csv"))
    run.folder.write(PAGE, page.encode())


def render(
    facts: Facts,
    small: Mapping[Key, bytes],
    sheets: set[str],
    undrawn: Mapping[Key, str],
    made_at: datetime | None = None,
) -> str:
    """The page as HTML. small: PNG of signals by star and number; sheets: names of those that lie in report/sheets."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(count="{:,}".format, seconds=_seconds, words=_words, listing=_listing)
    environment.filters["mission"] = figures.mission_name
    script = _own("page.js")
    line = reading.timeline(facts.run.record, facts.telemetry)
    return environment.from_string(_own("page.html")).render(
        facts=facts,
        record=facts.run.record,
        config=facts.run.config,
        style=Markup(_own("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        table=rows.embed(_table(facts, small, sheets, undrawn)),
        n_passed=int(reading.is_candidate(facts.candidates).sum()),
        n_sheets=len(sheets),
        n_small=len(small),
        columns=[column for column in rows.shown_columns(facts.candidates) if column.wide],
        statuses=reading.count(facts.targets.column("status")),
        status_words=STATUS_WORDS,
        classes=reading.count_classes(facts),
        flags=[(flaw(name), number) for name, number in reading.count_flags(facts.candidates)],
        novelties=[pair for pair in reading.count(facts.candidates.column("novelty")) if pair[0]],
        distributions=figures.distributions(facts),
        populations=figures.populations(facts),
        spectra=figures.spectra(facts),
        progress=figures.progress(line) if line else [],
        calibration=figures.calibration(facts),
        stages=reading.stage_times(facts.telemetry),
        n_nodes=reading.n_nodes(facts.telemetry),
        working_s=float(line.seconds[-1]) if line else None,
        reasons=reading.reasons(facts.targets, facts.telemetry),
        remarks=reading.remarks(facts.targets),
        listed=LISTED,
        undrawn=_grouped(undrawn),
        settings=reading.settings(facts.run.config),
        citations=to_text(cite(facts.run)).splitlines(),
        models=reading.used_models(facts.candidates),
        asked=reading.asked_words(facts.run.record),
        source=source_of(facts.run.record),
        version=metadata.version("transit-survey"),
        made_at=(made_at or datetime.now(UTC)).isoformat(timespec="seconds"),
    )


def _own(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def _table(facts: Facts, small: Mapping[Key, bytes], sheets: set[str], undrawn: Mapping[Key, str]) -> dict[str, Any]:
    """What the page's script shows; pictures in base64 and reasons by the signal's place in the table."""
    names = zip(*(facts.candidates.column(name).to_pylist() for name in ("target_id", "number")), strict=True)
    keys = list(enumerate(names))
    return rows.table(facts.candidates, sheets) | {
        "run": facts.name,
        "formats": [suffix.removeprefix(".") for suffix in SUFFIXES],
        "small": {k: base64.b64encode(small[key]).decode() for k, key in keys if key in small},
        "undrawn": {k: undrawn[key] for k, key in keys if key in undrawn},
    }


def _grouped(undrawn: Mapping[Key, str]) -> list[tuple[str, list[str]]]:
    """(reason, signals) of what could not be drawn, in the order of the names."""
    groups: dict[str, list[str]] = {}
    for (star, number), reason in sorted(undrawn.items()):
        groups.setdefault(reason, []).append(f"{star} ({number})")
    return list(groups.items())


def _seconds(value: float) -> str:
    """13 ms, 4.2 s, 12 min, 3.4 h"""
    if value < 1:
        return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.2g} ms"
    for length, unit in ((7200.0, 3600.0), (120.0, 60.0)):
        if value >= length:
            return f"{value / unit:.1f} {'h' if unit == 3600.0 else 'min'}"
    return f"{value:.1f} s"


def _listing(words: Iterable[str]) -> str:
    """K2, Kepler and TESS"""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _words(name: str) -> str:
    return name.replace("_", " ")
