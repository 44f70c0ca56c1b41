"""`survey anomalies` and `survey train anomaly`, as they are typed."""

import csv
import json

import numpy as np
import pytest

from survey.cli import main
from survey.stars.simulate import simulate_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    simulate_samples(folder, ("csv", "fits"), 5)
    return folder


def answer(capsys, *arguments):
    code = main(["anomalies", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_events_of_the_samples_are_found_in_either_format(samples, capsys):
    code, rows = answer(
        capsys,
        *(samples / f"{name}.csv" for name in ("normal_star", "exoplanet_transit", "stellar_flares")),
        samples / "exoplanet_transit.fits",
    )
    quiet, transits, flares, again = rows
    assert code == 0
    assert quiet["n_flagged_points"] < 0.01 * quiet["n_points"]
    dips = [part["peak"] for part in transits["intervals"] if part["kind"] == "dip" and part["sigmas"] < -8]
    assert len(dips) >= 5
    assert all(part["end"] - part["begin"] < 0.5 for part in transits["intervals"]), "as long as a transit, no window"
    np.testing.assert_allclose(np.diff(dips) % 15.0 % 14.9, 0, atol=0.15)
    assert any(part["kind"] == "brightening" for part in flares["intervals"])
    assert flares["score"] > quiet["score"]
    assert again["n_flagged_points"] == pytest.approx(transits["n_flagged_points"], rel=0.1)
    assert {row["status"] for row in rows} == {"ok"}


def test_the_red_points_are_drawn(samples, tmp_path, capsys):
    path = tmp_path / "flares.png"
    assert main(["anomalies", str(samples / "stellar_flares.csv"), "--plot", str(path)]) == 0
    assert "brightening" in capsys.readouterr().out
    from matplotlib.image import imread

    red, green, blue = np.moveaxis(imread(path)[..., :3], -1, 0)
    assert ((red > 0.7) & (green < 0.3) & (blue < 0.3)).sum() > 100


def test_thresholds_are_options_and_a_window_needs_a_model_of_its_own(samples, capsys):
    file = samples / "stellar_flares.csv"
    _, few = answer(capsys, file, "--contamination", "0.005", "--vote-threshold", "0.9")
    _, many = answer(capsys, file, "--contamination", "0.2")
    assert few[0]["n_flagged_points"] < many[0]["n_flagged_points"]
    assert few[0]["score"] == many[0]["score"]
    code = main(["anomalies", str(file), "--window", "80"])
    assert code == 2
    assert "--model own" in capsys.readouterr().err
    _, own = answer(capsys, file, "--model", "own", "--window", "80")
    assert own[0]["model"] == "own"
    assert own[0]["n_windows"] < many[0]["n_windows"]


@pytest.mark.parametrize(
    ("content", "status"),
    [("", "bad_file"), ("time,flux\n1,1\n", "too_short"), ("time,flux\n" + "1,nan\n" * 300, "")],
)
def test_files_without_light_get_no_score(tmp_path, capsys, content, status):
    path = tmp_path / "light.csv"
    path.write_text(content)
    _, rows = answer(capsys, path)
    assert rows[0]["status"] == status or (not status and rows[0]["status"] in ("bad_file", "too_short", "no_data"))
    assert "score" not in rows[0]


def test_what_cannot_be_done_is_said(samples, tmp_path, capsys):
    file = str(samples / "normal_star.csv")
    for arguments, words in (
        (["anomalies", file, file, "--plot", "a.png"], "one star at a time"),
        (["anomalies", file, "--model", "nowhere"], "no model nowhere"),
        (["anomalies", file, "--model", "triage"], "kind"),
        (["evaluate", "anomaly", "--set", file], "looks at light curves, not at labelled rows"),
        (["train", "anomaly", "--out", str(tmp_path / "m")], "--simulated"),
        (["train", "anomaly", "--set", file, "--simulated", "3", "--out", str(tmp_path / "m")], "--simulated"),
        (["train", "anomaly", "--set", file + ".no", "--out", str(tmp_path / "m")], "no file"),
        (["train", "anomaly", "--simulated", "1", "--set", "anomaly.step=90", "--out", str(tmp_path / "m")], "too few"),
    ):
        assert main(arguments) == 2, arguments
        assert words in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_detector_is_trained_from_simulated_stars_and_from_files_and_used(samples, tmp_path, capsys):
    fast = ["--set", "anomaly.trees=20", "--set", "anomaly.windows=300"]
    out = tmp_path / "simulated"
    assert main(["train", "anomaly", "--simulated", "6", "--window", "40", *fast, "--out", str(out)]) == 0
    assert "average precision" in capsys.readouterr().out
    assert json.loads((out / "model.json").read_text())["simulated"].startswith("6 stars")
    _, rows = answer(capsys, samples / "complex_system.csv", "--model", out, "--window", "40")
    assert rows[0]["n_flagged_points"] > 0
    own = tmp_path / "own"
    files = [word for name in ("normal_star", "exoplanet_transit") for word in ("--set", f"{samples / name}.csv")]
    assert main(["train", "anomaly", *files, *fast, "--contamination", "0.1", "--out", str(own)]) == 0
    settings = json.loads((own / "model.json").read_text())["training"]["settings"]
    assert settings["contamination"] == 0.1
    assert "the user's own" in (own / "CARD.md").read_text()


@pytest.mark.verify
def test_real_binaries_and_restless_stars_score_above_quiet_ones(real_data, capsys):
    quiet = {"TIC 150065151", "TIC 3957254", "TIC 200319843", "KIC 4265377"}
    loud = {"TIC 117544915", "TIC 219423316", "TIC 441420236", "TIC 404768847", "TIC 31740375", "TIC 92873799"}
    prefixes = {"tess_spoc_2min": "TIC", "kepler_llc": "KIC"}
    with (real_data / "MANIFEST.csv").open() as file:
        files = {
            f"{prefixes[row['kind']]} {row['target_id']}": real_data / row["path"]
            for row in csv.DictReader(file)
            if row["kind"] in prefixes
        }
    code, rows = answer(capsys, *(files[star] for star in sorted(quiet | loud)))
    assert code == 0
    scores = {row["target_id"]: row["score"] for row in rows}
    assert np.median([scores[star] for star in loud]) > max(scores[star] for star in quiet)
    assert all(row["seen_in_training"] == (row["target_id"] in quiet) for row in rows)
    assert all(row["n_flagged_points"] < 0.05 * row["n_points"] for row in rows if row["target_id"] in quiet)
