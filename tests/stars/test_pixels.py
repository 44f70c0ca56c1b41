"""Target pixel files and centroid columns, beside astropy and lightkurve; what is no such file is refused."""

import gzip
import io
import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import FetchConfig, load
from survey.errors import BadFile, StarError, TooShort
from survey.stars import fits as survey_fits
from survey.stars import simulate
from survey.stars.pixels import SATURATION, read_light_centre, read_pixels
from survey.stars.products import recognise_product
from survey.stars.sources import fetch_light_centres, fetch_pixels, open_source
from survey.stars.targets import MISSIONS
from tests.stars.fits_files import SKY, fits_bytes, kepler_bytes, pixel_bytes, spoc_bytes, world_keys

FETCH = FetchConfig()
NAME = "tess2018206045859-s0001-0000000000000123-0120-s_tp.fits"


def plane_of(data: bytes, extension: str = "APERTURE") -> WCS:
    with fits.open(io.BytesIO(data)) as hdus:
        return WCS(hdus[extension].header)


def measured_sky(plane: WCS, column: float, row: float) -> np.ndarray:
    """Arcsec east and north of one pixel further along columns and rows, by astropy."""
    here = SkyCoord(*plane.all_pix2world(column, row, 0), unit="deg")
    steps = []
    for along in ((0.01, 0.0), (0.0, 0.01)):
        there = SkyCoord(*plane.all_pix2world(column + along[0], row + along[1], 0), unit="deg")
        steps.append([offset.arcsec * 100 for offset in here.spherical_offsets_to(there)])
    return np.transpose(steps)


# ---- pixel files -----------------------------------------------------------------------------------------------------


def test_a_pixel_file_of_tess():
    data = pixel_bytes(50)
    pixels = read_pixels(data, NAME, FETCH)
    with fits.open(io.BytesIO(data)) as hdus:
        table = hdus[1].data
        np.testing.assert_array_equal(pixels.flux, table["FLUX"])
        np.testing.assert_array_equal(pixels.flux_err, table["FLUX_ERR"])
        np.testing.assert_array_equal(pixels.time, table["TIME"])
        np.testing.assert_array_equal(pixels.pointing, np.stack([table["POS_CORR1"], table["POS_CORR2"]], axis=1))
        np.testing.assert_array_equal(pixels.aperture, hdus["APERTURE"].data == 3)
    assert pixels.flux.shape == (50, 11, 13)
    assert pixels.flux.dtype == pixels.flux_err.dtype == np.float32
    assert (pixels.target_id, pixels.mission, pixels.observation) == ("TIC 123", "tess", 1)
    assert (pixels.corner, pixels.pixel_arcsec, pixels.magnitude) == ((1624, 257), 21.0, 10.5)
    assert pixels.saturation == SATURATION["tess"] == pytest.approx(101_010, rel=1e-3)


def test_the_star_is_where_its_proper_motion_took_it():
    """18.6 years of 0.31 arcsec eastwards and 1.05 northwards, a pixel in all."""
    data = pixel_bytes()
    pixels = read_pixels(data, NAME, FETCH)
    years = (pixels.time.mean() + 2457000 - 2451545) / 365.25
    ra = 84.29 + 0.3112 * years / 3600 / np.cos(np.radians(80.46))
    expected = plane_of(data).all_world2pix(ra, -80.46 + 1.0488 * years / 3600, 0)
    np.testing.assert_allclose(pixels.target, expected, atol=1e-9)
    still = read_pixels(pixel_bytes(primary={"PMRA": 0.0, "PMDEC": 0.0}), NAME, FETCH)
    moved = np.subtract(pixels.target, still.target)
    np.testing.assert_allclose(SKY @ moved, [0.3112 * years, 1.0488 * years], atol=0.02)
    np.testing.assert_allclose(pixels.sky, SKY, rtol=1e-12)
    np.testing.assert_allclose(pixels.sky, measured_sky(plane_of(data), *pixels.target), atol=0.01)


@pytest.mark.parametrize(
    ("mission", "name", "target_id", "motion"),
    [
        ("kepler", "kplr000000123-2009166043257_lpd-targ.fits", "KIC 123", {"PMRA": 0.3, "PMDEC": 0.0}),
        ("k2", "ktwo000000123-c05_lpd-targ.fits", "EPIC 123", {"PMRA": 0.3, "PMDEC": 0.0}),
    ],
)
def test_keplers_proper_motion_is_in_arcsec(mission, name, target_id, motion):
    pixels = read_pixels(pixel_bytes(mission=mission, primary=motion), name, FETCH)
    still = read_pixels(pixel_bytes(mission=mission), name, FETCH)
    years = (pixels.time.mean() + 2454833 - 2451545) / 365.25
    np.testing.assert_allclose(SKY @ np.subtract(pixels.target, still.target), [0.3 * years, 0], atol=0.01)
    assert (pixels.target_id, pixels.mission, pixels.observation) == (target_id, mission, 1)
    assert (pixels.pixel_arcsec, pixels.saturation) == (3.98, SATURATION["kepler"])


def test_a_gzipped_file_is_the_same_but_for_its_sum():
    plain, packed = pixel_bytes(), gzip.compress(pixel_bytes())
    one, two = read_pixels(plain, NAME, FETCH), read_pixels(packed, NAME + ".gz", FETCH)
    np.testing.assert_array_equal(one.flux, two.flux)
    assert one.target == two.target
    assert one.sha256 != two.sha256


@pytest.mark.parametrize(("mission", "quality"), [("tess", "default"), ("kepler", "hard"), ("k2", "none")])
def test_the_pinned_bits_take_cadences_away(mission, quality):
    bits = 1 << np.arange(21)
    pixels = read_pixels(pixel_bytes(21, mission=mission, columns={"QUALITY": bits.astype(np.int32)}), NAME, FETCH)
    mask = MISSIONS[mission].quality_masks["default"]
    assert np.round((pixels.time - 1325.3) * 720).tolist() == np.flatnonzero((bits & mask) == 0).tolist()
    fetch = FetchConfig(quality=quality)
    pixels = read_pixels(pixel_bytes(21, mission=mission, columns={"QUALITY": bits.astype(np.int32)}), NAME, fetch)
    assert pixels.time.size == np.count_nonzero((bits & MISSIONS[mission].quality_masks[quality]) == 0)


def test_cadences_without_time_or_pixels_go_and_the_others_are_in_order():
    time = 1325.3 + np.arange(10.0)[::-1]
    time[3], time[5] = np.nan, time[4]
    flux = np.arange(10 * 6, dtype=np.float32).reshape(10, 2, 3)
    flux[7] = np.nan
    flux[8, :, 1:] = np.inf
    bits = np.full((2, 3), 3, np.int32)
    data = pixel_bytes(10, columns={"TIME": time, "FLUX": flux, "FLUX_ERR": flux, "RAW_CNTS": None}, aperture=bits)
    pixels = read_pixels(data, NAME, FETCH)
    kept = [9, 8, 6, 4, 2, 1, 0]
    np.testing.assert_array_equal(pixels.time, time[kept])
    np.testing.assert_array_equal(pixels.flux, np.where(np.isinf(flux), np.nan, flux)[kept])
    np.testing.assert_array_equal(pixels.pointing[:, 0], np.linspace(0, 0.1, 10, dtype=np.float32)[kept])
    assert pixels.aperture.all()


def test_times_of_another_zero_become_the_missions_own():
    data = pixel_bytes(columns={"TIME": 4325.3 + np.arange(50) / 720}, header={"BJDREFI": 2454000, "BJDREFF": 0.5})
    assert read_pixels(data, NAME, FETCH).time[0] == pytest.approx(4325.3 - 2999.5)


def test_what_a_file_does_not_say_is_none():
    columns = {"POS_CORR1": None}
    pixels = read_pixels(pixel_bytes(columns=columns, aperture=np.ones((11, 13), np.int32)), NAME, FETCH)
    assert pixels.pointing is None
    assert not pixels.aperture.any()
    unknown = np.full(50, np.nan, np.float32)
    assert read_pixels(pixel_bytes(columns={"POS_CORR1": unknown, "POS_CORR2": unknown}), NAME, FETCH).pointing is None
    assert read_pixels(pixel_bytes(primary={"TESSMAG": None}), NAME, FETCH).magnitude is None


def test_missing_world_coordinates():
    number = {"RAW_CNTS": None}  # FLUX is the third column.
    assert read_pixels(pixel_bytes(columns=number), NAME, FETCH).sky is not None
    for header in (
        {"1CTYP3": "RA---SIN"}, {"1CRPX3": None}, {"2CRVL3": "north"}, {"1CDLT3": 0.0}, {"11PC3": 0.0, "12PC3": 0.0},
    ):  # fmt: skip
        pixels = read_pixels(pixel_bytes(columns=number, header=header), NAME, FETCH)
        assert (pixels.target, pixels.sky) == (None, None), header
    for primary in ({"RA_OBJ": None}, {"DEC_OBJ": 95.0}, {"DEC_OBJ": 80.0}):
        pixels = read_pixels(pixel_bytes(primary=primary), NAME, FETCH)
        assert pixels.target is None, primary
        assert pixels.sky is not None


# ---- what is no pixel file -------------------------------------------------------------------------------------------

FLAT = np.zeros((50, 143), np.float32)


def flux_as(form: str, dim: str | None, **more: object) -> dict[str, object]:
    return {"FLUX": fits.Column("FLUX", form, dim=dim, array=FLAT, **more)}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<html>", "web page"),
        (b"time,flux\n1,2\n", "not a FITS file"),
        (pixel_bytes()[:-5000], "truncated"),
        (pixel_bytes()[:9000], "truncated"),
        (gzip.compress(pixel_bytes())[:-99], "truncated gzip"),
        (pixel_bytes().replace(b"TDIM4   = '(13,11) '", b"TDIM4   = '(13,12) '"), "CHECKSUM|DATASUM"),
        (pixel_bytes(has_aperture=False), "no extension APERTURE"),
        (pixel_bytes(aperture=np.ones((13, 11), np.int32)), r"aperture has \(13, 11\) pixels"),
        (pixel_bytes(aperture=np.ones((11, 13), np.float32)), "no image of whole numbers"),
        (pixel_bytes(aperture=np.ones((1, 11, 13), np.int32)), "no image of whole numbers"),
        (pixel_bytes(columns={"FLUX_ERR": None}), "no column FLUX_ERR"),
        (pixel_bytes(columns={"FLUX_ERR": np.ones((50, 13, 11), np.float32)}), "errors of"),
        (pixel_bytes(columns={"FLUX": np.ones((50, 11, 13))}), "holds no images"),
        (pixel_bytes(columns={"FLUX": np.ones((50, 11, 13), np.int32)}), "holds no images"),
        (pixel_bytes(columns={"FLUX": np.ones(50, np.float32)}), "holds no images"),
        (pixel_bytes(columns=flux_as("143E", None)), "holds no images"),
        (pixel_bytes(columns=flux_as("143E", None, bscale=2.0)), "holds no images"),
        (pixel_bytes(columns={"QUALITY": np.zeros(50)}), "whole numbers"),
        (pixel_bytes(columns={"TIME": np.linspace(1e9, 2e9, 50)}), "in no year"),
        (pixel_bytes(columns={"RAW_CNTS": None}, header={"1CRV3P": None}), "where on the detector"),
        (pixel_bytes(columns={"RAW_CNTS": None}, header={"2CRV3P": 1e30}), "where on the detector"),
        (spoc_bytes(), "no column FLUX and FLUX_ERR"),
    ],
)
def test_other_files_are_refused(data, words):
    with pytest.raises(BadFile, match=words):
        read_pixels(data, "x.fits", FETCH)


@pytest.mark.parametrize(
    "dim", ["(99999,1)", "(0,143)", "(-13,-11)", "(13,11,1)", "(143)", "13,11", "(1e1,14)", "(12,11)"]
)
def test_absurd_shapes_are_refused(dim):
    data = pixel_bytes(checksum=False)
    card = b"TDIM4   = '(13,11) '"
    assert data.count(card) == 1
    data = data.replace(card, f"TDIM4   = '{dim:<8}'".encode()[: len(card)].ljust(len(card)))
    with pytest.raises(BadFile, match="holds no images"):
        read_pixels(data, NAME, FETCH)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("NAXIS2  =                   50", "NAXIS2  =         999999999999", "truncated"),
        ("NAXIS2  =                   50", "NAXIS2  =               -50   ", "broken header"),
        ("TFORM4  = '143E    '", "TFORM4  = '999999E '", "broken table header"),
        ("NAXIS1  =                   13", "NAXIS1  =               900000", "truncated"),
        ("NAXIS1  =                   13", "NAXIS1  =                    1", "pixels"),
        ("NAXIS1  =                   13", "NAXIS1  =                    0", "pixels"),
    ],
)
def test_sizes_are_checked_against_the_bytes(old, new, words):
    data = pixel_bytes(checksum=False)
    assert data.count(old.encode()) == 1
    with pytest.raises(BadFile, match=words):
        read_pixels(data.replace(old.encode(), new.encode()), NAME, FETCH)


def test_a_bomb_is_refused_unread(monkeypatch):
    monkeypatch.setattr(survey_fits, "MAX_BYTES", 100_000)
    with pytest.raises(BadFile, match="decompresses to more than"):
        read_pixels(gzip.compress(pixel_bytes(500)), NAME, FETCH)


def test_too_few_cadences():
    with pytest.raises(TooShort, match="1 of 1 cadences"):
        read_pixels(pixel_bytes(1), NAME, FETCH)
    with pytest.raises(TooShort, match="0 of 50 cadences"):
        read_pixels(pixel_bytes(columns={"QUALITY": np.full(50, 8, np.int32)}), NAME, FETCH)
    with pytest.raises(TooShort, match="has a time"):
        read_pixels(pixel_bytes(columns={"TIME": np.full(50, np.nan)}), NAME, FETCH)
    with pytest.raises(TooShort, match="none of its 0"):
        read_pixels(pixel_bytes(0), NAME, FETCH)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=4), st.booleans())
def test_damage_never_does_worse_than_refuse(place, junk, cut):
    data = bytearray(DAMAGED)
    place %= len(data)
    data[place : place + len(junk)] = junk
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = read_pixels(bytes(data[:place] if cut else data), NAME, FETCH)
        except StarError:
            return
    assert pixels.flux.shape[1:] == pixels.aperture.shape


DAMAGED = pixel_bytes(5, shape=(2, 3), aperture=np.full((2, 3), 3, np.int32), checksum=False)


# ---- centroids of light-curve files ----------------------------------------------------------------------------------


def light_bytes(mission: str = "tess", n: int = 40, **columns: object) -> bytes:
    """A light curve with centroids, and the aperture's world coordinates before it."""
    quality = np.zeros(n, np.int32)
    quality[5] = 8 if mission == "tess" else 1
    made = {
        "TIME": 1325.3 + np.arange(n) / 720,
        "PDCSAP_FLUX": np.ones(n, np.float32),
        "QUALITY" if mission == "tess" else "SAP_QUALITY": quality,
        "SAP_BKG": np.arange(n, dtype=np.float32),
        "MOM_CENTR1": 1630 + np.arange(n) / 100,
        "MOM_CENTR2": 262 + np.arange(n) / 50,
        "POS_CORR1": np.linspace(0, 0.1, n, dtype=np.float32),
        "POS_CORR2": np.linspace(0.1, 0, n, dtype=np.float32),
    } | columns
    image = fits.ImageHDU(np.ones((11, 13), np.int32), name="APERTURE")
    image.header.update(world_keys(None))
    return fits_bytes(
        {name: values for name, values in made.items() if values is not None},
        primary={
            "TELESCOP": "TESS" if mission == "tess" else "Kepler", "SECTOR" if mission == "tess" else "QUARTER": 4,
            "RA_OBJ": 84.3, "DEC_OBJ": -80.461,
        },
        header={"BJDREFI": 2457000 if mission == "tess" else 2454833, "CROWDSAP": 0.9},
        before=[image],
    )  # fmt: skip


@pytest.mark.parametrize("mission", ["tess", "kepler"])
def test_the_centre_of_the_light(mission):
    moving = 1630 + np.arange(40) / 100
    moving[7] = np.nan
    centre = read_light_centre(light_bytes(mission, MOM_CENTR1=moving), "x.fits", FETCH)
    kept = [k for k in range(40) if k not in (5, 7)]
    np.testing.assert_array_equal(centre.centre, np.stack([moving, 262 + np.arange(40) / 50], axis=1)[kept])
    np.testing.assert_array_equal(centre.time, (1325.3 + np.arange(40) / 720)[kept])
    np.testing.assert_array_equal(centre.background, np.arange(40)[kept])
    np.testing.assert_array_equal(centre.pointing[:, 0], np.linspace(0, 0.1, 40, dtype=np.float32)[kept])
    assert (centre.observation, centre.crowding) == (4, 0.9)
    assert centre.pixel_arcsec == MISSIONS[mission].pixel_arcsec
    np.testing.assert_allclose(centre.target, [1624 + 5.5, 257 + 4.25])
    np.testing.assert_allclose(centre.sky, SKY)


def test_light_curves_that_do_not_tell_the_centre():
    assert read_light_centre(spoc_bytes(), "x.fits", FETCH) is None
    assert read_light_centre(kepler_bytes(), "x.fits", FETCH) is None
    assert read_light_centre(b"time,flux\n1,2\n2,3\n", "x.csv", FETCH) is None
    assert read_light_centre(light_bytes(MOM_CENTR1=np.full(40, np.nan)), "x.fits", FETCH) is None
    bare = read_light_centre(light_bytes(SAP_BKG=None, POS_CORR1=None), "x.fits", FETCH)
    assert (bare.background, bare.pointing) == (None, None)


def test_damaged_light_curves_are_refused():
    with pytest.raises(BadFile, match="truncated"):
        read_light_centre(light_bytes()[:-3000], "x.fits", FETCH)
    with pytest.raises(BadFile, match="not a FITS file"):
        read_light_centre(b"\0\1\2", "x.fits", FETCH)


# ---- simulated and real files ----------------------------------------------------------------------------------------


def pixel_files(archive):
    return [path for path in sorted(archive.rglob("*")) if recognise_product(path.name, "pixels") and path.is_file()]


def light_centre(pixels):
    """Column and row of the centre of the light in the aperture, over all cadences."""
    image = np.where(pixels.aperture, np.median(np.nan_to_num(pixels.flux), axis=0), 0.0)
    rows, columns = np.indices(image.shape)
    return np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()


def test_simulated_stars_are_where_their_light_is(tmp_path):
    """The pixels, the columns of the light curve made from them and the coordinates tell one place."""
    simulate.write_archive(tmp_path, kinds=["planet_with_pixels", "kepler_planet_with_pixels"])
    source = open_source(f"mirror:{tmp_path}", load())
    for target in source.targets(None):
        files, centres = fetch_pixels(target, source, load())[0], fetch_light_centres(target, source, load())
        assert len(files) == len(centres) == (1 if target.mission == "tess" else 4)
        for pixels, centre in zip(files, centres, strict=True):
            assert np.hypot(*(light_centre(pixels) - pixels.target)) < 0.3
            np.testing.assert_allclose(centre.target, np.add(pixels.target, pixels.corner), atol=1e-6)
            np.testing.assert_allclose(
                np.median(centre.centre, axis=0), light_centre(pixels) + pixels.corner, atol=0.01
            )
            np.testing.assert_allclose(centre.sky, pixels.sky)
            np.testing.assert_array_equal(centre.pointing, pixels.pointing)


def test_real_pixel_files_as_astropy_and_lightkurve_read_them(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightkurve

    paths = pixel_files(archive)
    assert len(paths) >= 6
    for path in paths:
        pixels = read_pixels(path.read_bytes(), path.name, FETCH)
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            warnings.simplefilter("ignore")
            theirs = lightkurve.KeplerTargetPixelFile(hdus, quality_bitmask="default")
            seen = np.isfinite(theirs.flux.value).any(axis=(1, 2))
            np.testing.assert_array_equal(pixels.time, theirs.time.value[seen])
            np.testing.assert_array_equal(pixels.flux, theirs.flux.value[seen])
            np.testing.assert_array_equal(pixels.flux_err, theirs.flux_err.value[seen])
            np.testing.assert_array_equal(pixels.aperture, theirs.pipeline_mask)
            np.testing.assert_array_equal(pixels.aperture, (hdus["APERTURE"].data & 2) != 0)
            if pixels.pointing is not None:
                rows = np.isin(hdus[1].data["TIME"], pixels.time)
                np.testing.assert_array_equal(pixels.pointing[:, 0], hdus[1].data["POS_CORR1"][rows])
            plane, primary = theirs.wcs, hdus[0].header
        assert pixels.corner == (theirs.column, theirs.row)
        assert pixels.target_id.split()[1] == str(theirs.targetid)
        assert pixels.observation == (theirs.quarter if pixels.mission == "kepler" else theirs.campaign)
        years = (np.median(pixels.time) + 2454833 - 2451545) / 365.25
        east, north = (years * (primary.get(key) or 0.0) / 3600 for key in ("PMRA", "PMDEC"))
        ra = primary["RA_OBJ"] + east / np.cos(np.radians(primary["DEC_OBJ"]))
        np.testing.assert_allclose(pixels.target, plane.all_world2pix(ra, primary["DEC_OBJ"] + north, 0), atol=1e-6)
        np.testing.assert_allclose(pixels.sky, measured_sky(plane, *pixels.target), atol=1e-3)


def test_real_pixels_are_brightest_where_the_star_is(archive):
    for path in pixel_files(archive):
        pixels = read_pixels(path.read_bytes(), path.name, FETCH)
        if pixels.aperture.any():
            assert np.hypot(*(light_centre(pixels) - pixels.target)) < 0.5, path.name


@pytest.mark.verify
def test_real_light_is_centred_on_the_star(archive):
    """Centroids and coordinates agree, for stars that moved by up to two pixels since 2000 too."""
    offsets = {}
    for path in sorted(archive.rglob("*")):
        ref = recognise_product(path.name)
        centre = read_light_centre(path.read_bytes(), path.name, FETCH) if ref is not None else None
        if centre is not None and centre.target is not None:
            offsets[path.name] = np.hypot(*(np.median(centre.centre, axis=0) - centre.target))
            assert abs(np.linalg.det(centre.sky)) ** 0.5 == pytest.approx(centre.pixel_arcsec, rel=0.08)
    assert len(offsets) > 80
    # Neighbours in the aperture pull the light of a few stars away.
    assert np.quantile(list(offsets.values()), 0.95) < 0.5
    assert max(offsets.values()) < 1.3
    assert np.median(list(offsets.values())) < 0.12
    fast_moving = [offset for name, offset in offsets.items() if "246389858" in name or "261136679" in name]
    assert len(fast_moving) == 3
    assert max(fast_moving) < 0.3
