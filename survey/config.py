"""The configuration: every default of the survey stands here and nowhere else.

One frozen model a concern. A preset is a TOML file of the same shape (`jobs/presets/`), and single values are set by
dotted name (`--set search.period_max=20`). Unknown keys are refused with the choices. `science_hash` covers all that
can change a number in the catalogue; how a run is scheduled (`RunConfig`) stays out of it.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from survey.errors import UsageError

SCIENCE_VERSION = 2
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

    @pydantic.model_validator(mode="after")
    def _check_periods(self) -> Self:
        if self.period_max is not None and self.period_max <= self.period_min:
            raise ValueError(f"period_max, {self.period_max:g} d, is not above period_min, {self.period_min:g} d")
        return self


class ViewsConfig(Frozen):
    spec: Literal["views-2048-256", "astronet-2001-201", "triage-201-61"] = "views-2048-256"


class GateConfig(Frozen):
    """What a TCE needs to be a candidate."""

    mes: float = 7.1
    rest_mes: float = 0.5
    """Least share of the MES that remains without the best event."""
    box_over_sine: float = 1.2
    """Least ratio of the SNR of the box to that of a sine, over the harmonics."""
    over_inverted: float = 1.2
    """Least ratio of the MES to the best MES of the inverted light curve."""
    fap: float = 0.01
    """Greatest false-alarm probability, from the maxima of the inverted spectrum."""
    min_transits: int = 2


class RunConfig(Frozen):
    """How a run is scheduled; changes no number."""

    shard_size: int | None = Field(None, ge=1)
    """Stars of a shard. None: 64, and fewer for short lists, to give every core work; a GPU wants 1,000 and more."""
    fetch_actors: int = Field(1, ge=1)
    fetch_threads: int = Field(8, ge=1)
    search_actors: int = Field(2, ge=1)
    gpus_per_search: float = Field(0.0, ge=0)
    object_store_mb: int = Field(400, ge=80)
    """Shared memory of a local Ray; also what the stream may hold of it, wherever it runs."""
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
    catalogs_url: str = "https://exoplanetarchive.ipac.caltech.edu/TAP"
    """Table service (TAP) that the catalogues of planets and candidates come from."""


class Config(Frozen):
    fetch: FetchConfig = FetchConfig()
    clean: CleanConfig = CleanConfig()
    detrend: DetrendConfig = DetrendConfig()
    search: SearchConfig = SearchConfig()
    views: ViewsConfig = ViewsConfig()
    gate: GateConfig = GateConfig()
    run: RunConfig = RunConfig()
    engine: Engine = "auto"

    def science(self) -> dict[str, Any]:
        """The part that decides the numbers, as plain JSON values."""
        return self.model_dump(mode="json", exclude={"run"}) | {"science_version": SCIENCE_VERSION}

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
