"""FITS, CSV and text files as light curves, and what is no light curve."""

import gzip
import io
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import FetchConfig
from survey.errors import BadFile, StarError, TooShort, UsageError
from survey.stars import simulate
from survey.stars.fits import ones_complement_sum, read_table
from survey.stars.products import recognise_product
from survey.stars.reading import Bounds, read_light_curve, read_upload
from tests.stars.fits_files import KEPLER_NAME, TESS_NAME, fits_bytes, kepler_bytes, spoc_bytes, with_card

FETCH = FetchConfig()


def assert_same_columns(data: bytes, name: str) -> int:
    """Our table has the numbers that astropy has, in every plain column; returns how many there were."""
    table = read_table(data, name)
    content = gzip.decompress(data) if name.endswith(".gz") else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), memmap=False, checksum=False) as hdus:
            theirs = next((hdu for hdu in hdus if "LIGHTCURVE" in hdu.name.replace(" ", "")), hdus[1])
            assert table.n_rows == len(theirs.data)
            assert table.names == tuple(name.upper() for name in theirs.columns.names)
            for column in theirs.columns.names:
                ours = table.column(column.upper())
                expected = np.asarray(theirs.data[column])
                assert ours.dtype.isnative
                np.testing.assert_array_equal(ours, expected)
            for key in ("BJDREFI", "TIMEDEL", "EXPOSURE", "CROWDSAP", "EXTNAME", "NAXIS2", "TUNIT1"):
                assert table.header.get(key) == theirs.header.get(key)
            for key in ("TICID", "KEPLERID", "TESSMAG", "RA_OBJ", "OBJECT", "PROCVER", "EXTEND", "TEFF", "PARALLAX"):
                expected = hdus[0].header.get(key)
                assert table.primary.get(key) == (None if isinstance(expected, fits.card.Undefined) else expected)
    return len(table.names)


def test_tables_of_all_real_files_agree_with_astropy(archive):
    paths = [path for path in sorted(archive.rglob("*")) if recognise_product(path.name)]
    assert len(paths) > 100
    for path in paths:
        assert assert_same_columns(path.read_bytes(), path.name) >= 9


def test_tables_of_simulated_files_agree_with_astropy(tmp_path):
    simulate.write_archive(tmp_path, kinds=["planet", "kepler_planet"])
    paths = sorted(tmp_path.rglob("*.fits"))
    assert len(paths) > 1
    for path in paths:
        assert assert_same_columns(path.read_bytes(), path.name) == 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["D", "E", "I", "J", "K", "B", "scaled", "unsigned", "null", "text", "bits", "logical"]),
        min_size=1, max_size=6,
    ),
    st.integers(1, 20), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_odd_columns_agree_with_astropy(kinds, n, seed):
    rng = np.random.default_rng(seed)
    columns = {}
    for number, kind in enumerate(kinds):
        name = f"C{number}"
        whole = rng.integers(0, 100, n)
        columns[name] = {
            "scaled": lambda name=name, v=whole: fits.Column(name, "J", array=v),
            "unsigned": lambda name=name, v=whole: fits.Column(name, "J", bzero=2**31, array=v.astype(np.uint32)),
            "null": lambda name=name, v=whole: fits.Column(name, "J", null=-99, array=v),
            "text": lambda name=name: fits.Column(name, "5A", array=np.array(["abc"] * n)),
            "bits": lambda name=name: fits.Column(name, "11X", array=np.ones((n, 11), bool)),
            "logical": lambda name=name: fits.Column(name, "L", array=np.ones(n, bool)),
        }.get(kind, lambda name=name, kind=kind, v=whole: fits.Column(name, kind, array=v))()
    scaled = [number for number, kind in enumerate(kinds, 1) if kind == "scaled"]
    header = {f"TSCAL{number}": 0.25 for number in scaled} | {f"TZERO{number}": 3.5 for number in scaled}
    data = fits_bytes(columns, header=header, checksum=True)
    table = read_table(data, "x.fits")
    theirs = fits.getdata(io.BytesIO(data), 1)
    for name, kind in zip(columns, kinds, strict=True):
        if kind in ("text", "bits", "logical"):
            with pytest.raises(BadFile, match="no numbers"):
                table.column(name)
        else:
            np.testing.assert_array_equal(table.column(name), np.asarray(theirs[name], dtype=np.float64))


def test_missing_whole_numbers_are_nan():
    data = fits_bytes({"TIME": fits.Column("TIME", "J", null=-99, array=[1, -99, 3])})
    np.testing.assert_array_equal(read_table(data, "x").column("TIME"), [1, np.nan, 3])


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300).map(lambda data: data[: len(data) // 4 * 4]))
def test_the_sum_is_the_ones_complement_of_the_standard(data):
    total = 0
    for place in range(0, len(data), 4):
        total += int.from_bytes(data[place : place + 4], "big")
        total = (total & 0xFFFFFFFF) + (total >> 32)
    assert ones_complement_sum(data) == total


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_a_tess_light_curve():
    quality = np.zeros(500, int)
    quality[3] = 128
    quality[4] = 2048  # scattered light: not in the default mask
    flux = 1000 + np.arange(500.0)
    flux[10] = np.nan
    lc = read_light_curve(spoc_bytes(500, quality=quality, flux=flux), TESS_NAME, FETCH)
    assert (lc.target_id, lc.mission, lc.time_zero) == ("TIC 123", "tess", 2457000.0)
    assert lc.time.dtype == np.float64
    assert lc.flux.dtype == lc.flux_err.dtype == np.float32
    np.testing.assert_array_equal(lc.flux, np.delete(flux, [3, 10]).astype(np.float32))
    (product,) = lc.products
    assert (product.observation, product.author, product.pipeline) == (1, "SPOC", "spoc-5.0.10")
    assert (product.flux_column, product.quality_mask, product.cadence_s) == ("PDCSAP_FLUX", 17087, 120.0)
    assert (product.crowding, product.camera, product.ccd, product.n_cadences) == (0.97, 2, 3, 498)
    assert (lc.star.magnitude, lc.star.teff, lc.star.dec) == (10.5, 5800.0, -20.0)
    assert lc.notes == ()


@pytest.mark.parametrize(
    ("quality", "bit", "mission", "kept"),
    [
        ("default", 16, "tess", False), ("default", 64, "tess", True), ("default", 2048, "tess", True),
        ("hard", 2048, "tess", False), ("hardest", 256, "tess", False), ("none", 16, "tess", True),
        ("default", 128, "kepler", True), ("hard", 128, "kepler", False), ("default", 1, "kepler", False),
        ("default", 1 << 20, "kepler", False), ("none", 1, "kepler", True),
    ],
)  # fmt: skip
def test_quality_bits_are_those_of_the_mission(quality, bit, mission, kept):
    flags = np.zeros(100, np.int32)
    flags[50] = bit
    columns = {"TIME": np.arange(100.0), "PDCSAP_FLUX": np.ones(100), "QUALITY": flags}
    data = fits_bytes(columns, primary={"TELESCOP": mission.capitalize()}, header={"BJDREFI": 2457000})
    lc = read_light_curve(data, "x.fits", FetchConfig(quality=quality))
    assert lc.time.size == (100 if kept else 99)


@pytest.mark.parametrize(("sector", "column", "bit"), [(40, "KSPSAP_FLUX", 1 << 12), (56, "DET_FLUX", 1 << 30)])
@pytest.mark.parametrize("quality", ["default", "hard"])
def test_qlp_has_its_own_columns_and_bits(sector, column, bit, quality):
    flags = np.zeros(100, np.int32)
    flags[7] = bit
    flags[8] = 8
    data = fits_bytes(
        {
            "TIME": 2500 + np.arange(100) / 144, "SAP_FLUX": np.full(100, 0.5, np.float32),
            column: np.ones(100, np.float32), f"{column}_ERR": np.full(100, 1e-3, np.float32), "QUALITY": flags,
        },
        primary={"TELESCOP": "TESS", "OBJECT": "TIC 123", "SECTOR": sector}, header={"BJDREFI": 2457000},
    )  # fmt: skip
    name = f"hlsp_qlp_tess_ffi_s{sector:04d}-0000000000000123_tess_v01_llc.fits"
    lc = read_light_curve(data, name, FetchConfig(quality=quality))
    assert lc.products[0].author == "QLP"
    assert lc.products[0].flux_column == column
    assert lc.time.size == (99 if quality == "default" else 98)
    assert lc.flux_err[0] == np.float32(1e-3)
    assert lc.products[0].crowding is None


def test_tglc_takes_its_error_and_star_from_the_header():
    flags = np.zeros(100, np.int16)
    bad = flags.copy()
    flags[3], bad[4] = 8, 1
    data = fits_bytes(
        {
            "time": 1325 + np.arange(100) / 48, "cal_psf_flux": np.ones(100, np.float32),
            "aperture_flux": np.ones(100, np.float32), "TESS_flags": flags, "TGLC_flags": bad,
        },
        primary={"TELESCOP": "TESS", "OBJECT": "Gaia DR3 1", "TICID": "123", "SECTOR": 1},
        header={"BJDREFI": 2457000, "CPSF_ERR": 0.002},
    )  # fmt: skip
    lc = read_light_curve(data, "hlsp_tglc_tess_ffi_gaiaid-1-s0001-cam2-ccd1_tess_v1_llc.fits", FETCH)
    assert lc.target_id == "TIC 123"
    assert lc.time.size == 98
    assert np.all(lc.flux_err == np.float32(0.002))


def test_unusual_values_in_headers():
    lc = read_light_curve(spoc_bytes(TESSMAG=999.0, TEFF=0.0, RADIUS="nan"), TESS_NAME, FETCH)
    assert (lc.star.magnitude, lc.star.teff, lc.star.radius) == (None, None, None)


def test_sap_on_demand():
    lc = read_light_curve(spoc_bytes(), TESS_NAME, FetchConfig(flux="sap"))
    assert lc.products[0].flux_column == "SAP_FLUX"
    assert np.all(lc.flux_err == 2)


def test_times_are_float64_and_moved_to_the_missions_zero():
    time = 1325.0 + np.arange(50) * 1e-6
    data = fits_bytes(
        {"TIME": time - 0.5, "FLUX": np.ones(50)},
        primary={"TELESCOP": "TESS"},
        header={"BJDREFI": 2457000, "BJDREFF": 0.5},
    )
    lc = read_light_curve(data, "x.fits", FETCH)
    np.testing.assert_allclose(lc.time, time, rtol=0, atol=1e-9)


def test_cadences_are_put_in_order_and_doubles_dropped():
    time = np.array([3.0, 1.0, 2.0, 2.0, 4.0])
    data = fits_bytes({"TIME": time, "FLUX": time}, primary={"TELESCOP": "TESS"}, header={"BJDREFI": 2457000})
    lc = read_light_curve(data, "x.fits", FETCH)
    assert lc.time.tolist() == lc.flux.tolist() == [1, 2, 3, 4]


def test_impossible_times_are_left_out_and_told():
    times = 1325.0 + np.arange(500) * 0.02
    times[[7, 300]] = 1e9, -5e157
    lc = read_light_curve(text_of(times, np.ones(500), header="time,flux"), "a.csv", FETCH, mission="tess")
    assert (lc.time.size, lc.baseline) == (498, pytest.approx(499 * 0.02))
    assert "2 cadences left out" in lc.notes[-1]


def test_seconds_are_not_taken_for_days():
    seconds = 1325.0 * 86_400 + np.arange(500) * 120.0
    with pytest.raises(BadFile, match="are they days"):
        read_light_curve(text_of(seconds, np.ones(500), header="time,flux"), "a.csv", FETCH)


def test_a_gzipped_file_reads_the_same():
    plain = read_light_curve(kepler_bytes(), KEPLER_NAME, FETCH)
    packed = read_light_curve(gzip.compress(kepler_bytes()), KEPLER_NAME + ".gz", FETCH)
    np.testing.assert_array_equal(plain.flux, packed.flux)
    assert plain.products[0].sha256 != packed.products[0].sha256


# ---- other people's FITS (S4.3) --------------------------------------------------------------------------------------


def test_the_lightcurve_extension_comes_before_other_tables():
    other = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=[1.0])], name="EVENTS")
    data = fits_bytes({"TIME": np.arange(9.0), "FLUX": np.ones(9)}, before=[other])
    assert read_light_curve(data, "mine.fits", FETCH, mission="tess").time.size == 9


def test_else_the_first_binary_table_is_read():
    image = fits.ImageHDU(np.zeros((3, 3)), name="PICTURE")
    data = fits_bytes({"jd": 2458325 + np.arange(9.0), "flux": np.ones(9)}, before=[image], extname=None)
    lc = read_light_curve(data, "mine.fits", FETCH)
    assert (lc.target_id, lc.mission, lc.products[0].author) == ("FILE mine", "tess", "upload")
    np.testing.assert_allclose(lc.time, 1325 + np.arange(9.0))
    assert "mission recognised as tess" in lc.notes[0]


@pytest.mark.parametrize("suffix", ["csv", "fits"])
def test_the_sample_files_are_read(tmp_path, suffix):
    for path in simulate.simulate_samples(tmp_path, [suffix], 5):
        lc = read_upload(path, FETCH)
        assert lc.target_id == f"FILE {path.stem}"
        assert lc.mission == "tess"
        assert lc.time.size > 1000
        assert 0.9 < np.median(lc.flux) < 1.1


# ---- CSV and text (S4.2) ---------------------------------------------------------------------------------------------


def text_of(time, *columns, header="", delimiter=","):
    rows = (delimiter.join(f"{value:.15g}" for value in row) for row in zip(time, *columns, strict=True))
    return ("\n".join([*([header] if header else []), *rows]) + "\n").encode()


TIME = 1500.0 + np.arange(200) / 720
FLUX = 1.0 + 1e-3 * np.sin(np.arange(200.0))
ERR = np.full(200, 1e-3)


@pytest.mark.parametrize(
    "header",
    [
        "time,flux,flux_err", "TIME,FLUX,FLUX_ERR", "Time [BTJD],Flux,Flux Err", "t,f,ferr",
        "BTJD,SAP_FLUX,SAP_FLUX_ERR", "time,PDCSAP_FLUX,PDCSAP_FLUX_ERR", '"time","flux","flux_err"',
        "time , flux , error", "# time,flux,flux_err", "",
    ],
)  # fmt: skip
def test_columns_are_found_by_name(header):
    lc = read_light_curve(text_of(TIME, FLUX, ERR, header=header), "a.csv", FETCH, mission="tess")
    np.testing.assert_allclose(lc.time, TIME, atol=1e-6)
    np.testing.assert_allclose(lc.flux, FLUX, atol=1e-6)
    np.testing.assert_allclose(lc.flux_err, ERR, atol=1e-9)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", "   "])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.dat", "a"])
def test_any_delimiter_and_name(delimiter, name):
    data = text_of(TIME, FLUX, header=delimiter.join(["time", "flux"]), delimiter=delimiter)
    assert read_light_curve(data, name, FETCH, mission="tess").time.size == 200


def test_windows_lines_byte_order_mark_comments_and_holes():
    lines = ["\ufeff# a comment", "time,flux,note", "1,1.0,x", "2,,", "3,n/a,y", "4,1.1,", "", "5,0.9", "6,1.2,z"]
    lc = read_light_curve("\r\n".join(lines).encode(), "a.csv", FETCH, mission="tess", time_zero=2457000.0)
    assert lc.time.tolist() == [1, 4, 5, 6]
    assert lc.notes == ()


def test_pdcsap_before_sap_unless_asked():
    data = text_of(TIME, FLUX, FLUX + 1, header="time,sap_flux,pdcsap_flux")
    assert read_light_curve(data, "a.csv", FETCH, mission="tess").products[0].flux_column == "pdcsap_flux"
    sap = read_light_curve(data, "a.csv", FetchConfig(flux="sap"), mission="tess")
    assert sap.products[0].flux_column == "sap_flux"


@pytest.mark.parametrize(
    ("header", "zero", "said", "mission"),
    [
        ("bjd,flux", 0.0, {}, "tess"), ("JD,flux", 0.0, {}, "tess"), ("MJD,flux", 2400000.5, {}, "tess"),
        ("btjd,flux", 2457000.0, {}, "tess"), ("BKJD,flux", 2454833.0, {}, "tess"),
        ("time,flux", 2457000.0, {"time_zero": 2457000.0}, "tess"),
        ("time (BJD - 2454833),flux", 2454833.0, {}, "tess"),
        ("time,flux", 2457000.0, {"mission": "tess"}, "tess"), ("time,flux", 0.0, {"mission": "kepler"}, "kepler"),
    ],
)  # fmt: skip
def test_time_zero_is_given_or_recognised(header, zero, said, mission):
    bjd = 2458600.0 + np.arange(200) / 720
    lc = read_light_curve(text_of(np.round(bjd - zero, 6), FLUX, header=header), "a.csv", FETCH, **said)
    assert lc.mission == mission
    expected = bjd - (2454833.0 if mission == "kepler" else 2457000.0)
    np.testing.assert_allclose(lc.time, expected, atol=1e-5)
    assert any("mission recognised" in note for note in lc.notes) == ("mission" not in said)


@pytest.mark.parametrize(
    ("start", "cadence_s", "mission"),
    [(130.0, 1765.4, "kepler"), (2900.0, 1765.4, "k2"), (130.0, 58.85, "kepler"), (2900.0, 120.0, "tess")],
)
def test_mission_is_guessed_from_times_and_cadence_and_reported(start, cadence_s, mission):
    time = start + np.arange(200) * cadence_s / 86_400
    lc = read_light_curve(text_of(time, FLUX, header="time,flux"), "a.csv", FETCH)
    assert lc.mission == mission
    assert len(lc.notes) == 2
    assert "give the mission" in lc.notes[0]
    assert "give time_zero" in lc.notes[1]


def test_the_star_stands_in_the_name():
    data = text_of(TIME, FLUX)
    assert read_light_curve(data, "tic0012345_mine.csv", FETCH).target_id == "TIC 12345"
    kic = read_light_curve(data, "KOI-0001.01_KIC011446443.csv", FETCH)
    assert (kic.target_id, kic.mission) == ("KIC 11446443", "kepler")


def test_missing_and_foreign_errors_become_the_scatter():
    rng = np.random.default_rng(1)
    flux = 1 + 1e-3 * rng.standard_normal(200)
    for data in (text_of(TIME, flux), text_of(TIME, flux, np.full(200, 17.0)), text_of(TIME, flux, np.zeros(200))):
        lc = read_light_curve(data, "a.csv", FETCH, mission="tess")
        np.testing.assert_allclose(lc.flux_err, 1e-3, rtol=0.25)
    notes = read_light_curve(text_of(TIME, flux, np.full(200, 17.0)), "a.csv", FETCH, mission="tess").notes
    assert any("do not fit" in note for note in notes)


def test_real_text_files(real_data):
    expected = {
        "EPIC201367065.csv.gz": ("EPIC 201367065", "k2"), "K2_138.csv.gz": ("FILE K2_138", "k2"),
        "K2-140_lc.dat.gz": ("FILE K2-140_lc", "k2"), "K2-32_lc.dat.gz": ("FILE K2-32_lc", "k2"),
        "kplr10727668.dat.gz": ("KIC 10727668", "kepler"),
        "KOI-0001.01_KIC011446443.csv.gz": ("KIC 11446443", "kepler"),
    }  # fmt: skip
    found = {path.name: path for path in (real_data / "text").rglob("*.gz")}
    for name, (target_id, mission) in expected.items():
        lc = read_upload(found[name], FETCH)
        assert (lc.target_id, lc.mission) == (target_id, mission)
        assert lc.time.size > 1000
        assert abs(lc.cadence_s - 1765.4) < 1
        assert np.all(lc.flux_err > 0)


# ---- what is no light curve ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", TESS_NAME, "empty"),
        (b"", "a.csv", "empty"),
        (b"<!DOCTYPE html><html><body>503</body></html>", TESS_NAME, "web page"),
        (b"\n <html>", "a.csv", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), TESS_NAME, "not a FITS file but a picture"),
        (bytes(range(256)) * 20, "a.csv", "not a FITS"),
        (b"\xff\xfe\xfa text", "a.csv", "neither FITS nor text"),
        (b"SIMPLE  =                    T", TESS_NAME, "truncated"),
        (b"a,b\n1,2\n", "a.csv", "no time column among A, B"),
        (b"time,b\n1,2\n", "a.csv", "no flux column"),
        (b"time,flux\nx,y\nz,w\n", "a.csv", "holds no numbers"),
        (b"time,flux,flux_err\n1,2\n3,4\n", "a.csv", "the lines have not"),
        (b"# only a comment\n", "a.csv", "no line with values"),
        (b"\x1f\x8b\x08\x00broken", "a.fits.gz", "gzip"),
        (gzip.compress(kepler_bytes())[:-500], "a.fits.gz", "truncated gzip"),
    ],
)
def test_other_content_is_refused_in_words(data, name, words):
    with pytest.raises(BadFile, match=words):
        read_light_curve(data, name, FETCH)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (spoc_bytes(1), "1 of 1"), (spoc_bytes(100, flux=np.full(100, np.nan)), "0 of 100"),
        (spoc_bytes(0), "none of its 0"),
        (spoc_bytes(100, quality=np.full(100, 128)), "0 of 100"),
        (fits_bytes({"TIME": np.full(9, np.nan), "FLUX": np.ones(9)}, primary={"TELESCOP": "TESS"}), "has a time"),
        (fits_bytes({"TIME": np.full(9, 7.0), "FLUX": np.ones(9)}, primary={"TELESCOP": "TESS"}), "the same time"),
        (b"time,flux\n", "a header and no values"),
    ],
)  # fmt: skip
def test_too_little_light(data, words):
    with pytest.raises(TooShort, match=words):
        read_light_curve(data, "x.fits" if data[:1] == b"S" else "x.csv", FETCH)


def test_no_table_pixels_and_compressed_tables():
    picture = io.BytesIO()
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(picture)
    with pytest.raises(BadFile, match="without a binary table"):
        read_light_curve(picture.getvalue(), "x.fits", FETCH)
    pixels = fits.Column("FLUX", "4E", array=np.ones((9, 4)))
    with pytest.raises(BadFile, match="pixels"):
        read_light_curve(fits_bytes({"TIME": np.arange(9.0), "FLUX": pixels}), "x.fits", FETCH)
    with pytest.raises(BadFile, match="compressed"):
        read_light_curve(fits_bytes({"TIME": np.arange(9.0)}, header={"ZTABLE": True}), "x.fits", FETCH)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("NAXIS1", "36", "36 bytes"), ("NAXIS2", "99999999999", "truncated"), ("NAXIS2", "-5", "NAXIS2 is -5"),
        ("NAXIS2", "'many'", "NAXIS2 is many"), ("BITPIX", "7", "BITPIX"), ("TFIELDS", "3", "columns of"),
        ("TFIELDS", "5000", "TFIELDS is 5000"), ("TFORM1", "'Z'", "TFORM1"), ("TFORM1", "'999999D'", "columns of"),
        ("PCOUNT", "-1", "PCOUNT"), ("GCOUNT", "3", "GCOUNT"), ("NAXIS", "99999999", "NAXIS is 99999999"),
    ],
)  # fmt: skip
def test_broken_headers_are_refused(key, value, words):
    with pytest.raises(BadFile, match=words):
        read_light_curve(with_card(spoc_bytes(50), key, value), TESS_NAME, FETCH)


def test_numbers_that_no_row_can_hold_are_not_known():
    data = with_card(spoc_bytes(50, SECTOR=1), "SECTOR", "99999999999")
    product = read_light_curve(with_card(data, "CAMERA", "-1E300"), "x.fits", FETCH).products[0]
    assert (product.observation, product.camera, product.ccd) == (None, None, 3)
    data = with_card(with_card(spoc_bytes(50), "OBJECT", "'a star'"), "TICID", "'\xb2'")
    assert read_light_curve(data, "x.fits", FETCH).target_id == "FILE x"


def test_flux_beyond_all_sense_is_left_out():
    flux = np.full(100, 1000.0, np.float32)
    flux[:40] = np.linspace(1e30, 3e38, 40)
    assert read_light_curve(spoc_bytes(100, flux=flux), TESS_NAME, FETCH).time.size == 60


@pytest.mark.parametrize("card", [{"TZERO2": 1e300}, {"TZERO2": 2**63}, {"TSCAL2": 1e300}])
def test_zeros_and_scales_may_be_enormous(card):
    data = fits_bytes({"TIME": np.arange(9.0), "FLUX": np.arange(9, dtype=np.int32)}, header=card)
    whole = np.arange(9.0)
    values = whole * card["TSCAL2"] if "TSCAL2" in card else whole + float(card["TZERO2"])
    np.testing.assert_array_equal(read_table(data, "x.fits").column("FLUX"), values)


@pytest.mark.parametrize("data", [spoc_bytes(50), b"time,flux\n" + b"1,2\n" * 50], ids=["FITS", "text"])
def test_rows_are_bounded(data):
    with pytest.raises(BadFile, match="rows, more than 49"):
        read_light_curve(data, "x", FETCH, bounds=Bounds(rows=49))


def test_a_decompression_bomb_is_stopped():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(64)]) + packer.flush()
    assert len(bomb) < 100_000
    with pytest.raises(BadFile, match="more than 10 MB"):
        read_light_curve(bomb, "x.fits.gz", FETCH, bounds=Bounds(unpacked=10 << 20))


SMALL = spoc_bytes(100)


@settings(max_examples=150, deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(fraction):
    # In the last block only the padding may be missing; in all others something else is.
    with pytest.raises(BadFile):
        read_light_curve(SMALL[: int(fraction * (len(SMALL) - 2880))], TESS_NAME, FETCH)


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_never_changes_a_light_curve(fraction, bit):
    data = bytearray(SMALL)
    whole = read_light_curve(bytes(data), TESS_NAME, FETCH)
    data[int(fraction * len(data))] ^= 1 << bit
    try:
        lc = read_light_curve(bytes(data), TESS_NAME, FETCH)
    except BadFile:
        return
    # Flips in the name of a checksum's card or in what only describes: the light is the same.
    np.testing.assert_array_equal(lc.flux, whole.flux)
    np.testing.assert_array_equal(lc.time, whole.time)


def test_flipped_bits_of_a_real_file(archive):
    path = next(archive.rglob("tess*s0001*_lc.fits"))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    for place in rng.integers(2880 * 12, len(data) - 20_000, 30):
        data[place] ^= 4
        with pytest.raises(BadFile, match="CHECKSUM"):
            read_light_curve(bytes(data), path.name, FETCH)
        data[place] ^= 4


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_bytes_raise_star_errors_only(data):
    content = bytearray(with_card(SMALL, "CAMERA", "2"))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    name = data.draw(st.sampled_from([TESS_NAME, "x.csv", "x", "x.fits.gz"]))
    with suppress(StarError):
        read_light_curve(bytes(content), name, FETCH)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.,;-+e \t\nntimefluxNaN#\"'", max_size=200))
def test_hostile_text_raises_star_errors_only(text):
    for prefix in ("", "time,flux\n"):
        with suppress(StarError):
            read_light_curve((prefix + text).encode(), "x.csv", FETCH)


def test_a_missing_upload_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_upload(tmp_path / "none.fits", FETCH)
