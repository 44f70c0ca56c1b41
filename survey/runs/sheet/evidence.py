"""What the sheet of one signal shows, as numbers: folds, model, spectrum, depths. Drawn by `page`, kept by `files`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey import schema
from survey.config import Config
from survey.errors import TooShort, UsageError
from survey.runs.sheet.folds import Bins, Floats, Model, bin_means, fit_model, hours_from, ppm
from survey.runs.stages import Row, detrend_row, flat_curve, tce_of
from survey.signals.ephemeris import Ephemeris, fold, in_transit, transit_number
from survey.signals.search import FlatCurve, Tce
from survey.signals.search.find import fold_batch, load_engine, start_hunt
from survey.signals.search.noise import robust_scatter
from survey.signals.vetting import OddEven, Secondary
from survey.signals.vetting.events import MASK_WIDTH, Light, look_at, shares_period, split_odd_even, split_products
from survey.signals.vetting.secondary import strongest
from survey.stars.pixels import LightCentre

Signal = Mapping[str, Any]
"""A TCE as its row holds it; what was not measured is None."""

REACH = 3.0
"""Half width of the folds about a transit, in durations."""

CLOSE_BINS = 45
SMALL_BINS = 30
WIDE_BINS = (150, 600)
"""Fewest and most bins of the whole orbit: three across the transit, if they suffice."""

SPECTRUM_BINS = 700

FIRST_PHASE = -0.25
"""Phase at the left edge of the whole fold: primary and half a period later both stand clear of the edges."""

ALIASES = {"P/3": 1 / 3, "P/2": 1 / 2, "P": 1.0, "2P": 2.0, "3P": 3.0}

LEAST_IN_WIDE = 12
"""Cadences in a bin of the whole orbit: what more bins would be made of is noise."""

LEAST_BESIDE = 4
"""Cadences on a side of a transit below which its background says nothing."""

FAR_DEEPER = 4.0
"""In depths of a signal: what is masked of single events before a weaker signal shows in the spectrum."""

MOST_EVENTS = 400
"""More transits than this are not shown one by one."""


@dataclass(frozen=True)
class Power:
    """The search spectrum of the light curve without the stronger signals: its upper envelope.

    period: days, ascending; power: highest signal-to-noise ratio about each; peaks: alias -> (period, power there).
    """

    period: Floats
    power: Floats
    peaks: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Depths:
    """Depth and standard error, ppm, and the time (d) of each."""

    time: Floats
    depth: Floats
    error: Floats


@dataclass(frozen=True)
class Evidence:
    """All of it; None where it does not apply or could not be measured.

    curve: the detrended light curve; alone: without the transits of other signals, whose ephemerides are `others`;
    hidden: those transits; image: the signal's images (schema.IMAGE_FIELDS); centroid: where it comes from, by the best
    measurement.
    """

    row: Row
    tce: Signal | None
    config: Config
    curve: FlatCurve
    power: Power | None
    orbit: Ephemeris | None = None
    others: tuple[Ephemeris, ...] = ()
    alone: FlatCurve | None = None
    hidden: FlatCurve | None = None
    close: Bins | None = None
    model: Model | None = None
    events: Depths | None = None
    products: Depths | None = None
    wide: Bins | None = None
    odd: Bins | None = None
    even: Bins | None = None
    pair: OddEven | None = None
    secondary: Secondary | None = None
    secondary_bins: Bins | None = None
    background: Bins | None = None
    image: Mapping[str, Any] | None = None
    centroid: Mapping[str, Any] | None = None

    @property
    def reach(self) -> float:
        """Half width of the folds about the transit, hours."""
        assert self.orbit is not None
        return _reach(self.orbit)

    @property
    def secondary_reach(self) -> float:
        """Half width of the fold about the secondary, hours: it ends before the transit."""
        assert self.orbit is not None
        assert self.secondary is not None
        return _reach_of_phase(self.orbit, self.secondary.phase)

    def why_no_image(self) -> str:
        """Why there are no pixels to show, in words."""
        assert self.tce is not None
        if self.tce["is_candidate"] is None or not self.config.pixels.use:
            return "not looked at"
        if self.tce["is_candidate"] or self.tce.get("centroids"):
            return "no pixel file"
        return "not looked at:\nfails other checks"


def wrap_phase(phase: Any) -> Any:
    """Phases as the whole fold shows them: from FIRST_PHASE on."""
    return (phase - FIRST_PHASE) % 1.0 + FIRST_PHASE


def phase_of(time: Floats, orbit: Ephemeris) -> Floats:
    phase: Floats = wrap_phase((time - orbit.epoch) / orbit.period)
    return phase


def _reach(orbit: Ephemeris) -> float:
    return 24.0 * min(REACH * orbit.duration, 0.5 * orbit.period)


def _reach_of_phase(orbit: Ephemeris, phase: float) -> float:
    to_transit = 24.0 * (min(phase, 1.0 - phase) * orbit.period - 0.6 * orbit.duration)
    return max(min(_reach(orbit), to_transit), 12.0 * orbit.duration)


def gather_evidence(row: Row, tce: Signal | None, config: Config, centres: Sequence[LightCentre] = ()) -> Evidence:
    """The evidence for a signal of a described row (`stages.examine`, series included); without one, of the star.

    centres: what the light-curve files say of the background, if it is to be shown.
    """
    curve = flat_curve(row, config)
    if tce is None:
        return Evidence(row, None, config, curve, measure_power(curve, None, config))
    folds = fold_signal(row, tce, config, curve)
    assert folds.orbit is not None
    assert folds.alone is not None
    signal, others = _signals(row, tce)
    light = look_at(curve, signal, others)
    return replace(
        folds,
        power=measure_power(_without_stronger(curve, signal, others), signal.period, config),
        events=_depths_of_events(light),
        products=_depths_of_products(light),
        background=fold_background(centres, folds.orbit, folds.reach),
        image=next(
            (view for view in row.get("views") or () if view["number"] == tce["number"] and _has_image(view)), None
        ),
        centroid=_best_centroid(tce),
        **(_other_phase(folds.alone, light) if signal.period is not None else {}),
    )


def fold_signal(row: Row, tce: Signal, config: Config, curve: FlatCurve) -> Evidence:
    """Of the evidence what is folded alone: quick, as nothing is searched. curve: `flat_curve` of the row."""
    signal, others = _signals(row, tce)
    orbit = signal.ephemeris
    apart = [other.ephemeris for other in others if not shares_period(other, signal, row["baseline_d"])]
    hidden = in_any_transit(curve, apart)
    alone = select(curve, ~hidden)
    close = fold_close(alone, orbit, orbit.epoch, _reach(orbit), CLOSE_BINS)
    return Evidence(
        row=row,
        tce=tce,
        config=config,
        curve=curve,
        power=None,
        orbit=orbit,
        others=tuple(other.ephemeris for other in others),
        alone=alone,
        hidden=select(curve, hidden),
        close=close,
        model=fit_model(close, tce["depth_ppm"], tce["duration_h"], 24.0 * curve.cadence),
        **(fold_orbit(alone, orbit) if signal.period is not None else {}),
    )


def _signals(row: Row, tce: Signal) -> tuple[Tce, list[Tce]]:
    """The signal, and the others of its star."""
    signal = tce_of({**tce, "number": tce["number"] or 0, "scatter_beta": tce["scatter_beta"] or 1.0})
    return signal, [tce_of(other) for other in row.get("tces") or () if other["number"] != signal.number]


def _without_stronger(curve: FlatCurve, signal: Tce, others: Sequence[Tce]) -> FlatCurve:
    """What the search saw when it came to this signal: without the stronger ones and single events far deeper."""
    stronger = [other.ephemeris for other in others if 0 < other.number < signal.number]
    left = select(curve, ~in_any_transit(curve, stronger))
    if signal.number <= 1:
        return left
    scatter = 1e6 * float(robust_scatter((left.flux - 1.0).astype(np.float32)))
    floor = 1.0 - 1e-6 * max(FAR_DEEPER * signal.depth_ppm, 5.0 * scatter)
    return select(left, (left.flux > floor) | in_transit(left.time, signal.ephemeris))


def choose_signals(row: Row, number: int | None) -> Sequence[Signal | None]:
    """The candidates; without any the strongest signal; without any [None]. Raises UsageError for an unknown number."""
    tces = row["tces"] or []
    if number is not None:
        chosen = [tce for tce in tces if tce["number"] == number]
        if not chosen:
            raise UsageError(f"{row['target_id']} has no TCE {number}: the search found {len(tces)}")
        return chosen
    passed = [tce for tce in tces if tce["is_candidate"]]
    if passed:
        return passed
    return [max(tces, key=lambda tce: tce["mes"] or 0.0)] if tces else [None]


def _has_image(view: Mapping[str, Any]) -> bool:
    return view.get("direct_image") is not None and len(view["direct_image"]) > 0


def _best_centroid(tce: Signal) -> Mapping[str, Any] | None:
    """The first measurement with an offset."""
    measured = [centroid for centroid in tce.get("centroids") or () if centroid["offset_pixels"] is not None]
    return measured[0] if measured else None


def fold_close(curve: FlatCurve, orbit: Ephemeris, middle: float, half: float, count: int) -> Bins:
    """About `count` bins within `half` hours of `middle` (d), fewer where there are few cadences."""
    hours, flux = hours_from(curve, orbit, middle, half)
    return bin_means(hours, flux, np.linspace(-half, half, min(count, max(12, len(flux) // 6)) + 1))


def fold_orbit(curve: FlatCurve, orbit: Ephemeris) -> dict[str, Any]:
    """The whole orbit, and the odd and even transits."""
    days = fold(curve.time, orbit.period, orbit.epoch)
    count = int(np.clip(3.0 * orbit.period / orbit.duration, *WIDE_BINS))
    count = max(min(count, len(days) // LEAST_IN_WIDE), WIDE_BINS[0])
    near = np.abs(24.0 * days) <= _reach(orbit)
    odd = transit_number(curve.time, orbit) % 2 == 1
    flux = ppm(curve.flux)
    edges = np.linspace(-_reach(orbit), _reach(orbit), SMALL_BINS + 1)
    return {
        "wide": bin_means(phase_of(curve.time, orbit), flux, np.linspace(FIRST_PHASE, FIRST_PHASE + 1.0, count + 1)),
        "odd": bin_means(24.0 * days[near & odd], flux[near & odd], edges),
        "even": bin_means(24.0 * days[near & ~odd], flux[near & ~odd], edges),
    }


def _other_phase(curve: FlatCurve, light: Light) -> dict[str, Any]:
    """The depths of odd and even transits, and the strongest dip between them."""
    secondary, orbit = strongest(light), light.orbit
    found: dict[str, Any] = {"pair": split_odd_even(light.events), "secondary": secondary}
    if secondary is not None:
        middle = orbit.epoch + secondary.phase * orbit.period
        found["secondary_bins"] = fold_close(curve, orbit, middle, _reach_of_phase(orbit, secondary.phase), SMALL_BINS)
    return found


def _depths_of_events(light: Light) -> Depths | None:
    events = light.events
    if not 1 < len(events.depth) <= MOST_EVENTS:
        return None
    return Depths(events.middle, 1e6 * events.depth, 1e6 * events.error)


def _depths_of_products(light: Light) -> Depths | None:
    """Depths at the mean time of each product's transits."""
    depths = split_products(light)
    if not depths:
        return None
    place = np.searchsorted(light.starts, light.events.middle, side="right") - 1
    time = [light.events.middle[np.maximum(place, 0) == depth.product].mean() for depth in depths]
    return Depths(
        np.array(time), *(np.array([getattr(d, name) for d in depths]) for name in ("depth_ppm", "depth_err_ppm"))
    )


def in_any_transit(curve: FlatCurve, orbits: Sequence[Ephemeris]) -> NDArray[np.bool_]:
    """Whether each cadence lies in a transit of these signals, or close to it."""
    inside = np.zeros(len(curve.time), bool)
    for orbit in orbits:
        inside |= in_transit(curve.time, orbit, MASK_WIDTH)
    return inside


def select(curve: FlatCurve, keep: NDArray[np.bool_]) -> FlatCurve:
    """Some cadences of a light curve."""
    before = np.concatenate([[0], np.cumsum(keep)])
    starts = tuple(int(start) for start in np.unique(before[list(curve.starts)]) if start < before[-1])
    return FlatCurve(curve.time[keep], curve.flux[keep], curve.flux_err[keep], curve.cadence, curve.density, starts)


def measure_power(curve: FlatCurve, period: float | None, config: Config) -> Power | None:
    """The spectrum of the search; None for a light curve too short for any period."""
    hunt = start_hunt(curve, config.search)
    if not hunt.plan.segments:
        return None
    spectrum = fold_batch([hunt], load_engine("numba").search_segment)[0]
    trials, power = hunt.plan.sorted_periods, spectrum.scaled[hunt.plan.order]
    peaks = {}
    aliases = {} if period is None else {name: ratio * period for name, ratio in ALIASES.items()}
    for name, at in aliases.items():
        low, high = np.searchsorted(trials, [0.998 * at, 1.002 * at])
        if trials[0] <= at <= trials[-1] and high > low:
            peaks[name] = (at, float(power[low:high].max()))
    edges = np.geomspace(trials[0], trials[-1], SPECTRUM_BINS + 1)
    first = np.unique(np.clip(np.searchsorted(trials, edges[:-1]), 0, len(trials) - 1))
    return Power(trials[first], np.maximum.reduceat(power, first), peaks)


def fold_background(centres: Sequence[LightCentre], orbit: Ephemeris, half: float) -> Bins | None:
    """What the pipeline took for background about the transits, electrons a second over a parabola through both
    sides of each transit; None where no file tells it."""
    hours, light = [], []
    for centre in centres:
        if centre.background is None:
            continue
        offset = 24.0 * fold(centre.time, orbit.period, orbit.epoch)
        near = (np.abs(offset) <= half) & np.isfinite(centre.background)
        number = transit_number(centre.time[near], orbit)
        for x, y in _events_of(number, offset[near], centre.background[near]):
            beside = np.abs(x) > 12.0 * orbit.duration
            if beside.sum() >= 2 * LEAST_BESIDE:
                hours.append(x)
                light.append(y - np.polynomial.Polynomial.fit(x[beside], y[beside], 2)(x))
    if not hours:
        return None
    return bin_means(np.concatenate(hours), np.concatenate(light), np.linspace(-half, half, SMALL_BINS + 1))


def _events_of(number: NDArray[np.int64], *columns: Floats) -> Iterator[list[Floats]]:
    """The columns event by event; numbers ascend."""
    cuts = np.flatnonzero(np.diff(number)) + 1
    yield from zip(*(np.split(column, cuts) for column in columns), strict=True)


# A signal that the user names


def given_signal(
    row: Row, config: Config, period: float, epoch: float, duration_h: float
) -> tuple[dict[str, Any], Row]:
    """A signal that the user names, measured on the light curve as it is; and the row, detrended with it masked.

    period: days; epoch: days since the row's time zero, or BJD; fields that only a search can give are null.
    Raises UsageError for numbers that no transit has, TooShort where no cadence falls into the transits.
    """
    if not (period > 0 and 0 < duration_h < 24.0 * period):
        raise UsageError(
            f"no transit of {duration_h:g} h every {period:g} d: give a positive duration below the period"
        )
    if epoch > 2_000_000:
        epoch -= row["time_zero"]
    time: NDArray[np.float64] = np.asarray(row["time"])
    epoch = float(time[0] + (epoch - time[0]) % period)
    orbit = Ephemeris(period, epoch, duration_h / 24.0)
    masked = in_transit(time, orbit, config.detrend.mask_durations)
    row = {**row, **detrend_row(row, config, row["window_d"], masked)}
    flat = flat_curve(row, config)
    inside = in_transit(flat.time, orbit)
    if not inside.any():
        raise TooShort(f"{row['target_id']}: no cadence falls into a transit of this ephemeris")
    depth = float(np.mean(flat.flux[~inside]) - np.mean(flat.flux[inside]))
    error = float(np.std(flat.flux[~inside]) / np.sqrt(inside.sum()))
    values: dict[str, Any] = dict.fromkeys(field.name for field in schema.DESCRIBED_TCE_FIELDS)
    values |= {
        "period": period,
        "epoch": epoch,
        "epoch_bjd": epoch + row["time_zero"],
        "duration_h": duration_h,
        "depth_ppm": 1e6 * depth,
        "depth_err_ppm": 1e6 * error,
        "snr": depth / error,
        "n_transits": len(np.unique(transit_number(flat.time[inside], orbit))),
    }
    return values, row
