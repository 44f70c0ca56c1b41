"""The evidence sheet: what is measured for it and stands on it, that nothing on it collides, and what is kept of it."""

import io
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.text
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from survey import schema
from survey.config import Config
from survey.errors import TooShort, UsageError
from survey.runs import sheet
from survey.runs.sheet import words
from survey.runs.sheet.folds import Bins, bin_means, fit_ingress, trapezoid
from survey.runs.sheet.images import error_ellipse
from survey.runs.sheet.timeline import cut_gaps
from survey.runs.stages import Row, examine, rows_of, tce_of
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.views import VIEW_SPECS, make_views
from survey.stars import sources
from survey.stars.pixels import LightCentre
from survey.stars.targets import parse_target

PERIOD, EPOCH, DURATION = 2.5, 1001.2, 0.12
DEPTH = 3e-3
SECONDARY = 4e-4


def make_row(*starts: float, depth: float = DEPTH, **changes: Any) -> Row:
    """Stretches of ten days at 10 min with transits, a shallow secondary at phase 0.5 and a slow trend."""
    times = np.concatenate([start + np.arange(0, 10, 10 / 1440) for start in starts])
    rng = np.random.default_rng(1)
    trend = 1 + 0.002 * np.sin(2 * np.pi * times / 7.0)
    dips = depth * in_transit(times, Ephemeris(PERIOD, EPOCH, DURATION))
    dips += SECONDARY * in_transit(times, Ephemeris(PERIOD, EPOCH + PERIOD / 2, DURATION))
    flux = (trend * (1 - dips) + 2e-4 * rng.standard_normal(len(times))).astype(np.float32)
    row: Row = dict.fromkeys([*schema.DESCRIBED.names, schema.VIEWS.name])
    row |= {
        "target_id": "TIC 1",
        "mission": "tess",
        "status": "ok",
        "time": times,
        "flux": flux,
        "flux_err": np.full(len(times), 2e-4, np.float32),
        "trend": trend.astype(np.float32),
        "time_zero": 2457000.0,
        "n_cadences": len(times),
        "cadence_s": 600.0,
        "baseline_d": float(times[-1] - times[0]),
        "detrender": "biweight",
        "window_d": 1.0,
        "scatter_ppm": 200.0,
        "magnitude": 10.0,
        "radius": 1.0,
        "logg": 4.4,
        "products": [make_product(k + 1, len(times) // len(starts)) for k in range(len(starts))],
        "notes": [],
        "star_class": "planet_candidate",
        "class_evidence": ["a signal passes every check"],
        "tces": [],
        "views": [],
    }
    return row | changes


def make_product(number: int, cadences: int) -> dict[str, Any]:
    return {
        "product": f"tess2018206045859-s{number:04d}-0000000000000001-0120-s_lc.fits",
        "sha256": f"{number:02d}" * 32,
        "observation": number,
        "author": "SPOC",
        "pipeline": f"spoc-{number}",
        "flux_column": "PDCSAP_FLUX",
        "quality_mask": 17087,
        "cadence_s": 600.0,
        "n_cadences": cadences,
        "crowding": 0.98,
        "camera": 1,
        "ccd": 2,
    }


def make_check(name: str, *, value: float = 12345.6, score: float = 1.5, limit: float = 3.0) -> dict[str, Any]:
    passed = score <= limit
    values = {"value": value, "uncertainty": 678.9, "unit": "ppm", "score": score, "threshold": limit}
    return {"name": name, **values, "passed": passed}


CHECKS = [
    *(make_check(name) for name in words.FLAWS),
    make_check("secondary_eclipse", score=17.0),
    {**make_check("secondary_eclipse", score=17.0), "passed": True},
    {**make_check("as_strong_nearby"), "value": None, "uncertainty": None, "score": None, "passed": None},
]


def make_tce(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(field.name for field in schema.DESCRIBED_TCE_FIELDS)
    values |= {
        "number": 1,
        "period": PERIOD,
        "period_err": 3.21e-4,
        "epoch": EPOCH,
        "epoch_err": 4.5e-3,
        "epoch_bjd": EPOCH + 2457000.0,
        "duration_h": 24 * DURATION,
        "depth_ppm": 1e6 * DEPTH,
        "depth_err_ppm": 21.0,
        "mes": 40.0,
        "snr": 50.0,
        "pink_snr": 38.0,
        "sde": 12.0,
        "fap": 1e-130,
        "max_ses": 20.0,
        "scatter_beta": 1.0,
        "n_transits": 4,
        "planet_radius": 5.98,
        "planet_radius_err": 0.31,
        "insolation": 812.0,
        "equilibrium_temp": 1490.0,
        "is_candidate": True,
        "flags": [],
        "not_transit_like": False,
        "significant_secondary": False,
        "checks": CHECKS,
        "centroids": [],
    }
    return values | changes


def make_centroid(method: str = "prf", **changes: Any) -> dict[str, Any]:
    names = [field.name for field in schema.CENTROID]
    values: dict[str, Any] = dict.fromkeys(names) | {"method": method, "n_products": 1}
    values |= {"offset_pixels": 0.32, "offset_pixels_err": 0.12, "offset_arcsec": 6.7, "offset_arcsec_err": 2.5}
    values |= {"column_offset": 0.3, "row_offset": -0.1, "column_var": 0.015, "row_var": 0.008, "covariance": 0.004}
    return values | {"ra_offset_arcsec": 5.0, "dec_offset_arcsec": -4.5, "significance": 2.7} | changes


def make_image(number: int = 1) -> dict[str, Any]:
    y, x = np.mgrid[0:13, 0:11]
    star = np.exp(-((x - 5.2) ** 2 + (y - 6.0) ** 2) / 2.5).astype(np.float32)
    star[0, :3] = np.nan
    return {
        "number": number,
        "spec": "views-2048-256",
        "image_rows": 13,
        "image_columns": 11,
        "image_target_row": 6.0,
        "image_target_column": 5.2,
        "direct_image": 2000 * star.ravel(),
        "difference_image": 8 * star.ravel(),
    }


def draw(row: Row, tce: dict[str, Any] | None, **more: Any) -> Figure:
    figure = sheet.draw_page(sheet.gather_evidence(row, tce, Config(), **more))
    figure.canvas.draw()
    return figure


# What is measured


def test_a_given_signal_is_measured() -> None:
    signal, row = sheet.given_signal(make_row(1000.0, 1020.0), Config(), PERIOD, EPOCH, 24 * DURATION)
    assert signal["depth_ppm"] == pytest.approx(1e6 * DEPTH, rel=0.03)
    assert signal["epoch"] == pytest.approx(EPOCH)
    assert signal["epoch_bjd"] == pytest.approx(EPOCH + 2457000.0)
    assert signal["n_transits"] == 8
    assert signal["snr"] > 50
    assert signal["is_candidate"] is None
    inside = in_transit(row["time"], Ephemeris(PERIOD, EPOCH, DURATION))
    truth = 1 + 0.002 * np.sin(2 * np.pi * row["time"] / 7.0)
    np.testing.assert_allclose(row["trend"][inside], truth[inside], atol=5e-4)


def test_an_epoch_may_be_any_transit_and_bjd() -> None:
    row = make_row(1000.0)
    for epoch in (EPOCH, EPOCH - 40 * PERIOD, EPOCH + 7 * PERIOD, EPOCH + 2457000.0):
        signal, _ = sheet.given_signal(row, Config(), PERIOD, epoch, 24 * DURATION)
        assert signal["epoch"] == pytest.approx(EPOCH, abs=1e-6)


def test_ephemerides_that_no_transit_has_are_refused() -> None:
    for period, duration_h in ((0.0, 1.0), (-3.0, 1.0), (3.0, 0.0), (3.0, 100.0)):
        with pytest.raises(UsageError):
            sheet.given_signal(make_row(1000.0), Config(), period, EPOCH, duration_h)
    with pytest.raises(TooShort):
        sheet.given_signal(make_row(1000.0), Config(), 500.0, 1200.0, 2.0)


@given(
    starts=st.lists(st.floats(0, 3000), min_size=1, max_size=5, unique=True),
    length=st.floats(0.5, 30),
    gap=st.floats(1, 20),
)
def test_cutting_gaps_keeps_order_and_distance(starts: list[float], length: float, gap: float) -> None:
    times = np.unique(np.concatenate([start + np.linspace(0, length, 40) for start in sorted(starts)]))
    axis = cut_gaps(times, gap)
    shown = axis.place(times)
    steps, before = np.diff(shown), np.diff(times)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[before <= gap], before[before <= gap], atol=1e-9)
    np.testing.assert_allclose(steps[before > gap], axis.pause, atol=1e-9)
    assert len(axis.breaks()) == int((before > gap).sum())
    places, labels = axis.ticks(8)
    assert 1 <= len(places) == len(labels) <= 16
    assert (places >= shown[0] - 1e-9).all()
    assert (places <= shown[-1] + 1e-9).all()


def test_bins_are_means_with_their_errors() -> None:
    x = np.array([0.1, 0.2, 0.3, 1.1, 1.2, 5.0, 2.5, 2.6, 2.7, 2.8])
    y = np.array([1.0, 2.0, 3.0, 7.0, 7.0, 9.0, 4.0, 4.0, 6.0, 6.0])
    bins = bin_means(x, y, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(bins.x, [0.5, 2.5])
    np.testing.assert_allclose(bins.mean, [2.0, 5.0])
    np.testing.assert_allclose(bins.error, [1 / np.sqrt(3), np.sqrt(4 / 3) / 2])


@pytest.mark.parametrize("ingress", [0.12, 0.6, 1.5])
def test_the_ingress_of_a_trapezoid_is_found_again(ingress: float) -> None:
    x = np.linspace(-6, 6, 49)
    bins = Bins(x, trapezoid(x, 1000.0, 3.0, ingress, 0.2), np.full(49, 10.0))
    assert fit_ingress(bins, 1000.0, 3.0, 0.2) == pytest.approx(ingress, abs=0.1)


def test_the_folds_show_what_is_in_the_light_curve() -> None:
    evidence = sheet.gather_evidence(make_row(1000.0, 1020.0, 1040.0), make_tce(), Config())
    close, model = evidence.close, evidence.model
    assert close is not None
    assert model is not None
    floor = close.mean[np.abs(close.x) < 0.8]
    assert floor.mean() == pytest.approx(-1e6 * DEPTH, rel=0.05)
    inner = np.abs(np.abs(close.x) - 12 * DURATION) > 0.5
    np.testing.assert_allclose(model.at(close.x)[inner], close.mean[inner], atol=150)
    assert evidence.secondary is not None
    assert evidence.secondary.phase == pytest.approx(0.5, abs=0.02)
    assert evidence.secondary.depth_ppm == pytest.approx(1e6 * SECONDARY, rel=0.3)
    assert evidence.pair is not None
    assert evidence.pair.odd_ppm == pytest.approx(1e6 * DEPTH, rel=0.1)
    assert evidence.products is not None
    np.testing.assert_allclose(evidence.products.depth, 1e6 * DEPTH, rtol=0.1)
    assert evidence.power is not None
    peaks = evidence.power.peaks
    assert max(peaks, key=lambda name: peaks[name][1]) == "P"
    assert peaks["2P"][0] == 2 * PERIOD


def test_other_signals_are_left_out_of_the_folds_unless_they_share_the_orbit() -> None:
    other = make_tce(number=2, period=3.3, epoch=1000.4)
    row = make_row(1000.0, tces=[make_tce(), other])
    evidence = sheet.gather_evidence(row, make_tce(), Config())
    assert evidence.alone is not None
    assert evidence.hidden is not None
    assert not in_transit(evidence.alone.time, Ephemeris(3.3, 1000.4, DURATION)).any()
    assert len(evidence.alone.time) + len(evidence.hidden.time) == len(evidence.curve.time)
    eclipse = make_tce(number=2, epoch=EPOCH + PERIOD / 2)
    binary = sheet.gather_evidence(make_row(1000.0, tces=[make_tce(), eclipse]), make_tce(), Config())
    assert binary.alone is not None
    assert len(binary.alone.time) == len(binary.curve.time)


def test_the_background_is_folded_over_its_own_curve() -> None:
    row = make_row(1000.0, 1020.0)
    time = row["time"]
    dip = 5.0 * in_transit(time, Ephemeris(PERIOD, EPOCH, DURATION))
    light = (100.0 + 3.0 * (time - 1000.0) + 0.2 * (time - 1005.0) ** 2 - dip).astype(np.float32)
    centre = LightCentre("a_lc.fits", "0" * 64, 1, time, np.zeros((len(time), 2)), None, light, 0.9, 21.0)
    bins = sheet.gather_evidence(row, make_tce(), Config(), [centre]).background
    assert bins is not None
    np.testing.assert_allclose(bins.mean[np.abs(bins.x) < 1.0], -5.0, atol=0.05)
    np.testing.assert_allclose(bins.mean[np.abs(bins.x) > 2.0], 0.0, atol=0.05)


def test_an_error_ellipse_lies_along_its_covariance() -> None:
    width, height, angle = error_ellipse({"column_var": 4.0, "row_var": 1.0, "covariance": 0.0}, 1.0)
    assert (width, height, angle % 180) == pytest.approx((4.0, 2.0, 0.0))
    width, height, angle = error_ellipse({"column_var": 1.0, "row_var": 1.0, "covariance": 0.5}, 2.0)
    assert (width, height, angle % 180) == pytest.approx((4 * 1.5**0.5, 4 * 0.5**0.5, 45.0))


# Words


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (3.4567891234, 1.23e-5, "3.456789 ± 0.000012 d"),
        (1234.5, 67.8, "1234 ± 68 d"),
        (401234.4, 281.0, "401,234 ± 281 d"),
        (-1.6651, 20.5, "−2 ± 20 d"),
        (2.5, None, "2.500 d"),
        (1.234e-7, None, "1.2×10⁻⁷ d"),
        (None, 1.0, "–"),
        (float("nan"), None, "–"),
    ],
)
def test_values_have_the_digits_that_their_errors_leave(value: float | None, error: float | None, said: str) -> None:
    assert words.with_error(value, error, "d") == said


def test_a_check_says_on_which_side_of_its_limit_it_lies() -> None:
    at_most = make_check("odd_even_differ", value=120.0, score=1.5, limit=4.0)
    assert words.check_cells(at_most) == ("odd and even differ", "120 ± 679 ppm", "1.5", "≤ 4")
    at_least = {**at_most, "name": "low_mes", "value": 5.0, "uncertainty": None, "unit": "", "score": 5.0}
    assert words.check_cells({**at_least, "threshold": 7.1, "passed": False})[1:] == ("", "5", "≥ 7.1")
    unknown = {**at_least, "value": None, "score": None, "passed": None}
    assert words.check_cells(unknown)[1:] == ("", "–", "≥ 4")
    planet = {**make_check("secondary_eclipse", score=9.0), "passed": True}
    assert words.check_cells(planet)[0] == "a planet's secondary"
    assert words.check_cells(make_check("quite_new"))[0::3] == ("quite new", "3")


def test_every_check_has_words_and_a_side() -> None:
    """Of a signal of the present checks: a name that is not in the table is said as it is called, without a side."""
    from survey.config import GateConfig
    from survey.signals.search import FlatCurve
    from survey.signals.variability import Variability
    from survey.signals.vetting import vet
    from survey.stars.lightcurve import Star

    row = make_row(1000.0)
    curve = FlatCurve(row["time"], row["flux"], row["flux_err"], 600 / 86_400)
    [report] = vet(curve, [tce_of(make_tce())], Star(), Variability(), GateConfig())
    assert {check.name for check in report.checks} <= set(words.FLAWS)


def test_times_are_told_as_days() -> None:
    assert words.dates(make_row(1325.3)) == "2018-07-25 to 2018-08-04"


# The page


LONG_NAME = "FILE " + "a_light_curve_that_somebody_called_at_great_length_" * 4
MOTION = make_centroid("motion")
FAILING = {"is_candidate": False, "flags": list(words.FLAWS)}

PAGES: dict[str, tuple[Row, dict[str, Any] | None]] = {
    "candidate": (make_row(1000.0), make_tce()),
    "years apart": (make_row(1000.0, 2100.0), make_tce(is_candidate=False, flags=["sine_like"])),
    "many sectors": (make_row(*(1000.0 + 13 * k for k in range(40))), make_tce(n_transits=160)),
    "every flaw": (
        make_row(1000.0),
        make_tce(**FAILING, known_name="TOI-1.01", known_disposition="FP", novelty="rediscovered"),
    ),
    "binary": (make_row(1000.0, depth=0.4), make_tce(depth_ppm=4e5, depth_err_ppm=300.0)),
    "shallow": (make_row(1000.0, depth=3e-5), make_tce(depth_ppm=30.0, depth_err_ppm=11.0)),
    "single": (make_row(1000.0), make_tce(period=None, period_err=None, n_transits=1, is_candidate=False)),
    "two transits": (make_row(1000.0), make_tce(period=5.0, n_transits=2, n_open_periods=3)),
    "nothing": (make_row(1000.0, star_class=None), None),
    "upload": (
        make_row(
            1000.0, target_id=LONG_NAME, magnitude=None, radius=None, logg=None, notes=["x.csv: time guessed"] * 9
        ),
        make_tce(planet_radius=None, planet_radius_err=None),
    ),
    "kepler": (
        make_row(120.0, 500.0, 510.0, time_zero=2454833.0, mission="kepler", products=[make_product(1, 4320)]),
        make_tce(epoch=EPOCH - 400 * PERIOD),
    ),
    "pixels": (
        make_row(1000.0, views=[make_image()]),
        make_tce(centroids=[make_centroid(), make_centroid("flux_weighted", problem="crowded"), MOTION]),
    ),
    "motion": (make_row(1000.0), make_tce(centroids=[MOTION])),
    "evidence": (
        make_row(1000.0, class_evidence=["a long reason for the class of this star, in many words"] * 7),
        None,
    ),
}


def drawn_texts(figure: Figure) -> Iterator[tuple[matplotlib.text.Text, Bbox]]:
    """What is written on a page, and where; labels of ticks outside their axes are not drawn."""
    unseen = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted((low, high))
            room = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - room <= tick.get_loc() <= high + room:
                    unseen |= {tick.label1, tick.label2}
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            yield text, text.get_window_extent()


def overlap(one: Bbox, other: Bbox) -> float:
    """Pixels by which two boxes lie over each other, in the direction in which that is less."""
    return min(min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))


@pytest.mark.parametrize("name", PAGES)
def test_nothing_on_a_page_collides_or_leaves_it(name: str) -> None:
    figure = draw(*PAGES[name])
    texts = list(drawn_texts(figure))
    page = figure.bbox
    assert len(texts) > 25
    for text, box in texts:
        assert page.x0 < box.x0, text
        assert box.x1 < page.x1, text
        assert page.y0 < box.y0, text
        assert box.y1 < page.y1, text
    for (one, box), (other, second) in combinations(texts, 2):
        # Lines of a table stand close: what the font leaves free above and below may overlap by a pixel or two.
        assert overlap(box, second) < 2.5, (one.get_text(), other.get_text())
    for text, box in texts:
        for axes in figure.axes:
            if axes is not text.axes:
                assert overlap(box, axes.get_window_extent()) < 2.5, (text.get_text(), axes.get_title(loc="left"))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def test_a_page_holds_every_panel() -> None:
    figure = draw(*PAGES["candidate"])
    *_, secondary = (title for title in titles(figure) if title.startswith("Secondary"))
    assert float(secondary.removeprefix("Secondary, phase ")) == pytest.approx(0.5, abs=0.02)
    assert titles(figure) == [
        "Flux and trend",
        "Detrended, transits marked ▴",
        "Search spectrum",
        "Depth in time",
        "Folded at 2.500000 d",
        "About mid-transit",
        "Odd and even",
        secondary,
        "Background",
        "Direct image",
        "Difference",
    ]
    assert "About mid-transit" in titles(draw(*PAGES["single"]))
    assert "Odd and even" not in titles(draw(*PAGES["single"]))
    assert titles(draw(*PAGES["nothing"])) == ["Flux and trend", "Detrended", "Search spectrum"]


def test_a_page_says_what_its_row_says() -> None:
    row, tce = PAGES["every flaw"]
    said = [text.get_text() for text, _ in drawn_texts(draw(row, tce))]
    for expected in (
        "TIC 1",
        "NOT A CANDIDATE",
        "2.50000 ± 0.00032 d",
        "3000 ± 21 ppm",
        "5.98 ± 0.31 R⊕",
        "812 S⊕",
        "1490 K",
        "Class: planet candidate",
        "secondary eclipse",
        "V-shaped",
        "✗",
        "✓",
    ):
        assert expected in said, expected
    assert any("rediscovered: TOI-1.01 (FP)" in text for text in said)
    assert any(text.startswith("fails: ") for text in said)
    assert any("quality mask 17087" in text and "biweight" in text for text in said)
    assert any("s_lc.fits\u00a00101010101" in text for text in said)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "no pixel file"),
        ({"is_candidate": None}, "not looked at"),
        ({"is_candidate": False, "flags": ["sine_like"]}, "not looked at:\nfails other checks"),
    ],
)
def test_an_empty_panel_says_why(changes: dict[str, Any], reason: str) -> None:
    said = [text.get_text() for text, _ in drawn_texts(draw(make_row(1000.0), make_tce(**changes)))]
    assert said.count(reason) == 2


def find_panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title)


def test_images_show_target_and_source() -> None:
    figure = draw(*PAGES["pixels"])
    for title in ("Direct image", "Difference"):
        panel = find_panel(figure, title)
        assert panel.images[0].get_array().shape == (13, 11)
        marks = {tuple(np.ravel(line.get_xydata()).round(6)) for line in panel.lines}
        assert marks == {(5.2, 6.0), (5.5, 5.9)}
        assert len(panel.patches) == 2
    assert find_panel(figure, "Difference").get_xlabel() == "6.7 ± 2.5″, 2.7σ"
    moved = find_panel(draw(*PAGES["motion"]), "By motion")
    left, right = moved.get_xlim()
    assert left > right, "east is to the left"


def test_transits_are_never_thinned_out() -> None:
    row, tce = PAGES["candidate"]
    panel = find_panel(draw(row, tce), "Detrended, transits marked ▴")
    drawn = max(len(line.get_xdata()) for line in panel.lines)
    assert drawn == len(sheet.gather_evidence(row, tce, Config()).curve.time)
    assert panel.get_ylim()[0] < -1e6 * DEPTH


# Files


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("candidate", "TIC_1_p2.500000"),
        ("single", "TIC_1_single_1"),
        ("nothing", "TIC_1"),
        ("upload", LONG_NAME.replace(" ", "_")[:120] + "_p2.500000"),
    ],
)
def test_a_sheet_is_called_by_star_and_period(name: str, called: str) -> None:
    assert sheet.sheet_name(*PAGES[name]) == called
    assert sheet.sheet_name(make_row(1.0, target_id="FILE ../../etc/x y"), None) == "FILE_.._.._etc_x_y"


def test_a_sheet_is_png_pdf_and_json(tmp_path: Path) -> None:
    row, tce = PAGES["candidate"]
    png, pdf, sidecar = sheet.write_sheet(
        sheet.gather_evidence(row, tce, Config()), tmp_path / "sheets" / "a_p2.500000"
    )
    assert [file.name for file in (png, pdf, sidecar)] == ["a_p2.500000.png", "a_p2.500000.pdf", "a_p2.500000.json"]
    with Image.open(png) as picture:
        assert picture.size == (2104, 1488)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.read_bytes().count(b"/Count 1 ") == 1
    values = json.loads(sidecar.read_text())
    assert values["sheet"] == png.name
    for field in schema.DESCRIBED_TCE_FIELDS:
        assert values["signal"][field.name] == tce[field.name], field.name  # type: ignore[index]
    for name in ("target_id", "radius", "star_class", "products", "notes", "scatter_ppm"):
        assert values["star"][name] == row[name]
    assert not {"time", "flux", "tces", "views"} & set(values["star"])
    assert values["provenance"]["science_hash"] == Config().science_hash()
    assert set(values["drawn"]) == {
        *("close", "wide", "odd", "even", "secondary", "secondary_depth", "odd_even_depths"),
        *("events", "products", "model", "power"),
    }
    assert len(values["drawn"]["close"]["hours"]) == len(values["drawn"]["close"]["flux_ppm"]) > 20


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_one_kind_of_page_may_be_asked_for(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"page.{ending}"
    assert sheet.page_kind(out) == ending
    assert sheet.page_kind(tmp_path) is None
    sheet.write_sheet(sheet.gather_evidence(*PAGES["nothing"], Config()), out, [ending])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["page.json", f"page.{ending}"]
    assert json.loads((tmp_path / "page.json").read_text())["sheet"] == out.name


def test_the_same_star_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        sheet.write_sheet(sheet.gather_evidence(*PAGES["pixels"], Config()), tmp_path / folder / "page")
        for folder in ("a", "b")
    )
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        sheet.write_sheet(sheet.gather_evidence(*PAGES["nothing"], Config()), tmp_path / "file" / "sheet.png")


# Stamps


def make_view(row: Row, tce: dict[str, Any], spec: str) -> dict[str, Any]:
    flat = (row["flux"] / row["trend"]).astype(np.float32)
    orbit = Ephemeris(tce["period"], tce["epoch"], tce["duration_h"] / 24)
    views = make_views(row["time"], flat, orbit, VIEW_SPECS[spec])
    return {"number": tce["number"], "spec": spec, **vars(views)}


def dark_rows(png: bytes) -> tuple[float, float]:
    """Mean height of the bins in the middle and at the sides of a stamp, from the top, as shares of it."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float), -1, 0)
    rows, columns = np.nonzero((red < 60) & (green < 90) & (blue > red))
    place = columns / red.shape[1]
    middle = np.abs(place - 0.5) < 0.05
    beside = np.abs(place - 0.5) > 0.3
    return float(rows[middle].mean()) / red.shape[0], float(rows[beside].mean()) / red.shape[0]


@pytest.mark.parametrize("spec", [None, *VIEW_SPECS])
def test_a_stamp_is_small_and_shows_the_dip(spec: str | None) -> None:
    row, tce = PAGES["candidate"]
    if spec is not None:
        row = {"views": [make_view(row, tce, spec)]}  # type: ignore[arg-type]
    png = sheet.draw_thumbnail(row, tce)  # type: ignore[arg-type]
    assert png is not None
    assert len(png) < 6000
    assert Image.open(io.BytesIO(png)).size == (440, 160)
    middle, beside = dark_rows(png)
    assert middle > 0.75
    assert beside < 0.3
    assert png == sheet.draw_thumbnail(row, tce)  # type: ignore[arg-type]


def test_there_is_no_stamp_without_light_or_view() -> None:
    assert sheet.draw_thumbnail({"views": None}, make_tce()) is None
    assert sheet.draw_thumbnail({"views": [make_image(2)]}, make_tce()) is None


# Real stars


@pytest.mark.verify
@pytest.mark.parametrize(
    "star", ["TIC 100100827", "TIC 117544915", "TIC 425064757", "KIC 11442793", "EPIC 246389858", "KIC 6922244"]
)
def test_real_stars_give_pages_without_collisions(star: str, archive: Path) -> None:
    config = Config()
    source = sources.open_source(f"mirror:{archive}", config)
    target = parse_target(star)
    row = rows_of(examine(target, config, source))[0]
    centres = sources.fetch_light_centres(target, source, config)
    for tce in row["tces"][:3]:
        figure = draw(row, tce, centres=centres)
        texts = list(drawn_texts(figure))
        for (one, box), (other, second) in combinations(texts, 2):
            assert overlap(box, second) < 2.5, (star, tce["number"], one.get_text(), other.get_text())
