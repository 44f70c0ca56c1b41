"""Products of simulated stars: the sectors and quarters as they were, and the files of a star in them."""

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.stars import inject
from survey.stars.simulate import formats
from survey.stars.simulate.scenes import Scene
from survey.stars.simulate.stars import KEPLER_CADENCE, TESS_CADENCE, Kind, Light, SimulatedStar, Values

Holes = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Observation:
    """One sector or quarter: when it was, and where its holes are.

    start: mid-time of the first cadence at the spacecraft, days since the mission's time zero; gaps, excluded: (days
    after the start, length in days) without any data, and with data that the pipeline excludes; dump_days: between
    momentum dumps; stamp, version: as in the file names.
    """

    mission: str
    number: int
    stamp: str
    version: str
    start: float
    n_cadences: int
    first_cadence: int
    cadence: float
    gaps: Holes
    excluded: Holes
    dump_days: float


def _sector(
    number: int, stamp: str, version: str, start: float, n: int, first: int, gaps: Holes, excluded: Holes, dumps: float
) -> Observation:
    return Observation("tess", number, stamp, version, start, n, first, TESS_CADENCE, gaps, excluded, dumps)


def _quarter(number: int, stamp: str, start: float, n: int, first: int, *gaps: tuple[float, float]) -> Observation:
    return Observation("kepler", number, stamp, "", start, n, first, KEPLER_CADENCE, gaps, (), 2.98)


SECTORS = {
    sector.number: sector
    for sector in (
        _sector(1, "2018206045859", "0120", 1325.2942, 20076, 70444, ((13.23, 1.13),), ((21.9, 1.35),), 2.5),
        _sector(2, "2018234235059", "0121", 1354.1034, 19737, 91186, ((13.1, 1.44),), (), 2.5),
        _sector(10, "2019085135100", "0140", 1569.4331, 18900, 246223, ((12.4, 2.6),), ((14.9, 0.9),), 3.1),
        _sector(37, "2021091135823", "0208", 2307.2357, 18249, 777441, ((11.8, 2.3),), (), 4.4),
    )
}
"""The sectors that are simulated, as they were."""

QUARTERS = {
    quarter.number: quarter
    for quarter in (
        _quarter(2, "2009259160929", 169.517, 4354, 2965, (12.0, 2.2), (54.0, 0.4), (60.8, 1.1), (85.9, 1.0)),
        _quarter(3, "2009350155506", 260.224, 4370, 7404, (20.3, 0.8), (30.3, 0.9), (61.2, 2.1)),
        _quarter(4, "2010078095331", 352.380, 4397, 11914, (31.0, 0.9), (44.4, 4.0)),
        _quarter(5, "2010174085026", 443.492, 4634, 16373, (31.5, 1.3), (60.4, 0.7)),
        _quarter(6, "2010265121752", 539.450, 4398, 21069, (27.1, 0.9), (58.9, 0.9)),
        _quarter(7, "2010355172524", 630.176, 4375, 25509, (30.1, 0.8), (60.0, 0.9), (80.7, 0.5)),
    )
}
"""The quarters that are simulated, as they were."""

# Bits of QUALITY (TESS Science Data Products Description, table 32) and SAP_QUALITY (Kepler Archive Manual, table 2-3).
_TESS_BITS = {"gap": 8, "dump": 32 | 4, "excluded": 128, "argabrightening": 16, "outlier": 512}
_KEPLER_BITS = {"gap": 98312, "dump": 32 | 32768, "excluded": 256, "argabrightening": 64 | 4096, "outlier": 128}


class Frame(NamedTuple):
    """What all stars of an observation share."""

    time: Values
    """Mid-exposure times at the spacecraft, (n,)."""
    good: NDArray[np.bool_]
    """Cadences without any flag, (n,)."""
    outlier: NDArray[np.bool_]
    """Cadences whose only flag is that of an outlier; their flux is kept in the file, (n,)."""
    gone: NDArray[np.bool_]
    """Cadences without data, (n,)."""
    since_dump: Values
    """Days since the last momentum dump or the end of a hole, (n,)."""
    motion: Values
    """Of the image along columns and rows, pixels, (n, 2)."""
    sky: Values
    """Background over its usual level, with the light that Earth and Moon scatter before every hole, (n,)."""
    rows: NDArray[np.void]
    """The table of a light curve, where a star has no part in it."""


@cache
def frame_of(observation: Observation) -> Frame:
    """The frame of an observation: the same for every archive, whatever its seed."""
    rng = np.random.default_rng([observation.number, observation.first_cadence])
    tess = observation.mission == "tess"
    bits = _TESS_BITS if tess else _KEPLER_BITS
    n = observation.n_cadences
    offset = np.asarray(np.arange(n) * observation.cadence, float)
    quality = np.zeros(n, np.int32)
    gone = _within(offset, observation.gaps)
    since_dump = (offset + 0.6) % observation.dump_days
    dump_length = 7 * observation.cadence if tess else observation.cadence
    quality[since_dump < dump_length] |= bits["dump"]
    quality[_within(offset, observation.excluded)] |= bits["excluded"]
    quality[rng.integers(0, n, 6)] |= bits["argabrightening"]
    quality[rng.integers(0, n, n // 1500)] |= bits["outlier"]
    quality[gone] = bits["gap"]
    for after, length in observation.gaps:
        late = offset > after + length
        since_dump[late] = np.minimum(since_dump[late], offset[late] - after - length)
    jitter = (0.003 if tess else 0.0003) * rng.standard_normal((2, n))
    across = 0.03 * np.exp(-since_dump / 0.5) + 0.01 * np.sin(offset / 5) + jitter[0]
    along = -0.02 * np.exp(-since_dump / 0.5) + 0.01 * np.sin(offset / 5 + 2) + jitter[1]

    sky = 1 + 0.1 * np.sin(2 * np.pi * offset / 13.7)
    if tess:
        for end in (*(after for after, _ in observation.gaps), offset[-1]):
            sky += 2.5 * np.where(offset <= end, np.exp((offset - end) / 0.4), 0)

    rows = np.zeros(n, formats.ROW)
    rows["CADENCENO"] = observation.first_cadence + np.arange(n)
    rows["QUALITY"] = quality
    rows["POS_CORR1"] = np.where(gone, np.nan, across)
    rows["POS_CORR2"] = np.where(gone, np.nan, along)
    for name in ("PSF_CENTR1", "PSF_CENTR1_ERR", "PSF_CENTR2", "PSF_CENTR2_ERR"):
        rows[name] = np.nan
    return Frame(
        observation.start + offset,
        quality == 0,
        quality == bits["outlier"],
        gone,
        since_dump,
        np.column_stack([across, along]),
        sky,
        rows,
    )


def _within(offset: Values, stretches: Iterable[tuple[float, float]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(offset), bool)
    for start, length in stretches:
        inside |= (offset >= start) & (offset < start + length)
    return inside


def barycentric_correction(star: SimulatedStar, time: Values) -> Values:
    """Light travel time from the spacecraft to the barycentre, days: a circular Earth orbit and the star's
    direction."""
    zero = 2457000.0 if star.mission == "tess" else 2454833.0
    ra, dec, tilt = np.radians((star.ra, star.dec, 23.44))
    toward_x = math.cos(dec) * math.cos(ra)
    toward_y = math.cos(tilt) * math.cos(dec) * math.sin(ra) + math.sin(tilt) * math.sin(dec)
    # Ecliptic longitude of the Earth: 100.4 degrees at J2000.
    longitude = math.radians(100.4) + 2 * np.pi / 365.25 * (time + zero - 2451545.0)
    correction: Values = 499.0 / 86400 * (toward_x * np.cos(longitude) + toward_y * np.sin(longitude))
    return correction


def make_products(
    star: SimulatedStar,
    kind: Kind,
    observation: Observation,
    scene: Scene,
    correction: Values,
    light: Light,
    rng: np.random.Generator,
) -> Iterator[tuple[str, bytes]]:
    """(key, content) of the light curve of one observation, and of its target pixel file where the kind has one."""
    frame = frame_of(observation)
    pixel_rng = rng.spawn(1)[0]
    level = star.flux * rng.uniform(0.97, 1.03)
    stars = [light.target, light.source] + [np.ones(len(light.target))] * (len(scene.shares) - 2)
    rows = frame.rows.copy()
    rows["TIME"] = np.where(frame.gone, np.nan, frame.time + correction)
    rows["TIMECORR"] = correction
    error = _fill_fluxes(rows, star, frame, scene, level, stars, rng)
    _fill(rows, "SAP_BKG", scene.background * np.count_nonzero(scene.inside) * frame.sky, 0.003, frame.gone)
    noise = scene.pixel_noise(level, error)
    keywords = _keywords(star, observation, rows["TIME"]) | scene.keywords()
    if kind.pixels:
        images = _make_images(rows["SAP_FLUX"], frame, scene, level, stars, noise, pixel_rng)
        yield product_key(star, observation, "tp"), _pixel_content(star, keywords, rows, scene, images, noise)
        centres = scene.centres_of(images)
    else:
        centres = scene.centres(stars, frame.motion) + scene.centre_noise(level, noise) * pixel_rng.standard_normal(
            (len(rows), 2)
        )
    for axis, middle_error in enumerate(scene.centre_noise(level, noise)):
        rows[f"MOM_CENTR{axis + 1}"] = np.where(frame.gone, np.nan, centres[:, axis])
        rows[f"MOM_CENTR{axis + 1}_ERR"] = np.where(frame.gone, np.nan, middle_error)
    if kind.damage == "empty":
        for column in ("SAP_FLUX", "PDCSAP_FLUX", "SAP_FLUX_ERR", "PDCSAP_FLUX_ERR"):
            rows[column] = np.nan
    content = formats.light_curve_file(star.mission, keywords, rows, scene.flags)
    if kind.damage == "truncated":
        content = content[: int(0.6 * len(content)) + 7]
    yield product_key(star, observation, "lc"), content


def _fill_fluxes(
    rows: NDArray[np.void],
    star: SimulatedStar,
    frame: Frame,
    scene: Scene,
    level: float,
    stars: Sequence[Values],
    rng: np.random.Generator,
) -> float:
    """Flux in the aperture, and the same as the pipeline corrects it; returns the error of the former, e-/s.

    level: of the target, e-/s; stars: the light of the target and its neighbours over their mean, (n,) each.
    """
    n = len(rows)
    noise = inject.red_noise(frame.time, scatter=star.red_noise, timescale=rng.uniform(0.1, 0.5), rng=rng)
    noise += star.white_noise * rng.standard_normal(n)
    noise += 0.15 * star.white_noise * rng.standard_normal() * np.exp(-frame.since_dump / 0.3)
    strays = np.concatenate([np.flatnonzero(frame.outlier), rng.integers(0, n, n // 3000)])
    noise[strays] += star.white_noise * rng.uniform(5, 12, len(strays))
    error = star.white_noise * rng.uniform(0.95, 1.05)

    caught = level * (scene.aperture_sum(stars, frame.motion) + scene.aperture_share * noise)
    # The pipeline takes out the mean light of the neighbours and what the motion does, not how a neighbour varies.
    corrected = level * (stars[0] + scene.dilution * (stars[1] - 1) + noise)
    _fill(rows, "SAP_FLUX", caught, error, frame.gone)
    _fill(rows, "PDCSAP_FLUX", corrected, error, ~(frame.good | frame.outlier))
    return float(np.median(caught)) * error


def _fill(rows: NDArray[np.void], column: str, values: Values, error: float, gone: NDArray[np.bool_]) -> None:
    """error: relative to the median."""
    rows[column] = np.where(gone, np.nan, values)
    rows[f"{column}_ERR"] = np.where(gone, np.nan, np.median(values) * error)


def _make_images(
    caught: Values,
    frame: Frame,
    scene: Scene,
    level: float,
    stars: Sequence[Values],
    noise: Values,
    rng: np.random.Generator,
) -> Values:
    """(n, pixels) e-/s, which sum to `caught` over the aperture.

    What the light curve has beyond the stars is noise. That of a pixel, given the sum, is drawn freely and then moved
    by the pixel's share of the variance.
    """
    images = level * scene.images(stars, frame.motion) + noise * rng.standard_normal((len(caught), len(noise)))
    inside = scene.inside
    shares = noise[inside] ** 2 / np.sum(noise[inside] ** 2)
    images[:, inside] += (caught - images[:, inside].sum(axis=1))[:, None] * shares
    images[frame.gone] = np.nan
    return images


def _pixel_content(
    star: SimulatedStar,
    keywords: dict[str, formats.Keyword],
    rows: NDArray[np.void],
    scene: Scene,
    images: Values,
    noise: Values,
) -> bytes:
    table = np.zeros(len(rows), formats.pixel_row(scene.flags.shape))
    for name in ("TIME", "TIMECORR", "CADENCENO", "QUALITY", "POS_CORR1", "POS_CORR2"):
        table[name] = rows[name]
    table["FLUX"] = images.reshape(-1, *scene.flags.shape)
    table["FLUX_ERR"] = np.where(np.isnan(table["FLUX"]), np.nan, noise.reshape(scene.flags.shape))
    keywords = keywords | {"CREATOR": "1 TargetPixelExporterPipelineModule"}
    content = formats.target_pixel_file(star.mission, keywords, table, scene.flags)
    # Kepler's archive keeps these files compressed. The least effort: noise hardly shrinks.
    return content if star.mission == "tess" else gzip.compress(content, 1, mtime=0)


def _keywords(star: SimulatedStar, observation: Observation, time: Values) -> dict[str, formats.Keyword]:
    half = observation.cadence / 2
    start, stop = float(np.nanmin(time)) - half, float(np.nanmax(time)) + half
    tess = star.mission == "tess"
    live = 0.792 if tess else 0.92063492
    zero = 2457000.0 if tess else 2454833.0
    common: dict[str, formats.Keyword] = {
        "OBJECT": star.target_id,
        "RA_OBJ": star.ra,
        "DEC_OBJ": star.dec,
        "TEFF": star.teff,
        "LOGG": round(star.logg, 4),
        "RADIUS": star.radius,
        "TSTART": round(start, 9),
        "TSTOP": round(stop, 9),
        "TELAPSE": round(stop - start, 9),
        "LIVETIME": round((stop - start) * live, 9),
        "EXPOSURE": round((stop - start) * live, 9),
        "CRVAL1": star.ra,
        "CRVAL2": star.dec,
    }
    if tess:
        common |= {
            "DATE": "2021-06-04",
            "CREATOR": "1 LightCurveExporterPipelineModule",
            "DATE-OBS": _utc(start + zero, 69.184),
            "DATE-END": _utc(stop + zero, 69.184),
            "PROCVER": "spoc-5.0.32-20210604",
            "TICID": star.number,
            "SECTOR": observation.number,
            "CAMERA": star.camera,
            "CCD": star.ccd,
            "TESSMAG": star.magnitude,
        }
        scales = {"CDPP0_5": 0.5, "CDPP1_0": 1.0, "CDPP2_0": 2.0}
    else:
        common |= {
            "DATE": "2015-09-14",
            "CREATOR": "1 FluxExporter2PipelineModule",
            "TEFF": round(star.teff),
            "DATE-OBS": _utc(start + zero, 66.184) + "Z",
            "DATE-END": _utc(stop + zero, 66.184) + "Z",
            "PROCVER": "release/9.3.24 r60387",
            "KEPLERID": star.number,
            "QUARTER": observation.number,
            "SEASON": (observation.number - 2) % 4,
            "CHANNEL": 4 * star.camera + star.ccd,
            "SKYGROUP": 4 * star.camera + star.ccd,
            "MODULE": star.camera + 1,
            "OUTPUT": star.ccd,
            "KEPMAG": star.magnitude,
            "LC_START": round(start + half + zero - 2400000.5, 8),
            "LC_END": round(stop - half + zero - 2400000.5, 8),
            "TELESCOP": "Kepler",
            "INSTRUME": "Kepler Photometer",
        }
        scales = {"CDPP3_0": 3.0, "CDPP6_0": 6.0, "CDPP12_0": 12.0}
    for key, hours in scales.items():
        averaged = star.white_noise / math.sqrt(hours / 24 / observation.cadence)
        common[key] = round(math.hypot(averaged, star.red_noise) * 1e6, 6)
    return common


def _utc(bjd: float, tdb_minus_utc_s: float) -> str:
    moment = datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=bjd - 2451545.0, seconds=-tdb_minus_utc_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def product_key(star: SimulatedStar, observation: Observation, form: Literal["lc", "tp"]) -> str:
    """Where the archive keeps the light curve or the target pixel file."""
    if star.mission == "kepler":
        name = f"{star.number:09d}"
        folder, end = ("lightcurves", "llc.fits") if form == "lc" else ("target_pixel_files", "lpd-targ.fits.gz")
        return f"kepler/public/{folder}/{name[:4]}/{name}/kplr{name}-{observation.stamp}_{end}"
    name, sector = f"{star.number:016d}", f"s{observation.number:04d}"
    folder = "/".join((name[:4], name[4:8], name[8:12], name[12:]))
    file = f"tess{observation.stamp}-{sector}-{name}-{observation.version}-s_{form}.fits"
    return f"tess/public/tid/{sector}/{folder}/{file}"
