"""The evidence sheet: what is folded, binned and cut, and that a page can be drawn of every kind of row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.config import Config
from survey.errors import TooShort, UsageError
from survey.runs import sheet
from survey.runs.stages import Row
from survey.signals.ephemeris import Ephemeris, in_transit

PERIOD, EPOCH, DURATION = 2.5, 1001.2, 0.12
DEPTH = 3e-3


def make_row(*starts: float, **changes: Any) -> Row:
    """Stretches of ten days at 10 min with transits of 3,000 ppm and a slow trend."""
    times = np.concatenate([start + np.arange(0, 10, 10 / 1440) for start in starts])
    rng = np.random.default_rng(1)
    trend = 1 + 0.002 * np.sin(2 * np.pi * times / 7.0)
    dips = DEPTH * in_transit(times, Ephemeris(PERIOD, EPOCH, DURATION))
    flux = (trend * (1 - dips) + 2e-4 * rng.standard_normal(len(times))).astype(np.float32)
    products = [{"observation": k + 1, "n_cadences": len(times) // len(starts)} for k in range(len(starts))]
    row: Row = {
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
        "window_d": 1.0,
        "scatter_ppm": 200.0,
        "magnitude": 10.0,
        "teff": None,
        "radius": 1.0,
        "logg": 4.4,
        "products": products,
        "tces": [],
    }
    return row | changes


def make_tce(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(
        ("period_err", "epoch_err", "depth_err_ppm", "snr", "mes", "sde", "rest_mes", "box_over_sine", "inverted_mes")
    )
    values |= {"number": 1, "period": PERIOD, "epoch": EPOCH, "duration_h": 24 * DURATION, "depth_ppm": 1e6 * DEPTH}
    return values | {"n_transits": 4, "is_candidate": True, "flags": []} | changes


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
    axis = sheet.cut_gaps(times, gap)
    shown = axis.place(times)
    steps, before = np.diff(shown), np.diff(times)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[before <= gap], before[before <= gap], atol=1e-9)
    np.testing.assert_allclose(steps[before > gap], axis.pause, atol=1e-9)
    assert len(axis.breaks()) == int((before > gap).sum())
    places, labels = axis.ticks()
    assert 1 <= len(places) == len(labels) <= 16
    assert (places >= shown[0] - 1e-9).all()
    assert (places <= shown[-1] + 1e-9).all()


def test_bins_are_means_with_their_errors() -> None:
    x = np.array([0.1, 0.2, 0.3, 1.1, 1.2, 5.0, 2.5, 2.6, 2.7, 2.8])
    y = np.array([1.0, 2.0, 3.0, 7.0, 7.0, 9.0, 4.0, 4.0, 6.0, 6.0])
    centre, mean, error = sheet.bin_means(x, y, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(centre, [0.5, 2.5])
    np.testing.assert_allclose(mean, [2.0, 5.0])
    np.testing.assert_allclose(error, [1 / np.sqrt(3), np.sqrt(4 / 3) / 2])


@pytest.mark.parametrize(
    ("row", "tce", "name"),
    [
        (make_row(1000.0), make_tce(), "TIC_1_p2.500000"),
        (make_row(1000.0, 2100.0), make_tce(is_candidate=False, flags=["sine_like"]), "TIC_1_p2.500000"),
        (make_row(1000.0), make_tce(period=None, n_transits=1), "TIC_1_single"),
        (make_row(1000.0), None, "TIC_1"),
        (
            make_row(1000.0, time_zero=2454833.0, mission="kepler", logg=None, radius=None),
            make_tce(),
            "TIC_1_p2.500000",
        ),
    ],
    ids=["candidate", "years apart", "single", "nothing", "kepler"],
)
def test_a_page_of_every_kind(row: Row, tce: dict[str, Any] | None, name: str, tmp_path: Path) -> None:
    assert sheet.sheet_name(row, tce) == name
    png, sidecar = sheet.write_sheet(row, tce, Config(), tmp_path / "sheets" / name)
    assert png.name == f"{name}.png"
    assert png.read_bytes().startswith(b"\x89PNG")
    figures = json.loads(sidecar.read_text())
    assert figures["sheet"] == png.name
    assert "time" not in figures["star"]
    assert (figures["signal"] is None) == (tce is None)


def test_the_same_star_gives_the_same_bytes(tmp_path: Path) -> None:
    row, tce = make_row(1000.0), make_tce()
    first, _ = sheet.write_sheet(row, tce, Config(), tmp_path / "a")
    second, _ = sheet.write_sheet(row, tce, Config(), tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        sheet.write_sheet(make_row(1000.0), None, Config(), tmp_path / "file" / "sheet.png")
