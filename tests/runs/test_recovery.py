"""Planets that are put into stars, and what a run finds of them."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.config import InjectConfig, load
from survey.errors import RunRefused, UsageError
from survey.runs import recovery, store
from survey.runs.injection import draw_planet, inject_planet
from survey.runs.stages import STAGES, examine
from survey.stars.lists import read_targets
from survey.stars.simulate import write_archive
from survey.stars.sources import Source, fetch, open_source
from survey.stars.targets import Target
from tests.runs.test_store import hashes

CELLS = InjectConfig(periods=(1.0, 2.0, 4.0), radii=(1.0, 4.0, 12.0))
PLAIN = load(overrides=["pixels.use=false"])
INJECTED = PLAIN.model_copy(update={"inject": CELLS})


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, list[Target]]:
    folder = tmp_path_factory.mktemp("quiet")
    write_archive(folder, kinds=["quiet"] * 3)
    return open_source(f"mirror:{folder}", PLAIN), list(read_targets(folder / "targets.txt").targets)


def test_a_planet_follows_from_the_star_and_the_seed() -> None:
    first = draw_planet("TIC 1", 0.9, 4.5, CELLS)
    assert first == draw_planet("TIC 1", 0.9, 4.5, CELLS)
    assert first != draw_planet("TIC 2", 0.9, 4.5, CELLS)
    assert first != draw_planet("TIC 1", 0.9, 4.5, CELLS.model_copy(update={"seed": 2}))


def test_planets_fill_the_cells_evenly() -> None:
    planets = [draw_planet(f"TIC {number}", None, None, CELLS) for number in range(2000)]
    assert all(planet is not None for planet in planets)
    counts, *_ = np.histogram2d(
        [planet.period for planet in planets if planet],
        [planet.radius for planet in planets if planet],
        [CELLS.periods, CELLS.radii],
    )
    assert counts.sum() == 2000
    assert counts.min() > 430
    assert counts.max() < 570


def test_no_orbit_lies_inside_a_giant() -> None:
    planets = [draw_planet(f"TIC {number}", 30.0, 1.5, CELLS) for number in range(20)]
    assert planets == [None] * 20


def test_a_planet_is_in_the_light_where_it_is_said_to_be(quiet: tuple[Source, list[Target]]) -> None:
    source, [target, *_] = quiet
    lc = fetch(target, source, PLAIN)
    planet = draw_planet(lc.target_id, lc.star.radius, lc.star.logg, CELLS)
    assert planet is not None
    made = inject_planet(lc, CELLS)
    lost = 1 - made.flux / lc.flux
    away = np.abs((lc.time - planet.epoch + planet.period / 2) % planet.period - planet.period / 2)
    half, exposure = planet.duration / 2, lc.cadence_s / 86_400
    assert np.abs(lost[away > half + exposure]).max() < 1e-6
    assert lost[away < 0.2 * half].mean() == pytest.approx(1.1 * planet.ratio**2, rel=0.25)
    assert (lost[away < half - exposure] > 0).all()
    assert made.time is lc.time
    assert "injected: a planet of" in made.notes[-1]


def run_of(root: Path, quiet: tuple[Source, list[Target]]) -> store.Run:
    source, targets = quiet
    with store.open_run(root, INJECTED, targets) as run:
        for shard, table in store.todo(run).items():
            rows = table
            for stage in STAGES:
                rows = stage.make(INJECTED, source)(rows)
            store.commit(run, shard, rows)
        store.merge(run)
        recovery.write_recovery(run)
    return run


def test_a_run_says_what_it_found(quiet: tuple[Source, list[Target]], tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", quiet)
    stars = pq.read_table(tmp_path / "run" / recovery.STARS)
    cells = pq.read_table(tmp_path / "run" / recovery.CELLS)
    assert stars.schema.equals(schema.RECOVERY)
    assert cells.schema.equals(schema.RECOVERY_CELL)
    assert sum(cells.column("injected").to_pylist()) == len(stars) == 3
    assert sum(cells.column("found").to_pylist()) == stars.column("verdict").to_pylist().count("found") > 0
    for row in stars.to_pylist():
        assert row["verdict"] == "found" or row["snr"] < 12, row
        if row["verdict"] == "found":
            assert row["found_period"] == pytest.approx(row["period"], rel=1e-3)
            assert row["mes"] == pytest.approx(row["snr"], rel=0.4)
    assert pyarrow.csv.read_csv(tmp_path / "run" / recovery.TABLE).num_rows == 4
    assert (tmp_path / "run" / recovery.FIGURE).read_bytes().startswith(b"\x89PNG")

    before = hashes(tmp_path / "run")
    recovery.write_recovery(run)
    assert hashes(tmp_path / "run") == before


def test_a_star_is_examined_as_it_is_swept(quiet: tuple[Source, list[Target]]) -> None:
    source, [target, *_] = quiet
    [row] = examine(target, INJECTED, source).to_pylist()
    [plain] = examine(target, PLAIN, source).to_pylist()
    assert row["notes"] != plain["notes"]
    assert row["flux"] != plain["flux"]
    assert row["time"] == plain["time"]


def test_an_injection_run_is_no_sweep(quiet: tuple[Source, list[Target]], tmp_path: Path) -> None:
    assert INJECTED.science_hash() != PLAIN.science_hash()
    assert "inject" not in PLAIN.science()
    _, targets = quiet
    with store.open_run(tmp_path, PLAIN, targets) as run, pytest.raises(UsageError, match="survey inject"):
        recovery.write_recovery(run)
    with pytest.raises(RunRefused, match="inject"), store.open_run(tmp_path, INJECTED, targets):
        pass


def test_pixels_and_senseless_cells_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pixels\.use=false"):
        load(overrides=["inject.seed=1"])
    for borders in ("[1]", "[2, 1]", "[0, 1]"):
        with pytest.raises(UsageError, match="borders of cells"):
            load(overrides=["pixels.use=false", f"inject.radii={borders}"])


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1)]
)
def test_intervals_are_wilsons(hits: int, trials: int, low: float, high: float) -> None:
    assert recovery.binomial_interval(hits, trials) == pytest.approx((low, high), abs=1e-3)


def test_empty_cells_have_no_share() -> None:
    cells = recovery.count_cells(schema.RECOVERY.empty_table(), CELLS).to_pylist()
    assert [cell["injected"] for cell in cells] == [0] * 4
    assert all(cell["found_share"] is None and cell["candidate_high"] is None for cell in cells)
