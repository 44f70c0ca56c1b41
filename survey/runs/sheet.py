"""The evidence for one signal on one page: the light curve with its trend, what is left of it, and the folds.

`draw_sheet` draws a described row (`stages.examine`, series included); `write_sheet` keeps the page as PNG with a JSON
of the same name beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from survey import schema
from survey.config import Config
from survey.errors import TooShort, UsageError
from survey.runs.report import plain_row, to_json
from survey.runs.stages import Row, detrend_row, flat_curve
from survey.signals.ephemeris import Ephemeris, fold, in_transit, transit_number
from survey.signals.search import FlatCurve
from survey.stars.targets import MISSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]

Signal = Mapping[str, Any]
"""A TCE as its row holds it; what was not measured is None."""

INK: Final = "#1b1f2a"
FAINT: Final = "#8a93a3"
POINTS: Final = "#5b7ba6"
TREND: Final = "#e07b39"
MODEL: Final = "#c8324b"
BINNED: Final = "#12305c"
EVEN: Final = "#2a9d6f"
PASSED: Final = "#2a7f4f"
FAILED: Final = "#b3541e"

STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "savefig.facecolor": "white",
}

GAP_DAYS: Final = 8.0
"""A longer hole in time is cut out of the drawing of a light curve, and marked."""

LOCAL_DURATIONS: Final = 3.0
"""Half width of the local fold, in durations."""

MARKED_OTHERS: Final = 60
"""Transits of another signal are marked up to this many."""

PANELS: Final = {"nothing": (2.4, 2.4), "single": (2.2, 2.2, 2.9), "periodic": (2.2, 2.2, 2.2, 2.8)}
"""Heights of the rows of panels, inches."""

LOCAL_BINS: Final = 45
GLOBAL_BINS: Final = 200

TIME_SYSTEMS: Final = {mission.time_zero: mission.time_system for mission in MISSIONS.values()}


# What is drawn


def ephemeris_of(tce: Signal, row: Row) -> Ephemeris:
    """In days; a single transit gets a period beyond the data."""
    period = tce["period"] if tce["period"] is not None else 2.0 * max(row["baseline_d"], 1.0)
    return Ephemeris(period, tce["epoch"], tce["duration_h"] / 24.0)


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
    time = np.asarray(row["time"])
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
    values: dict[str, Any] = dict.fromkeys(field.name for field in [*schema.TCE_FIELDS, *schema.VERDICT_FIELDS])
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


def bin_means(x: Floats, y: Floats, edges: Floats) -> tuple[Floats, Floats, Floats]:
    """Centre, mean and its standard error of the bins that hold at least three points."""
    index = np.digitize(x, edges) - 1
    inside = (index >= 0) & (index < len(edges) - 1)
    index, y = index[inside], y[inside]
    count = np.bincount(index, minlength=len(edges) - 1)
    full = count >= 3
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, y, len(edges) - 1) / count
        variance = np.bincount(index, (y - mean[index]) ** 2, len(edges) - 1) / (count - 1)
        error = np.sqrt(variance / count)
    centre = 0.5 * (edges[1:] + edges[:-1])
    return centre[full], mean[full], error[full]


@dataclass(frozen=True)
class Axis:
    """Time without its long holes: `place` puts times on the drawing; breaks: where holes were cut out."""

    starts: Floats
    stops: Floats
    offsets: Floats
    pause: float

    def place(self, time: Floats) -> Floats:
        block = np.clip(np.searchsorted(self.starts, time, side="right") - 1, 0, None)
        shown: Floats = time - self.offsets[block]
        return shown

    def breaks(self) -> Floats:
        middle: Floats = (self.starts - self.offsets)[1:] - 0.5 * self.pause
        return middle

    def ticks(self) -> tuple[Floats, list[str]]:
        """Places and labels of round times inside the blocks, about eight in all."""
        lengths = self.stops - self.starts
        step = _round_step(float(lengths.sum()) / 8.0)
        times: list[float] = []
        for start, stop in zip(self.starts, self.stops, strict=True):
            inside = np.arange(np.ceil(start / step), np.floor(stop / step) + 1) * step
            times += inside.tolist() or [0.5 * (start + stop)]
        shown = self.place(np.asarray(times))
        apart = (shown[-1] - shown[0]) / 14.0 if len(shown) > 1 else 0.0
        kept: list[int] = []
        for k, place in enumerate(shown):
            if not kept or place - shown[kept[-1]] >= apart:
                kept.append(k)
        return shown[kept], [f"{times[k]:.10g}" if step < 1 else f"{times[k]:.0f}" for k in kept]


def cut_gaps(time: Floats, gap_days: float = GAP_DAYS) -> Axis:
    """The drawing's axis of sorted times: holes longer than `gap_days` shrink to 2% of what was observed."""
    edges = np.flatnonzero(np.diff(time) > gap_days)
    starts = time[np.concatenate([[0], edges + 1])]
    stops = time[np.concatenate([edges, [len(time) - 1]])]
    pause = max(0.02 * float(np.sum(stops - starts)), 1e-3)
    offsets = np.concatenate([[0.0], np.cumsum(starts[1:] - stops[:-1] - pause)])
    return Axis(starts, stops, offsets, pause)


def _round_step(step: float) -> float:
    power = 10.0 ** np.floor(np.log10(max(step, 1e-6)))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(np.log(m * power / step))))


# The page


def draw_sheet(row: Row, tce: Signal | None, config: Config) -> "Figure":
    """The page of one signal of a described row; without a signal, the light curve alone."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        heights = PANELS["nothing" if tce is None else "single" if tce["period"] is None else "periodic"]
        head, foot = 2.0 if tce else 1.5, 0.58
        tall = head + foot + sum(heights) + 0.75 * (len(heights) - 1)
        figure = Figure(figsize=(12.0, tall), dpi=110)
        grid = figure.add_gridspec(
            len(heights),
            8,
            height_ratios=heights,
            left=0.075,
            right=0.975,
            top=1.0 - head / tall,
            bottom=foot / tall,
            hspace=0.75 * len(heights) / sum(heights),
            wspace=0.45,
        )
        flat = flat_curve(row, config)
        axis = cut_gaps(np.asarray(row["time"]))
        _draw_header(figure, row, tce)
        _draw_light_curve(figure.add_subplot(grid[0, :]), row, axis)
        _draw_flat(figure.add_subplot(grid[1, :]), row, tce, flat, axis)
        if tce:
            orbit = ephemeris_of(tce, row)
            if tce["period"] is None:
                _draw_local(figure.add_subplot(grid[2, :]), tce, flat, orbit)
            else:
                _draw_global(figure.add_subplot(grid[2, :]), tce, flat, orbit)
                local = figure.add_subplot(grid[3, 0:4])
                _draw_local(local, tce, flat, orbit)
                _draw_odd_even(figure.add_subplot(grid[3, 4:6], sharey=local), tce, flat, orbit)
                _draw_opposite(figure.add_subplot(grid[3, 6:8], sharey=local), flat, orbit)
    return figure


def _draw_header(figure: "Figure", row: Row, tce: Signal | None) -> None:
    tall = figure.get_figheight()
    top = 1.0 - 0.38 / tall
    figure.text(0.03, top, str(row["target_id"]), size=20, weight="bold", va="center")
    figure.text(0.03, top - 0.36 / tall, _star_line(row), size=9.5, color=FAINT, va="center")
    if not tce:
        figure.text(0.975, top, "no signal above the threshold", size=12, color=FAINT, ha="right", va="center")
        return
    word, colour = _verdict(tce)
    figure.text(
        0.97, top, word, size=11, weight="bold", color="white", ha="right", va="center",
        bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"},
    )  # fmt: skip
    if tce["flags"]:
        flags = ", ".join(flag.replace("_", " ") for flag in tce["flags"])
        figure.text(0.975, top - 0.36 / tall, f"fails: {flags}", size=9.5, color=FAILED, ha="right", va="center")
    cells = _numbers(tce, row)
    width = 0.945 / len(cells)
    for k, (label, value, note) in enumerate(cells):
        x = 0.03 + k * width
        figure.text(x, top - 0.74 / tall, label, size=8.5, color=FAINT, va="center")
        figure.text(x, top - 0.99 / tall, value, size=13, weight="bold", va="center")
        figure.text(x, top - 1.21 / tall, note, size=8.5, color=FAINT, va="center")


def _star_line(row: Row) -> str:
    parts = []
    for name, text in (
        ("magnitude", "{:.2f} mag"),
        ("teff", "{:.0f} K"),
        ("radius", "{:.2f} R☉"),
        ("logg", "log g {:.2f}"),
    ):
        if row[name] is not None:
            parts.append(text.format(row[name]))
    seen = sorted({product["observation"] for product in row["products"]} - {None})
    if seen:
        parts.append(f"{MISSIONS[row['mission']].observation}{'s' if len(seen) > 1 else ''} {_ranges(seen)}")
    parts.append(f"{row['n_cadences']:,} cadences of {row['cadence_s']:.0f} s over {row['baseline_d']:.1f} d")
    if row["scatter_ppm"] is not None:
        parts.append(f"scatter {row['scatter_ppm']:.0f} ppm")
    return "   ·   ".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    """1-3, 7 of [1, 2, 3, 7]."""
    words: list[str] = []
    first = last = numbers[0]
    for number in [*numbers[1:], None]:
        if number is not None and number == last + 1:
            last = number
            continue
        words.append(str(first) if first == last else f"{first}-{last}" if last > first + 1 else f"{first}, {last}")
        if number is not None:
            first = last = number
    return ", ".join(words)


def _verdict(tce: Signal) -> tuple[str, str]:
    if tce["is_candidate"] is None:
        return "GIVEN EPHEMERIS", BINNED
    return ("CANDIDATE", PASSED) if tce["is_candidate"] else ("NOT A CANDIDATE", FAILED)


def _numbers(tce: Signal, row: Row) -> list[tuple[str, str, str]]:
    """(label, value, note) of the figures in the header."""

    def error(name: str, unit: str, factor: float = 1.0) -> str:
        return unit if tce.get(name) is None else f"± {factor * tce[name]:.2g} {unit}"

    def number(name: str, form: str) -> str:
        return "–" if tce.get(name) is None else format(tce[name], form)

    system = TIME_SYSTEMS.get(row["time_zero"], f"BJD − {row['time_zero']:.0f}")
    return [
        ("period", "one transit", "")
        if tce["period"] is None
        else ("period", f"{tce['period']:.6f}", _period_note(tce, error("period_err", "d"))),
        (f"epoch, {system}", number("epoch", ".4f"), error("epoch_err", "d")),
        ("duration", number("duration_h", ".2f"), "h"),
        ("depth", number("depth_ppm", ".0f"), error("depth_err_ppm", "ppm")),
        ("MES", number("mes", ".1f"), f"SNR {number('snr', '.1f')}"),
        ("transits", number("n_transits", "d"), f"SDE {number('sde', '.1f')}"),
        ("without best event", number("rest_mes", ".2f"), "of the MES"),
        ("box over sine", number("box_over_sine", ".2f"), "inverted MES " + number("inverted_mes", ".1f")),
    ]


def _period_note(tce: Signal, error: str) -> str:
    """The error, or that two transits leave more periods open."""
    left = tce.get("n_open_periods") or 1
    return error if left == 1 else f"d; {left} periods fit"


def _draw_light_curve(axes: "Axes", row: Row, axis: Axis) -> None:
    time, flux = np.asarray(row["time"]), np.asarray(row["flux"], np.float64)
    place = axis.place(time)
    axes.plot(place, flux, ".", ms=_marker(len(time)), color=POINTS, alpha=0.6, mew=0, rasterized=True)
    trend = np.asarray(row["trend"], np.float64)
    broken = np.diff(time, prepend=time[0]) > 0.5
    axes.plot(place, np.where(broken, np.nan, trend), "-", lw=1.1, color=TREND, label="trend")
    axes.set_ylim(*_limits(flux, 0.05))
    axes.set_title("Light curve and trend")
    axes.set_ylabel("relative flux")
    _time_axis(axes, row, axis)


def _draw_flat(axes: "Axes", row: Row, tce: Signal | None, flat: FlatCurve, axis: Axis) -> None:
    place = axis.place(flat.time)
    ppm = 1e6 * (flat.flux - 1.0)
    axes.plot(place, ppm, ".", ms=_marker(len(ppm)), color=POINTS, alpha=0.6, mew=0, rasterized=True)
    axes.set_title("Detrended")
    low, high = _limits(ppm, 0.03)
    if tce:
        orbit = ephemeris_of(tce, row)
        inside = in_transit(flat.time, orbit)
        axes.plot(place[inside], ppm[inside], ".", ms=_marker(len(ppm)) + 0.8, color=MODEL, alpha=0.8, mew=0)
        low = min(low, -1.6 * tce["depth_ppm"])
        numbers = np.unique(transit_number(flat.time[inside], orbit))
        marks = axis.place(orbit.epoch + numbers * orbit.period)
        low -= 0.09 * (high - low)
        axes.plot(marks, np.full(len(marks), low + 0.04 * (high - low)), "^", ms=5, color=MODEL, mew=0)
        _mark_others(axes, row, tce, flat, axis)
        axes.set_title(f"Detrended, {len(numbers)} transit{'s' if len(numbers) != 1 else ''} marked")
    axes.set_ylim(low, high)
    axes.set_ylabel("flux − 1 (ppm)")
    _time_axis(axes, row, axis)


def _mark_others(axes: "Axes", row: Row, tce: Signal, flat: FlatCurve, axis: Axis) -> None:
    """Small marks over the transits of the star's other signals, where they are few enough to be told apart."""
    for other in row.get("tces") or ():
        if other["number"] == tce["number"]:
            continue
        orbit = ephemeris_of(other, row)
        numbers = np.unique(transit_number(flat.time[in_transit(flat.time, orbit)], orbit))
        if len(numbers) <= MARKED_OTHERS:
            marks = axis.place(orbit.epoch + numbers * orbit.period)
            axes.plot(
                marks, np.full(len(marks), 0.97), "v", ms=3.5, color=FAINT, mew=0, transform=axes.get_xaxis_transform()
            )


def _time_axis(axes: "Axes", row: Row, axis: Axis) -> None:
    axes.set_xticks(*axis.ticks())
    for place in axis.breaks():
        axes.axvline(place, color=FAINT, lw=0.7, ls=(0, (2, 3)))
    first, last = axis.place(np.array([axis.starts[0], axis.stops[-1]]))
    margin = 0.006 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    system = TIME_SYSTEMS.get(row["time_zero"], "time")
    axes.set_xlabel(f"{system} = BJD − {row['time_zero']:.0f} (d)", loc="right", labelpad=1)


def _draw_global(axes: "Axes", tce: Signal, flat: FlatCurve, orbit: Ephemeris) -> None:
    phase = fold(flat.time, orbit.period, orbit.epoch) / orbit.period
    phase = np.where(phase < -0.25, phase + 1.0, phase)
    ppm = 1e6 * (flat.flux - 1.0)
    axes.plot(phase, ppm, ".", ms=_marker(len(ppm)), color=POINTS, alpha=0.35, mew=0, rasterized=True)
    inside = np.abs(phase) <= 0.5 * orbit.duration / orbit.period
    axes.plot(phase[inside], ppm[inside], ".", ms=_marker(len(ppm)), color=MODEL, alpha=0.5, mew=0, rasterized=True)
    axes.plot(*bin_means(phase, ppm, np.linspace(-0.25, 0.75, GLOBAL_BINS + 1))[:2], "o", ms=3.0, color=BINNED, mew=0)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    axes.axvspan(
        -0.5 * orbit.duration / orbit.period, 0.5 * orbit.duration / orbit.period, color=MODEL, alpha=0.10, lw=0
    )
    axes.set_xlim(-0.25, 0.75)
    axes.set_ylim(*_fold_limits(ppm, tce))
    axes.set_title(f"Folded at {orbit.period:.6f} d")
    axes.set_xlabel("orbital phase", loc="right", labelpad=1)
    axes.set_ylabel("flux − 1 (ppm)")


def _draw_local(axes: "Axes", tce: Signal, flat: FlatCurve, orbit: Ephemeris) -> None:
    hours, ppm = _near(flat, orbit, orbit.epoch)
    axes.plot(hours, ppm, ".", ms=_marker(len(ppm)), color=POINTS, alpha=0.45, mew=0, rasterized=True)
    half = 12.0 * orbit.duration
    span = _span(orbit)
    edges = np.linspace(-span, span, min(LOCAL_BINS, max(12, len(ppm) // 6)) + 1)
    centre, mean, error = bin_means(hours, ppm, edges)
    axes.errorbar(centre, mean, error, fmt="o", ms=4.5, lw=1.1, color=BINNED, mew=0, label="bins")
    depth = -tce["depth_ppm"]
    axes.plot([-span, -half, -half, half, half, span], [0, 0, depth, depth, 0, 0], lw=1.6, color=MODEL, label="box")
    axes.set_xlim(-span, span)
    axes.set_ylim(*_fold_limits(ppm, tce))
    axes.set_title("About mid-transit")
    axes.set_xlabel("hours from mid-transit", loc="right", labelpad=1)
    axes.set_ylabel("flux − 1 (ppm)")
    axes.legend(loc="lower right", frameon=False, fontsize=8.5)


def _draw_odd_even(axes: "Axes", tce: Signal, flat: FlatCurve, orbit: Ephemeris) -> None:
    hours, ppm = _near(flat, orbit, orbit.epoch)
    numbers = transit_number(flat.time, orbit)[np.abs(_hours(flat, orbit, orbit.epoch)) <= _span(orbit)]
    edges = np.linspace(-_span(orbit), _span(orbit), 2 * LOCAL_BINS // 3 + 1)
    for word, chosen, colour, shift in (
        ("odd", numbers % 2 == 1, MODEL, -0.5),
        ("even", numbers % 2 == 0, EVEN, 0.5),
    ):
        centre, mean, error = bin_means(hours[chosen], ppm[chosen], edges)
        nudge = 0.15 * shift * (edges[1] - edges[0])
        axes.errorbar(centre + nudge, mean, error, fmt="o", ms=3.8, lw=1.0, color=colour, mew=0, label=word)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    axes.axhline(-tce["depth_ppm"], color=FAINT, lw=0.8, ls="--", zorder=0)
    axes.set_xlim(-_span(orbit), _span(orbit))
    axes.tick_params(labelleft=False)
    axes.set_title("Odd and even transits")
    axes.set_xlabel("hours", loc="right", labelpad=1)
    axes.legend(loc="lower right", frameon=False, fontsize=8.5)


def _draw_opposite(axes: "Axes", flat: FlatCurve, orbit: Ephemeris) -> None:
    hours, ppm = _near(flat, orbit, orbit.epoch + 0.5 * orbit.period)
    edges = np.linspace(-_span(orbit), _span(orbit), 2 * LOCAL_BINS // 3 + 1)
    centre, mean, error = bin_means(hours, ppm, edges)
    axes.errorbar(centre, mean, error, fmt="o", ms=3.8, lw=1.0, color=BINNED, mew=0)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    axes.set_xlim(-_span(orbit), _span(orbit))
    axes.tick_params(labelleft=False)
    axes.set_title("Half a period later")
    axes.set_xlabel("hours", loc="right", labelpad=1)


def _span(orbit: Ephemeris) -> float:
    """Half width of the local folds, hours."""
    return 24.0 * min(LOCAL_DURATIONS * orbit.duration, 0.5 * orbit.period)


def _hours(flat: FlatCurve, orbit: Ephemeris, middle: float) -> Floats:
    hours: Floats = 24.0 * fold(flat.time, orbit.period, middle)
    return hours


def _near(flat: FlatCurve, orbit: Ephemeris, middle: float) -> tuple[Floats, Floats]:
    """Hours from the nearest `middle`, and flux in ppm, of the cadences inside the local fold."""
    hours = _hours(flat, orbit, middle)
    near = np.abs(hours) <= _span(orbit)
    return hours[near], 1e6 * (flat.flux[near] - 1.0)


def _fold_limits(ppm: Floats, tce: Signal) -> tuple[float, float]:
    """Room for the depth and for the scatter, not for single outliers."""
    low, high = np.percentile(ppm, [1.0, 99.0]) if len(ppm) else (-1.0, 1.0)
    depth = abs(tce["depth_ppm"])
    return min(1.25 * low, -1.45 * depth), max(1.25 * high, 0.45 * depth)


def _limits(values: Floats, margin: float) -> tuple[float, float]:
    """All but the highest outliers, with a margin; dips are never cut off."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(np.percentile(finite, 99.9))
    room = margin * (high - low) or 1e-6
    return low - room, high + 3.0 * room


def _marker(count: int) -> float:
    return float(np.clip(170.0 / np.sqrt(max(count, 1)), 1.5, 4.0))


# Files


def sheet_name(row: Row, tce: Signal | None) -> str:
    """TIC_441462736_p3.456789: star and period; `single` for one transit; the star alone where there is no signal."""
    star = str(row["target_id"]).replace(" ", "_").replace("/", "_")
    if not tce:
        return star
    return f"{star}_single" if tce["period"] is None else f"{star}_p{tce['period']:.6f}"


def write_sheet(row: Row, tce: Signal | None, config: Config, path: Path) -> tuple[Path, Path]:
    """Writes the page as PNG and its figures as JSON beside it. Raises UsageError where that is not possible."""
    png = path if path.suffix.lower() == ".png" else path.with_name(f"{path.name}.png")
    sidecar = png.with_suffix(".json")
    star = {name: value for name, value in plain_row(row).items() if name != "tces"}
    try:
        png.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(row, tce, config).savefig(png, metadata={"Software": "transit-survey"})
        sidecar.write_text(to_json({"signal": tce, "star": star, "sheet": png.name}) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {png}: {error.strerror}") from None
    return png, sidecar
