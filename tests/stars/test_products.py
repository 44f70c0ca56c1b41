"""Names and keys of the archive, and which product of an observation is read."""

import random

import pytest

from survey.config import FetchConfig
from survey.stars.products import (
    QUARTER_STAMPS,
    Kind,
    ProductRef,
    choose_products,
    is_wanted,
    k2_folder,
    k2_name,
    kepler_folder,
    kepler_names,
    quarter_of,
    rank_products,
    recognise_product,
    tess_folder,
    tess_pixels,
)
from survey.stars.reading import read_table
from survey.stars.targets import Target

FETCH = FetchConfig()
TESS = "tess2018206045859-s0001-0000000000000123-0120-s_lc.fits"
FAST = "tess2018206045859-s0001-0000000000000123-0120-a_fast-lc.fits"
TESS_SPOC = "hlsp_tess-spoc_tess_phot_0000000000000123-s0001_tess_v1_lc.fits"
QLP = "hlsp_qlp_tess_ffi_s0001-0000000000000123_tess_v01_llc.fits"
LONG = "kplr000000123-2009350155506_llc.fits"
MONTHS = [f"kplr000000123-{stamp}_slc.fits" for stamp in ("2009291181958", "2009322144938", "2009350160919")]
INJECTED = "kplr000000123-2009350155506_INJECTED-inj1_llc.fits.gz"
TESS_PIXELS = "tess2018206045859-s0001-0000000000000123-0120-s_tp.fits"
FAST_PIXELS = "tess2018206045859-s0001-0000000000000123-0120-a_fast-tp.fits"
LONG_PIXELS = "kplr000000123-2009350155506_lpd-targ.fits.gz"
MONTHS_PIXELS = [name.replace("slc.fits", "spd-targ.fits.gz") for name in MONTHS]
CUT_PIXELS = "kplr000000123-q03_500cad_lpd-targ.fits"


def refs_of(*names: str, kind: Kind = "light") -> list[ProductRef]:
    return [ref for name in names if (ref := recognise_product(f"somewhere/{name}", kind))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (TESS, ("tess", "TIC 123", 1, "SPOC", "2min", "")),
        (FAST, ("tess", "TIC 123", 1, "SPOC", "20s", "")),
        (TESS_SPOC, ("tess", "TIC 123", 1, "TESS-SPOC", "ffi", "")),
        (QLP, ("tess", "TIC 123", 1, "QLP", "ffi", "")),
        ("hlsp_tglc_tess_ffi_gaiaid-99-s0001-cam2-ccd1_tess_v1_llc.fits", ("tess", None, 1, "TGLC", "ffi", "")),
        (LONG, ("kepler", "KIC 123", 3, "Kepler", "30min", "")),
        (MONTHS[1], ("kepler", "KIC 123", 3, "Kepler", "1min", "2009322144938")),
        (INJECTED, ("kepler", "KIC 123", 3, "injected", "30min", "")),
        ("kplr000000123-q02_llc.fits", ("kepler", "KIC 123", 2, "Kepler", "30min", "")),
        ("kplr000000123-2010009091648_llc.fits", ("kepler", "KIC 123", 4, "Kepler", "30min", "")),
        ("ktwo000000123-c05_llc.fits", ("k2", "EPIC 123", 5, "K2", "30min", "")),
        ("ktwo201437844-c102_slc.fits.gz", ("k2", "EPIC 201437844", 102, "K2", "1min", "")),
    ],
)
def test_names_say_what_a_product_is(name, expected):
    (ref,) = refs_of(name)
    assert (ref.mission, ref.target_id, ref.observation, ref.author, ref.cadence, ref.part) == expected
    assert ref.name == name
    assert ref.key == f"somewhere/{name}"


@pytest.mark.parametrize(
    "name",
    [
        "kplr006922244-2010078095331_lpd-targ.fits.gz", "ktwo221312395-c92_lpd-targ.fits.gz", "readme.txt", "a.fits",
        TESS + ".part", TESS + ".sha256", TESS.replace("_lc", "_tp"), TESS.replace("s_lc", "s_dvt"), "x" + TESS,
        "tess2018206045859-s0001-123-0120-s_lc.fits", "",
    ],
)  # fmt: skip
def test_other_files_are_no_light_curves(name):
    assert recognise_product(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (TESS_PIXELS, ("tess", "TIC 123", 1, "SPOC", "2min", "")),
        (FAST_PIXELS, ("tess", "TIC 123", 1, "SPOC", "20s", "")),
        (LONG_PIXELS, ("kepler", "KIC 123", 3, "Kepler", "30min", "")),
        (LONG_PIXELS.removesuffix(".gz"), ("kepler", "KIC 123", 3, "Kepler", "30min", "")),
        (MONTHS_PIXELS[1], ("kepler", "KIC 123", 3, "Kepler", "1min", "2009322144938")),
        (CUT_PIXELS, ("kepler", "KIC 123", 3, "cut", "30min", "")),
        ("kplr012644769-q12_500cad_lpd-targ.fits", ("kepler", "KIC 12644769", 12, "cut", "30min", "")),
        ("ktwo221312395-c92_lpd-targ.fits.gz", ("k2", "EPIC 221312395", 92, "K2", "30min", "")),
        ("ktwo000000123-c102_spd-targ.fits.gz", ("k2", "EPIC 123", 102, "K2", "1min", "")),
    ],
)
def test_names_of_pixel_files(name, expected):
    (ref,) = refs_of(name, kind="pixels")
    assert (ref.mission, ref.target_id, ref.observation, ref.author, ref.cadence, ref.part) == expected
    assert recognise_product(name) is None


@pytest.mark.parametrize(
    "name", [TESS, FAST, TESS_SPOC, QLP, LONG, MONTHS[0], INJECTED, "a_tp.fits", "x" + TESS_PIXELS]
)
def test_other_files_are_no_pixel_files(name):
    assert recognise_product(name, "pixels") is None


def test_pixels_lie_beside_the_light():
    assert tess_pixels(f"a/{TESS}") == f"a/{TESS_PIXELS}"
    assert tess_pixels(FAST) == FAST_PIXELS
    assert kepler_folder(6922244, "pixels") == "kepler/public/target_pixel_files/0069/006922244/"
    assert (3, LONG_PIXELS) in kepler_names(123, "pixels")
    assert k2_folder(221312395, 92, "pixels") == "k2/public/target_pixel_files/c92/221300000/12000/"
    assert k2_name(221312395, 92, "pixels") == "ktwo221312395-c92_lpd-targ.fits.gz"


def test_keys_of_real_pixel_files(archive):
    """Real files lie where the archive's own names say; their headers agree."""
    keys = [path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()]
    refs = [ref for key in keys if (ref := recognise_product(key, "pixels"))]
    assert len(refs) >= 6
    for ref in refs:
        number = int((ref.target_id or "").split()[1])
        folder = kepler_folder(number, "pixels") if ref.mission == "kepler" else k2_folder(number, 92, "pixels")
        assert ref.key == folder + ref.name
        table = read_table((archive / ref.key).read_bytes(), ref.name)
        assert ref.observation in [table.primary.integer(key) for key in ("QUARTER", "CAMPAIGN")]


def test_folders_are_those_of_the_archive():
    assert tess_folder(25155310, 1) == "tess/public/tid/s0001/0000/0000/2515/5310/"
    assert kepler_folder(11446443) == "kepler/public/lightcurves/0114/011446443/"
    assert k2_folder(201437844, 102) == "k2/public/lightcurves/c102/201400000/37000/"
    assert k2_folder(211117077, 4) == "k2/public/lightcurves/c4/211100000/17000/"
    assert len(kepler_names(123)) == 19
    assert {quarter for quarter, _ in kepler_names(123)} == set(range(18))


def test_keys_and_headers_of_real_files_agree(archive):
    """The quarter that a stamp says, and the folder that a star's number says, are those of the file."""
    for path in sorted(archive.rglob("*lc.fits")):
        key = path.relative_to(archive).as_posix()
        ref = recognise_product(key)
        assert ref is not None, key
        table = read_table(path.read_bytes(), path.name)
        observations = [table.primary.integer(key) for key in ("SECTOR", "QUARTER", "CAMPAIGN")]
        assert ref.observation in observations, key
        if "public" in key:
            number = int((ref.target_id or "").split()[1])
            folder = {
                "tess": tess_folder(number, ref.observation),
                "kepler": kepler_folder(number),
                "k2": k2_folder(number, ref.observation),
            }[ref.mission]
            assert key == folder + ref.name


def test_every_stamp_is_of_its_quarter():
    for quarter, stamp in QUARTER_STAMPS.items():
        assert quarter_of(stamp) == quarter
    assert quarter_of("2009131110544") == 0
    assert quarter_of("2009166044711") == 1
    assert quarter_of("2009201121230") == 2
    assert quarter_of("2013131222439") == 17
    assert quarter_of("2014001000000") is None


@pytest.mark.parametrize(
    ("observation", "wanted", "answer"),
    [
        (101, [10], True), (102, [10], True), (102, [101], False), (102, [102], True), (91, [9], True),
        (12, [1], False), (112, [11], True), (5, [], True), (None, [], True), (None, [1], False),
        (10, [10], True), (1, [10], False),
    ],
)  # fmt: skip
def test_campaigns_in_two_parts(observation, wanted, answer):
    assert is_wanted(observation, wanted) is answer


@pytest.mark.parametrize(
    ("names", "settings", "chosen"),
    [
        ([TESS, FAST, TESS_SPOC, QLP], {}, [TESS]),
        ([TESS, FAST, TESS_SPOC, QLP], {"fast_cadence": True}, [FAST]),
        ([FAST, QLP], {}, [FAST]),
        ([QLP, TESS_SPOC], {}, [TESS_SPOC]),
        ([QLP, TESS_SPOC], {"authors": ("QLP", "TESS-SPOC")}, [QLP]),
        ([QLP, TESS_SPOC], {"authors": ("QLP",)}, [QLP]),
        ([TESS_SPOC], {"authors": ("QLP",)}, [TESS_SPOC]),
        ([LONG, *MONTHS], {}, [LONG]),
        ([LONG, *MONTHS], {"fast_cadence": True}, [LONG]),
        (MONTHS, {}, MONTHS),
        ([INJECTED, LONG], {}, [LONG]),
        ([INJECTED, *MONTHS], {}, MONTHS),
        ([INJECTED], {}, [INJECTED]),
        ([TESS_SPOC, TESS_SPOC.replace("v1", "v2")], {}, [TESS_SPOC.replace("v1", "v2")]),
        ([TESS, TESS + ".gz"], {}, [TESS + ".gz"]),
    ],
)
def test_one_product_an_observation_whatever_the_order(names, settings, chosen):
    refs = refs_of(*names)
    assert len(refs) == len(names)
    target = Target(refs[0].target_id or "", refs[0].mission)
    for seed in range(5):
        random.Random(seed).shuffle(refs)
        assert [ref.name for ref in choose_products(refs, target, FetchConfig(**settings))] == chosen


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([FAST_PIXELS, TESS_PIXELS], [TESS_PIXELS]),
        ([FAST_PIXELS], [FAST_PIXELS]),
        ([LONG_PIXELS, *MONTHS_PIXELS], [LONG_PIXELS]),
        (MONTHS_PIXELS, MONTHS_PIXELS),
        ([CUT_PIXELS, LONG_PIXELS], [LONG_PIXELS]),
        ([CUT_PIXELS], [CUT_PIXELS]),
    ],
)
def test_pixel_files_are_chosen_alike(names, chosen):
    refs = refs_of(*names, kind="pixels")
    target = Target(refs[0].target_id or "", refs[0].mission)
    for order in (refs, refs[::-1]):
        assert [ref.name for ref in choose_products(order, target, FETCH)] == chosen


def test_observations_asked_for_and_the_next_best():
    second = TESS.replace("s0001", "s0002")
    target = Target("TIC 123", "tess", (1,))
    ranked = rank_products(refs_of(second, TESS, QLP), target, FETCH)
    assert {number: [[ref.name for ref in parts] for parts in best] for number, best in ranked.items()} == {
        1: [[TESS], [QLP]]
    }
    assert rank_products(refs_of(TESS), Target("TIC 123", "tess", (7,)), FETCH) == {}
