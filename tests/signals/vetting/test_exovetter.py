"""The checks beside exovetter (Burke et al., the vetters of NASA's Kepler and TESS teams) on real light curves.

Both see the same detrended light, and the same other signals left out. Where the two differ on purpose:

- exovetter's odd is this program's even (it counts from 1), and its error is the scatter of single points, whatever
  their number; here it is the error of the mean in the star's own noise. Depths and differences are compared.
- ModShift gives its significances in units of the scatter of points, unscaled by their number; they are compared after
  division by the scatter of its own convolution. What one orbit of several shows counts there and not here.
- SWEET asks whether there is a sine at the period; here a signal is a wave when the sine explains the dips as well as a
  box does: a hot Jupiter that deforms its star is flagged by SWEET and is no wave here.
- LPP needs a map that was trained on Kepler's DR25 and is fetched from the network: not compared.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.config import Config
from survey.runs.stages import flat_curve, make_fetch, targets_table, tce_of, verdict_of
from survey.signals.ephemeris import in_transit
from survey.signals.search import FlatCurve, Tce
from survey.signals.vetting import Check, Verdict, find_secondary, odd_even
from survey.stars.inject import trapezoid_transit
from survey.stars.sources import open_source
from tests.false_alarms import vet_tables

pytestmark = pytest.mark.verify

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """A signal of a real star; time and flux (about 0) without the star's other signals."""

    name: str
    tce: Tce
    others: tuple[Tce, ...]
    curve: FlatCurve
    time: Floats
    flux: Floats
    checks: dict[str, Check]
    verdict: Verdict


@pytest.fixture(scope="module")
def signals(archive: Path) -> list[Signal]:
    """Every periodic signal of TESS and Kepler stars."""
    config = Config()
    source = open_source(f"mirror:{archive}", config)
    found = []
    for target in {star.target_id: star for star in source.targets(None) if star.mission != "k2"}.values():
        (row,) = vet_tables(make_fetch(config, source)(targets_table([target])), config)
        if row["status"] != "ok":
            continue
        curve, tces = flat_curve(row, config), tuple(tce_of(values) for values in row["tces"])
        for tce, values in zip(tces, row["tces"], strict=True):
            if tce.period is None:
                continue
            keep = np.ones(len(curve.time), bool)
            for other in tces:
                if other is not tce and other.period is not None and other.duration_h / 24 < 0.25 * other.period:
                    keep &= ~in_transit(curve.time, other.ephemeris, 1.5)
            time, flux = curve.time[keep], curve.flux[keep].astype(np.float64) - 1
            checks = {check["name"]: Check(**check) for check in values["checks"]}
            name = f"{row['target_id']} {tce.number}"
            found.append(Signal(name, tce, tces, curve, time, flux, checks, verdict_of(values, config)))
    assert len(found) > 40
    return found


@pytest.fixture(autouse=True)
def exovetter_warns() -> Iterator[None]:
    """Its imports and its fits use what NumPy and SciPy call outdated, and divide by empty bins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_odd_and_even_depths_agree(signals: list[Signal]) -> None:
    """Their difference within four errors, the errors of either as large; the depths of planets within a tenth, as
    a trapezoid's floor and the median of the middle half of a transit must."""
    from exovetter.odd_even import calc_odd_even

    compared = 0
    for signal in signals:
        ours = odd_even(signal.curve, signal.tce, signal.others)
        if not signal.verdict.is_candidate or ours is None:
            continue
        _, (even, _), (odd, _) = calc_odd_even(signal.time, signal.flux, *signal.tce.ephemeris)
        error = np.hypot(ours.odd_err_ppm, ours.even_err_ppm)
        assert abs((ours.odd_ppm - ours.even_ppm) - 1e6 * (odd - even)) < 4 * np.sqrt(2) * error, signal.name
        assert 1e6 * odd == pytest.approx(ours.odd_ppm, rel=0.2, abs=4 * ours.odd_err_ppm), signal.name
        assert 1e6 * even == pytest.approx(ours.even_ppm, rel=0.2, abs=4 * ours.even_err_ppm), signal.name
        compared += 1
    assert compared >= 24


def modshift(signal: Signal) -> tuple[float, float, float]:
    """(phase of the secondary, its depth over that of the primary, its significance) after ModShift.

    The significance: over the robust scatter of the convolution outside two durations about the primary.
    """
    from exovetter.modshift.modshift import compute_modshift_metrics

    period, epoch, duration = signal.tce.ephemeris
    depth = signal.tce.depth_ppm / 1e6
    model = trapezoid_transit(signal.time, period=period, epoch=epoch, duration=duration, depth=depth) - 1
    found, convolved = compute_modshift_metrics(
        signal.time, signal.flux, model, period, epoch, 24 * duration, show_plot=False
    )
    phase = np.arange(len(convolved)) / len(convolved)
    away = np.minimum(phase, 1 - phase) > 2 * duration / period
    scatter = 1.4826 * np.median(np.abs(convolved[away] - np.median(convolved[away])))
    return (
        float(found["phase_sec"] / period),
        float(convolved[found["sec"]] / convolved[found["pri"]]),
        float((np.median(convolved[away]) - convolved[found["sec"]]) / scatter),
    )


@pytest.mark.parametrize(
    ("name", "significant"), [("TIC 425064757 1", True), ("TIC 100100827 1", True), ("KIC 10666592 1", False)]
)
def test_secondaries_agree_with_modshift(signals: list[Signal], name: str, significant: bool) -> None:
    """A binary, WASP-18 b and HAT-P-7 b: the phase within a fiftieth, the depth of a planet's within three errors.

    ModShift convolves with the primary's shape and has no light of its own on both sides: of the close binary, whose
    light is never flat, the two tell depths of 0.6 and 0.97 of the primary's.
    """
    (signal,) = [signal for signal in signals if signal.name == name]
    phase, ratio, _ = modshift(signal)
    ours = find_secondary(signal.curve, signal.tce, signal.others)
    assert ours is not None
    assert ours.phase == pytest.approx(phase, abs=0.02)
    assert (ours.significance > 5) == significant
    if name != "TIC 425064757 1":
        assert abs(ours.depth_ppm - ratio * signal.tce.depth_ppm) < 3 * ours.depth_err_ppm
    else:
        assert ratio > 0.5
        assert ours.depth_ppm / signal.tce.depth_ppm > 0.5


def test_planets_without_eclipse_have_none_in_modshift(signals: list[Signal]) -> None:
    """TESS and single quarters, where every phase is seen in many orbits: below six there, below five here."""
    quiet = [
        signal
        for signal in signals
        if signal.verdict.is_candidate
        and signal.tce.n_transits > 3
        and len(signal.curve.starts) == 1
        and signal.name not in ("TIC 100100827 1", "KIC 10666592 1")
    ]
    assert len(quiet) >= 10
    for signal in quiet:
        score = signal.checks["secondary_eclipse"].score
        assert score is not None
        print(signal.name, "ModShift", round(modshift(signal)[2], 1), "here", round(score, 1))
        assert score < 5, signal.name
        assert modshift(signal)[2] < 6, signal.name


def test_waves_are_waves_to_sweet(signals: list[Signal]) -> None:
    """Whatever is called sine-like has a sine of SWEET's threshold (3) or more at P/2, P or 2P."""
    from exovetter.sweet import sweet

    waves = [signal for signal in signals if signal.checks["sine_like"].passed is False]
    assert len(waves) >= 10
    for signal in waves:
        strengths = sweet(signal.time.copy(), signal.flux.copy(), *signal.tce.ephemeris)[:, 2]
        assert strengths.max() > 3, signal.name


def test_what_sweet_sees_and_the_gate_lets_pass_is_weaker_than_the_transits(signals: list[Signal]) -> None:
    """Candidates at whose period SWEET finds a sine: its amplitude is far below the depth."""
    from exovetter.sweet import sweet

    candidates = [signal for signal in signals if signal.verdict.is_candidate]
    for signal in candidates:
        amplitude = sweet(signal.time.copy(), signal.flux.copy(), *signal.tce.ephemeris)[:, 0].max()
        assert 1e6 * amplitude < 0.25 * signal.tce.depth_ppm, signal.name


def test_candidates_are_covered(signals: list[Signal]) -> None:
    from exovetter.transit_coverage import calc_coverage

    for signal in signals:
        if signal.verdict.is_candidate:
            period, epoch, duration = signal.tce.ephemeris
            coverage = calc_coverage(signal.time, period, epoch, 24 * duration)[0]
            assert coverage >= 0.8, signal.name
