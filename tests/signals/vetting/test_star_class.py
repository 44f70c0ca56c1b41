"""Classes of stars: each rule, its order, simulated stars of every kind, and the known ones of the archive."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from survey import schema
from survey.config import ClassConfig, Config
from survey.runs.stages import STAGES, rows_of, targets_table
from survey.signals.search import Tce
from survey.signals.variability import Variability, measure_variability
from survey.signals.vetting import Check, classify, judge
from survey.signals.vetting.star_class import NOTES, RULES
from survey.stars import inject
from survey.stars.lightcurve import Star
from survey.stars.simulate import write_archive
from survey.stars.sources import open_source

SUN = Star(teff=5772.0, radius=1.0, logg=4.44)
QUIET = Variability(variability_period=4.2, variability_amplitude_ppm=200.0, variability_power=0.01, n_flares=0)
WAVE = Variability(
    variability_period=4.2,
    variability_amplitude_ppm=12_000.0,
    variability_power=0.7,
    variability_harmonic=0.1,
    variability_contrast=60.0,
    variability_coherence=0.97,
    variability_cycles=6.4,
    variability_low_share=0.48,
    variability_asymmetry=0.2,
    variability_rest_power=0.03,
    noise_burst=1.4,
    noise_burst_time=1333.0,
    n_flares=0,
)
CONTACT = replace(
    WAVE,
    variability_period=0.37,
    variability_amplitude_ppm=220_000.0,
    variability_coherence=0.999,
    variability_low_share=0.45,
    variability_asymmetry=0.03,
    variability_second_depth=0.93,
    variability_second_phase=0.5,
    variability_cycles=73.0,
)
ECLIPSES = replace(
    CONTACT, variability_period=2.9, variability_low_share=0.1, variability_second_depth=0.6, variability_cycles=9.4
)
SIGNAL = Tce(
    number=1,
    period=3.3093,
    period_err=1e-4,
    epoch=1326.2,
    epoch_err=1e-3,
    duration_h=2.4,
    depth_ppm=4100.0,
    depth_err_ppm=80.0,
    snr=25.0,
    mes=23.0,
    pink_snr=23.5,
    fap=1e-60,
    sde=12.0,
    max_ses=9.0,
    rest_mes=0.93,
    box_over_sine=3.2,
    inverted_mes=5.0,
    n_transits=8,
    n_open_periods=None,
    scatter_beta=1.05,
)
EVENT = replace(SIGNAL, period=None, period_err=None, n_transits=1, rest_mes=None, box_over_sine=None)


def flaw(name: str, value: float = 900.0, score: float = 23.4) -> Check:
    return Check(name, value, 40.0, "ppm", score, 5.0, passed=False)


def class_of(
    variability: Variability = QUIET, signals: dict[Tce, tuple[Check, ...]] | None = None, star: Star = SUN
) -> tuple[str | None, str]:
    """The class and all of its evidence in one line; signals: each with the checks that it fails."""
    config = Config()
    signals = signals or {}
    checks = list(signals.values())
    verdicts = [judge(of_signal, config.gate) for of_signal in checks]
    name, evidence = classify(list(signals), checks, verdicts, variability, star, config.classes)
    return name, "; ".join(evidence)


def test_every_class_has_a_rule() -> None:
    assert {name for name, _ in RULES} == set(schema.STAR_CLASSES)
    assert set(NOTES) <= set(schema.STAR_CLASSES)


def test_a_quiet_star_has_no_class() -> None:
    assert class_of() == (None, "")
    assert class_of(Variability()) == (None, "")
    assert class_of(QUIET, {replace(SIGNAL, mes=7.3): (flaw("chance"),)}) == (None, "")


@pytest.mark.parametrize(
    ("expected", "variability", "signals", "words"),
    [
        ("planet_candidate", QUIET, {SIGNAL: ()}, "4,100 ppm deep every 3.3093 d, 8 times, MES 23"),
        ("planet_candidate", WAVE, {SIGNAL: ()}, "the star varies by 12,000 ppm every 4.2 d"),
        ("planet_candidate", replace(WAVE, n_flares=3, flare_amplitude_ppm=8e3), {SIGNAL: ()}, "3 flares"),
        ("eclipsing_binary", QUIET, {SIGNAL: (flaw("secondary_eclipse"),)}, "second eclipse of 900 ppm, 23 sigma"),
        ("eclipsing_binary", WAVE, {SIGNAL: (flaw("odd_even_differ", -900.0),)}, "differ by 900 ppm, 23 sigma"),
        ("eclipsing_binary", QUIET, {EVENT: (flaw("single_transit"), flaw("too_large", 32.0))}, "32 Earth radii"),
        ("eclipsing_binary", ECLIPSES, {}, "low for 10% of it: eclipses; a second minimum 60% as deep"),
        ("contact_binary", CONTACT, {}, "varies by 220,000 ppm every 0.37 d"),
        ("contact_binary", CONTACT, {replace(SIGNAL, period=0.185): ()}, "second minimum 93% as deep, at phase 0.50"),
        ("planet_candidate", CONTACT, {SIGNAL: ()}, "passes every check"),
        ("systematics", replace(WAVE, variability_scatter_dex=0.32), {}, "scatters by 0.32 dex"),
        ("pulsation", replace(WAVE, variability_period=0.05), {}, "faster than the star can turn (0.12 d)"),
        ("pulsation", replace(WAVE, variability_amplitude_ppm=3e5), {}, "larger than spots can make"),
        ("rotation", WAVE, {}, "a sine explains 70% of the variance"),
        ("rotation", replace(WAVE, variability_power=0.12), {}, "6 times in the longest stretch"),
        ("rotation", WAVE, {SIGNAL: (flaw("at_rotation"), flaw("secondary_eclipse"))}, "every 4.2 d"),
        ("flare", replace(QUIET, n_flares=4, flare_amplitude_ppm=31_234.0), {}, "4 flares, up to 31,200 ppm"),
        ("single_event", QUIET, {EVENT: (flaw("single_transit"),)}, "one dip 4,100 ppm deep, 2.4 h long, MES 23"),
        ("systematics", replace(QUIET, noise_burst=13.0, noise_burst_time=1326.0), {}, "13 times the usual about day"),
        ("systematics", QUIET, {SIGNAL: (flaw("one_event"), flaw("gappy"))}, "one event, gappy"),
    ],
)
def test_each_rule(expected: str, variability: Variability, signals: dict[Tce, tuple[Check, ...]], words: str) -> None:
    name, evidence = class_of(variability, signals)
    assert name == expected
    assert words in evidence


@pytest.mark.parametrize(
    ("variability", "star", "expected"),
    [
        (replace(WAVE, variability_coherence=0.6, variability_period=0.37), SUN, "rotation"),
        (replace(CONTACT, variability_coherence=0.8, variability_amplitude_ppm=2.5e4), SUN, "rotation"),
        (replace(CONTACT, variability_amplitude_ppm=1.2e4), SUN, "rotation"),
        (replace(CONTACT, variability_period=3.0, variability_amplitude_ppm=2.5e4), SUN, "rotation"),
        (replace(CONTACT, variability_asymmetry=0.4, variability_amplitude_ppm=2.5e4), SUN, "rotation"),
        (replace(CONTACT, variability_second_phase=0.62, variability_amplitude_ppm=2.5e4), SUN, "rotation"),
        (replace(ECLIPSES, variability_amplitude_ppm=1.2e4), SUN, None),
        (replace(ECLIPSES, variability_amplitude_ppm=4e4), replace(SUN, radius=2.0), "eclipsing_binary"),
        (replace(ECLIPSES, variability_amplitude_ppm=6e4), replace(SUN, radius=0.2), None),
        (replace(ECLIPSES, variability_amplitude_ppm=6e4), Star(), "eclipsing_binary"),
        (replace(WAVE, variability_scatter_dex=0.32, variability_amplitude_ppm=6e3), SUN, "rotation"),
        (replace(WAVE, variability_period=0.3), SUN, "rotation"),
        (replace(WAVE, variability_period=0.3), replace(SUN, radius=3.1, logg=3.58), "pulsation"),
        (replace(WAVE, variability_period=0.2), Star(), "pulsation"),
        (replace(WAVE, variability_period=0.2), Star(teff=3000.0), "rotation"),
        (WAVE, Star(teff=9500.0), "pulsation"),
        (replace(WAVE, variability_period=0.8, variability_rest_power=0.2), Star(teff=6900.0), "pulsation"),
        (replace(WAVE, variability_period=0.8, variability_rest_power=0.2), SUN, "rotation"),
        (replace(WAVE, variability_period=0.8, variability_rest_power=0.2, n_flares=2), Star(), "rotation"),
        (replace(WAVE, variability_amplitude_ppm=2500.0), SUN, None),
        (replace(WAVE, variability_power=0.3, variability_contrast=8.0), SUN, None),
        (replace(WAVE, variability_contrast=8.0), SUN, "rotation"),
        (replace(QUIET, n_flares=1, flare_amplitude_ppm=9e4), SUN, None),
    ],
)
def test_where_rules_end(variability: Variability, star: Star, expected: str | None) -> None:
    assert class_of(variability, star=star)[0] == expected


def test_alternate_minima_of_a_wave_tell_two_stars_only_where_it_is_a_clock() -> None:
    checks = (flaw("sine_like"), flaw("odd_even_differ"))
    clock = replace(WAVE, variability_coherence=0.995, variability_asymmetry=0.02)
    assert class_of(clock, {SIGNAL: checks})[0] == "eclipsing_binary"
    assert class_of(replace(clock, variability_coherence=0.8), {SIGNAL: checks})[0] == "rotation"
    assert class_of(clock, {SIGNAL: (flaw("sine_like"), flaw("odd_even_differ", score=6.0))})[0] == "rotation"


def test_limits_are_configurable() -> None:
    def name(limits: ClassConfig) -> str | None:
        return classify([], [], [], WAVE, SUN, limits)[0]

    assert name(ClassConfig()) == "rotation"
    assert name(ClassConfig(rotation_amplitude_ppm=20_000)) is None


@pytest.mark.parametrize("period", [0.31, 0.62, 1.1])
def test_a_contact_binary_is_seen_without_any_signal(period: float) -> None:
    """The search begins at half a day, and detrending takes slow eclipses for the star's own variation."""
    time = 1500 + np.arange(0, 27, 2 / 1440)
    orbit = 2 * np.pi * (time - 1500.2) / period
    flux = 1 - 0.12 * np.cos(2 * orbit) - 0.02 * np.cos(orbit) - 0.02 * np.cos(4 * orbit)
    flux += 1e-3 * np.random.default_rng(1).standard_normal(len(time))
    found = measure_variability(time, flux.astype(np.float32), np.full(len(time), 1e-3, np.float32), np.zeros(1, int))
    name, evidence = class_of(found)
    assert name == "contact_binary"
    assert f"every {period:.4g} d" in evidence


@pytest.mark.parametrize(("period", "duration"), [(2.2, 0.35), (5.1, 0.9)])
def test_slow_eclipses_are_seen_without_any_signal(period: float, duration: float) -> None:
    time = 1500 + np.arange(0, 27, 2 / 1440)
    flux = inject.eclipsing_binary(
        time, period=period, epoch=1501.0, duration=duration, depth=0.2, secondary_depth=0.06
    )
    flux += 1e-3 * np.random.default_rng(1).standard_normal(len(time))
    found = measure_variability(time, flux.astype(np.float32), np.full(len(time), 1e-3, np.float32), np.zeros(1, int))
    assert class_of(found)[0] == "eclipsing_binary"


def _classified(source_of: Path) -> dict[str, dict[str, Any]]:
    """The described rows of every star of a mirror, by name, without pixels."""
    config = Config()
    config = config.model_copy(update={"pixels": config.pixels.model_copy(update={"use": False})})
    source = open_source(f"mirror:{source_of}", config)
    table = targets_table({star.target_id: star for star in source.targets(None)}.values())
    for stage in STAGES:
        table = stage.make(config, source)(table)
    return {row["target_id"]: row for row in rows_of(table) if row["status"] == "ok"}


SIMULATED: dict[str, set[str | None]] = {
    "eclipsing_binary": {"eclipsing_binary"},
    "equal_binary": {"eclipsing_binary"},
    "rotation": {"rotation"},
    "kepler_rotation": {"rotation"},
    "flares": {"rotation", "flare"},
    "quiet": {None},
    "kepler_quiet": {None},
    "planet": {"planet_candidate"},
}


def test_simulated_stars_land_in_their_class(tmp_path: Path) -> None:
    kinds = ["eclipsing_binary", "equal_binary", "rotation", "flares", "quiet", "planet"] * 3
    write_archive(tmp_path, seed=23, kinds=[*kinds, "kepler_rotation", "kepler_quiet"])
    with (tmp_path / "stars.csv").open() as file:
        kind_of = {star["target_id"]: star["kind"] for star in csv.DictReader(file)}
    rows = _classified(tmp_path)
    assert set(rows) == set(kind_of)
    wrong = [
        f"{kind} {name}: {rows[name]['star_class']}, {rows[name]['class_evidence']}"
        for name, kind in kind_of.items()
        if rows[name]["star_class"] not in SIMULATED[kind]
    ]
    assert not wrong
    assert all(rows[name]["n_flares"] for name, kind in kind_of.items() if kind == "flares")
    assert not any(rows[name]["n_flares"] for name, kind in kind_of.items() if kind == "quiet")


KNOWN_VARIABLES: dict[str, set[str | None]] = {
    "KIC 9726699": {"rotation"},
    "KIC 10002792": {"rotation"},
    "KIC 757076": {"rotation", "pulsation"},
    "EPIC 211841249": {"rotation", "pulsation"},
    "EPIC 211874609": {"rotation", "pulsation"},
    "EPIC 211623711": {"rotation", "pulsation"},
    "EPIC 211779126": {"pulsation"},
    "EPIC 211117077": {"rotation"},
    "TIC 92873799": {"rotation"},
    "TIC 31740375": {"rotation"},
    "TIC 404768847": {"rotation", "pulsation"},
    "TIC 358108509": {"rotation", "flare"},
    "TIC 441420236": {"rotation", "planet_candidate"},
    "TIC 389023759": {"systematics"},
    "TIC 1925740387": {"systematics"},
    "KIC 1432214": {"eclipsing_binary"},
}
"""Variable by their own periodograms; what a star without parameters varies by is not known: either word will do."""

KNOWN_PERIODS = {
    "KIC 9726699": 0.59, "KIC 10002792": 1.16, "KIC 757076": 0.363, "TIC 92873799": 3.7, "TIC 31740375": 3.7,
    "TIC 404768847": 0.83, "TIC 441420236": 4.86,
}  # fmt: skip

QUIET_STARS = ("TIC 3957254", "TIC 200319843", "KIC 4265377", "EPIC 211121743")
"""Without a catalogued signal, nor one that their periodograms or a person sees."""

CONTACT_MORPHOLOGY = 0.7
"""From here on the eclipses have no end: contact and ellipsoidal binaries (Matijevic et al. 2012)."""


@pytest.fixture(scope="module")
def real_stars(archive: Path) -> dict[str, dict[str, Any]]:
    return _classified(archive)


@pytest.mark.verify
def test_real_stars_land_in_their_class(real_stars: dict[str, dict[str, Any]], real_data: Path) -> None:
    rows = real_stars
    for name, row in rows.items():
        print(f"{name:16} {row['star_class'] or '-':17} {'; '.join(row['class_evidence'])}")
    expected = KNOWN_VARIABLES | {name: {None} for name in QUIET_STARS} | _known_binaries(real_data, set(rows))
    wrong = {
        name: rows[name]["star_class"] for name, words in expected.items() if rows[name]["star_class"] not in words
    }
    assert not wrong
    for name, period in KNOWN_PERIODS.items():
        assert rows[name]["variability_period"] == pytest.approx(period, rel=0.02), name
    assert rows["KIC 9726699"]["n_flares"] >= 3
    assert rows["TIC 441420236"]["n_flares"] >= 5


@pytest.mark.verify
def test_real_planet_hosts_are_candidates(real_stars: dict[str, dict[str, Any]], real_data: Path) -> None:
    """Those that the sweep must find; their stars' rotation takes none of them away."""
    with (real_data / "real_star_test.csv").open() as file:
        hosts = {row["target_id"] for row in csv.DictReader(file) if row["disposition"] != "EB"}
    lost = sorted(host for host in hosts if real_stars[host]["star_class"] != "planet_candidate")
    assert len(hosts) > 15
    assert not lost


def _known_binaries(real_data: Path, names: set[str]) -> dict[str, set[str | None]]:
    """Class of the binaries of known_signals.csv, by the morphology that their catalogue gives them."""
    with gzip.open(real_data / "catalogs" / "tess_ebs.csv.gz", "rt") as file:
        morphology = {f"TIC {row['tess_id']}": float(row["morph_coeff"] or 0) for row in csv.DictReader(file)}
    with (real_data / "known_signals.csv").open() as file:
        binaries = {f"TIC {row['target_id']}" for row in csv.DictReader(file) if row["disposition"] == "EB"}
    found = binaries & names
    assert len(found) == 4
    touching = {name for name in found if morphology[name] > CONTACT_MORPHOLOGY}
    return {name: {"contact_binary" if name in touching else "eclipsing_binary"} for name in found}
