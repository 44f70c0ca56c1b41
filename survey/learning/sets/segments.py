"""Labelled segments of light curves: is there a transit or an eclipse inside?

Every star gives several curves, cut alike into overlapping segments (`signals.segments`):

    real        as observed; a segment is 1 where at least half of a predicted transit is measured inside
    quiet       the same with all listed transits cut out: 0 everywhere
    mirrored    the quiet flux turned upside down about 1: what was a flare is a dip that is no transit: 0 everywhere
    injected K  a planet or two stars of which all is known multiplied into the quiet flux or the mirrored one, smeared
                over the exposure, before the trend is taken out: its segments with a transit are 1, others left out

A segment in which less than half of a transit is measured is left out [science rule 30]. All curves of a star count as
that star: its cap, its fold. Stars with listed eclipses that are not a planet's give positive segments alone, since
their secondary eclipses are not listed; a star whose listed transits are not seen at their predicted times in this very
light is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pydantic
import torch
from numpy.typing import NDArray
from pydantic import Field

from survey.config import DetrendConfig, Frozen, TrainConfig
from survey.errors import UsageError
from survey.learning.examples import Examples
from survey.learning.lesson import Lesson, Scored, Task
from survey.learning.metrics import average_precision, roc_auc
from survey.learning.models import inception1d
from survey.learning.sets.audit import names_of
from survey.learning.sets.table import read_set
from survey.learning.star_score import Curve, fit_stars
from survey.signals.detrend import detrend, robust_scatter
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.segments import (
    DAY_S,
    DOUBTFUL,
    NEGATIVE,
    POSITIVE,
    Floats,
    Segments,
    SegmentSpec,
    cut_segments,
    excursions,
    label_segments,
    tabulate_segments,
)
from survey.stars.inject import average_over_exposure, eclipsing_binary, small_planet_transit, transit_duration

Row = Mapping[str, Any]
"""A detrended light curve, a row of schema.DETRENDED with arrays."""

Hardness = Callable[[str, Segments], NDArray[np.floating]]
"""(n,) how likely a segment of a star is to be taken for a transit, in any unit that rises."""

TASK: Final = Task("segments", "a transit or an eclipse inside the segment against none", frozenset({"1"}))

SEEN_SIGMA: Final = 4.0
"""A listed signal is in the light where the flux at its predicted transits is lower by this many errors ..."""

EXPECTED_SIGMA: Final = 7.0
"""... and must be there where its listed depth would show by this many."""

SAME_PERIOD: Final = 0.01
"""Two listings whose periods, or twice or half of them, differ by less than this share are of one signal."""

CUT_WIDTH: Final = 1.4
"""Durations that are cut out about each transit for a quiet curve."""

PLANET_WORDS: Final = frozenset({"CP", "KP", "PC", "APC", "CONFIRMED", "CANDIDATE"})
FALSE_ALARM: Final = "FA"

DEEPEST_PLANET: Final = 0.04
"""Deeper dips are injected as eclipses of two stars."""


class SegmentSetConfig(Frozen):
    """Which segments of a star enter a set.

    inject: curves with injected transits, a star; mirror: whether there is a mirrored curve; per_star: segments of a
    star at most; rows: of the whole set at most, shared out among the stars; negatives_per_positive: at most;
    hard_share: of the negatives, those that look most like something; the others are drawn; least_snr, most_snr: of one
    injected transit, logarithms drawn evenly; eclipse_share: injected curves with eclipses of two stars.
    """

    spec: SegmentSpec = SegmentSpec()
    inject: int = Field(4, ge=0, le=1000)
    mirror: bool = True
    per_star: int = Field(400, ge=2)
    rows: int = Field(50_000, ge=10)
    negatives_per_positive: float = Field(1.0, gt=0, le=1000)
    hard_share: float = Field(0.25, ge=0, le=1)
    least_snr: float = Field(4.0, gt=0)
    most_snr: float = Field(80.0, gt=0)
    eclipse_share: float = Field(0.15, ge=0, le=1)
    seed: int = Field(0, ge=0)


class Listing(NamedTuple):
    """What a catalogue says of a star, time counted as in its light curve; NaN depth where it does not say."""

    signal: Ephemeris | None
    disposition: str
    depth: float


class Known(NamedTuple):
    """The signals of a star. seen: transits and eclipses that label; cut: all that is taken out for a quiet curve;
    quiet: whether there is a quiet curve."""

    seen: list[Ephemeris]
    cut: list[Ephemeris]
    quiet: bool


def judge_listings(row: Row, listings: Sequence[Listing]) -> Known:
    """What of a star's listings its light shows. Raises UsageError, with the reason, for a star that cannot be used."""
    seen, faint, quiet = [], [], True
    judged = [(listing, *_significance(row, listing)) for listing in listings if listing.disposition != FALSE_ALARM]
    for listing, found, _ in judged:
        if listing.signal is not None and found >= SEEN_SIGMA:
            seen.append(listing.signal)
            quiet &= listing.disposition in PLANET_WORDS or _is_among(
                listing.signal, [other.signal for other, _, _ in judged if other.disposition in PLANET_WORDS]
            )
    for listing, found, expected in judged:
        if listing.signal is None:
            raise UsageError(f"listed without period, epoch or duration ({listing.disposition})")
        if found < SEEN_SIGMA and not _is_among(listing.signal, seen):
            if not expected < EXPECTED_SIGMA:
                raise UsageError(
                    f"its listed signal of {listing.signal.period:.4f} d is not in this light: "
                    f"{found:.1f} sigma at the predicted transits"
                )
            faint.append(listing.signal)
    return Known(seen, [*seen, *faint], quiet)


def _is_among(signal: Ephemeris, others: Sequence[Ephemeris | None]) -> bool:
    ratios = [signal.period / other.period for other in others if other is not None]
    return any(abs(ratio / whole - 1) < SAME_PERIOD for ratio in ratios for whole in (0.5, 1.0, 2.0))


def _significance(row: Row, listing: Listing) -> tuple[float, float]:
    """By how many errors the flux is lower at the predicted transits, and by how many it should be; NaN for the latter
    where the catalogue gives no depth. A signal without a transit in the light is neither seen nor expected."""
    if listing.signal is None:
        return 0.0, np.nan
    flat = row["flux"] / row["trend"]
    known = np.isfinite(flat)
    inside = known & in_transit(row["time"], listing.signal, 0.8)
    if not inside.any():
        return 0.0, 0.0
    beside = known & in_transit(row["time"], listing.signal, 3.0) & ~in_transit(row["time"], listing.signal, 1.2)
    level = np.median(flat[beside if beside.sum() > inside.sum() else known & ~inside])
    error = max(float(robust_scatter(flat[known])), 1e-9) / np.sqrt(inside.sum())
    return float((level - flat[inside].mean()) / error), float(listing.depth / error)


@dataclass(frozen=True)
class _Curve:
    """A curve of a star: its segments and their labels. snr: of one injected transit."""

    name: str
    segments: Segments
    labels: NDArray[np.int8]
    snr: float | None = None


def segment_rows(
    row: Row,
    known: Known,
    config: SegmentSetConfig,
    detrending: DetrendConfig,
    *,
    other_names: Sequence[str] = (),
    most: int | None = None,
    hardness: Hardness | None = None,
) -> pa.Table | None:
    """The rows of one star, at most `per_star` of them or `most`; None where it has no segment.

    Everything random is drawn from the seed and the star's name, so that a star's rows do not depend on other stars.
    hardness: by default the strongest excursion of the flux.
    """
    draw = np.random.default_rng([config.seed, *row["target_id"].encode()])
    curves = list(_curves(row, known, config, detrending, draw))
    cap = min(config.per_star, most or config.per_star)
    chosen = _choose(row["target_id"], curves, config, draw, cap, hardness or _hardness)
    tables = [
        _table(row["target_id"], other_names, curve, rows, weights, hard)
        for curve, (rows, weights, hard) in zip(curves, chosen, strict=True)
        if len(rows)
    ]
    return pa.concat_tables(tables) if tables else None


def _curves(
    row: Row, known: Known, config: SegmentSetConfig, detrending: DetrendConfig, draw: np.random.Generator
) -> Iterator[_Curve]:
    flux = row["flux"].astype(np.float64)
    real = _cut(row, flux, row["trend"], config.spec)
    labels = label_segments(real, known.seen)
    labels[(label_segments(real, known.cut) != NEGATIVE) & (labels == NEGATIVE)] = DOUBTFUL
    if not known.quiet:
        labels[labels == NEGATIVE] = DOUBTFUL
    yield _Curve("real", real, labels)
    if not known.quiet:
        return
    kept = np.ones(len(flux), bool)
    for signal in known.cut:
        kept &= ~in_transit(row["time"], signal, CUT_WIDTH)
    flux = np.where(kept, flux, np.nan)
    if known.cut:
        yield _flattened("quiet", row, flux, config, detrending)
    mirrored = 2.0 - flux
    if config.mirror:
        yield _flattened("mirrored", row, mirrored, config, detrending)
    for k in range(config.inject):
        factor, signals, snr = _draw_signal(row, config, draw)
        base = mirrored if config.mirror and k % 2 else flux
        yield _flattened(f"injected {k}", row, base * factor, config, detrending, signals, snr)


def _flattened(
    name: str,
    row: Row,
    flux: NDArray[np.float64],
    config: SegmentSetConfig,
    detrending: DetrendConfig,
    signals: Sequence[Ephemeris] = (),
    snr: float | None = None,
) -> _Curve:
    """A curve whose trend is estimated anew, as that of any light curve is."""
    counts = [product["n_cadences"] for product in row["products"]]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    trend = detrend(row["time"], flux.astype(np.float32), starts, detrending, window_days=row["window_d"])
    segments = _cut(row, flux, trend, config.spec)
    labels = label_segments(segments, signals)
    if signals:
        # A quiet stretch of an injected curve is one of the quiet curve, bit by bit.
        labels[labels == NEGATIVE] = DOUBTFUL
    return _Curve(name, segments, labels, snr)


def _cut(row: Row, flux: NDArray[np.float64], trend: NDArray[np.floating], spec: SegmentSpec) -> Segments:
    return cut_segments(row["time"], flux, flux / trend, row["cadence_s"], spec)


def _draw_signal(
    row: Row, config: SegmentSetConfig, draw: np.random.Generator
) -> tuple[NDArray[np.float64], list[Ephemeris], float]:
    """Factor on the flux, what is in it, and the S/N of one transit: a planet, or eclipses of two stars."""
    time, days = row["time"], float(row["time"][-1] - row["time"][0])
    period = float(np.exp(draw.uniform(np.log(0.5), np.log(max(1.0, min(1.5 * days, 400.0))))))
    epoch = float(draw.uniform(time[0], time[-1]))
    impact = float(draw.uniform(0.0, 0.9))
    duration = transit_duration(period, float(10 ** draw.uniform(-0.6, 0.5)), 0.0, impact)
    snr = float(np.exp(draw.uniform(np.log(config.least_snr), np.log(config.most_snr))))
    flat = row["flux"] / row["trend"]
    scatter = float(robust_scatter(flat[np.isfinite(flat)]))
    depth = max(snr * scatter / np.sqrt(max(1.0, duration * DAY_S / row["cadence_s"])), 1e-5)
    signal = Ephemeris(period, epoch, duration)
    if depth < DEEPEST_PLANET and draw.random() >= config.eclipse_share:
        factor = small_planet_transit(
            time,
            **signal._asdict(),
            radius_ratio=float(np.sqrt(depth)),
            impact=impact,
            exposure_s=row["cadence_s"],
        )
        return factor, [signal], snr
    depth = min(depth, 0.6)
    second = depth * float(draw.choice([0.0, draw.uniform(0.02, 1.0)]))
    model = partial(
        eclipsing_binary,
        **signal._asdict(),
        depth=depth,
        secondary_depth=second,
        ingress=float(draw.uniform(0.2, 0.5)),
    )
    # A secondary eclipse is as good a positive as the primary where it is half as deep.
    both = [signal, signal._replace(epoch=epoch + period / 2)] if second > depth / 2 else [signal]
    return average_over_exposure(model, time, row["cadence_s"]), both, snr


def _hardness(star: str, segments: Segments) -> NDArray[np.floating]:
    """The strongest excursion of the flux either way, more where much is missing."""
    found = np.abs(excursions(segments.light[:, -1])).max(1) if len(segments) else np.empty(0)
    return found * (2 - segments.measured.mean(1))


Chosen = tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]
"""Rows of a curve, how many of its rows each stands for, and whether it was chosen as a hard one."""


def _choose(
    star: str,
    curves: Sequence[_Curve],
    config: SegmentSetConfig,
    draw: np.random.Generator,
    cap: int,
    hardness: Hardness,
) -> list[Chosen]:
    """Which rows of each curve enter: the classes in their proportion, no more than `cap` in all."""
    of_curve = np.concatenate([np.full(len(curve.labels), k) for k, curve in enumerate(curves)])
    labels = np.concatenate([curve.labels for curve in curves])
    number = np.concatenate([np.arange(len(curve.labels)) for curve in curves])
    positives, negatives = np.flatnonzero(labels == POSITIVE), np.flatnonzero(labels == NEGATIVE)
    ratio = config.negatives_per_positive
    n_negative = min(len(negatives), max(cap - len(positives), round(cap * ratio / (1 + ratio))))
    if len(positives):
        n_negative = min(n_negative, round(ratio * len(positives)))
    n_positive = min(len(positives), cap - n_negative)
    hard = np.empty(0, np.intp)
    if n_hard := min(round(config.hard_share * n_negative), len(negatives)):
        rank = np.concatenate([_near(curve) + hardness(star, curve.segments) for curve in curves])
        hard = negatives[np.argsort(-rank[negatives], kind="stable")[:n_hard]]
    rest = np.setdiff1d(negatives, hard)
    drawn = [
        draw.choice(rows, count, replace=False)
        for rows, count in ((positives, n_positive), (rest, min(n_negative - len(hard), len(rest))))
    ]
    weight = np.zeros(len(labels), np.float32)
    weight[hard] = 1.0
    for rows, taken in zip((positives, rest), drawn, strict=True):
        all_of, taken_of = (np.bincount(of_curve[part], minlength=len(curves)) for part in (rows, taken))
        weight[taken] = (all_of / np.maximum(1, taken_of))[of_curve[taken]]
    is_hard = np.isin(np.arange(len(labels)), hard)
    chosen = []
    for k in range(len(curves)):
        rows = np.flatnonzero((of_curve == k) & (weight > 0))
        chosen.append((number[rows], weight[rows], is_hard[rows]))
    return chosen


NEAR: Final = 1e6
"""Added to the hardness of segments beside one with a transit: the hardest there are."""


def _near(curve: _Curve) -> NDArray[np.float64]:
    """(n,) NEAR where the segment before or after has a transit."""
    beside = np.zeros(len(curve.labels), bool)
    beside[1:] |= curve.labels[:-1] == POSITIVE
    beside[:-1] |= curve.labels[1:] == POSITIVE
    return np.where(beside, NEAR, 0.0)


def _table(
    star: str,
    other_names: Sequence[str],
    curve: _Curve,
    rows: NDArray[np.intp],
    weights: NDArray[np.float32],
    hard: NDArray[np.bool_],
) -> pa.Table:
    n, segments = len(rows), curve.segments
    light = segments.light[rows]
    columns = {
        "target_id": pa.array([star] * n),
        "other_names": pa.array([list(other_names)] * n, pa.list_(pa.string())),
        "label": pa.array(np.where(curve.labels[rows] == POSITIVE, "1", "0")),
        "curve": pa.array([curve.name] * n),
        "begin": pa.array(segments.begin[rows]),
        "bin_d": pa.array(np.full(n, segments.bin_d)),
        "weight": pa.array(weights),
        "curve_segments": pa.array(np.full(n, len(segments), np.int32)),
        "hard": pa.array(hard),
        "snr": pa.array([curve.snr] * n, pa.float32()),
    }
    for name, channel in zip(CHANNELS[-light.shape[1] :], range(light.shape[1]), strict=True):
        flat = pa.array(light[:, channel].ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, light.shape[2])
    return pa.table(columns)


CHANNELS: Final = ("raw", "flat")
"""Columns of light, in the order of a network's channels."""


# Reading


def make_lesson(path: str | Path, task_name: str, config: TrainConfig) -> Lesson:
    """What a set of segments has to teach. Raises UsageError for a file that is none, or another task."""
    if task_name != TASK.name:
        raise UsageError(f"a set of segments teaches {TASK.name}, not {task_name}")
    found = read_set(path, "segments")
    table, provenance = found.table, found.provenance
    asked = _asked(found.name, provenance)
    light = read_light(table)
    labels = np.array(table.column("label").to_pylist(), str) == "1"
    return Lesson(
        task=TASK,
        kind=inception1d.KIND,
        shape=inception1d.Shape(window=asked.spec.window, channels=asked.spec.channels),
        # Rows may lie closer in a set than in the light curves that are scored later.
        inputs=asked.spec.model_copy(update={"stride": None}),
        stars=np.array(table.column("target_id").to_pylist(), str),
        other_names=names_of(table)[1],
        labels=labels,
        examples=Examples((torch.from_numpy(light),), torch.from_numpy(labels.astype(np.float32))),
        table=tabulate_segments(light),
        set_name=found.name,
        set_sha256=found.sha256,
        missions=tuple(provenance["missions"]),
        simulated=provenance["simulated"],
        folds=table.column("fold").to_numpy().astype(np.uint8),
        facts=_facts(asked, table),
        notes=NOTES,
        source=SOURCE,
        measure=partial(measure_curves, table=table),
        keep=partial(keep_stars, table=table, spec=asked.spec),
    )


NOTES: Final = (
    "Labels are those of catalogued ephemerides and of injected transits; a star with an undetected planet, or a "
    "transit that comes early or late, is labelled wrongly.",
    "The share of segments with transits is that of the set, far above that of stars at large.",
)
SOURCE: Final = (
    "Light curves of TESS, Kepler and K2, public domain mission data from MAST; ephemerides of the NASA Exoplanet "
    "Archive and of catalogues of eclipsing binaries."
)


def _asked(name: str, provenance: Mapping[str, Any]) -> SegmentSetConfig:
    try:
        return SegmentSetConfig.model_validate(provenance["configuration"]["segments"])
    except (KeyError, TypeError, pydantic.ValidationError):
        raise UsageError(
            f"{name}: it does not say how its segments were cut: make it by `survey data segments`"
        ) from None


def _facts(asked: SegmentSetConfig, table: pa.Table) -> dict[str, Any]:
    curves = [curve.partition(" ")[0] for curve in table.column("curve").to_pylist()]
    return {
        "window": asked.spec.window,
        "stride": asked.spec.step,
        "sampling": f"at most {asked.negatives_per_positive:g} negatives to a positive",
        "hard_neg_frac": asked.hard_share,
        "segments": {curve: curves.count(curve) for curve in sorted(set(curves))},
    }


def measure_curves(scored: Scored, *, table: pa.Table) -> dict[str, Any]:
    """The figures of the segments as observed, without injections and mirrors, and of the simplest of all scores: the
    deepest running mean of each segment."""
    labels = np.array(table.column("label").to_pylist(), str) == "1"
    dips = -excursions(read_light(table)[:, -1])[:, ::2].min(1).astype(np.float64)
    observed = np.isin(np.array(table.column("curve").to_pylist(), str), OBSERVED)
    found: dict[str, Any] = {"deepest_dip": _rank(labels, dips)}
    if labels[observed].any() and not labels[observed].all():
        found["as_observed"] = _rank(labels[observed], scored.scores[observed]) | {
            "deepest_dip": _rank(labels[observed], dips[observed])
        }
    return found


OBSERVED: Final = ("real", "quiet")


def _rank(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "rows": len(labels),
        "base_rate": float(labels.mean()),
        "roc_auc": roc_auc(labels, scores),
        "average_precision": average_precision(labels, scores),
    }


def keep_stars(scored: Scored, *, table: pa.Table, spec: SegmentSpec) -> dict[str, Any]:
    """The calibration of the scores of stars (`star_score`); nothing where the set has too few curves for it."""
    try:
        return {"stars": fit_stars(star_curves(scored, table, spec)).model_dump(mode="json")}
    except UsageError:
        return {}


def star_curves(scored: Scored, table: pa.Table, spec: SegmentSpec) -> list[Curve]:
    """The scored segments of every curve. A curve with injected transits has those of its star's quiet flux, or of the
    mirrored one, beside its own."""
    names = np.array(table.column("curve").to_pylist(), str)
    stars = np.array(table.column("target_id").to_pylist(), str)
    positive = np.array(table.column("label").to_pylist(), str) == "1"
    weights = table.column("weight").to_numpy().astype(np.float64)
    totals = table.column("curve_segments").to_numpy()
    crowded = spec.step / max(1, spec.window // 4)
    curves = []
    for star in np.unique(stars):
        own = stars == star
        backgrounds = [own & (names == name) & ~positive for name in ("quiet", "real", "mirrored")]
        quiet = backgrounds[0] if backgrounds[0].any() else backgrounds[1]
        for name in np.unique(names[own]).tolist():
            rows = own & (names == name)
            here, total = weights.copy(), int(totals[rows][0])
            if name.startswith("injected"):
                base = backgrounds[2] if int(name.split()[1]) % 2 and backgrounds[2].any() else quiet
                rest = max(0.0, total - here[rows].sum())
                here[base] *= rest / max(here[base].sum(), 1e-9)
                rows = rows | base if rest else rows
            number = max(1, round(total * crowded))
            fold = int(scored.folds[rows][0])
            curves.append(Curve(scored.scores[rows], here[rows], number, fold, bool(positive[rows].any())))
    return curves


def read_light(table: pa.Table) -> Floats:
    """(n, channels, window) light of the rows of a set."""
    names = [name for name in CHANNELS if name in table.column_names]
    columns = [table.column(name).combine_chunks() for name in names]
    return np.stack([column.flatten().to_numpy().reshape(len(table), -1) for column in columns], 1)
