"""The panels of the sheet: each draws one piece of the evidence into axes that the page has placed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from survey.runs.sheet import words
from survey.runs.sheet.evidence import FIRST_PHASE, Evidence, phase_of, wrap_phase
from survey.runs.sheet.folds import Bins, ppm
from survey.runs.sheet.strokes import (
    bin_limits,
    draw_bars,
    draw_near,
    draw_points,
    fold_limits,
    hours_axis,
    light_limits,
    marker_size,
    padded,
    put_note,
    say_why,
    unit_for,
    unit_of_folds,
)
from survey.runs.sheet.style import (
    BINNED,
    EVEN,
    FAINT,
    INK,
    MODEL,
    ODD,
    OTHERS,
    POINTS,
    RULE,
    STRANGE,
    TREND,
)
from survey.runs.sheet.timeline import Axis
from survey.signals.ephemeris import in_transit, transit_number
from survey.signals.vetting import OddEven

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKED_OTHERS: Final = 60
"""Transits of another signal are marked up to this many."""

MANY_EVENTS: Final = 40
"""More transits than this are drawn faintly, and the outliers among them may lie outside."""

MOST_LABELS: Final = 30
"""Names of sectors or quarters over the light curve, at most."""


# Light curves


def draw_light_curve(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The flux as it was observed, and the trend that was divided out."""
    row = evidence.row
    time, flux = np.asarray(row["time"]), np.asarray(row["flux"], np.float64)
    place = axis.place(time)
    draw_points(axes, place, flux)
    trend = np.asarray(row["trend"], np.float64)
    broken = np.diff(time, prepend=time[0]) > evidence.config.detrend.gap_days
    axes.plot(place, np.where(broken, np.nan, trend), "-", lw=0.8, color=TREND, rasterized=len(time) > 5000)
    axes.set_ylim(*light_limits(flux, 0.06))
    axes.set_title("Flux and trend")
    _shade_anomalies(axes, evidence, axis)
    axes.set_ylabel("relative flux")
    _time_axis(axes, evidence, axis)
    _name_observations(axes, evidence, axis)


def _shade_anomalies(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """Stretches that the model of anomalies finds strange, where it was asked."""
    stretches = evidence.row.get("anomalies") or ()
    for stretch in stretches:
        begin, end = axis.place(np.array([stretch["begin"], stretch["end"]]))
        axes.axvspan(begin, end, color=STRANGE, alpha=0.22, lw=0.8)
    if stretches:
        axes.set_title("Flux and trend, strange stretches shaded")


def draw_flat(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """What is left of it, with the transits marked; those of other signals faintly."""
    curve, tce, orbit = evidence.curve, evidence.tce, evidence.orbit
    flux = ppm(curve.flux)
    factor, unit = unit_of_folds(evidence, flux)
    place = axis.place(curve.time)
    draw_points(axes, place, flux / factor)
    axes.set_title("Detrended")
    low, high = light_limits(flux, 0.04)
    if tce is not None and orbit is not None:
        inside = in_transit(curve.time, orbit)
        draw_points(axes, place[inside], flux[inside] / factor, color=MODEL, size=marker_size(len(flux)) + 0.4)
        low = min(low, -1.6 * tce["depth_ppm"])
        low -= 0.12 * (high - low)
        numbers = np.unique(transit_number(curve.time[inside], orbit))
        marks = axis.place(orbit.epoch + numbers * orbit.period)
        height = np.full(len(marks), 0.045)
        axes.plot(marks, height, "^", ms=3.0, color=MODEL, mew=0, transform=axes.get_xaxis_transform())
        _mark_others(axes, evidence, axis)
        axes.set_title("Detrended, transits marked ▴")
    axes.set_ylim(low / factor, high / factor)
    axes.set_ylabel(f"flux − 1 ({unit})")
    _time_axis(axes, evidence, axis)


def _mark_others(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """Small marks over the transits of the star's other signals, where they are few enough to be told apart."""
    marked = 0
    for orbit in evidence.others:
        time = evidence.curve.time
        numbers = np.unique(transit_number(time[in_transit(time, orbit)], orbit))
        if len(numbers) <= MARKED_OTHERS:
            marks = axis.place(orbit.epoch + numbers * orbit.period)
            height = np.full(len(marks), 0.965)
            axes.plot(marks, height, "v", ms=2.6, color=OTHERS, mew=0, alpha=0.7, transform=axes.get_xaxis_transform())
            marked += 1
    if marked:
        count = f"{marked} other signal{'s' if marked > 1 else ''}"
        axes.text(0.42, 1.03, f"▾ {count}", color=OTHERS, size=6.0, transform=axes.transAxes, va="bottom")


def _time_axis(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    axes.set_xticks(*axis.ticks(11))
    for place in axis.breaks():
        axes.axvline(place, color=RULE, lw=0.7)
    axes.set_xlim(*axis.limits())
    put_note(axes, f"{words.time_system(evidence.row)} (d)")


def _name_observations(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """S14, S15 over the stretches of light, where there is room for their names."""
    row = evidence.row
    stops = np.cumsum([product["n_cadences"] for product in row["products"]])
    letter, (left, right) = words.observation(row)[0].upper(), axis.limits()
    named, last = False, left
    for product, stop in zip(row["products"], stops, strict=True):
        time = np.asarray(row["time"])[stop - product["n_cadences"] : stop]
        if product["observation"] is None or not len(time):
            continue
        first = float(axis.place(time[:1])[0])
        if first - last >= (right - left) / MOST_LABELS or not named:
            name, named, last = f"{letter}{product['observation']}", True, first
            axes.text(first, 0.985, name, size=5.5, color=FAINT, va="top", transform=axes.get_xaxis_transform())


# The spectrum, and depths in time


def draw_power(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The spectrum of the search, with the period and its aliases."""
    power = evidence.power
    axes.set_title("Search spectrum")
    if power is None:
        say_why(axes, "the light curve is too short for any period")
        return
    _log_axis(axes, float(power.period[0]), float(power.period[-1]))
    axes.fill_between(power.period, 0.0, power.power, color=POINTS, lw=0, alpha=0.55)
    axes.plot(power.period, power.power, lw=0.5, color=BINNED)
    threshold = evidence.config.search.threshold
    top = 1.3 * max(float(power.power.max()), threshold)
    axes.axhline(threshold, color=FAINT, lw=0.6, ls=(0, (4, 2)))
    for name, (period, height) in power.peaks.items():
        own = name == "P"
        colour, line = (MODEL, "-") if own else (FAINT, ":")
        axes.plot([period, period], [height, 0.86 * top], color=colour, lw=0.9 if own else 0.6, ls=line)
        axes.text(
            period, 0.87, name, size=6.0, ha="center", va="bottom", color=colour,
            weight="bold" if own else "normal", transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_ylabel("SNR")
    put_note(axes, f"period (d);  dashes: threshold {threshold:g}")


def _log_axis(axes: "Axes", low: float, high: float) -> None:
    """A logarithmic axis with round numbers: 1, 2, 5 times powers of ten where there is room, else powers alone."""
    from matplotlib.ticker import NullLocator

    steps = (1.0, 2.0, 5.0) if high / low < 3000 else (1.0,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, 1.001 * high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_depths(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The depth of every transit, and of every sector or quarter, beside that of the signal."""
    tce, events, products = evidence.tce, evidence.events, evidence.products
    axes.set_title("Depth in time")
    if tce is None or (events is None and products is None):
        say_why(axes, "no two transits to compare")
        return
    factor, unit = unit_of_folds(evidence, None)
    depth, error = tce["depth_ppm"], tce.get("depth_err_ppm") or 0.0
    axes.axhspan((depth - error) / factor, (depth + error) / factor, color=MODEL, alpha=0.25, lw=0)
    axes.axhline(depth / factor, color=MODEL, lw=0.8)
    shown = [depth]
    if events is not None:
        many = len(events.time) > MANY_EVENTS
        draw_bars(axes, Bins(axis.place(events.time), events.depth, events.error), factor, FAINT, 2.0, faint=many)
        ends = [*(events.depth - events.error), *(events.depth + events.error)]
        shown += np.percentile(ends, [4, 96]).tolist() if many else ends
    several = products is not None and len(products.time) > 1
    if products is not None and several:
        draw_bars(axes, Bins(axis.place(products.time), products.depth, products.error), factor, BINNED, 3.6)
        shown += [*(products.depth - products.error), *(products.depth + products.error)]
    low, high = _depth_limits(shown)
    axes.set_ylim(low / factor, high / factor)
    axes.set_xticks(*axis.ticks(5))
    axes.set_xlim(*axis.limits())
    for place in axis.breaks():
        axes.axvline(place, color=RULE, lw=0.7, zorder=0)
    axes.set_ylabel(f"depth ({unit})")
    put_note(axes, f"● {words.observation(evidence.row)}   · transit" if several else "of each transit")


def _depth_limits(shown: Sequence[float]) -> tuple[float, float]:
    """What is nearly constant is looked at closely, what is not against zero."""
    low, high = min(shown), max(shown)
    low, high = (low, high) if low > 0.7 * high > 0 else (min(0.0, low), max(0.0, high))
    room = 0.18 * (high - low) or 0.1 * abs(high) or 1.0
    return low - (room if low else 0.0), high + room


# Folds


def draw_wide(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The whole orbit."""
    orbit, bins, model = evidence.orbit, evidence.wide, evidence.model
    assert orbit is not None
    assert bins is not None
    assert model is not None
    factor, unit = unit_of_folds(evidence, None)
    assert evidence.alone is not None
    assert evidence.hidden is not None
    flux = ppm(evidence.alone.flux)
    size = marker_size(len(evidence.curve.time))
    for curve, colour, alpha in ((evidence.hidden, OTHERS, 0.3), (evidence.alone, POINTS, 0.7)):
        draw_points(axes, phase_of(curve.time, orbit), ppm(curve.flux) / factor, color=colour, size=size, alpha=alpha)
    axes.plot(bins.x, bins.mean / factor, "o", ms=1.9 if len(bins.x) < 300 else 1.4, color=BINNED, mew=0)
    half = orbit.duration / orbit.period
    phase = np.linspace(-half, half, 201)
    axes.plot(phase, model.at(24.0 * orbit.period * phase) / factor, lw=0.9, color=MODEL)
    axes.axhline(0, color=FAINT, lw=0.5, zorder=0)
    axes.set_xlim(FIRST_PHASE, FIRST_PHASE + 1.0)
    axes.set_ylim(*fold_limits(flux, bins, evidence, factor))
    _mark_secondary(axes, evidence)
    axes.set_title(f"Folded at {orbit.period:.6f} d")
    axes.set_ylabel(f"flux − 1 ({unit})")
    put_note(axes, "orbital phase")


def _mark_secondary(axes: "Axes", evidence: Evidence) -> None:
    if evidence.secondary is not None:
        phase = wrap_phase(evidence.secondary.phase)
        axes.plot([phase], [0.04], "^", ms=3.2, mew=0, color=ODD, clip_on=False, transform=axes.get_xaxis_transform())


def draw_close(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The transit, its bins and the trapezoid; below, what the trapezoid leaves."""
    bins, model, orbit = evidence.close, evidence.model, evidence.orbit
    assert bins is not None
    assert model is not None
    assert orbit is not None
    factor, unit = unit_of_folds(evidence, None)
    near = draw_near(axes, evidence, orbit.epoch, factor, evidence.reach)
    draw_bars(axes, bins, factor, BINNED, 2.6)
    x = np.linspace(-evidence.reach, evidence.reach, 401)
    axes.plot(x, model.at(x) / factor, lw=1.1, color=MODEL)
    axes.set_ylim(*fold_limits(near, bins, evidence, factor))
    axes.set_title("About mid-transit")
    axes.set_ylabel(f"flux − 1 ({unit})")
    below = _split(axes, 0.22)
    left = Bins(bins.x, bins.mean - model.at(bins.x), bins.error)
    draw_bars(below, left, factor, BINNED, 1.8)
    below.axhline(0, color=MODEL, lw=0.8, zorder=0)
    largest = 1.25 * max([*(np.abs(left.mean) + left.error), 1e-3 * abs(model.depth)]) / factor
    below.set_ylim(-largest, largest)
    below.set_ylabel("O − C")
    axes.set_xlim(-evidence.reach, evidence.reach)
    hours_axis(below, evidence.reach)


def _split(axes: "Axes", share: float) -> "Axes":
    """A strip of the axes' own place for a panel below, which keeps the labels of x."""
    place = axes.get_position()
    gap = 0.05 * place.height
    below: Axes = axes.figure.add_axes((place.x0, place.y0, place.width, share * place.height))
    axes.set_position((place.x0, place.y0 + share * place.height + gap, place.width, (1 - share) * place.height - gap))
    axes.tick_params(labelbottom=False)
    axes.locator_params(axis="y", prune="lower")
    below.locator_params(axis="y", nbins=3, prune="both")
    return below


def draw_odd_even(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """Every other transit against those between them."""
    assert evidence.odd is not None
    assert evidence.even is not None
    factor, unit = unit_of_folds(evidence, None)
    shift = 0.006 * evidence.reach
    for bins, colour, form, side in ((evidence.odd, ODD, "o", -shift), (evidence.even, EVEN, "s", shift)):
        draw_bars(axes, Bins(bins.x + side, bins.mean, bins.error), factor, colour, 2.4, form=form)
    axes.axhline(0, color=FAINT, lw=0.5, zorder=0)
    hours_axis(axes, evidence.reach)
    low, high = bin_limits((evidence.odd, evidence.even), evidence)
    pair = evidence.pair
    # Room below the bins for the two depths.
    axes.set_ylim((low - 0.42 * (high - low)) / factor, high / factor)
    for k, (name, colour, form) in enumerate((("odd", ODD, "●"), ("even", EVEN, "□"))):
        value = None if pair is None else ((pair.odd_ppm, pair.odd_err_ppm), (pair.even_ppm, pair.even_err_ppm))[k]
        if value is not None:
            axes.axhline(-value[0] / factor, color=colour, lw=0.7, ls="--" if k else "-", zorder=1)
        said = "" if value is None else f" {words.depth(*value)}"
        axes.text(
            0.03,
            0.13 - 0.105 * k,
            f"{form} {name}{said}",
            size=6.0,
            color=colour,
            va="bottom",
            transform=axes.transAxes,
        )
    axes.set_title("Odd and even")
    axes.set_ylabel(f"flux − 1 ({unit})")
    if pair is not None:
        put_note(axes, f"{_sigmas(pair):.1f}σ")


def _sigmas(pair: OddEven) -> float:
    """By how many standard errors two depths differ."""
    return abs(pair.odd_ppm - pair.even_ppm) / math.hypot(pair.odd_err_ppm, pair.even_err_ppm)


def draw_secondary(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The deepest dip at any other phase."""
    secondary, bins, orbit = evidence.secondary, evidence.secondary_bins, evidence.orbit
    axes.set_title("Secondary")
    if secondary is None or bins is None or orbit is None:
        say_why(axes, "not measured")
        return
    factor, unit = unit_for(max(3.0 * abs(secondary.depth_ppm), float(np.abs(bins.mean).max(initial=0.0))))
    reach = evidence.secondary_reach
    draw_near(axes, evidence, orbit.epoch + secondary.phase * orbit.period, factor, reach, faint=True)
    draw_bars(axes, bins, factor, BINNED, 2.4)
    axes.axhline(0, color=FAINT, lw=0.5, zorder=0)
    half = 12.0 * orbit.duration
    beside = np.abs(bins.x) > 1.2 * half
    floor = (float(np.median(bins.mean[beside])) if beside.any() else 0.0) - secondary.depth_ppm
    axes.plot([-half, half], np.full(2, floor / factor), color=MODEL, lw=1.1)
    hours_axis(axes, reach)
    low, high = padded([*(bins.mean - bins.error), floor], [*(bins.mean + bins.error), 0.0])
    axes.set_ylim((low - 0.3 * (high - low)) / factor, high / factor)
    said = (
        f"{words.depth(secondary.depth_ppm, secondary.depth_err_ppm)}, {words.plain_number(secondary.significance, 2)}σ"
    )
    axes.text(0.03, 0.03, said, size=6.0, color=INK, va="bottom", transform=axes.transAxes)
    axes.set_title(f"Secondary, phase {secondary.phase:.3f}")
    axes.set_ylabel(f"flux − 1 ({unit})")


def draw_background(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The background about the transits: a dip here is no planet's."""
    axes.set_title("Background")
    bins = evidence.background
    if bins is None:
        say_why(axes, "no background\nlight curve")
        return
    draw_bars(axes, bins, 1.0, FAINT, 2.2)
    axes.axhline(0, color=FAINT, lw=0.5, zorder=0)
    hours_axis(axes, evidence.reach)
    axes.set_ylim(*padded(bins.mean - bins.error, bins.mean + bins.error))
    axes.set_ylabel("electrons / s")
