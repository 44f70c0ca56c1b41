"""Sets of periods: what the weights say, what is injected, whose light it is, and what a configuration may be."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from survey.cli import app
from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.sets.period_lights import Planet, StarLight, event_noise, flatten, inject_planets
from survey.learning.sets.period_samples import SampleWriter, even_flux, read_samples
from survey.learning.sets.periods import (
    FINER,
    Builder,
    describe_config,
    make_config,
    make_lesson,
    make_table,
    read_config,
    spread_weights,
)
from survey.learning.sets.table import drop_copies, read_set, write_set
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.search.profile import CHANNELS, PeriodBins
from survey.stars.lightcurve import LightCurve, Product

BINS = PeriodBins(1.0, 40.0, 100)

THEIRS = {
    "username": "somebody",
    "key": "secret",
    "dataset_name": "nasa/kepler-exoplanet-search-results",
    "star_catalog_files": "resources/estrellas_cleaned.txt",
    "positive_sample_count": 500,
    "negative_sample_count": 1000,
    "synthetic_samples_count": 250,
    "planets_per_synthetic_star": 4,
    "period_filter": 40,
    "valid_lightcurve_lenght_threshold": 1000,
    "distribution_params": {"period": {"min": 1, "max": 40, "bins": 100}},
    "lightcurve_length": 1500,
    "min_lightcurve_length": 1000,
    "positive": "data/samples/positive",
    "negative": "data/samples/negative",
    "synthetic": "data/samples/synthetic",
}


def star(name: str, *, days: float = 30.0, cadence_s: float = 1800.0, seed: int = 0) -> LightCurve:
    time = 1500 + np.arange(0, days, cadence_s / 86_400)
    flux = 1 + 5e-4 * np.random.default_rng(seed).standard_normal(len(time))
    product = Product("a", "", 1, "SPOC", None, "PDCSAP_FLUX", 0, cadence_s, len(time))
    error = np.full(len(time), 5e-4, np.float32)
    return LightCurve(name, "tess", time, flux.astype(np.float32), error, 2457000.0, (product,))


def stars(count: int = 6) -> list[StarLight]:
    """Every second one with a planet."""
    found = []
    for k in range(count):
        light = star(f"TIC {k + 1}", seed=k)
        if k % 2:
            found.append(StarLight(light))
            continue
        listed = Ephemeris(3.3 + k, 1501.0, 0.12)
        light.flux[in_transit(light.time, listed)] -= 4e-3
        found.append(StarLight(light, planets=(Planet(listed.period, 1e-4),), masked=(listed,)))
    return found


CONFIG = make_config({"negative_sample_count": 8, "synthetic_samples_count": 10}, "test")


def make_set(path: Path, seed: int = 0) -> pa.Table:
    table, _ = drop_copies(make_table(row for row, _, _ in Builder(CONFIG, seed).rows(stars())))
    facts = {"configuration": describe_config(CONFIG), "sources": [], "simulated": "all of it", "seed": seed}
    write_set(path, "periods", table, facts)
    return table


# Weights


def test_weights_of_a_planet_are_one_and_lie_about_its_period() -> None:
    sharp = spread_weights([Planet(5.0, 1e-5)], BINS, 40.0)
    assert sharp.sum() == pytest.approx(1.0)
    assert np.count_nonzero(sharp) <= 2
    assert int(sharp.argmax()) == int(BINS.place(5.0))
    wide = spread_weights([Planet(5.0, 0.8)], BINS, 40.0)
    assert wide.sum() == pytest.approx(1.0, abs=0.01)
    assert np.count_nonzero(wide > 1e-3) > 8
    middle = float(np.average(np.log(BINS.middles), weights=wide))
    assert middle == pytest.approx(np.log(5.0), abs=0.03)


def test_weights_of_several_and_of_none() -> None:
    both = spread_weights([Planet(3.0), Planet(11.0)], BINS, 40.0)
    assert both.sum() == pytest.approx(2.0)
    assert not spread_weights([], BINS, 40.0).any()
    assert not spread_weights([Planet(25.0), Planet(0.7), Planet(90.0)], BINS, 20.0).any(), "filtered, or no bin"
    twice = spread_weights([Planet(3.0), Planet(3.0)], BINS, 40.0)
    assert twice.max() <= 1


# Injected light


def test_injected_planets_are_where_they_are_said_to_be() -> None:
    light = star("TIC 1", days=27.0, cadence_s=1800.0)
    for seed in range(8):
        found, planets = inject_planets(light, 13.0, 1.0, 4, np.random.default_rng(seed))
        assert len(planets) <= 4
        dimmed = found.flux < light.flux - 1e-7
        inside = np.zeros(len(light.time), bool)
        for planet in planets:
            # What an exposure gathers reaches half of it beyond the transit.
            reach = planet.duration_h / 24 + 1800 / 86_400
            inside |= in_transit(light.time, Ephemeris(planet.period, planet.epoch, reach))
            assert 1.0 <= planet.period <= 13.0
            assert 5 <= planet.snr <= 300
            assert planet.radius_ratio <= 0.2
        assert not dimmed[~inside].any()
        assert dimmed[inside].any() == bool(planets)
        periods = sorted(planet.period for planet in planets)
        assert all(long / short >= 4 / 3 for short, long in pairwise(periods))


def test_long_exposures_smear_the_ingress() -> None:
    draw = [np.random.default_rng(3) for _ in range(2)]
    fast, slow = star("TIC 1", cadence_s=120.0), star("TIC 1", cadence_s=120.0)
    product = slow.products[0]
    long = Product(**(vars(product) | {"cadence_s": 1800.0}))
    slow = LightCurve(**(vars(slow) | {"products": (long,)}))
    sharp, smeared = (inject_planets(light, 9.0, 1.0, 1, one)[0] for light, one in zip((fast, slow), draw, strict=True))
    depth = [float((light.flux - made.flux).max()) for light, made in ((fast, sharp), (slow, smeared))]
    touched = [int((made.flux < light.flux - 1e-6).sum()) for light, made in ((fast, sharp), (slow, smeared))]
    assert min(depth) > 0
    assert touched[1] > touched[0]


def test_noise_of_events_falls_as_they_grow_longer() -> None:
    flat = flatten(star("TIC 1", days=60.0))
    assert event_noise(flat, 1) == pytest.approx(5e-4, rel=0.1)
    assert event_noise(flat, 16) == pytest.approx(5e-4 / 4, rel=0.35)
    assert np.isnan(event_noise(flat[:30], 16))


# Rows


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, pa.Table]:
    path = tmp_path_factory.mktemp("periods") / "periods.parquet"
    return path, make_set(path)


def test_a_set_holds_what_was_asked_for(made) -> None:
    path, _ = made
    rows = read_set(path, "periods").table.to_pylist()
    count = {origin: sum(row["origin"] == origin for row in rows) for origin in ("positive", "negative", "synthetic")}
    assert count["positive"] == 3
    assert count["negative"] >= 6, "three stars as observed, the rest made of them, less exact copies"
    assert count["synthetic"] == 10
    for row in rows:
        weights = np.array(row["weights"])
        assert (row["label"] == "1") == bool(row["planets"]) == weights.any()
        assert row["origin"] != "negative" or row["label"] == "0"
        for planet in row["planets"]:
            near = int(BINS.place(planet["period"]))
            assert weights[max(0, near - 1) : near + 2].sum() > 0.5 or planet["period"] > row["baseline_d"] / 2
    of_star: dict[str, set[int]] = {}
    for row in rows:
        of_star.setdefault(row["target_id"], set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in of_star.values())


def test_the_same_seed_makes_the_same_bytes(made, tmp_path) -> None:
    path, _ = made
    make_set(tmp_path / "periods.parquet")
    assert (tmp_path / "periods.parquet").read_bytes() == path.read_bytes()
    make_set(tmp_path / "other.parquet", seed=1)
    assert (tmp_path / "other.parquet").read_bytes() != path.read_bytes()


def test_a_star_that_is_not_quiet_is_never_injected_into() -> None:
    noisy = [StarLight(one.light, planets=one.planets, masked=one.masked, quiet=k > 2) for k, one in enumerate(stars())]
    loud = {one.light.target_id for one in noisy if not one.quiet}
    rows = [row for row, _, _ in Builder(CONFIG).rows(noisy)]
    assert not any(row["target_id"] in loud for row in rows if row["origin"] == "synthetic")
    assert any(row["target_id"] in loud for row in rows)


def test_stars_that_cannot_be_used_are_named() -> None:
    short = StarLight(star("TIC 7", days=5.0))
    far = StarLight(star("TIC 8"), planets=(Planet(300.0),))
    builder = Builder(CONFIG)
    assert list(builder.rows([short, far])) == []
    assert {name for name, _ in builder.left_out} == {"TIC 7", "TIC 8"}


def test_a_lesson_is_read_from_a_set(made, tmp_path) -> None:
    path, table = made
    lesson = make_lesson(path, "periods", TrainConfig())
    assert len(lesson.stars) == len(table) == len(lesson.examples)
    assert lesson.examples.inputs[0].shape == (len(table), len(CHANNELS), 100 * FINER)
    assert lesson.examples.targets.shape == (len(table), 100)
    assert lesson.simulated
    assert np.isfinite(lesson.table).all()
    network = lesson.kind.make(lesson.shape).eval()
    assert network(*lesson.examples.take(np.arange(2)).inputs).shape == (2, 100)
    other = pq.read_table(path)
    key = b"survey.provenance"
    facts = json.loads(other.schema.metadata[key])
    facts["configuration"]["distribution_params"]["period"]["bins"] = 50
    wrong = other.replace_schema_metadata(other.schema.metadata | {key: json.dumps(facts).encode()})
    pq.write_table(wrong, tmp_path / "wrong.parquet")
    with pytest.raises(UsageError, match="50 bins take"):
        make_lesson(tmp_path / "wrong.parquet", "periods", TrainConfig())


# Configuration


def test_a_config_json_is_taken_as_it_is(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(THEIRS))
    config, notes = read_config(tmp_path / "config.json")
    assert any("no account is needed" in note for note in notes)
    assert "secret" not in json.dumps(describe_config(config)) + "".join(notes)
    assert config.min_lightcurve_length == 1000
    assert config.bins() == BINS
    assert make_config({}, "x").model_dump(exclude={"dataset_name", "star_catalog_files", *folders()}) == (
        config.model_dump(exclude={"dataset_name", "star_catalog_files", *folders()})
    ), "the defaults are theirs"


def folders() -> tuple[str, ...]:
    return ("positive", "negative", "synthetic")


def test_the_misspelt_key_is_the_right_one() -> None:
    for name in ("valid_lightcurve_lenght_threshold", "valid_lightcurve_length_threshold", "min_lightcurve_length"):
        assert make_config({name: 700}, "x").min_lightcurve_length == 700
    with pytest.raises(UsageError, match="must not differ"):
        make_config({"min_lightcurve_length": 700, "valid_lightcurve_lenght_threshold": 800}, "x")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sample_count": 3}, "unknown key sample_count; there are: .*positive_sample_count"),
        ({"distribution_params": {"period": {"minimum": 3}}}, "unknown key .*minimum; there are: bins, max, min"),
        ({"distribution_params": {"period": {"min": 40, "max": 1}}}, "is not above min"),
        ({"distribution_params": {"period": {"min": 5, "max": 5}}}, "is not above min"),
        ({"distribution_params": {"period": {"bins": 1}}}, "bins"),
        ({"period_filter": 0.5}, "leaves no period"),
        ({"positive_sample_count": -1}, "positive_sample_count"),
    ],
)
def test_impossible_configurations_say_what_is_wrong(values, words) -> None:
    with pytest.raises(UsageError, match=words):
        make_config(values, "config.json")


# Samples


def test_samples_come_back_as_rows(tmp_path) -> None:
    config = make_config({"negative_sample_count": 4, "synthetic_samples_count": 4, "positive": "data/positive"}, "x")
    writer = SampleWriter(tmp_path, config)
    rows = []
    for row, light, flat in Builder(config).rows(stars()):
        rows.append(row)
        writer.add(row, light, flat)
    assert writer.finish() == len(rows)
    with np.load(next((tmp_path / "data" / "positive").glob("*.npz"))) as sample:
        assert sample["arr_0"].shape == (1500,)
        assert np.median(sample["arr_0"]) == pytest.approx(1.0, abs=1e-3)
        assert sample["arr_1"].shape == (100,)
    read = list(read_samples(tmp_path, config))
    assert len(read) == len(rows)
    assert sorted(row["label"] for row in read) == sorted(row["label"] for row in rows)
    assert {row["target_id"] for row in read} == {row["target_id"] for row in rows}
    scaled = CHANNELS.index("scaled")
    for row in (one for one in read if one["origin"] == "positive"):
        peak = row["profile"].reshape(len(CHANNELS), -1)[scaled].argmax() / FINER
        assert np.abs(BINS.place([planet["period"] for planet in row["planets"]]) - peak).min() < 2


def test_samples_that_are_none_are_refused(tmp_path) -> None:
    config = make_config({}, "x")
    (tmp_path / "positive").mkdir()
    bad = tmp_path / "positive" / "a.npz"
    for arrays, words in (
        ((np.ones(1500),), "arr_1"),
        ((np.ones(1500), np.zeros(7)), "has the shape"),
        ((np.ones(1500), np.full(100, 7.0)), "0..1"),
        ((np.array([{}], object), np.zeros(100)), "not a sample"),
    ):
        np.savez(bad, *arrays)
        with pytest.raises(UsageError, match=words):
            list(read_samples(tmp_path, config))
    bad.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not a sample"):
        list(read_samples(tmp_path, config))
    with pytest.raises(UsageError, match="no folder inside"):
        SampleWriter(tmp_path, make_config({"positive": "../elsewhere"}, "x"))


def test_even_flux_fills_gaps_with_the_level() -> None:
    light = star("TIC 1", cadence_s=120.0)
    known = (light.time < 1505) | (light.time > 1507)
    flux = even_flux(light.time[known], light.flux[known].astype(float), 120.0, 1500)
    assert flux.shape == (1500,)
    assert (flux[250:340] == 1).all(), "nothing was observed there"
    assert np.std(flux[:200]) < 3e-4, "faster cadences are averaged"


# The command


def test_the_command_says_what_it_needs(tmp_path) -> None:
    run = CliRunner().invoke
    out = str(tmp_path / "set.parquet")
    done = run(app, ["data", "periods", "--out", out])
    assert isinstance(done.exception, UsageError)
    assert "--source" in str(done.exception)
    (tmp_path / "bad.json").write_text("[1]")
    done = run(app, ["data", "periods", "--out", out, "--source", "demo", "--config", str(tmp_path / "bad.json")])
    assert "object of keys" in str(done.exception)
    assert not (tmp_path / "set.parquet").exists()
