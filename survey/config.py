"""The configuration: every default of the survey stands here and nowhere else.

One frozen model a concern. A preset is a TOML file of the same shape (`jobs/presets/`), and single values are set by
dotted name (`--set search.period_max=20`). Unknown keys are refused with the choices. `science_hash` covers all that
can change a number in the catalogue; how a run is scheduled (`RunConfig`) stays out of it.
"""

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from survey.errors import UsageError

SCIENCE_VERSION = 4
"""Raised by hand when the code changes what a number in the catalogue means or how it comes about."""

Engine = Literal["auto", "numba", "jax", "numpy"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FetchConfig(Frozen):
    """Which product of a star is searched."""

    authors: tuple[str, ...] = ("SPOC", "Kepler", "K2", "TESS-SPOC", "QLP", "TGLC")
    """Pipelines in order of preference, after the cadence (20 s, 2 min, FFI)."""
    fast_cadence: bool = False
    """Prefer the 20 s product of a sector over the 2 min one."""
    flux: Literal["pdcsap", "sap"] = "pdcsap"
    quality: Literal["none", "default", "hard", "hardest"] = "default"


class CleanConfig(Frozen):
    """What is removed before detrending."""

    clip_upper_sigma: float = Field(4.0, gt=0)
    """Outliers above the trend, in robust sigmas; dips are never clipped by the default preset."""
    clip_lower_sigma: float | None = Field(None, gt=0)
    """Clip dips too (the seeds' 3 sigma); deletes deep transits, so off by default."""
    edge_hours: float = Field(0.0, ge=0)
    """Cadences dropped on either side of a gap."""
    max_cadences: int = Field(80_000, ge=1000)
    """Longer light curves are averaged in time until they have no more cadences than this."""
    min_cadences: int = Field(100, ge=10)
    """Fewer good cadences than this is `too_short`."""


class DetrendConfig(Frozen):
    """How the star's own variation is removed."""

    method: Literal["biweight", "savgol", "median"] = "biweight"
    window_days: float | None = Field(None, gt=0)
    """None: three times the longest duration searched, at least `min_window_days`."""
    min_window_days: float = Field(1.0, gt=0)
    bin_minutes: float = Field(10.0, ge=0)
    """The trend is estimated on bins of this width and interpolated back; 0 uses every cadence."""
    gap_days: float = Field(0.5, gt=0)
    """A hole in time longer than this splits the trend."""
    window_cadences: int = Field(101, ge=5)
    """savgol only: the window, in cadences."""
    polyorder: int = Field(2, ge=1)
    """savgol only."""
    mask_durations: float = Field(1.5, ge=1)
    """Width of the mask over a found transit, in its durations, in the second pass."""
    second_pass: bool = True
    """Detrend again with the found transits masked, and measure them again."""


class SearchConfig(Frozen):
    """Where and how periodic dips are looked for."""

    method: Literal["fast_folding", "two_pass"] = "fast_folding"
    period_min: float = Field(0.5, gt=0)
    period_max: float | None = Field(None, gt=0)
    """None: the baseline divided by `min_transits`."""
    min_transits: int = Field(2, ge=1)
    threshold: float = Field(7.1, gt=0)
    """A signal is a TCE when its noise-scaled SNR (MES) reaches this."""
    single_threshold: float = Field(10.0, gt=0)
    """An event that no period explains is reported when its single-event statistic reaches this."""
    max_tces: int = Field(10, ge=1)
    bins_per_duration: int = Field(3, ge=2)
    """Time bins across the shortest duration searched at a period."""
    drift_bins: float = Field(1.5, gt=0)
    """Step between trial periods: drift over the baseline, in bins."""
    peaks: int = Field(3, ge=1)
    """Distinct peaks refined in each pass."""
    max_gap_days: float = Field(100.0, gt=0)
    """Data sets further apart than this are folded separately and their statistics added."""
    coarse_periods: int = Field(2000, ge=10)
    """two_pass only: periods of the first pass."""
    refine_periods: int = Field(3000, ge=10)
    """two_pass only: periods around the peak of the first."""
    power_threshold: float | None = Field(None, ge=0)
    """two_pass only: the seeds' unscaled BLS power below which a peak is dropped (S0.20)."""
    proposal: str | None = None
    """A model of periods, the name of a shipped one or a folder: only periods that it proposes are tried, and those it
    says nothing of. None: all."""
    proposal_peaks: int = Field(8, ge=1)
    """Periods that it proposes for a star, at most."""

    @pydantic.model_validator(mode="after")
    def _check_periods(self) -> Self:
        if self.period_max is not None and self.period_max <= self.period_min:
            raise ValueError(f"period_max, {self.period_max:g} d, is not above period_min, {self.period_min:g} d")
        if self.proposal is not None and self.method != "fast_folding":
            raise ValueError(f"{self.method} tries its own periods: no proposal can be given")
        return self


class ViewsConfig(Frozen):
    spec: Literal["views-2048-256", "astronet-2001-201", "triage-201-61"] = "views-2048-256"
    signals: Literal["passed", "all"] = "passed"
    """Whose views of this form are kept: those of signals that pass the gate, or of all, to learn from."""


class ScoreConfig(Frozen):
    """Which models score the signals and stars of a sweep: the name of a shipped model, a folder, or none."""

    triage: str | None = "triage"
    """Transits and eclipses against the rest, by folded views."""
    vetting: str | None = "vetting"
    """Planets against the rest, by folded views."""
    pixels: str | None = "pixels"
    """Signals of the target itself against those of others, by difference images."""
    segments: str | None = "segments"
    """Transits in windows of the light curve, and the score of the star."""
    periods: str | None = "periods"
    """How probable each period is, from the light curve."""
    anomaly: str | None = "anomaly"
    """What is strange in the light curve."""
    fusion: str | None = None
    """Planets against the rest, by all that the others and the checks say."""
    stars: Literal["signals", "all"] = "signals"
    """Whose light curve segments, periods and anomaly look at: stars with a signal, or all."""


class PixelsConfig(Frozen):
    """Whether and how the pixels of signals are looked at, to see which star they come from."""

    use: bool = True
    """Fetch pixel files for signals whose light passes the gate."""
    max_products: int = Field(4, ge=1)
    """Pixel files of a star that are read at most, the latest."""
    max_offset_sigma: float = Field(3.0, gt=0)
    """A signal comes from elsewhere when its source lies this many errors from the target,"""
    max_offset_pixels: float = Field(0.25, ge=0)
    """and this far; smaller offsets are within what crowding and the shape of the stars' images can do."""
    min_snr: float = Field(5.0, gt=0)
    """Fainter differences in the pixels of a file have no place (low_snr)."""


class MatchConfig(Frozen):
    """When two signals are one: of two stars of a sweep, or of a star and a catalogue."""

    chance: float = Field(0.005, gt=0)
    """Matches by chance that a whole sweep may expect of each kind of matching, by the product of the two odds of
    period and epoch; in crowded fields there are up to twice as many."""
    listed_reach_arcsec: float = Field(126.0, gt=0)
    """How far from a star its light is looked for in others, at least, where a catalogue lists it."""
    max_reach_arcsec: float = Field(1800.0, gt=0)
    """The same at most, however bright the star."""
    same_star_arcsec: float = Field(5.0, gt=0)
    """Stars of two catalogues this close are one."""
    pile_up_hours: float = Field(6.0, gt=0)
    """Width of the time bins in which the stars that dim are counted."""
    pile_up_stars: int = Field(5, ge=2)
    """Fewest stars with one epoch, or one ephemeris, that are called systematics."""
    pile_up_transits: int = Field(12, ge=1)
    """Signals with more transits are not compared transit by transit."""


class GateConfig(Frozen):
    """What a TCE needs to be a candidate: where each flaw begins (`survey/signals/vetting/checks.py`)."""

    mes: float = 7.1
    """low_mes: least MES."""
    min_transits: int = 2
    """few_transits: least number of transits with data."""
    pair_mes: float = 6.0
    """two_transits: least MES of the weaker one of two transits; and they must leave one period only."""
    rest_mes: float = 0.5
    """one_event: least share of the MES that remains without the best event."""
    box_over_sine: float = 1.2
    """sine_like: least ratio of the SNR of the box to that of a sine, over the harmonics."""
    over_inverted: float = 1.0
    """as_strong_inverted: least ratio of the MES to the best MES of the inverted light curve; how probable a MES is in
    such noise, `fap` says better."""
    fap: float = 0.01
    """chance: greatest false-alarm probability, from the maxima of the inverted spectrum."""
    odd_even_sigma: float = 4.0
    """odd_even_differ: greatest difference of odd and even depths, over its error."""
    secondary_sigma: float = 5.0
    """secondary_eclipse: greatest dip elsewhere in the orbit, over its error, that is not an eclipse."""
    secondary_share: float = 0.1
    """A planet's own eclipse is shallower than this share of its transit ..."""
    albedo: float = 1.0
    """... and than a planet that sends back this share of the light it receives."""
    same_period_durations: float = 0.5
    """secondary_of_another: two signals that drift apart by less than this, in durations over the light curve, keep the
    same period."""
    planet_radius: float = 22.0
    """too_large: greatest radius, in Earth radii, less its error; also that of a planet whose eclipse is seen."""
    over_longest: float = 1.75
    """too_long: greatest ratio of the duration to that of a transit across the middle of the star, on a circular orbit;
    above 1 for eccentric orbits and for stars that are larger than listed."""
    over_shape: float = 1.4
    """equal_eclipses: for a V, greatest ratio of the duration to that of a planet whose transit has this shape."""
    ingress_share: float = 0.4
    """v_shaped: greatest share of the duration that the ingress takes; 0 for a box, 0.5 for a V."""
    depth_scatter: float = 0.2
    """depths_vary, products_differ: greatest scatter of the depths beyond doubt, over the depth."""
    nearby_share: float = 0.75
    """as_strong_nearby: greatest dip or rise right beside a transit, over its depth; for up to four transits ..."""
    nearby_sigma: float = 3.0
    """... and where it is more than noise makes: this many errors."""
    gap_share: float = 0.7
    """gappy: greatest share of the signal in transits that are beside a gap or have one."""
    rotation_share: float = 0.02
    """variable_star: two periods closer than this, relative, are of one variation; it is not strictly periodic."""
    rotation_box_over_sine: float = 1.5
    """at_rotation: least ratio of the SNR of the box to that of a sine, for a signal at the star's own period."""
    informative: tuple[str, ...] = ("v_shaped",)
    """Flaws that are reported and do not keep a signal from being a candidate: grazing planets are V-shaped, too."""


class ClassConfig(Frozen):
    """What makes a star a variable of one kind or another (`survey/signals/vetting/star_class.py`)."""

    periodic_power: float = Field(0.1, ge=0, le=1)
    """A variation counts as periodic when a sine explains at least this share of the variance ..."""
    periodic_contrast: float = Field(20.0, ge=0)
    """... and its peak stands this far above the median of the periodogram about it ..."""
    periodic_alone: float = Field(0.5, ge=0, le=1)
    """... or when it explains at least this share: slow variations have few frequencies about them."""
    steady: float = Field(0.95, ge=0, le=1)
    """Least coherence of two stars that circle each other: spots come and go."""
    contact_period: float = Field(1.5, gt=0)
    """Days: a contact binary has no longer period."""
    contact_amplitude_ppm: float = Field(20_000.0, gt=0)
    """Least variation of a contact binary; below, two groups of spots look the same."""
    eclipse_low_share: float = Field(0.25, gt=0, le=0.5)
    """Eclipses take at most this share of the period, so that the light is low for no longer."""
    eclipse_amplitude_ppm: float = Field(50_000.0, gt=0)
    """Least depth of eclipses that tell of two stars where the star's radius is not known."""
    eclipse_any_ppm: float = Field(150_000.0, gt=0)
    """Depth that tells of two stars whatever the radius."""
    eclipse_radius: float = Field(22.0, gt=0)
    """Earth radii: what hides more light than this is no planet, where the star's radius is known."""
    unsteady_dex: float = Field(0.25, gt=0)
    """A large variation whose amplitude scatters by more than this from product to product is the instrument's ..."""
    unsteady_amplitude_ppm: float = Field(10_000.0, gt=0)
    """... where it is larger than this: spots so large do not come and go as fast."""
    hot_teff: float = Field(7500.0, gt=0)
    """K: hotter stars have no spots; they pulsate."""
    cool_teff: float = Field(6500.0, gt=0)
    """K: cooler dwarfs do not pulsate in several long periods at once, as those of type gamma Doradus do."""
    several_power: float = Field(0.1, gt=0, le=1)
    """A second period that explains at least this share of the rest makes a pulsator ..."""
    several_period: float = Field(3.0, gt=0)
    """... when the first is shorter than this, in days."""
    pulsation_period: float = Field(0.25, gt=0)
    """Days: a star that is not known does not turn faster."""
    pulsation_amplitude_ppm: float = Field(150_000.0, gt=0)
    """Spots make no larger variation."""
    rotation_amplitude_ppm: float = Field(3000.0, ge=0)
    """Spots that make no larger variation are those of a quiet star: the Sun's greatest take 0.3% of its light."""
    flares: int = Field(2, ge=1)
    """Least number of flares of a flare star."""
    noise_burst: float = Field(5.0, gt=1)
    """Noise in the noisiest half day over the typical, from which on it is the instrument's."""
    event_mes: float = Field(10.0, gt=0)
    """Least MES of a single event, and of a false signal that makes a star one of the instrument's."""


class RunConfig(Frozen):
    """How a run is scheduled; changes no number."""

    shard_size: int | None = Field(None, ge=1)
    """Stars of a shard. None: 64, and fewer for short lists, to give every core work; a GPU wants 1,000 and more."""
    fetch_actors: int = Field(1, ge=1)
    fetch_threads: int = Field(8, ge=1)
    search_actors: int = Field(2, ge=1)
    gpus_per_search: float = Field(0.0, ge=0)
    object_store_mb: int = Field(400, ge=80)
    """Shared memory of a local Ray, half of it for the stream. A cluster's nodes have stores of their own."""
    stall_s: float = Field(900.0, gt=0)
    """A stream without any progress for this long ends with an error."""
    usd_per_hour: float = Field(0.0, ge=0)
    """Price of one core for an hour, for the estimate of `--dry-run`."""
    attempts: int = Field(4, ge=1)
    """Tries of one download."""
    backoff_s: float = Field(1.0, ge=0)
    timeout_s: float = Field(60.0, gt=0)
    requests_per_s: float = Field(10.0, gt=0)
    """Ceiling of requests to one archive, over the whole run."""
    requests_at_once: int = Field(32, ge=1)
    """Requests to one archive that may be under way, over the whole run."""
    outage_failures: int = Field(20, ge=1)
    """After so many failures in a row nobody asks an archive, but for one request now and then that finds out."""
    outage_pause_s: float = Field(15.0, gt=0)
    """Time from one such request to the next."""
    patience_s: float = Field(120.0, ge=0)
    """How long stars wait for an archive that is down, or asks to be left alone, before they count as failed."""
    cache_gb: float | None = Field(None, gt=0)
    """The cache's size on a disk: what was not used for longest makes room. None: no end, and 20 in front of a URL."""
    catalogs_url: str = "https://exoplanetarchive.ipac.caltech.edu/TAP"
    """Table service (TAP) that the catalogues of planets and candidates come from."""


class TrainConfig(Frozen):
    """How a network is trained and measured (`survey/learning/`); changes no number of a sweep."""

    folds: int = Field(5, ge=2)
    """Groups of stars; those of a group are scored only by members that never saw them."""
    seeds: int = Field(3, ge=1)
    """Members of the ensemble in each fold."""
    epochs: int = Field(20, ge=1)
    batch: int = Field(128, ge=2)
    """Rows of a step, fewer where a set is small."""
    learning_rate: float = Field(4e-3, gt=0)
    """The highest, a third of the way; it rises to it and falls to nothing (one cycle)."""
    weight_decay: float = Field(1e-2, ge=0)
    patience: int = Field(8, ge=1)
    """Epochs without a better average precision on the validation stars after which a member is done."""
    freeze_epochs: int = Field(5, ge=0)
    """Fine-tuning: epochs in which only the head learns, at `learning_rate`."""
    unfreeze_blocks: int = Field(2, ge=0)
    """Fine-tuning: blocks before the head that learn with it afterwards."""
    finetune_lr: float = Field(1e-4, gt=0)
    """Fine-tuning: the rate of that second stage, halved whenever the validation stars see nothing better."""
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Stars of the training folds that only decide when to stop."""
    positive_share: float | None = Field(None, gt=0, lt=1)
    """Share of positives among the rows drawn in an epoch (weighted sampling). None: every row once."""
    missing_share: float = Field(0.1, ge=0, lt=1)
    """Rows whose scalars are hidden in training, so that a score can do without them."""
    average: float = Field(0.99, ge=0, lt=1)
    """Decay, per step, of the running mean of the weights that is kept; 0 keeps the last step."""
    inputs: Literal["all", "views"] = "all"
    """views: without period, duration, S/N and the like."""
    calibration: Literal["isotonic", "temperature"] = "temperature"
    """temperature: a logistic curve, smooth also where rows are few; isotonic: any rising steps."""
    workers: int = Field(1, ge=1)
    gpu: bool = False
    """One GPU a worker."""
    amp: bool = True
    """Half precision (bfloat16) where there is a GPU."""
    attempts: int = Field(3, ge=1)
    """Tries of a training whose worker is lost; it goes on from the last epoch."""


class AnomalyConfig(Frozen):
    """How a detector of strange windows is trained (`survey/learning/anomaly.py`); what a sweep flags by stands in the
    model, so that this changes no number of it."""

    contamination: float = Field(0.05, gt=0, le=0.5)
    """Share of quiet windows that are taken for strange."""
    window: int = Field(50, ge=10, le=2000)
    """Points of a window, after the binning."""
    step: int = Field(10, ge=1, le=2000)
    """Points from one window to the next."""
    cell_minutes: float = Field(10.0, gt=0, le=1440)
    """Faster cadences are averaged onto cells of this width."""
    vote_threshold: float = Field(0.3, gt=0, le=1)
    """Share of the windows over a point that must be strange to flag it."""
    trees: int = Field(50, ge=1, le=1000)
    neighbours: int = Field(20, ge=2, le=200)
    windows: int = Field(1500, ge=100, le=20_000)
    """Quiet windows that are kept, of every star about as many."""
    seed: int = Field(0, ge=0)


class InjectConfig(Frozen):
    """One transiting planet in every light curve, to measure what a survey finds of them (`survey inject`)."""

    seed: int = Field(1, ge=0)
    periods: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 13.0)
    """Borders of the cells, days; a planet's cell is drawn, then its place in it, evenly in the logarithms."""
    radii: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)
    """Borders of the cells, Earth radii."""
    max_impact: float = Field(0.9, ge=0, lt=1)
    """Impact parameters are drawn evenly up to this one."""

    @pydantic.field_validator("periods", "radii")
    @classmethod
    def _check_borders(cls, borders: tuple[float, ...]) -> tuple[float, ...]:
        if len(borders) < 2 or borders[0] <= 0 or any(b <= a for a, b in itertools.pairwise(borders)):
            raise ValueError("borders of cells are two or more numbers above zero that grow, as in [1, 2, 4]")
        return borders


class Config(Frozen):
    fetch: FetchConfig = FetchConfig()
    clean: CleanConfig = CleanConfig()
    detrend: DetrendConfig = DetrendConfig()
    search: SearchConfig = SearchConfig()
    views: ViewsConfig = ViewsConfig()
    score: ScoreConfig = ScoreConfig()
    gate: GateConfig = GateConfig()
    classes: ClassConfig = ClassConfig()
    pixels: PixelsConfig = PixelsConfig()
    match: MatchConfig = MatchConfig()
    run: RunConfig = RunConfig()
    train: TrainConfig = TrainConfig()
    anomaly: AnomalyConfig = AnomalyConfig()
    inject: InjectConfig | None = None
    """None: the stars as they are."""
    engine: Engine = "auto"

    @pydantic.model_validator(mode="after")
    def _check_injection(self) -> Self:
        if self.inject is not None and self.pixels.use:
            raise ValueError("pixel files know nothing of injected planets: pixels.use=false goes with inject")
        return self

    def science(self) -> dict[str, Any]:
        """The part that decides the numbers, as plain JSON values."""
        outside = {"run", "train", "anomaly"} | ({"inject"} if self.inject is None else set())
        return self.model_dump(mode="json", exclude=outside) | {"science_version": SCIENCE_VERSION}

    def science_hash(self) -> str:
        return hash_of(self.science())


def hash_of(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(preset: str | None = None, overrides: Sequence[str] = (), *, engine: Engine | None = None) -> Config:
    """Defaults, then the preset (a name in `jobs/presets` or a TOML file), then `key=value` overrides.

    Raises UsageError for unknown presets, keys and values, naming the choices.
    """
    values: dict[str, Any] = {} if preset is None else _read_preset(preset)
    for override in overrides:
        _set_dotted(values, override)
    if engine is not None:
        values["engine"] = engine
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        raise UsageError(_explain(error)) from None


def change(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with other values, `key=value`. Raises UsageError as `load` does."""
    values = config.model_dump()
    for override in overrides:
        _set_dotted(values, override)
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        raise UsageError(_explain(error)) from None


def preset_names() -> list[str]:
    folder = resources.files("jobs") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _read_preset(preset: str) -> dict[str, Any]:
    if preset in preset_names():
        text = (resources.files("jobs") / "presets" / f"{preset}.toml").read_text()
    elif Path(preset).is_file():
        text = Path(preset).read_text()
    else:
        raise UsageError(f"no preset {preset!r}: choose one of {', '.join(preset_names())}, or give a TOML file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"preset {preset}: {error}") from None


def _set_dotted(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"--set takes KEY=VALUE, not {override!r}")
    *parents, name = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {parent} has no parts")
    values[name] = _parse_value(text.strip())


def _parse_value(text: str) -> Any:
    """A TOML value, `none`, or the bare text."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(error: pydantic.ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        name = ".".join(path)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {name}; there are: {', '.join(_choices(path[:-1]))}")
        else:
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ').lower()}")
    return "configuration: " + "; ".join(lines)


def _choices(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return sorted(model.model_fields)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key: old -> new` for every value in which two nested mappings differ."""
    lines = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines
