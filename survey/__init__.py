"""From a list of stars to a ranked catalogue of transiting-planet candidates.

These few functions are what a notebook needs for one star; `survey sweep` is for many. Both run the same code.

    import survey

    lc = survey.fetch("TIC 900000001", source="demo")
    curve = survey.detrend(lc)
    tces = survey.find_tces(curve)
    views = survey.make_views(curve, tces[0])

    model = survey.load_model("triage")
    views = survey.make_views(curve, tces[0], spec=model.inputs.view_spec)
    survey.score_views(model, views, tces[0], star="TIC 900000001").probability

Errors are those of `survey.errors`. `config` is what `survey.config.load("classic", ["search.period_max=20"])` gives;
without one the defaults hold.
"""

# Everything is imported where it is used: `import survey` costs nothing, and the commands start at once.
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from survey.config import Config
    from survey.learning.anomaly import Anomalies
    from survey.learning.artifact import Artifact
    from survey.learning.score import Scores
    from survey.signals.search import FlatCurve, Tce
    from survey.signals.views import Views
    from survey.stars.lightcurve import LightCurve
    from survey.stars.sources import Source
    from survey.stars.targets import Target

__all__ = [
    "detrend",
    "examine",
    "fetch",
    "find_anomalies",
    "find_tces",
    "fold",
    "load_model",
    "make_views",
    "read_light_curve",
    "score_views",
]


def fetch(
    target: str,
    *,
    source: str = "mast",
    observations: Sequence[int] = (),
    config: "Config | None" = None,
    cache: "str | Path | None" = None,
) -> "LightCurve":
    """The light curve of a star: all its observations, cleaned, each over its median, in order of time.

    target: "TIC 441462736", "KIC 757076", "EPIC 201367065", "TOI-700", "K00752.01"; source: "mast",
    "mirror:FOLDER_OR_URL" or "demo"; observations: only these sectors, quarters or campaigns; cache: a folder that
    keeps what was fetched.
    """
    from survey.stars import sources

    config = _config(config)
    star, opened = _look_up(target, source, observations, config, cache)
    return sources.fetch(star, opened, config)


def read_light_curve(
    path: "str | Path",
    *,
    mission: str | None = None,
    time_zero: float | None = None,
    config: "Config | None" = None,
) -> "LightCurve":
    """The light curve in a FITS or CSV file, cleaned as `fetch` does it.

    mission ("tess", "kepler", "k2") and time_zero (BJD of time 0) say what the file does not; what had to be guessed
    stands in `notes`.
    """
    from survey.stars import sources

    config = _config(config)
    opened = sources.open_source(f"file:{path}", config, mission=mission, time_zero=time_zero)
    return sources.fetch(next(iter(opened.targets(None))), opened, config)


def detrend(lc: "LightCurve", *, tces: "Sequence[Tce]" = (), config: "Config | None" = None) -> "FlatCurve":
    """The light curve over its trend, clipped: what is searched and folded.

    tces: signals whose transits must not enter the trend; with those found, this is the second look at their depths.
    """
    from survey.runs import stages

    config = _config(config)
    row = stages.row_of(lc)
    masked = stages.transit_mask(lc.time, tces, config) if tces else None
    return stages.flat_curve(row | stages.detrend_row(row, config, stages.choose_window(row, config), masked), config)


def find_tces(curve: "FlatCurve", *, config: "Config | None" = None) -> "list[Tce]":
    """The periodic dips of a detrended light curve, in order of detection."""
    from survey.signals import search

    config = _config(config)
    return search.find_tces([curve], config, search.resolve_engine(config.engine, has_gpu=False))[0]


def fold(curve: "FlatCurve", tce: "Tce") -> "NDArray[np.float64]":
    """Days from the nearest mid-transit, for every cadence of the curve."""
    from survey.signals import ephemeris

    return ephemeris.fold(curve.time, tce.ephemeris.period, tce.epoch)


def make_views(curve: "FlatCurve", tce: "Tce", *, spec: str | None = None, config: "Config | None" = None) -> "Views":
    """The folded global and local view of a signal; spec: a name of `survey.signals.views.VIEW_SPECS`."""
    from survey.signals.views import VIEW_SPECS
    from survey.signals.views import make_views as fold_views

    return fold_views(curve.time, curve.flux, tce.ephemeris, VIEW_SPECS[spec or _config(config).views.spec])


def load_model(name: "str | Path") -> "Artifact":
    """A trained model: a folder, or the name of one that comes with the survey (`survey models` lists them)."""
    from survey.learning.artifact import find_artifact, load_artifact

    return load_artifact(find_artifact(str(name)))


def score_views(model: "Artifact", views: "Views", tce: "Tce", *, star: str = "") -> "Scores":
    """What a classifier of views says of one signal: arrays of one value, as a sweep gives them.

    views: of the form that the model reads, `model.inputs.view_spec`; star: its name, so that a star that the model was
    trained on is scored by those of its members that never saw it.
    """
    import numpy as np

    from survey.learning.views import score_views
    from survey.runs.scores import known_scalars

    spec = model.inputs.view_spec
    orbit, transit, other = (view[None] for view in (views.global_view, views.local_view, views.secondary_view))
    return score_views(model, np.array([star]), orbit, transit, other, known_scalars([vars(tce)], spec), spec)


def find_anomalies(
    lc: "LightCurve", *, model: "str | Path" = "anomaly", star: str = "", config: "Config | None" = None
) -> "Anomalies":
    """What is strange in a light curve: its score, and the stretches that the windows about them agree on.

    Flares and all: the light curve is detrended, not clipped. star: as in `score_views`.
    """
    from survey.learning import anomaly
    from survey.learning.artifact import find_artifact
    from survey.runs import stages

    config = _config(config)
    row = stages.row_of(lc)
    light = stages.light_of(row | stages.detrend_row(row, config, stages.choose_window(row, config), None))
    detector = anomaly.load_detector(find_artifact(str(model)))
    return anomaly.find_anomalies(detector, star, light.time, light.flat, light.cadence_s)


def examine(
    target: str,
    *,
    source: str = "mast",
    observations: Sequence[int] = (),
    config: "Config | None" = None,
    cache: "str | Path | None" = None,
) -> dict[str, Any]:
    """All of it at once: the row that a sweep keeps of a star, with its light curve as arrays.

    A star that fails gives a row too: see its `status` and `error`. The fields are those of `survey.schema.SCORED`.
    """
    from survey.runs import stages

    config = _config(config)
    star, opened = _look_up(target, source, observations, config, cache)
    return stages.rows_of(stages.examine(star, config, opened))[0]


def _look_up(
    target: str, source: str, observations: Sequence[int], config: "Config", cache: "str | Path | None"
) -> "tuple[Target, Source]":
    from survey.stars import sources
    from survey.stars.cache import open_cache
    from survey.stars.catalogs import resolver
    from survey.stars.targets import Target, parse_target

    star = parse_target(target, resolve=resolver())
    kept_in = None if cache is None else open_cache(cache, max_gb=config.run.cache_gb)
    opened = sources.open_source(source, config, cache=kept_in)
    return Target(star.target_id, star.mission, tuple(observations)), opened


def _config(config: "Config | None") -> "Config":
    from survey.config import Config

    return Config() if config is None else config
