"""Products of simulated stars: the sectors and quarters as they were, and the files of a star in them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.stars import inject
from survey.stars.simulate import formats
from survey.stars.simulate.stars import KEPLER_CADENCE, TESS_CADENCE, SimulatedStar, Values

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
    rows: NDArray[np.void]
    """The table, where a star has no part in it."""


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

    rows = np.zeros(n, formats.ROW)
    rows["CADENCENO"] = observation.first_cadence + np.arange(n)
    rows["QUALITY"] = quality
    background = (400.0 if tess else 900.0) * (1 + 0.1 * np.sin(2 * np.pi * offset / 13.7))
    values = {
        "SAP_BKG": background,
        "SAP_BKG_ERR": np.full(n, 1.2 if tess else 0.3),
        "MOM_CENTR1": across,
        "MOM_CENTR2": along,
        "MOM_CENTR1_ERR": np.full(n, 6e-4),
        "MOM_CENTR2_ERR": np.full(n, 7e-4),
        "POS_CORR1": across,
        "POS_CORR2": along,
    }
    for name, value in values.items():
        rows[name] = np.where(gone, np.nan, value)
    for name in ("PSF_CENTR1", "PSF_CENTR1_ERR", "PSF_CENTR2", "PSF_CENTR2_ERR"):
        rows[name] = np.nan
    return Frame(observation.start + offset, quality == 0, quality == bits["outlier"], gone, since_dump, rows)


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


def make_product(
    star: SimulatedStar,
    observation: Observation,
    frame: Frame,
    correction: Values,
    light: Values,
    damage: str,
    rng: np.random.Generator,
) -> bytes:
    """The file of one observation. light: relative flux of the star, (n,)."""
    rows = frame.rows.copy()
    n = len(rows)
    level = star.flux * rng.uniform(0.97, 1.03)
    flux = light + inject.red_noise(frame.time, scatter=star.red_noise, timescale=rng.uniform(0.1, 0.5), rng=rng)
    flux += star.white_noise * rng.standard_normal(n)
    wander = np.exp(-frame.since_dump / 0.3)
    flux += 0.15 * star.white_noise * rng.standard_normal() * wander
    strays = np.concatenate([np.flatnonzero(frame.outlier), rng.integers(0, n, n // 3000)])
    flux[strays] += star.white_noise * rng.uniform(5, 12, len(strays))
    error = star.white_noise * rng.uniform(0.95, 1.05)

    # The aperture catches part of the star's light, the neighbours', and what the pipeline takes out.
    drift = 0.004 * rng.standard_normal() * (frame.time - frame.time.mean()) / 13 + 0.003 * wander
    caught = flux * (1 + drift) + (1 - star.crowding) / star.crowding
    rows["TIME"] = np.where(frame.gone, np.nan, frame.time + correction)
    rows["TIMECORR"] = correction
    _fill(rows, "SAP_FLUX", level * star.aperture_share * caught, error, frame.gone, damage)
    _fill(rows, "PDCSAP_FLUX", level * flux, error, ~(frame.good | frame.outlier), damage)
    for column, middle in (("MOM_CENTR1", star.camera * 397.0 + 1.5), ("MOM_CENTR2", star.ccd * 411.0 + 0.5)):
        rows[column] += middle
    aperture = _aperture(star)
    content = formats.light_curve_file(
        star.mission, _keywords(star, observation, rows["TIME"], aperture), rows, aperture
    )
    return content[: int(0.6 * len(content)) + 7] if damage == "truncated" else content


def _fill(
    rows: NDArray[np.void], column: str, flux: Values, error: float, gone: NDArray[np.bool_], damage: str
) -> None:
    nothing = np.ones_like(gone) if damage == "empty" else gone
    rows[column] = np.where(nothing, np.nan, flux)
    rows[f"{column}_ERR"] = np.where(nothing, np.nan, np.median(flux) * error)


def _aperture(star: SimulatedStar) -> NDArray[np.int32]:
    """Pixel flags: 1 collected, 2 in the optimal aperture, 8 in the centroid's, 256 on this CCD's output."""
    size = 11 if star.mission == "tess" else 6
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    bright = np.hypot(rows, columns) < 1.2 + 0.25 * (14 - star.magnitude) ** 0.5
    base = 257 if star.mission == "tess" else 5
    return np.where(bright, base | 10, base).astype(np.int32)


def _keywords(
    star: SimulatedStar, observation: Observation, time: Values, aperture: NDArray[np.int32]
) -> dict[str, formats.Keyword]:
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
        "CROWDSAP": star.crowding,
        "FLFRCSAP": star.aperture_share,
        "NPIXSAP": int(np.count_nonzero(aperture & 2)),
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


def product_key(star: SimulatedStar, observation: Observation) -> str:
    """Where the archive keeps the product."""
    if star.mission == "kepler":
        name = f"{star.number:09d}"
        return f"kepler/public/lightcurves/{name[:4]}/{name}/kplr{name}-{observation.stamp}_llc.fits"
    name, sector = f"{star.number:016d}", f"s{observation.number:04d}"
    folder = "/".join((name[:4], name[4:8], name[8:12], name[12:]))
    file = f"tess{observation.stamp}-{sector}-{name}-{observation.version}-s_lc.fits"
    return f"tess/public/tid/{sector}/{folder}/{file}"
