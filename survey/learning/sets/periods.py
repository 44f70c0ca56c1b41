"""Stars by the periods of their planets: profiles of real and injected light curves, with weights over bins of period.

A row is a light curve: a star with known planets (positive), one without (negative), or one with injected planets
(synthetic). `profile` is its folded spectrum on fixed bins, `weights` what a network ought to say of each bin: 1 spread
about the period of each planet, by the error of the period or over one bin, whichever is wider, and 0 for all of a star
without planets.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pydantic
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from survey.config import Frozen, TrainConfig
from survey.errors import UsageError
from survey.learning.examples import Examples
from survey.learning.lesson import Lesson, Scored, Task
from survey.learning.models import period_net
from survey.learning.periods import fit_bins, measure_bins
from survey.learning.sets.audit import names_of
from survey.learning.sets.period_lights import Planet, StarLight, draw_background, flatten, inject_planets
from survey.learning.sets.table import read_set
from survey.signals.search.profile import CHANNELS, PeriodBins, Profile, make_profile
from survey.stars.lightcurve import LightCurve

Floats = NDArray[np.float64]

TASK: Final = Task("periods", "stars with a planet of one of these periods against those without", frozenset())

FINER: Final = 4
"""Parts of a bin that the spectrum is kept in."""

ORIGINS: Final = ("positive", "negative", "synthetic")


# Configuration


class PeriodRange(Frozen):
    """Bins of period: from `min` to `max` days, `bins` of them, evenly spaced in the logarithm."""

    min: float = Field(1.0, gt=0, allow_inf_nan=False)
    max: float = Field(40.0, gt=0, allow_inf_nan=False)
    bins: int = Field(100, ge=2, le=1000)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.max <= self.min:
            raise ValueError(f"max, {self.max:g} d, is not above min, {self.min:g} d")
        return self


class Distributions(Frozen):
    period: PeriodRange = PeriodRange()


class PeriodsConfig(Frozen):
    """What a set of periods holds, and in which bins; keys and defaults are those of a `config.json`."""

    dataset_name: str | None = None
    """Taken note of: stars and their planets come from `--targets` and the catalogues."""
    star_catalog_files: str | None = None
    """A list of targets, where none is given otherwise."""
    positive_sample_count: int = Field(500, ge=0)
    """Stars with known planets, at most."""
    negative_sample_count: int = Field(1000, ge=0)
    """Light curves without planets: each star as it was observed, then stretches of it, upside down or scrambled."""
    synthetic_samples_count: int = Field(250, ge=0)
    """Light curves with injected planets."""
    planets_per_synthetic_star: int = Field(4, ge=1, le=10)
    """Injected planets of a star, at most."""
    period_filter: float = Field(40.0, gt=0)
    """Days: planets of longer periods count for nothing."""
    lightcurve_length: int = Field(1500, ge=16)
    """Points of a light curve in the form of samples (npz)."""
    min_lightcurve_length: int = Field(
        1000,
        ge=100,
        validation_alias=AliasChoices(
            "min_lightcurve_length", "valid_lightcurve_length_threshold", "valid_lightcurve_lenght_threshold"
        ),
    )
    """Good cadences of a light curve, at least."""
    distribution_params: Distributions = Distributions()
    positive: str = "positive"
    negative: str = "negative"
    synthetic: str = "synthetic"
    """Folders of samples (npz)."""

    def bins(self) -> PeriodBins:
        period = self.distribution_params.period
        return PeriodBins(period.min, period.max, period.bins)

    @pydantic.model_validator(mode="after")
    def _check_filter(self) -> Self:
        if self.period_filter <= self.distribution_params.period.min:
            raise ValueError(f"period_filter, {self.period_filter:g} d, leaves no period of the bins")
        return self


ACCOUNT: Final = ("username", "key")
"""Keys of somebody's account elsewhere: none is needed."""

ALIASES: Final = (
    "min_lightcurve_length",
    "valid_lightcurve_length_threshold",
    "valid_lightcurve_lenght_threshold",
)
"""Names of one value, the last one as it is found misspelt."""


def read_config(path: Path) -> tuple[PeriodsConfig, tuple[str, ...]]:
    """A `config.json`, and what there is to say of it. Raises UsageError for unknown keys, naming the choices."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path.name}: must be an object of keys and values")
    notes = []
    if ignored := [key for key in ACCOUNT if values.pop(key, None) is not None]:
        notes.append(f"{' and '.join(ignored)}: no account is needed, ignored")
    return make_config(values, path.name), tuple(notes)


def make_config(values: Mapping[str, Any], where: str) -> PeriodsConfig:
    """Raises UsageError for unknown keys and impossible values, naming the choices."""
    lengths = {name: values[name] for name in ALIASES if name in values}
    if len(set(map(str, lengths.values()))) > 1:
        raise UsageError(f"{where}: {' and '.join(lengths)} are one thing and must not differ")
    rest = {key: value for key, value in values.items() if key not in ALIASES}
    least = {ALIASES[0]: next(iter(lengths.values()))} if lengths else {}
    try:
        return PeriodsConfig.model_validate(rest | least)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {name}; there are: {', '.join(_choices(problem['loc']))}") from None
        text = problem["msg"].removeprefix("Value error, ").lower()
        raise UsageError(f"{where}: {name + ': ' if name else ''}{text}") from None


def _choices(place: tuple[int | str, ...]) -> list[str]:
    model: type[pydantic.BaseModel] = PeriodsConfig
    for part in place[:-1]:
        kind = model.model_fields[str(part)].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, pydantic.BaseModel)
        model = kind
    return sorted(model.model_fields)


# Targets

QUANTILES: Final = 65
"""Points of the distribution of a period by which its weight is spread."""


def spread_weights(planets: Iterable[Planet], bins: PeriodBins, longest: float) -> Floats:
    """(d,) weights: 1 for each planet of at most `longest` days, spread over the bins by the error of its period and
    over one bin's width; where planets share a bin, the odds that either is in it."""
    from scipy.stats import norm

    steps = norm.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)
    weights = np.zeros(bins.count)
    for planet in planets:
        if not bins.low <= planet.period <= min(bins.high, longest):
            continue
        periods = np.maximum(planet.period + (planet.period_err or 0.0) * steps, 0.1 * planet.period)
        place = bins.place(periods) - 0.5
        left, share = np.floor(place).astype(int), place - np.floor(place)
        own = np.zeros(bins.count)
        for where, part in ((left, 1 - share), (left + 1, share)):
            inside = (where >= 0) & (where < bins.count)
            np.add.at(own, where[inside], part[inside] / QUANTILES)
        weights = 1 - (1 - weights) * (1 - own)
    return weights


# Rows

SCHEMA: Final = pa.schema(
    [
        pa.field("target_id", pa.string(), False),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string(), False),
        pa.field("origin", pa.string(), False),
        pa.field("made_from", pa.string(), False),
        pa.field("profile", pa.list_(pa.float32()), False),
        pa.field("weights", pa.list_(pa.float64()), False),
        pa.field("planets", pa.list_(pa.struct([(name, pa.float64()) for name in Planet.__annotations__]))),
        pa.field("baseline_d", pa.float64(), False),
        pa.field("cadence_s", pa.float64(), False),
        pa.field("scatter_ppm", pa.float64(), False),
        pa.field("n_cadences", pa.int64(), False),
    ]
)
"""origin: positive, negative or synthetic; made_from: as observed, inverted or scrambled; profile: of
`profile.make_profile`, channel after channel; planets: those listed or injected."""

Row = dict[str, Any]

MOST_DRAWS: Final = 4
"""Draws for a wanted row, at most: some planets do not transit twice."""


class Builder:
    """Rows of a set, star by star; `left_out` grows as it goes. on_sample: gets every light curve that became a row,
    with its flux over its trend."""

    def __init__(self, config: PeriodsConfig, seed: int = 0) -> None:
        self._config, self._seed = config, seed
        self._fine = config.bins().finer(FINER)
        self.left_out: list[tuple[str, str]] = []

    def rows(self, stars: Iterable[StarLight]) -> Iterator[tuple[Row, LightCurve, Floats]]:
        """(row, light curve, flux over its trend): first what was observed, then what is made of it, in turns."""
        config = self._config
        held = list(self._usable(stars))
        observed = {
            "positive": [star for star in held if star.planets][: config.positive_sample_count],
            "negative": [star for star in held if not star.planets][: config.negative_sample_count],
        }
        for origin, chosen in observed.items():
            for star in chosen:
                yield from self._row(star, origin, "as observed", star.light, star.planets)
        quiet = [star for star in held if star.quiet]
        unplanned = config.negative_sample_count - len(observed["negative"])
        without = [star for star in held if star.quiet or not star.planets]
        yield from self._turns(without, unplanned, self._negative)
        yield from self._turns(quiet, config.synthetic_samples_count, self._synthetic)

    def _usable(self, stars: Iterable[StarLight]) -> Iterator[StarLight]:
        bins = self._config.bins()
        for star in stars:
            count, name = len(star.light.time), star.light.target_id
            if count < self._config.min_lightcurve_length:
                self.left_out.append((name, f"{count} cadences, fewer than {self._config.min_lightcurve_length}"))
            elif star.planets and not spread_weights(star.planets, bins, self._longest(star.light)).any():
                self.left_out.append((name, "no planet with a period in the bins that fits into its light curve twice"))
            else:
                yield star

    def _longest(self, light: LightCurve) -> float:
        return min(self._config.period_filter, self._fine.high, light.baseline / 2)

    def _turns(self, stars: list[StarLight], count: int, make: Any) -> Iterator[tuple[Row, LightCurve, Floats]]:
        """`count` rows made of the stars in turns, each by numbers of its own that depend on no other; fewer where the
        stars are too short or too noisy for most draws."""
        made = 0
        for number in range(MOST_DRAWS * count if stars else 0):
            star = stars[number % len(stars)]
            words = [self._seed, number // len(stars), *star.light.target_id.encode()]
            for found in make(star, np.random.default_rng([*words, int(make == self._synthetic)])):
                yield found
                made += 1
            if made >= count:
                return

    def _negative(self, star: StarLight, draw: np.random.Generator) -> Iterator[tuple[Row, LightCurve, Floats]]:
        light, made = draw_background(star.background(), self._config.min_lightcurve_length, draw)
        yield from self._row(star, "negative", made, light, ())

    def _synthetic(self, star: StarLight, draw: np.random.Generator) -> Iterator[tuple[Row, LightCurve, Floats]]:
        light, made = draw_background(star.background(), self._config.min_lightcurve_length, draw)
        longest = self._longest(light)
        if longest <= self._fine.low:
            return
        most = self._config.planets_per_synthetic_star
        injected, planets = inject_planets(light, longest, self._fine.low, most, draw)
        if planets:
            yield from self._row(star, "synthetic", made, injected, planets)

    def _row(
        self, star: StarLight, origin: str, made: str, light: LightCurve, planets: tuple[Planet, ...]
    ) -> Iterator[tuple[Row, LightCurve, Floats]]:
        flat = flatten(light)
        profile = make_profile(light.time, flat, light.cadence_s, self._fine)
        if profile is None:
            self.left_out.append((light.target_id, f"{origin}, {made}: too little light to fold"))
            return
        weights = spread_weights(planets, self._config.bins(), self._longest(light)) * is_covered(profile)
        if planets and not weights.any():
            return
        row = {
            "target_id": light.target_id,
            "other_names": list(star.other_names),
            "label": "1" if planets else "0",
            "origin": origin,
            "made_from": made,
            "profile": profile.values.ravel(),
            "weights": weights,
            "planets": [asdict(planet) for planet in planets],
            "baseline_d": profile.baseline_d,
            "cadence_s": light.cadence_s,
            "scatter_ppm": profile.scatter_ppm,
            "n_cadences": len(light.time),
        }
        yield row, light, flat


def is_covered(profile: Profile) -> NDArray[np.bool_]:
    """(d,) bins of which any part was folded."""
    return np.asarray(profile.values[CHANNELS.index("covered")].reshape(-1, FINER).max(1) > 0)


def make_table(rows: Iterable[Row]) -> pa.Table:
    """Rows of SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def describe_config(config: PeriodsConfig) -> dict[str, Any]:
    """For the provenance: what the rows depend on."""
    return config.model_dump(mode="json", exclude={*ORIGINS, "dataset_name", "star_catalog_files"})


SIMULATED: Final = (
    "transits injected into real light curves (synthetic), and real light curves turned upside down or with their days "
    "in another order"
)


# Lesson


def make_lesson(path: str | Path, task_name: str, config: TrainConfig) -> Lesson:
    """The set as a lesson. Raises UsageError for a file that is no set of periods."""
    found = read_set(path, "periods")
    table, settings = found.table, found.provenance["configuration"]
    try:
        period = make_config(settings, found.name).distribution_params.period
    except UsageError as error:
        raise UsageError(f"{found.name}: its provenance does not say its bins of period: {error}") from None
    inputs = period_net.Inputs(low=period.min, high=period.max, bins=period.bins, finer=FINER)
    wanted = len(CHANNELS) * period.bins * FINER
    profiles = np.stack(table.column("profile").to_numpy())
    weights = np.stack(table.column("weights").to_numpy()).astype(np.float32)
    if profiles.shape[1] != wanted or weights.shape[1] != period.bins:
        raise UsageError(
            f"{found.name}: profiles of {profiles.shape[1]} numbers and {weights.shape[1]} weights, but {period.bins} "
            f"bins take {wanted} and {period.bins}"
        )
    baselines = table.column("baseline_d").to_numpy()
    profiles = profiles.reshape(len(table), len(CHANNELS), -1)
    origins = np.array(table.column("origin").to_pylist(), str)
    heights = profiles[:, CHANNELS.index("scaled")].reshape(len(table), period.bins, FINER).max(-1)
    groups = {origin: origins == origin for origin in ORIGINS}
    examples = period_net.make_examples(profiles, baselines, weights)

    def measure(scored: Scored) -> dict[str, Any]:
        return measure_bins(scored, weights, heights, groups)

    def keep(scored: Scored) -> dict[str, Any]:
        return fit_bins(scored.outputs, weights >= 0.5, scored.folds).model_dump(mode="json")

    return Lesson(
        task=TASK,
        kind=period_net.KIND,
        shape=inputs.shape(),
        inputs=inputs,
        stars=np.array(table.column("target_id").to_pylist(), str),
        other_names=names_of(table)[1],
        labels=np.array(table.column("label").to_pylist(), str) == "1",
        examples=examples,
        table=summarise(examples),
        set_name=found.name,
        set_sha256=found.sha256,
        missions=tuple(found.provenance.get("missions", ())),
        simulated=found.provenance.get("simulated", ""),
        folds=table.column("fold").to_numpy(),
        facts={"origins": {origin: int(rows.sum()) for origin, rows in groups.items()}},
        source=SOURCE,
        measure=measure,
        keep=keep,
    )


SOURCE: Final = (
    "Light curves of TESS, Kepler and K2 (public domain) and periods from the tables of the NASA Exoplanet Archive."
)


PEAKS: Final = 3


def summarise(examples: Examples) -> NDArray[np.float32]:
    """(n, k) numbers for boosted trees: the highest values of every spectrum, its mean, where its peak is, and the
    length of the light curve."""
    profiles, logs = (part.numpy() for part in examples.inputs)
    spectra = profiles[:, :-1]
    highest = -np.sort(-spectra, -1)[..., :PEAKS].reshape(len(profiles), -1)
    parts = (highest, spectra.mean(-1), spectra.argmax(-1), profiles[:, -1].mean(-1)[:, None], logs)
    return np.concatenate(parts, 1).astype(np.float32)
