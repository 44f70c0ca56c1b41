"""What the service answers: the row of the command, a plot that is true to the light, sheets, lists."""

import io
import json
import threading
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import jsonschema
import numpy as np
import pydantic
import pytest
from PIL import Image

from serve import answers
from serve.answers import forms, plots
from serve.cases import AnomalyQuestion
from survey import schema
from survey.cli import main
from survey.config import Config
from survey.errors import UsageError
from survey.learning.anomaly import load_detector
from survey.learning.artifact import find_artifact
from survey.learning.shelf import shipped
from survey.runs.sheet import gather_evidence, write_sheet
from survey.runs.stages import STAGES, examine, rows_of
from survey.stars import simulate
from survey.stars.lists import read_targets
from survey.stars.sources import open_source
from survey.stars.targets import parse_target
from tests.runs.small_run import make_run, quick

ABOUT = {"source": "mirror", "request_id": "request-1", "seconds": 0.25}
KINDS = ("planets", "quiet", "truncated", "empty")
CONFIG = quick()
SETTINGS = ("--set", "search.period_max=6", "--set", "search.max_tces=3")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stars") / "mirror"
    simulate.write_archive(folder, kinds=KINDS)
    return folder


@pytest.fixture(scope="module")
def rows(mirror):
    """By kind, with their light."""
    source = open_source(f"mirror:{mirror}", Config())
    targets = read_targets(mirror / "targets.txt").targets
    return dict(zip(KINDS, (rows_of(examine(target, CONFIG, source))[0] for target in targets), strict=True))


@pytest.fixture(scope="module")
def detector():
    return load_detector(find_artifact("anomaly"))


def ask(row, *, plot=False, config=CONFIG):
    """A score answer, of which every number must be one, and all of it as it is described."""
    found = json.loads(answers.score_answer(row, config, plot=plot, **ABOUT), parse_constant=pytest.fail)
    forms.ScoreAnswer.model_validate(found, strict=True)
    jsonschema.Draft202012Validator(forms.row_schema()).validate(found["row"])
    return found


# Rows


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_is_the_one_that_the_command_prints(kind, rows, mirror, capsys):
    star = rows[kind]["target_id"]
    main(["score", star, "--source", f"mirror:{mirror}", "--json", *SETTINGS])
    assert ask(rows[kind])["row"] == json.loads(capsys.readouterr().out)[0]


def test_floats_have_all_their_digits_and_the_sources_are_said(rows):
    found = ask(rows["planets"])
    for mine, other in zip(found["row"]["tces"], rows["planets"]["tces"], strict=True):
        assert mine["period"] == other["period"]
    said = found["provenance"]
    assert said["science_hash"] == CONFIG.science_hash()
    assert said["models"] == rows["planets"]["models"]
    assert (said["source"], said["request_id"], said["seconds"]) == tuple(ABOUT.values())


def test_stars_without_a_result_answer_why(rows):
    for kind in ("truncated", "empty"):
        found = ask(rows[kind], plot=True)
        assert found["status"] in ("bad_file", "no_data", "too_short")
        assert found["error"]
        assert found["plot"] is None
        assert found["meanings"] == {}


def test_every_score_is_called_a_probability_or_a_rank(rows):
    said = ask(rows["planets"])["meanings"]
    assert said["vetting_probability"].startswith("Calibrated probability of a planet")
    assert "% are positive" in said["vetting_probability"]
    assert all(words.startswith("Ranking only") for name, words in said.items() if name.endswith("_score"))
    tce = rows["planets"]["tces"][0]
    assert {name for name in said if name in tce} == {
        name
        for name in tce
        if (name.endswith(("_probability", "_score")) or name in ("mes", "snr", "pink_snr", "sde", "fap"))
        and any(one[name] is not None for one in rows["planets"]["tces"])
    }


def test_the_schema_of_the_row_knows_every_field_and_refuses_others(rows):
    found = forms.row_schema()
    assert set(found["properties"]) == set(schema.KEPT.names)
    assert found["properties"]["radius"]["x-unit"] == "solRad"
    tce = found["properties"]["tces"]["items"]["properties"]
    assert set(tce) == {field.name for field in schema.SCORED_TCE_FIELDS}
    assert all(field["description"] for field in tce.values())
    row = ask(rows["quiet"])["row"]
    for change in ({"scatter_ppm": "12"}, {"more": 1}, {"status": "fine"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(row | change, found)


# Plots


def lengths(series):
    return {len(values) for values in series.values()}


def test_a_plot_has_arrays_of_equal_length_that_show_the_transits(rows):
    row, plot = rows["planets"], ask(rows["planets"], plot=True)["plot"]
    assert len(lengths(plot["light"])) == 1
    assert len(lengths(plot["spectrum"])) == 1
    assert plot["time_zero"] == row["time_zero"]
    assert plot["binned_min"] is None
    np.testing.assert_allclose(plot["light"]["time"], row["time"], atol=1e-6)
    np.testing.assert_allclose(plot["light"]["flux"], row["flux"], atol=1e-6)
    assert {signal["number"] for signal in plot["signals"]} == {tce["number"] for tce in row["tces"]}
    passed = [signal["is_candidate"] for signal in plot["signals"]]
    assert passed == sorted(passed, reverse=True)
    first = plot["signals"][0]
    close, depth = first["close"], 1e-6 * first["depth_ppm"]
    for series in (close["bins"], close["model"], first["wide"]):
        assert len(lengths(series)) == 1
    assert len(close["hours"]) == len(close["flux"])
    assert 1 - min(close["model"]["flux"]) == pytest.approx(depth, rel=0.1)
    assert 1 - min(close["bins"]["flux"]) == pytest.approx(depth, rel=0.3)
    peak = plot["spectrum"]["period"][int(np.argmax(plot["spectrum"]["power"]))]
    strongest = row["tces"][0]["period"]
    assert min(abs(peak / strongest - ratio) for ratio in (0.5, 1.0, 2.0)) < 0.02


def test_what_is_strange_is_what_the_row_says(rows):
    row = rows["planets"]
    found = ask(row, plot=True)["plot"]["anomalies"]
    assert found["score"] == row["anomaly_score"]
    names = ("begin", "end", "n_points", "votes")
    assert [[part[name] for name in names] for part in found["intervals"]] == [
        [part[name] for name in names] for part in row["anomalies"]
    ]
    inside = np.zeros(len(row["time"]), bool)
    for part in found["intervals"]:
        inside |= (row["time"] >= part["begin"]) & (row["time"] <= part["end"])
    assert len(found["points"]) == sum(part["n_points"] for part in found["intervals"])
    assert inside[found["points"]].all()


def test_without_a_model_nothing_is_called_strange(rows):
    config = CONFIG.model_copy(update={"score": CONFIG.score.model_copy(update={"anomaly": None})})
    assert ask(rows["planets"], plot=True, config=config)["plot"]["anomalies"] is None


def test_a_star_without_signals_has_light_and_spectrum(rows):
    row = {**rows["quiet"], "tces": []}
    plot = ask(row, plot=True)["plot"]
    assert plot["signals"] == []
    assert plot["light"]["time"]
    assert plot["spectrum"]["period"]


def test_what_is_not_known_of_the_trend_is_null(rows):
    trend = rows["planets"]["trend"].copy()
    trend[100:200] = np.nan
    light = ask({**rows["planets"], "trend": trend}, plot=True)["plot"]["light"]
    assert light["trend"][100:200] == [None] * 100
    assert None not in light["flux"]
    assert None not in light["trend"][:100]


def test_long_light_is_averaged_and_keeps_its_transits():
    time = np.concatenate([np.arange(0, 200, 2 / 1440), np.arange(300, 400, 2 / 1440)])
    flux = np.where(np.abs((time % 7.0) - 3.5) < 0.1, 0.99, 1.0)
    trend = np.where(time < 10, np.nan, 1.0)
    row = {"time": time, "flux": flux, "trend": trend, "time_zero": 2457000.0, "cadence_s": 120.0}
    plot = plots.plot_light(row, None)
    light = {name: np.array(values, float) for name, values in plot["light"].items()}
    assert plots.MOST_POINTS / 2 < len(light["time"]) <= plots.MOST_POINTS
    assert np.diff(light["time"]).min() == pytest.approx(plot["binned_min"] / 1440, rel=0.3)
    assert not ((light["time"] > 200) & (light["time"] < 300)).any(), "nothing is drawn into a gap"
    assert np.isnan(light["trend"][light["time"] < 9.9]).all()
    assert np.nanmin(light["trend"]) == 1.0
    dips = light["flux"][np.abs((light["time"] % 7.0) - 3.5) < 0.05]
    assert len(dips) > 100
    np.testing.assert_allclose(dips, 0.99, atol=1e-7)
    mixed = (light["flux"] > 0.990001) & (light["flux"] < 0.999999)
    assert mixed.mean() < 0.01, "only at the edges of transits"


def test_flagged_points_are_places_in_the_averaged_light(rows, detector):
    row = rows["planets"]
    copies = 1 + 2 * plots.MOST_POINTS // len(row["time"])
    days = np.ceil(row["baseline_d"]) + 1
    time = np.concatenate([row["time"] + days * k for k in range(copies)])
    many = {name: np.tile(row[name], copies) for name in ("flux", "flux_err", "trend")}
    found = json.loads(
        answers.anomaly_answer({**row, **many, "time": time}, detector, CONFIG, AnomalyQuestion("r"), **ABOUT)
    )
    plot = found["plot"]
    assert plot["binned_min"] is not None
    points = np.array(plot["light"]["time"])[plot["anomalies"]["points"]]
    near = np.searchsorted(found["flagged"]["time"], points)
    beside = np.array([-np.inf, *found["flagged"]["time"], np.inf])
    gaps = np.minimum(np.abs(beside[near] - points), np.abs(beside[near + 1] - points))
    assert gaps.max() <= plot["binned_min"] / 1440


# Sheets


def test_the_sheet_is_the_page_that_the_command_draws(rows, tmp_path):
    row = rows["planets"]
    content = answers.sheet_png(row, CONFIG, None)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    image = Image.open(io.BytesIO(content))
    assert image.size == (2104, 1488)
    assert np.asarray(image.convert("L")).std() > 10
    passed = [tce for tce in row["tces"] if tce["is_candidate"]] or row["tces"]
    strongest = max(passed, key=lambda tce: tce["mes"])
    page, _ = write_sheet(gather_evidence(row, strongest, CONFIG), tmp_path / "sheet.png", ["png"])
    assert content == page.read_bytes()


def test_a_sheet_of_what_is_not_there_is_refused(rows):
    with pytest.raises(UsageError, match="has no TCE 77"):
        answers.sheet_png(rows["planets"], CONFIG, 77)
    with pytest.raises(UsageError, match="nothing to draw"):
        answers.sheet_png(rows["empty"], CONFIG, None)


@pytest.mark.verify
def test_sheets_drawn_at_once_are_those_drawn_alone_and_leave_nothing_behind(rows):
    row = rows["planets"]
    numbers = [None, 1, 2]
    alone = [answers.sheet_png(row, CONFIG, number) for number in numbers]
    drawn = {}

    def draw(place):
        drawn[place] = answers.sheet_png(row, CONFIG, numbers[place])

    threads = [threading.Thread(target=draw, args=(place,)) for place in range(len(numbers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [drawn[place] for place in range(len(numbers))] == alone
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()
    tracemalloc.start()
    held = []
    for _ in range(6):
        answers.sheet_png(row, CONFIG, None)
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # Other threads keep something now and then; what a sheet kept would come each time.
    assert min(later - before for before, later in pairwise(held[1:])) < 30_000, held


# Anomalies


def test_anomalies_are_those_that_the_command_prints(rows, mirror, detector, capsys):
    row = detrended(rows["planets"], mirror)
    question = AnomalyQuestion("r", contamination=0.1, vote_threshold=0.5)
    found = json.loads(answers.anomaly_answer(row, detector, CONFIG, question, **ABOUT), parse_constant=pytest.fail)
    forms.AnomalyAnswer.model_validate(found, strict=True)
    words = ["--contamination", "0.1", "--vote-threshold", "0.5"]
    assert main(["anomalies", row["target_id"], "--source", f"mirror:{mirror}", "--json", *words]) == 0
    assert found["row"] == json.loads(capsys.readouterr().out)[0]
    flagged = found["flagged"]
    assert len(flagged["time"]) == len(flagged["flux"]) == found["row"]["n_flagged_points"] > 0
    np.testing.assert_allclose(np.array(found["plot"]["light"]["time"])[found["plot"]["anomalies"]["points"]],
                               flagged["time"], atol=1e-6)  # fmt: skip
    assert found["provenance"]["models"] == [{"name": "anomaly", "id": detector.id}]


def detrended(row, mirror):
    source = open_source(f"mirror:{mirror}", Config())
    return rows_of(examine(parse_target(row["target_id"]), CONFIG, source, STAGES[:2]))[0]


def test_a_star_can_be_its_own_model_and_a_window_needs_one_that_knows_it(rows, mirror, detector):
    row = detrended(rows["planets"], mirror)
    question = AnomalyQuestion("r", model="own", window=40)
    found = json.loads(answers.anomaly_answer(row, None, CONFIG, question, **ABOUT))
    assert found["row"]["model"] == "own"
    assert found["row"]["n_windows"] > 100
    assert found["provenance"]["models"] == []
    with pytest.raises(UsageError, match='"model": "own"'):
        answers.anomaly_answer(row, detector, CONFIG, replace(question, model="anomaly"), **ABOUT)


def test_a_star_without_light_has_no_anomalies(rows, detector):
    found = json.loads(answers.anomaly_answer(rows["empty"], detector, CONFIG, AnomalyQuestion("r"), **ABOUT))
    forms.AnomalyAnswer.model_validate(found, strict=True)
    assert found["row"] == {name: rows["empty"][name] for name in ("target_id", "status", "error")}
    assert found["plot"] is None


# Lists


def test_models_describe_themselves_and_not_where_they_are():
    trained = answers.describe_model(find_artifact("anomaly")) | {"name": "detector-0123abcd"}
    content = answers.models_answer([*map(answers.describe_model, shipped().values()), trained])
    found = forms.ModelsAnswer.model_validate_json(content).models
    assert [model.name for model in found] == [*shipped(), "detector-0123abcd"]
    by_name = {model.name: model for model in found}
    assert by_name["vetting"].seen_by == ["tess"]
    assert any("Labels are of 2019" in words for words in by_name["vetting"].limits)
    assert all(model.limits and model.id for model in found)
    assert str(find_artifact("anomaly").parent).encode() not in content


def test_the_candidates_of_a_run_are_ranked_and_said_of_what(mirror, tmp_path):
    run = make_run(tmp_path / "run", mirror)
    found = json.loads(answers.candidates_answer(tmp_path / "run", 1), parse_constant=pytest.fail)
    forms.CandidatesAnswer.model_validate(found, strict=True)
    assert [row["rank"] for row in found["candidates"]] == [1]
    about = found["run"]
    assert about["name"] == "run"
    assert sum(about["counts"].values()) == about["targets"] == len(KINDS)
    assert about["signals"] >= about["passed"] >= 1
    assert about["created_at"] == run.record["created_at"]
    with pytest.raises(UsageError, match="no run in"):
        answers.candidates_answer(tmp_path / "nowhere", 5)


# Requests


STAR = {"target": "TIC 1"}


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        (forms.ScoreRequest, {}),
        (forms.ScoreRequest, {"target": ""}),
        (forms.ScoreRequest, {"target": "T" * 65}),
        (forms.ScoreRequest, {"target": 1}),
        (forms.ScoreRequest, STAR | {"more": 1}),
        (forms.ScoreRequest, STAR | {"observations": [1] * 201}),
        (forms.ScoreRequest, STAR | {"observations": [True]}),
        (forms.ScoreRequest, STAR | {"observations": ["1"]}),
        (forms.ScoreRequest, STAR | {"observations": [10_001]}),
        (forms.ScoreRequest, STAR | {"period_min": 0}),
        (forms.ScoreRequest, STAR | {"period_min": True}),
        (forms.ScoreRequest, STAR | {"period_max": 10_001.0}),
        (forms.ScoreRequest, STAR | {"period_max": float("inf")}),
        (forms.ScoreRequest, STAR | {"period_max": float("nan")}),
        (forms.ScoreRequest, STAR | {"period_min": 3.0, "period_max": 3.0}),
        (forms.ScoreRequest, STAR | {"wait": 61}),
        (forms.ScoreRequest, STAR | {"tce": 0}),
        (forms.ScoreRequest, STAR | {"tce": 101}),
        (forms.ScoreRequest, STAR | {"plot": 1}),
        (forms.ScoreRequest, STAR | {"format": "pdf"}),
        (forms.AnomalyRequest, STAR | {"contamination": 0.6}),
        (forms.AnomalyRequest, STAR | {"contamination": 0}),
        (forms.AnomalyRequest, STAR | {"window": 9}),
        (forms.AnomalyRequest, STAR | {"window": 50.5}),
        (forms.AnomalyRequest, STAR | {"vote_threshold": 0.0}),
        (forms.AnomalyRequest, STAR | {"model": "../weights"}),
        (forms.AnomalyRequest, STAR | {"model": "detector-0123abcd\n"}),
        (forms.TrainRequest, {"simulated": 1001}),
        (forms.TrainRequest, {"simulated": 0}),
    ],
)
def test_requests_out_of_bounds_are_refused(form, asked):
    with pytest.raises(pydantic.ValidationError):
        form.model_validate(asked)


def test_requests_within_bounds_are_read_from_json_and_from_texts():
    asked = {"target": "TIC 1", "observations": [0, 16], "period_min": 1, "period_max": 2.5, "wait": 0, "tce": 100}
    found = forms.ScoreRequest.model_validate_json(json.dumps(asked))
    assert found == forms.ScoreRequest.model_validate(asked)
    assert (found.period_min, found.format, found.plot) == (1.0, "json", False)
    texts = {"period_min": "0.5", "plot": "true", "tce": "2"}
    assert forms.ScoreSettings.model_validate_strings(texts).plot is True
    with pytest.raises(pydantic.ValidationError):
        forms.ScoreSettings.model_validate_strings({"period_min": "nan"})
    assert forms.AnomalyRequest(target="TIC 1", model="detector-0123abcd").window is None
    assert forms.TrainRequest().simulated == 100


# Real stars


@pytest.mark.verify
@pytest.mark.parametrize("star", ["TIC 38846515", "KIC 11442793"])
def test_a_real_star_answers_as_the_command_does_and_is_small(star, archive, capsys):
    source = open_source(f"mirror:{archive}", Config())
    row = rows_of(examine(parse_target(star), Config(), source))[0]
    found = ask(row, plot=True, config=Config())
    main(["score", star, "--source", f"mirror:{archive}", "--json"])
    assert found["row"] == json.loads(capsys.readouterr().out)[0]
    plot = found["plot"]
    assert len(answers.to_bytes(found)) < 2_000_000
    assert len(plot["light"]["time"]) <= plots.MOST_POINTS
    assert plot["anomalies"]["score"] == row["anomaly_score"]
    assert 1 <= len(plot["signals"]) <= plots.MOST_SIGNALS
    first = plot["signals"][0]
    assert 1 - min(first["close"]["bins"]["flux"]) == pytest.approx(1e-6 * first["depth_ppm"], rel=0.2)
    assert answers.sheet_png(row, Config(), first["number"]).startswith(b"\x89PNG")
