"""From a list of stars to a ranked catalogue of transiting-planet candidates.

These few functions are what a notebook needs for one star; `survey sweep` is for many. Both run the same code.

    import survey

    lc = survey.fetch("TIC 900000001", source="demo")
    curve = survey.detrend(lc)
    tces = survey.find_tces(curve)
    views = survey.make_views(curve, tces[0])

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
    from survey.signals.search import FlatCurve, Tce
    from survey.signals.views import Views
    from survey.stars.lightcurve import LightCurve
    from survey.stars.sources import Source
    from survey.stars.targets import Target

__all__ = ["detrend", "examine", "fetch", "find_tces", "fold", "make_views", "read_light_curve"]


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


def examine(
    target: str,
    *,
    source: str = "mast",
    observations: Sequence[int] = (),
    config: "Config | None" = None,
    cache: "str | Path | None" = None,
) -> dict[str, Any]:
    """All of it at once: the row that a sweep keeps of a star, with its light curve as arrays.

    A star that fails gives a row too: see its `status` and `error`. The fields are those of `survey.schema.DESCRIBED`.
    """
    from survey.runs import stages

    config = _config(config)
    star, opened = _look_up(target, source, observations, config, cache)
    return stages.rows_of(stages.examine(star, config, opened))[0]


def _look_up(
    target: str, source: str, observations: Sequence[int], config: "Config", cache: "str | Path | None"
) -> "tuple[Target, Source]":
    from survey.stars import sources
    from survey.stars.cache import Cache
    from survey.stars.catalogs import resolver
    from survey.stars.targets import Target, parse_target

    star = parse_target(target, resolve=resolver())
    opened = sources.open_source(source, config, cache=None if cache is None else Cache(cache))
    return Target(star.target_id, star.mission, tuple(observations)), opened


def _config(config: "Config | None") -> "Config":
    from survey.config import Config

    return Config() if config is None else config
