"""What the whole sweep shows of its signals: contamination, systematics, and what the catalogues know."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from survey import schema
from survey.config import Config, load
from survey.runs import store
from survey.runs.crossmatch import FLAG_OF_KIND, FOUND, MATCHED, crossmatch
from survey.runs.crossmatch.sky import find_near, reach_of, separation
from survey.runs.stages import STAGES
from survey.stars import catalogs
from survey.stars.catalogs import KnownSignal
from survey.stars.sources import open_source
from survey.stars.targets import parse_target

Row = dict[str, Any]
SECTOR_BEGIN, SECTOR_DAYS = 2458354.0, 27.0
FIELD = {"ra": 60.0, "dec": -30.0, "magnitude": 11.0}


def tce(target_id: str, period: float | None, epoch: float, **values: Any) -> Row:
    """A row of FOUND: a signal in one sector, at BTJD `epoch`, unless told otherwise."""
    mission = {"TIC": "tess", "KIC": "kepler", "EPIC": "k2"}[target_id.split()[0]]
    baseline = values.get("baseline_d", SECTOR_DAYS)
    n_transits = 1 if period is None else math.floor(baseline / period)
    return {
        "target_id": target_id,
        "mission": mission,
        "number": 1,
        "period": period,
        "period_err": None if period is None else 1e-4 * period,
        "epoch": epoch,
        "epoch_bjd": epoch + (2457000.0 if mission == "tess" else 2454833.0),
        "epoch_err": 1e-3,
        "duration_h": 3.0,
        "depth_ppm": 1000.0,
        "mes": 20.0,
        "n_transits": n_transits,
        "is_candidate": True,
        "flags": [],
        "not_transit_like": False,
        "star_class": "planet_candidate",
        "class_evidence": ["a signal passes every check"],
        "baseline_d": baseline,
        "covered_d": min(baseline, 25.0 if mission == "tess" else baseline),
        "observed": [2],
        **FIELD,
        **values,
    }


def match(
    rows: Iterable[Mapping[str, Any]], listed: pl.DataFrame | None = None, config: Config | None = None
) -> list[Row]:
    found = pa.Table.from_pylist(list(rows), schema=FOUND)
    matched = crossmatch(found, listed, config or Config())
    assert matched.schema.equals(MATCHED, check_metadata=True)
    assert matched.column("target_id").to_pylist() == [row["target_id"] for row in rows]
    return matched.to_pylist()


def random_sweep(rng: np.random.Generator, n: int, square_deg: float = 40.0, **values: Any) -> list[Row]:
    """Signals of n unrelated stars in a square on the sky: periods, epochs, positions and magnitudes at random."""
    side = math.sqrt(square_deg)
    period = np.exp(rng.uniform(np.log(0.5), np.log(13.0), n))
    epoch = SECTOR_BEGIN - 2457000.0 + rng.random(n) * period
    rows = []
    for k in range(n):
        place = {
            "ra": 60.0 + side * (rng.random() - 0.5),
            "dec": side * (rng.random() - 0.5),
            "magnitude": rng.uniform(8, 14),
            "depth_ppm": 10 ** rng.uniform(2.5, 5),
        }
        rows.append(tce(f"TIC {k + 1}", period[k], epoch[k], mes=rng.uniform(8, 30), **place, **values))
    return rows


def beside(row: Row, target_id: str, arcsec: float, **values: Any) -> Row:
    """The same signal in another star, so many arcsec to the north."""
    return {**row, "target_id": target_id, "dec": row["dec"] + arcsec / 3600.0, **values}


BINARY = tce("TIC 1000", 2.34567, 1356.0, depth_ppm=250_000.0, magnitude=9.5, mes=400.0, period_err=2e-5)


# ------------------------------------------------------------------------------------------------------- contamination


def test_a_binary_and_its_neighbours_are_one_signal() -> None:
    rng = np.random.default_rng(1)
    children = [
        beside(BINARY, f"TIC {2000 + k}", 25.0 * (k + 1), magnitude=12.0 + k / 2, depth_ppm=5000.0 / (k + 1), mes=20.0)
        for k in range(5)
    ]
    children[1] |= {"period": BINARY["period"] * 2 + 2e-4, "period_err": 2e-4}
    children[2] |= {"period": BINARY["period"] / 2, "epoch": BINARY["epoch"] + 0.02}
    children[2]["epoch_bjd"] = BINARY["epoch_bjd"] + 0.02
    others = random_sweep(rng, 200)
    rows = match([*others, children[0], BINARY, *children[1:]])
    by_name = {row["target_id"]: row for row in rows}
    for child, ratio in zip(children, (1, 2, 0.5, 1, 1), strict=True):
        row = by_name[child["target_id"]]
        assert (row["ephemeris_match"], row["match_kind"], row["match_target"]) == (True, "contamination", "TIC 1000")
        assert row["match_ratio"] == pytest.approx(ratio, abs=1e-3)
        assert row["match_separation_arcsec"] == pytest.approx((child["dec"] - BINARY["dec"]) * 3600, abs=0.01)
        assert (row["is_candidate"], row["flags"], row["star_class"]) == (False, ["ephemeris_match"], None)
        assert row["class_evidence"] == [
            f"the signal is that of TIC 1000, {row['match_separation_arcsec']:.1f} arcsec away"
        ]
    assert by_name["TIC 1000"]["is_candidate"]
    assert by_name["TIC 1000"]["star_class"] == "planet_candidate"
    untouched = [row for row in rows if row["match_kind"] is None]
    assert len(untouched) == 201
    assert all(row["is_candidate"] and row["flags"] == [] and row["ephemeris_match"] is False for row in untouched)
    assert all(row["novelty"] is None and row["known_name"] is None for row in rows)


def test_the_star_that_loses_more_light_is_the_source() -> None:
    """A deep eclipse of a faint star against a shallow dip of a bright one: what counts is the light."""
    bright = beside(BINARY, "TIC 1", 30.0, magnitude=8.0, depth_ppm=20_000.0)
    faint = beside(BINARY, "TIC 2", 0.0, magnitude=13.0, depth_ppm=400_000.0)
    dim, source = match([faint, bright])
    assert (dim["match_target"], source["match_target"]) == ("TIC 1", None)
    source, dim = match([{**faint, "magnitude": 10.0}, bright])
    assert (source["match_target"], dim["match_target"]) == (None, "TIC 2")


def test_without_magnitudes_depth_decides() -> None:
    deep = {**BINARY, "magnitude": None}
    shallow = beside(deep, "TIC 2", 40.0, depth_ppm=2000.0)
    source, child = match([deep, shallow])
    assert (source["match_target"], child["match_target"]) == (None, "TIC 1000")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"period": 2.36}, "the events drift apart"),
        ({"epoch_bjd": BINARY["epoch_bjd"] + 0.4}, "other phase"),
        ({"dec": BINARY["dec"] + 0.2}, "out of reach"),
        ({"target_id": "TIC 1000", "number": 2}, "two signals of one star"),
        ({"target_id": "KIC 5", "dec": BINARY["dec"] + 2 / 3600}, "one star under two names"),
        ({"dec": BINARY["dec"] + 0.1 / 3600}, "one star that its catalogue lists twice"),
        ({"ra": None, "dec": None}, "nobody knows where"),
        ({"period": None, "n_transits": 1}, "a single transit has no period"),
        ({"epoch_bjd": None}, "no epoch"),
    ],
)
def test_what_is_no_contamination(change: Row, why: str) -> None:
    other = {**beside(BINARY, "TIC 7", 30.0), "depth_ppm": 900.0, "magnitude": 12.0, **change}
    assert [row["match_kind"] for row in match([BINARY, other])] == [None, None], why


def test_two_close_stars_of_one_catalogue_are_two_stars() -> None:
    assert match([BINARY, beside(BINARY, "TIC 7", 2.0, depth_ppm=900.0)])[1]["match_target"] == "TIC 1000"


def test_light_reaches_farther_from_bright_stars() -> None:
    config = Config().match
    tess, kepler = (reach_of([name] * 3, np.array([14.0, 10.0, 6.0]), config) for name in ("tess", "kepler"))
    assert kepler == pytest.approx([55 * math.sqrt(10 ** (6 - 0.4 * m) + 1) for m in (14, 10)] + [1800.0], rel=1e-6)
    assert tess[0] == pytest.approx(126, rel=0.05)
    assert 150 < tess[1] < 250
    assert 600 < tess[2] < 1800
    assert reach_of(["kepler"], np.array([np.nan]), config)[0] == 55.0
    far = beside(BINARY, "TIC 7", 300.0, depth_ppm=900.0)
    assert match([BINARY, far])[1]["match_kind"] is None
    assert match([{**BINARY, "magnitude": 6.0}, far])[1]["match_kind"] == "contamination"


def test_the_gate_may_only_tell() -> None:
    child = beside(BINARY, "TIC 7", 30.0, depth_ppm=900.0, magnitude=12.0)
    row = match([BINARY, child], config=load(overrides=['gate.informative=["ephemeris_match"]']))[1]
    assert (row["is_candidate"], row["flags"], row["star_class"]) == (True, ["ephemeris_match"], "planet_candidate")


def test_a_star_keeps_its_class_while_it_has_a_candidate() -> None:
    child = beside(BINARY, "TIC 7", 30.0, depth_ppm=900.0, magnitude=12.0)
    own = {**child, "number": 2, "period": 7.7, "epoch_bjd": BINARY["epoch_bjd"] + 3.3}
    _, lost, kept = match([BINARY, child, own])
    assert (lost["is_candidate"], kept["is_candidate"]) == (False, True)
    assert lost["star_class"] == kept["star_class"] == "planet_candidate"


def test_what_was_no_candidate_does_not_become_one() -> None:
    plain = {**BINARY, "is_candidate": False, "flags": ["sine_like"], "star_class": "rotation"}
    child = beside(plain, "TIC 7", 30.0, depth_ppm=900.0)
    parent, row = match([plain, child])
    assert (parent["is_candidate"], parent["flags"]) == (False, ["sine_like"])
    assert (row["is_candidate"], row["flags"]) == (False, ["sine_like", "ephemeris_match"])
    assert (row["star_class"], row["class_evidence"]) == ("rotation", ["a signal passes every check"])


@pytest.mark.parametrize(
    ("sweeps", "n", "square_deg"),
    [(60, 300, 0.1), (10, 3000, 2000.0), pytest.param(600, 300, 0.1, marks=pytest.mark.verify)],
)
def test_unrelated_stars_rarely_match(sweeps: int, n: int, square_deg: float) -> None:
    """Of each kind 0.01 a sweep may be expected, in the densest field with 12 neighbours within reach of a star."""
    rng = np.random.default_rng(7)
    wrong = Counter(
        kind for _ in range(sweeps) for kind in {row["match_kind"] for row in match(random_sweep(rng, n, square_deg))}
    )
    allowed = 0.01 * sweeps + 3 * math.sqrt(0.01 * sweeps)
    print(f"of {sweeps} sweeps of {n} signals {wrong['contamination']} and {wrong['systematics']} have a false match")
    assert wrong["contamination"] <= allowed
    assert wrong["systematics"] <= allowed


def test_real_contamination_stands_out_of_the_crowd() -> None:
    """The same crowded field, with 30 neighbours that carry a tenth of a percent of another star's eclipses."""
    rng = np.random.default_rng(8)
    rows = random_sweep(rng, 300, 0.1)
    sources = rng.choice(300, 30, replace=False)
    for number, k in enumerate(sources):
        scatter = {
            "period": rows[k]["period"] * (1 + 1e-4 * rng.normal()),
            "epoch_bjd": rows[k]["epoch_bjd"] + 1e-3 * rng.normal(),
        }
        rows.append(
            beside(rows[k], f"TIC {9000 + number}", 40.0, depth_ppm=rows[k]["depth_ppm"] * 1e-3, mes=9.0, **scatter)
        )
    found = match(rows)[300:]
    right = [row["match_target"] == rows[k]["target_id"] for row, k in zip(found, sources, strict=True)]
    assert sum(right) >= 28


# --------------------------------------------------------------------------------------------------------- systematics


def test_many_stars_with_one_epoch_are_the_spacecraft() -> None:
    """5,000 signals of one sector, 200 of them with a dip at the same two times, and as many of their own."""
    rng = np.random.default_rng(2)
    rows = random_sweep(rng, 4800, 2000.0)
    for k in range(200):
        epoch, period = 1358.3 + rng.normal(0, 0.03), 12.2 + rng.normal(0, 0.03)
        rows.append(
            tce(f"TIC {90_000 + k}", period, epoch, ra=60 + 40 * rng.random(), dec=40 * rng.random(), mes=9 + k / 100)
        )
    matched = match(rows)
    crowd, others = matched[4800:], matched[:4800]
    assert sum(row["match_kind"] == "systematics" for row in crowd) >= 198
    flagged = next(row for row in crowd if row["match_kind"])
    assert (flagged["flags"], flagged["is_candidate"], flagged["not_transit_like"]) == (["shared_epoch"], False, True)
    assert (flagged["star_class"], flagged["ephemeris_match"]) == ("systematics", False)
    assert flagged["class_evidence"] == [f"{flagged['n_same_epoch']} other stars dim at the same times"]
    assert 150 <= flagged["n_same_epoch"] <= 350
    assert flagged["match_target"] is not None
    assert sum(row["match_kind"] == "systematics" for row in others) <= 48, "1% of those that only happen to dim then"


def test_single_events_at_one_time_are_found() -> None:
    rng = np.random.default_rng(3)
    rows = random_sweep(rng, 200, 2000.0)
    rows += [tce(f"TIC {5000 + k}", None, 1366.4 + rng.uniform(-0.05, 0.05), ra=k, dec=k / 2) for k in range(12)]
    rows += [tce(f"TIC {6000 + k}", None, 1355.0 + 2.1 * k, ra=k, dec=-k / 2) for k in range(12)]
    matched = match(rows)
    assert [row["match_kind"] for row in matched[200:212]] == ["systematics"] * 12
    assert [row["match_kind"] for row in matched[:200] + matched[212:]] == [None] * 212
    assert {row["n_same_epoch"] for row in matched[200:212]} <= set(range(11, 25))
    best = max(matched[200:212], key=lambda row: row["mes"])["target_id"]
    assert {row["match_target"] for row in matched[200:212]} <= {best, "TIC 5000", None}


def test_sectors_years_apart_are_no_crowd() -> None:
    """Events can only be where there are data: here 7% of the baseline."""
    rng = np.random.default_rng(10)
    times = 1354 + 25 * rng.random(1500) + 700 * rng.integers(0, 2, 1500)
    rows = [tce(f"TIC {k}", None, times[k], ra=k / 5, baseline_d=725.0, covered_d=48.0) for k in range(1500)]
    assert {row["match_kind"] for row in match(rows)} == {None}


def test_a_ccd_that_misbehaves_stands_out_where_the_mission_does_not() -> None:
    rng = np.random.default_rng(4)
    rows = [
        tce(f"TIC {k + 1}", None, 1354 + 27 * rng.random(), ra=k / 3, channel=f"{k % 4 + 1}.{k // 4 % 4 + 1}")
        for k in range(1000)
    ]
    group = [tce(f"TIC {9000 + k}", None, 1362.1 + 0.03 * rng.normal(), ra=k, channel="1.1") for k in range(10)]
    matched = match([*rows, *group])
    assert [row["match_kind"] for row in matched[1000:]] == ["systematics"] * 10
    assert sum(row["match_kind"] == "systematics" for row in matched[:1000]) <= 3
    elsewhere = [{**row, "channel": None} for row in (*rows, *group)]
    assert {row["match_kind"] for row in match(elsewhere)} == {None}


def test_one_ephemeris_far_apart_is_the_spacecraft() -> None:
    """Too short a period for single epochs to stand out."""
    rng = np.random.default_rng(5)
    rows = random_sweep(rng, 1000, 2000.0)
    for k in range(40):
        rows.append(
            tce(
                f"TIC {9000 + k}",
                0.7431 * (1 + 2e-4 * rng.normal()),
                1354.3 + 2e-3 * rng.normal(),
                ra=40 + k,
                dec=k / 2,
            )
        )
    matched = match(rows)
    assert sum(row["match_kind"] == "systematics" for row in matched[1000:]) >= 38
    assert sum(row["match_kind"] == "systematics" for row in matched[:1000]) <= 2
    assert {row["n_same_epoch"] for row in matched[1000:] if row["match_kind"]} <= set(range(30, 45))


def test_a_binary_among_neighbours_is_no_crowd() -> None:
    long = {**BINARY, "period": 8.8, "n_transits": 3}
    rows = [long, *(beside(long, f"TIC {k}", 20.0 * k, depth_ppm=900.0, magnitude=12.0) for k in range(1, 6))]
    matched = match(rows)
    assert [row["match_kind"] for row in matched] == [None] + ["contamination"] * 5


def test_planets_that_happen_to_transit_together_stay() -> None:
    """Four singles at one time in a small sweep: fewer than what is called a crowd."""
    rows = [tce(f"TIC {k}", None, 1360.0, ra=10.0 * k) for k in range(4)]
    assert [row["match_kind"] for row in match(rows)] == [None] * 4
    assert [row["n_same_epoch"] for row in match(rows)] == [3] * 4


# ---------------------------------------------------------------------------------------------------------- catalogues


def listed(*signals: KnownSignal) -> pl.DataFrame:
    return pl.DataFrame([vars(signal) for signal in signals], schema=catalogs.SIGNAL_SCHEMA)


TOI = KnownSignal(
    "TIC 5", "TOI-1.01", 3.14159, 2500.0, 3.0, 1000.0, "PC", "toi", None, None, FIELD["ra"], FIELD["dec"], 11.0
)


def transit_of(signal: KnownSignal, after: float) -> float:
    """The first transit of a listed signal after a time."""
    assert signal.period is not None
    assert signal.epoch is not None
    return signal.epoch + math.ceil((after - signal.epoch) / signal.period) * signal.period


NOW = transit_of(TOI, 1354.0)


@pytest.mark.parametrize(
    ("row", "novelty", "ratio"),
    [
        (tce("TIC 5", 3.1415, NOW), "rediscovered", 1.0),
        (tce("TIC 5", 3.1415 * 2, NOW), "rediscovered", 2.0),
        (tce("TIC 5", 3.1415 / 2, NOW + 3.1415 / 2), "rediscovered", 0.5),
        (tce("TIC 5", 3.1415, NOW + 1.0), "known", 1.0),
        (tce("TIC 5", 8.3, NOW), "known", 8.3 / 3.14159),
        (tce("TIC 5", None, NOW), "known", None),
        (tce("KIC 5", 3.14159, NOW + 2167.0, dec=FIELD["dec"] + 2 / 3600, baseline_d=90.0), "rediscovered", 1.0),
        (tce("TIC 6", 8.3, NOW, dec=FIELD["dec"] + 30 / 3600), "new", None),
        (tce("TIC 6", 8.3, NOW, dec=FIELD["dec"] + 1.0), "new", None),
        (tce("EPIC 6", 8.3, NOW, dec=FIELD["dec"] + 1.0), None, None),
    ],
)
def test_new_known_and_rediscovered(row: Row, novelty: str | None, ratio: float | None) -> None:
    (matched,) = match([row], listed(TOI))
    assert matched["novelty"] == novelty
    assert matched["match_kind"] is None
    if novelty in ("known", "rediscovered"):
        assert (matched["known_name"], matched["known_catalogue"], matched["known_disposition"]) == (
            "TOI-1.01",
            "toi",
            "PC",
        )
        assert matched["known_separation_arcsec"] == pytest.approx(
            0.0 if row["target_id"] == "TIC 5" else 2.0, abs=1e-3
        )
    else:
        assert matched["known_name"] is None
    assert matched["known_ratio"] == (None if ratio is None else pytest.approx(ratio, rel=1e-3))


def test_an_epoch_years_away_counts_for_what_its_period_allows() -> None:
    """The period error times the cycles between: 0.2 d after ten years say nothing against a period known to 1e-4."""
    vague = KnownSignal(**{**vars(TOI), "epoch": 5500.0, "period_err": 3e-4})
    exact = KnownSignal(**{**vars(vague), "period_err": 1e-7})
    row = tce("TIC 5", 3.1415, transit_of(vague, 1354.0) + 0.6)
    assert match([row], listed(vague))[0]["novelty"] == "known"
    assert match([row], listed(exact))[0]["novelty"] == "known"
    soon = KnownSignal(**{**vars(TOI), "epoch": 1500.0, "period_err": 3e-4})
    late = tce("TIC 5", 3.1415, transit_of(soon, 1354.0) + 0.03)
    assert match([late], listed(soon))[0]["novelty"] == "rediscovered"


def test_of_two_catalogues_the_one_that_agrees_is_named() -> None:
    binary = KnownSignal(**{**vars(TOI), "name": "TIC 5 EB", "catalogue": "tess_ebs", "disposition": "EB"})
    other = KnownSignal(**{**vars(TOI), "name": "TOI-1.02", "period": 9.9})
    (row,) = match([tce("TIC 5", 3.1415, NOW)], listed(other, binary))
    assert (row["known_name"], row["novelty"]) == ("TIC 5 EB", "rediscovered")
    (row,) = match([tce("TIC 5", 3.1415, NOW)], listed(other, binary, TOI))
    assert row["known_name"] == "TOI-1.01"


EB = KnownSignal(
    "TIC 8", "TIC 8 EB", 4.4, 1500.0, 5.0, 300_000.0, "EB", "tess_ebs", 1e-5, 1e-3, FIELD["ra"], FIELD["dec"], 12.0
)


@pytest.mark.parametrize(("factor", "arcsec"), [(1.0, 100.0), (2.0, 20.0), (0.5, 60.0)])
def test_listed_binaries_nearby_are_sources(factor: float, arcsec: float) -> None:
    row = tce("TIC 9", EB.period * factor, transit_of(EB, 1354.0), dec=FIELD["dec"] + arcsec / 3600)
    (matched,) = match([row], listed(EB))
    assert (matched["match_kind"], matched["match_target"], matched["is_candidate"]) == (
        "contamination",
        "TIC 8",
        False,
    )
    assert matched["match_ratio"] == pytest.approx(factor)
    assert matched["match_separation_arcsec"] == pytest.approx(arcsec, abs=0.01)
    assert (matched["novelty"], matched["known_name"]) == ("known", "TIC 8 EB")


def test_a_listed_neighbour_that_loses_less_light_is_no_source() -> None:
    """A neighbour that is listed because this very star's eclipses reach it."""
    echo = KnownSignal(**{**vars(EB), "depth_ppm": 900.0})
    row = tce("TIC 9", EB.period, transit_of(EB, 1354.0), depth_ppm=200_000.0, dec=FIELD["dec"] + 20 / 3600)
    (matched,) = match([row], listed(echo))
    assert (matched["match_kind"], matched["novelty"]) == (None, "known")


def test_a_confirmed_planet_is_its_stars_own() -> None:
    """Though its catalogue's eclipsing binaries have the companion, six arcsec away, with the same dips."""
    companion = KnownSignal(**{**vars(TOI), "target_id": "TIC 8", "dec": FIELD["dec"] + 6 / 3600, "depth_ppm": 4e4})
    row = tce("TIC 5", 3.1415, NOW)
    for disposition, kind in (("PC", "contamination"), ("KP", None), ("FP", "contamination")):
        own = KnownSignal(**{**vars(TOI), "disposition": disposition})
        (matched,) = match([row], listed(own, companion))
        assert (matched["match_kind"], matched["novelty"]) == (kind, "rediscovered")
        assert matched["is_candidate"] == (kind is None)


def test_a_listed_neighbour_without_epoch_is_compared_by_period() -> None:
    """As Kepler's eclipsing binaries are: years of data leave no doubt."""
    silent = KnownSignal(
        "KIC 8", "KIC 8 EB", 4.4, None, None, 300_000.0, "EB", "kepler_ebs", 1e-6, None, FIELD["ra"], FIELD["dec"], 12.0
    )
    row = tce("KIC 9", 4.4, 140.0, dec=FIELD["dec"] + 10 / 3600, baseline_d=1400.0, period_err=1e-5)
    assert match([row], listed(silent))[0]["match_target"] == "KIC 8"
    assert match([{**row, "period": 4.41}], listed(silent))[0]["match_target"] is None


# --------------------------------------------------------------------------------------------------------- real tables


def sweep_of(signals: pl.DataFrame, **values: Any) -> list[Row]:
    """Listed signals as a sweep would find them."""
    names = ("period_err", "epoch_err", "duration_h", "depth_ppm", "magnitude", "ra", "dec")
    return [
        tce(row["target_id"], row["period"], row["epoch"], **{name: row[name] for name in names}, **values)
        for row in signals.iter_rows(named=True)
    ]


@pytest.fixture(scope="session")
def tables(real_data: Path) -> pl.DataFrame:
    return catalogs.signals_table(real_data / "catalogs")


def test_kepler_16_and_its_neighbour(tables: pl.DataFrame) -> None:
    """KIC 12644774 shows the eclipses of Kepler-16 (KIC 12644769), 16 arcsec away, as one of its own, K01555.01."""
    koi = tables.filter(pl.col("catalogue") == "koi", pl.col("target_id").is_in(["KIC 12644769", "KIC 12644774"]))
    source, child = match(sweep_of(koi, baseline_d=1400.0))
    alone = match(sweep_of(koi, baseline_d=1400.0)[1:], tables)[0]
    for row in (child, alone):
        assert (row["match_kind"], row["match_target"], row["is_candidate"]) == ("contamination", "KIC 12644769", False)
        assert row["match_separation_arcsec"] == pytest.approx(16.05, abs=0.01)
        assert row["match_ratio"] == pytest.approx(1.0, abs=1e-4)
    assert (source["match_kind"], source["is_candidate"]) == (None, True)
    assert (alone["novelty"], alone["known_name"]) == ("rediscovered", "K01555.01")


def test_ephemeris_matches_of_the_koi_catalogue(tables: pl.DataFrame, real_data: Path) -> None:
    """All KOIs as one sweep, against the flag that Kepler's team gave them (koi_fpflag_ec), which also knew of the
    light that came along columns, by reflection, and from stars that are no KOIs."""
    koi = tables.filter(pl.col("catalogue") == "koi", pl.col("period") < 700)
    flags = catalogs.load_table("koi", real_data / "catalogs").select("kepoi_name", "koi_fpflag_ec").rows()
    flag_of = {name: flag == 1 for name, flag in flags}
    flagged = [flag_of[name.split("/")[0]] for name in koi["name"]]
    found = [row["match_kind"] is not None for row in match(sweep_of(koi, baseline_d=1460.0))]
    both = sum(a and b for a, b in zip(flagged, found, strict=True))
    confirmed = sum(a and b == "CONFIRMED" for a, b in zip(found, koi["disposition"], strict=True))
    print(
        f"{len(koi)} KOIs: {sum(flagged)} flagged by Kepler, {sum(found)} here, {both} by both; confirmed: {confirmed}"
    )
    assert both >= 0.65 * sum(flagged)
    assert both >= 0.9 * sum(found)
    assert confirmed == 0


@pytest.mark.verify
def test_known_signals_of_real_stars_are_rediscovered(archive: Path, real_data: Path, tmp_path: Path) -> None:
    """Every star of real_star_test.csv through all stages; K2's planets under their TOI names, from TESS's epochs."""
    wanted = pl.read_csv(real_data / "real_star_test.csv")
    config = load(overrides=["pixels.use=false"])
    source = open_source(f"mirror:{archive}", config)
    targets = [parse_target(name) for name in wanted["target_id"].unique(maintain_order=True)]
    with store.open_run(tmp_path, config, targets, catalogs=real_data / "catalogs") as run:
        for shard, table in store.todo(run).items():
            for stage in STAGES:
                table = stage.make(run.config, source)(table)
            store.commit(run, shard, table)
        store.merge(run)
    found = pl.read_parquet(tmp_path / store.CANDIDATES)
    rediscovered = set(found.filter(pl.col("novelty") == "rediscovered").select("target_id", "known_name").rows())
    names = set(wanted.select("name", "target_id").rows())
    nameless = ("EB", "EPIC")
    missed = [
        (name, star)
        for name, star in sorted(names)
        if not any(star == where and (name.startswith(nameless) or name in known) for where, known in rediscovered)
    ]
    print(f"{len(names) - len(missed)} of {len(names)} signals are rediscovered; not: {missed or 'none'}")
    assert len(names) == 33
    assert not missed
    assert found.filter(pl.col("match_kind").is_not_null()).is_empty(), "they are all their stars' own"


# -------------------------------------------------------------------------------------------------------------- pieces


def test_an_empty_sweep_has_an_empty_catalogue() -> None:
    assert len(crossmatch(FOUND.empty_table(), None, Config())) == 0


def test_order_of_the_stars_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    rows = random_sweep(rng, 300, 0.1)
    rows += [beside(rows[k], f"TIC {9000 + k}", 20.0, depth_ppm=300.0) for k in range(40)]
    order = rng.permutation(len(rows))
    straight, mixed = match(rows), match([rows[k] for k in order])
    assert [straight[k] for k in order] == mixed


def test_flags_and_kinds_are_those_of_the_schema() -> None:
    described = {field.name: field.metadata[b"description"].decode() for field in schema.MATCH_FIELDS}
    assert all(kind in described["match_kind"] for kind in FLAG_OF_KIND)
    assert all(word in described["novelty"] for word in ("new", "known", "rediscovered"))


def test_neighbours_on_the_sky() -> None:
    rng = np.random.default_rng(9)
    ra, dec = rng.uniform(0, 360, 400), np.degrees(np.arcsin(rng.uniform(-1, 1, 400)))
    ra[0], dec[0], ra[1], dec[1] = 359.999, 0.0, 0.001, 0.0
    ra[2] = np.nan
    radii = rng.uniform(0, 8 * 3600, 400)
    i, j = find_near(ra, dec, ra, dec, radii)
    apart = separation(ra[:, None], dec[:, None], ra, dec)
    expected = np.argwhere(apart <= radii[:, None])
    assert {*zip(i, j, strict=True)} == {tuple(pair) for pair in expected}
    assert separation(ra[:1], dec[:1], ra[1:2], dec[1:2])[0] == pytest.approx(7.2)
