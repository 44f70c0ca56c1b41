"""The few functions of `survey` that a notebook uses; `test_notebook` runs them all on a star of the demo."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import survey
from survey.config import load
from survey.errors import UsageError
from survey.stars.simulate import simulate_samples

HEAVY = ("astropy", "jax", "lightkurve", "matplotlib", "numba", "numpy", "pyarrow", "ray", "torch")


def test_importing_survey_loads_nothing_heavy() -> None:
    say = f"import sys, survey; print([name for name in {HEAVY} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_every_public_name_is_a_function_that_explains_itself() -> None:
    public = {name for name, value in vars(survey).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert public == set(survey.__all__)
    assert all(inspect.getdoc(getattr(survey, name)) for name in public)


def test_a_file_of_ones_own_is_searched_and_folded(tmp_path: Path) -> None:
    simulate_samples(tmp_path, ("csv",), 2)
    lc = survey.read_light_curve(tmp_path / "exoplanet_transit.csv", mission="tess", time_zero=2457000.0)
    config = load(overrides=["search.max_tces=1"])
    (tce,) = survey.find_tces(survey.detrend(lc, config=config), config=config)
    assert tce.period == pytest.approx(15.0, rel=2e-3)

    first, again = survey.detrend(lc), survey.detrend(lc, tces=[tce])
    inside = np.abs(survey.fold(again, tce)) < tce.duration_h / 48
    assert inside.sum() == pytest.approx(tce.n_transits * tce.duration_h * 3600 / lc.cadence_s, rel=0.1)
    # The second look keeps at least as much of the depth.
    assert again.flux[inside].mean() <= first.flux[np.abs(survey.fold(first, tce)) < tce.duration_h / 48].mean()

    views = survey.make_views(again, tce, spec="triage-201-61")
    assert (views.global_view.size, views.local_view.size) == (201, 61)
    assert int(np.argmin(views.global_view)) == pytest.approx(100, abs=2)


def test_a_bare_number_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(UsageError, match="TIC"):
        survey.fetch("441462736", source="demo")


def test_a_notebook_scores_as_a_sweep_does() -> None:
    row = survey.examine("TIC 900000001", source="demo")
    lc = survey.fetch("TIC 900000001", source="demo")
    (tce, *_) = survey.find_tces(survey.detrend(lc))
    again = survey.detrend(lc, tces=[tce])
    for name in ("triage", "vetting"):
        model = survey.load_model(name)
        views = survey.make_views(again, tce, spec=model.inputs.view_spec)
        found = survey.score_views(model, views, tce, star="TIC 900000001")
        assert found.probability[0] == pytest.approx(row["tces"][0][f"{name}_probability"], abs=0.05)
        assert found.score.shape == found.spread.shape == (1,)


def test_what_is_strange_in_a_light_curve_is_found(tmp_path: Path) -> None:
    simulate_samples(tmp_path, ("csv",), 5)
    lc = survey.read_light_curve(tmp_path / "stellar_flares.csv", mission="tess", time_zero=2457000.0)
    quiet = survey.read_light_curve(tmp_path / "normal_star.csv", mission="tess", time_zero=2457000.0)
    found = survey.find_anomalies(lc)
    assert found.score is not None
    calm = survey.find_anomalies(quiet).score
    assert calm is None or found.score > calm
