"""Labelled views from a finished run: its signals with their views, and what catalogues, or the truth of a simulated
archive, say that they are.

A signal takes the label of the listed one that it is, by period and epoch, under any name of its star. What nobody
can say is left out, with the reason: signals of listed stars that are none of the listed ones, and unlisted ones that
pass the gate. Unlisted signals that the gate refuses stand for the rest ("J"), unless told otherwise.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey import schema
from survey.config import Config, load
from survey.errors import UsageError
from survey.learning.sets.labels import LETTER_OF
from survey.learning.sets.table import drop_copies
from survey.runs import store
from survey.runs.candidates import collect_signals
from survey.runs.crossmatch import crossmatch
from survey.runs.sets.curves import Listed
from survey.runs.stages import Row
from survey.runs.store import Run
from survey.stars.catalogs import HOW_TO_FETCH, load_table, signal_tables, signals_table
from survey.stars.lists import read_targets
from survey.stars.simulate import InjectedSignal, match_signals, write_archive
from survey.stars.sources import open_source

SPEC: Final = "triage-201-61"
"""The form of views that the shipped models read."""

VIEWS: Final = ("global_view", "local_view", "secondary_view")

SCHEMA: Final = pa.schema(
    [
        pa.field("target_id", pa.string()),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string()),
        pa.field("number", pa.int32()),
        *(pa.field(name, pa.list_(pa.float32())) for name in VIEWS),
        *(pa.field(name, pa.float64()) for name in ("period", "duration_h", "depth_ppm", "mes", "centroid_offset")),
        pa.field("passed", pa.bool_()),
        pa.field("why", pa.string()),
    ]
)
"""Rows of a set of views. centroid_offset: arcsec; passed: the gate; why: where the label comes from."""


class Verdict(NamedTuple):
    """What a signal is: a letter of `sets.labels`, None where it is left out; and why."""

    letter: str | None
    why: str


Judge = Callable[[Sequence[Row]], Sequence[Verdict]]
"""Rows of signals to what they are, one verdict each."""


class ViewsTable(NamedTuple):
    """Rows of SCHEMA, and where they come from, as `sets.table.write_set` takes it."""

    table: pa.Table
    provenance: dict[str, Any]


def views_by_catalogues(
    run: Run,
    folder: Path | None,
    *,
    spec: str = SPEC,
    unlisted: bool = True,
    max_per_class: int | None = 250,
    seed: int = 0,
) -> ViewsTable:
    """The signals of a run that the catalogues in a folder know, with their views.

    unlisted: whether unlisted signals that the gate refuses are taken, as J; max_per_class: rows of a label at most,
    drawn by seed. Raises UsageError where the run is not finished or lacks such views, or the folder lacks tables.
    """
    refuse_unfinished(run)
    listed = Listed(folder, run.config)
    no_transits = not_transit_like(listed, folder)

    def judge(rows: Sequence[Row]) -> list[Verdict]:
        return [judge_by_catalogue(row, no_transits, unlisted=unlisted) for row in rows]

    settings = {"unlisted": "J" if unlisted else "skip", "max_per_class": max_per_class}
    return _make_views(run, listed, judge, spec, settings, seed, listed.provenance() | {"simulated": ""})


def views_by_truth(
    run: Run,
    truth: Sequence[InjectedSignal],
    kinds: Mapping[str, str],
    *,
    spec: str = SPEC,
    max_per_class: int | None = None,
    seed: int = 0,
) -> ViewsTable:
    """The signals of a run over a simulated archive, labelled by what was put there.

    truth: the signals; kinds: what each star is (`stars.csv`), by target_id. Raises UsageError where the run is not
    finished or lacks such views.
    """
    refuse_unfinished(run)
    said = {"simulated": "all stars and signals", "catalogues": []}
    settings = {"max_per_class": max_per_class}
    return _make_views(run, None, lambda rows: judge_by_truth(rows, truth, kinds), spec, settings, seed, said)


DEMO_KINDS: Final = (
    "planet", "quiet", "eclipsing_binary", "rotation", "planet", "quiet", "background_binary", "flares",
    "planets", "quiet", "equal_binary", "rotation", "marginal_planet", "quiet", "planet", "quiet",
)  # fmt: skip
"""What the stars of a demo set are, over and over: kinds of `stars.simulate`."""

DEMO_SETTINGS: Final = (
    "search.threshold=5", "search.max_tces=4", "search.period_max=13", "pixels.use=false",
    "views.spec=triage-201-61", "views.signals=all", "score.triage=none", "score.vetting=none",
)  # fmt: skip
"""Noise has to be found, too, for a model to learn what it looks like."""


def make_demo(n_stars: int, folder: Path, *, seed: int = 0, on_progress: Callable[..., None]) -> ViewsTable:
    """Labelled views of simulated stars (S0.13), through the search of a real sweep. Archive and run stay in `folder`.

    on_progress: as `stream.sweep` takes it. Raises UsageError for so few stars that a class has none.
    """
    from survey.runs import stream

    mirror = folder / "archive"
    kinds = [DEMO_KINDS[k % len(DEMO_KINDS)] for k in range(n_stars)]
    truth = write_archive(mirror, kinds=kinds, seed=seed)
    targets = read_targets(mirror / "targets.txt").targets
    config, source = load(overrides=DEMO_SETTINGS), open_source(f"mirror:{mirror}", Config())
    with store.open_run(folder / "run", config, targets, source=source.describe()) as run:
        stream.sweep(run, f"mirror:{mirror}", on_progress=on_progress)
    names = (target.target_id for target in targets)
    return views_by_truth(store.load_run(folder / "run"), truth, dict(zip(names, kinds, strict=True)), seed=seed)


def choose_listed(
    folder: Path | None, names: Sequence[str], *, max_per_class: int | None = 250, seed: int = 0
) -> list[tuple[str, str]]:
    """(target_id, letter) of stars that the named catalogues list, for a sweep to begin a set with.

    At most so many stars of a letter, drawn by seed; a star has the letter of its first signal with one. Raises
    UsageError for names of no catalogue and for tables that the folder lacks.
    """
    tables = signal_tables(folder)
    if lacking := [name for name in names if name not in tables]:
        there = ", ".join(tables) or "none"
        raise UsageError(f"no table {', '.join(lacking)} among the catalogues ({there}): {HOW_TO_FETCH}")
    listed = signals_table(folder).filter(pl.col("catalogue").is_in(list(names)))
    stars: dict[str, str] = {}
    for star, disposition in listed.select("target_id", "disposition").iter_rows():
        if disposition in LETTER_OF:
            stars.setdefault(star, LETTER_OF[disposition])
    rows = [{"target_id": star, "number": 0, "label": letter} for star, letter in stars.items()]
    return [(row["target_id"], row["label"]) for row in cap_classes(rows, max_per_class, seed)]


# Verdicts


def judge_by_catalogue(row: Row, no_transits: frozenset[str], *, unlisted: bool) -> Verdict:
    """What the listed signal is that a signal was matched with (`runs.crossmatch.known`).

    no_transits: names of listed false positives that are not transit-like.
    """
    name, disposition = row["known_name"], row["known_disposition"]
    if row["novelty"] is None:
        return Verdict(None, "no catalogue of its mission is at hand")
    if row["novelty"] == "rediscovered":
        if disposition not in LETTER_OF:
            return Verdict(None, "listed without a disposition")
        letter = "FA" if name in no_transits else LETTER_OF[disposition]
        return Verdict(letter, f"{name} ({disposition}, {row['known_catalogue']})")
    if row["novelty"] == "known":
        return Verdict(None, "its star, or one near, is listed, this signal is not, or may be")
    if not unlisted:
        return Verdict(None, "not listed")
    if row["is_candidate"]:
        return Verdict(None, "not listed, and passes the gate: nobody knows what it is")
    return Verdict("J", f"not listed, and refused by the gate: {', '.join(row['flags'] or ())}")


def not_transit_like(listed: Listed, folder: Path | None) -> frozenset[str]:
    """Names of the KOIs whose false positive is no eclipse of anything (koi_fpflag_nt), as `Listed` writes them."""
    if "koi" not in listed.files:
        return frozenset()
    table = load_table("koi", folder)
    flagged = {name for name, flag in table.select("kepoi_name", "koi_fpflag_nt").iter_rows() if flag == 1}
    names = listed.table.filter(listed.table["catalogue"] == "koi")["name"]
    return frozenset(name for name in names if name.partition("/")[0] in flagged)


LETTER_OF_TRUTH: Final = {
    "planet": "PC",
    "eclipsing_binary": "EB",
    "background_binary": "FP",
    "contaminated": "FP",
}
"""Kinds of injected signals (`stars.simulate.SIGNAL_KINDS`) -> letters."""

VARIABLE: Final = ("rotation", "flares", "kepler_rotation")
"""Kinds of simulated stars that vary by themselves."""


def judge_by_truth(rows: Sequence[Row], truth: Sequence[InjectedSignal], kinds: Mapping[str, str]) -> list[Verdict]:
    """What each signal of simulated stars is: the injected one that it matches, or noise where its star has none."""
    known = [(one.target_id, one.period, one.epoch, one.duration_h / 24) for one in truth]
    periodic = [k for k, row in enumerate(rows) if row["period"] is not None]
    found = [(rows[k]["target_id"], rows[k]["period"], rows[k]["epoch"], rows[k]["duration_h"] / 24) for k in periodic]
    matched: dict[int, InjectedSignal] = {}
    for one, match in zip(truth, match_signals(known, found), strict=True):
        if match.found is not None:
            matched[periodic[match.found]] = one
    with_signals = {one.target_id for one in truth}
    return [_judge_simulated(row, matched.get(k), with_signals, kinds) for k, row in enumerate(rows)]


def _judge_simulated(
    row: Row, signal: InjectedSignal | None, with_signals: Iterable[str], kinds: Mapping[str, str]
) -> Verdict:
    if signal is not None:
        return Verdict(LETTER_OF_TRUTH[signal.kind], f"injected: {signal.kind}")
    if row["target_id"] in with_signals:
        return Verdict(None, "its star has injected signals, and this is none of them")
    kind = kinds.get(row["target_id"], "quiet")
    return Verdict("V", f"a star with {kind}") if kind in VARIABLE else Verdict("J", "nothing was injected")


# Rows


def _make_views(
    run: Run,
    listed: Listed | None,
    judge: Judge,
    spec: str,
    settings: Mapping[str, Any],
    seed: int,
    said: Mapping[str, Any],
) -> ViewsTable:
    stars = pq.read_table(pa.BufferReader(run.folder.read(store.TARGETS))).cast(schema.KEPT)
    views = read_views_of(run, spec)
    found = crossmatch(collect_signals(stars), None if listed is None else listed.table, run.config).to_pylist()
    left_out: Counter[str] = Counter()
    rows = []
    for row, verdict in zip(found, judge(found), strict=True):
        of_signal = views.get((row["target_id"], row["number"]))
        if verdict.letter is None or of_signal is None:
            left_out[verdict.why if verdict.letter is None else "it has no views"] += 1
        else:
            rows.append(_make_row(row, of_signal, verdict))
    kept = cap_classes(rows, settings["max_per_class"], seed)
    left_out["more of its class than were asked for"] += len(rows) - len(kept)
    names = {} if listed is None else names_of_stars(kept, found, listed)
    table = schema.rows_table([row | {"other_names": names.get(row["target_id"], [])} for row in kept], SCHEMA)
    table, copies = drop_copies(table)
    left_out["the same views as another signal"] += copies
    chosen = set(table.column("target_id").to_pylist())
    provenance = {
        "configuration": {"run": run.config.science(), **settings},
        "view_spec": spec,
        "sources": sources_of(run, stars, chosen),
        "left_out": failed_stars(stars),
        "signals_left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        "seed": seed,
        **said,
    }
    return ViewsTable(table, provenance)


def read_views_of(run: Run, spec: str) -> dict[tuple[str, int], Row]:
    """The views of a run's signals in a form, by target_id and number. Raises UsageError where there are none."""
    table = pq.read_table(
        pa.BufferReader(run.folder.read(store.FEATURES)), columns=["target_id", "number", "spec", *VIEWS]
    )
    there = sorted(set(table.column("spec").to_pylist()))
    table = table.filter(pc.equal(table.column("spec"), spec))
    if not len(table):
        held = f"only {', '.join(there)}" if there else "none at all"
        raise UsageError(
            f"{run.folder.root} holds no views of the form {spec}, {held}: sweep again with --set views.spec={spec} "
            "--set views.signals=all, or choose another --spec"
        )
    rows: Iterable[Row] = table.to_pylist()
    return {(row["target_id"], row["number"]): row for row in rows}


def _make_row(row: Row, views: Row, verdict: Verdict) -> Row:
    offsets = [one["offset_arcsec"] for one in row["centroids"] or () if one["problem"] is None]
    return {
        "target_id": row["target_id"],
        "label": verdict.letter,
        "number": row["number"],
        **{name: views[name] for name in VIEWS},
        **{name: row[name] for name in ("period", "duration_h", "depth_ppm", "mes")},
        "centroid_offset": offsets[0] if offsets else None,
        "passed": row["is_candidate"],
        "why": verdict.why,
    }


def cap_classes(rows: Sequence[Row], most: int | None, seed: int) -> list[Row]:
    """At most so many rows of every label, in the order of the rows.

    Which ones hangs on the seed and the signal alone: a row stays in when others join the run.
    """
    if most is None:
        return list(rows)
    ranked = defaultdict(list)
    for k, row in enumerate(rows):
        drawn = hashlib.blake2b(f"{seed} {row['target_id']} {row['number']}".encode(), digest_size=8).digest()
        ranked[row["label"]].append((drawn, k))
    kept = {k for of_label in ranked.values() for _, k in sorted(of_label)[:most]}
    return [row for k, row in enumerate(rows) if k in kept]


def names_of_stars(kept: Sequence[Row], found: Sequence[Row], listed: Listed) -> dict[str, list[str]]:
    """The names in other catalogues of the stars of the kept signals, by target_id."""
    chosen = {row["target_id"] for row in kept}
    stars = {row["target_id"]: row for row in found if row["target_id"] in chosen}
    return {name: listed.names_of(row) for name, row in stars.items()}


def sources_of(run: Run, stars: pa.Table, chosen: set[str]) -> list[dict[str, Any]]:
    """The run, and the products of the chosen stars with their sha256."""
    products = [
        {"product": file["product"], "sha256": file["sha256"]}
        for row in stars.select(["target_id", "products"]).to_pylist()
        if row["target_id"] in chosen
        for file in row["products"] or ()
    ]
    return [{"run": run.record["science_hash"], "targets": run.record["targets"], "products": products}]


def failed_stars(stars: pa.Table) -> list[dict[str, str]]:
    """target_id, status and reason of every star that has no signals because it could not be searched."""
    rows = stars.select(["target_id", "status", "error"]).to_pylist()
    return [
        {"target_id": row["target_id"], "status": row["status"], "reason": " ".join((row["error"] or "").split())}
        for row in rows
        if row["status"] != "ok"
    ]


def refuse_unfinished(run: Run) -> None:
    """Raises UsageError for a run that has no tables yet."""
    if not run.folder.exists(store.FEATURES) or not run.folder.exists(store.TARGETS):
        done = store.status(run)
        raise UsageError(
            f"{run.folder.root} is not finished ({done.shards_done} of {done.shards} shards are done): run the same "
            "`survey sweep` again to finish it"
        )
