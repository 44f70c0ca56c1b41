import csv
import gzip
import hashlib
import io
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.timeseries import BoxLeastSquares
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.stars import simulate
from survey.stars.fits import ones_complement_sum
from survey.stars.inject import phase_days
from survey.stars.simulate import Match, formats, match_signals

ONE_OF_EACH = tuple(simulate.KINDS)

TESS_KEY = re.compile(
    r"tess/public/tid/s(\d{4})/(\d{4})/(\d{4})/(\d{4})/(\d{4})/tess\d{13}-s\1-\2\3\4\5-\d{4}-s_lc\.fits"
)
KEPLER_KEY = re.compile(r"kepler/public/lightcurves/(\d{4})/(\1\d{5})/kplr\2-\d{13}_llc\.fits")
TESS_PIXEL_KEY = re.compile(TESS_KEY.pattern.replace("_lc", "_tp"))
KEPLER_PIXEL_KEY = re.compile(r"kepler/public/target_pixel_files/(\d{4})/(\1\d{5})/kplr\2-\d{13}_lpd-targ\.fits\.gz")
PIXEL_KINDS = ("planet_with_pixels", "kepler_planet_with_pixels", "background_binary")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """One simulated star of each kind, and its signals."""
    folder = tmp_path_factory.mktemp("mirror")
    truth = simulate.write_archive(folder, kinds=ONE_OF_EACH)
    yield folder, truth
    shutil.rmtree(folder)


def products(folder: Path, pattern: str = "*lc.fits") -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob(pattern))}


def stars(folder: Path) -> dict[str, str]:
    """kind -> target_id, of an archive with one star of each kind."""
    with (folder / "stars.csv").open(newline="") as file:
        return {row["kind"]: row["target_id"] for row in csv.DictReader(file)}


def products_of(folder: Path, target_id: str, pattern: str = "*lc.fits") -> list[Path]:
    catalogue, number = target_id.split()
    padded = f"-{int(number):016d}-" if catalogue == "TIC" else f"kplr{int(number):09d}-"
    return [path for key, path in products(folder, pattern).items() if padded in key]


def pixel_files_of(folder: Path, kind: str) -> list[Path]:
    pattern = "*lpd-targ.fits.gz" if kind.startswith("kepler") else "*_tp.fits"
    return products_of(folder, stars(folder)[kind], pattern)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Good times and PDCSAP flux over its median, through astropy."""
    with fits.open(path) as hdus:
        table = hdus["LIGHTCURVE"].data
        time, flux = np.array(table["TIME"], float), np.array(table["PDCSAP_FLUX"], float)
        quality = np.array(table["QUALITY" if "QUALITY" in table.names else "SAP_QUALITY"])
    good = np.isfinite(time) & np.isfinite(flux) & (quality == 0)
    return time[good], flux[good] / np.median(flux[good])


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_products_lie_under_the_archives_own_keys(mirror):
    folder, _ = mirror
    keys = list(products(folder))
    assert keys
    for key in keys:
        assert TESS_KEY.fullmatch(key) or KEPLER_KEY.fullmatch(key), key
    keys = [*products(folder, "*_tp.fits"), *products(folder, "*.gz")]
    assert len(keys) == 6
    for key in keys:
        assert TESS_PIXEL_KEY.fullmatch(key) or KEPLER_PIXEL_KEY.fullmatch(key), key


def test_targets_list_every_star_once_with_or_without_product(mirror):
    folder, _ = mirror
    lines = [line for line in (folder / "targets.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)) == len(ONE_OF_EACH)
    assert [line for line in lines if not products_of(folder, line)] == [stars(folder)["missing"]]


def test_truth_file_holds_the_signals_returned(mirror):
    folder, truth = mirror
    assert simulate.read_truth(folder / "truth.csv") == truth
    assert {signal.kind for signal in truth} == set(simulate.SIGNAL_KINDS)
    assert len({(signal.target_id, signal.period) for signal in truth}) == len(truth)


def test_download_scripts_name_the_products_of_their_sector(mirror):
    folder, _ = mirror
    for sector, form in ((1, "lc"), (2, "lc"), (10, "lc"), (37, "lc"), (1, "tp")):
        script = folder / f"missions/tess/download_scripts/sector/tesscurl_sector_{sector}_{form}.sh"
        named = re.findall(r"^curl -C - -L -o (\S+) https://\S+/product/\1$", script.read_text(), re.MULTILINE)
        there = products(folder, f"*_{form}.fits")
        assert sorted(named) == sorted(path.name for key, path in there.items() if f"/s{sector:04d}/" in key)


def test_files_pass_astropys_verification_and_name_their_star(mirror):
    folder, _ = mirror
    kinds = stars(folder)
    for kind, target_id in kinds.items():
        if kind in ("truncated", "missing"):
            continue
        for path in products_of(folder, target_id):
            with fits.open(path) as hdus:
                hdus.verify("exception")
                assert [hdu.name for hdu in hdus] == ["PRIMARY", "LIGHTCURVE", "APERTURE"]
                primary, header = hdus[0].header, hdus[1].header
                assert primary["OBJECT"] == header["OBJECT"] == target_id
                number = int(target_id.split()[1])
                if primary["TELESCOP"] == "TESS":
                    assert primary["TICID"] == number
                    assert f"-s{primary['SECTOR']:04d}-" in path.name
                    assert header["BJDREFI"] == 2457000
                    assert primary["SIMDATA"] is True
                    assert 5 < primary["TESSMAG"] < 14
                else:
                    assert primary["KEPLERID"] == number
                    assert primary["MISSION"] == "Kepler"
                    assert 2 <= primary["QUARTER"] <= 7
                    assert header["BJDREFI"] == 2454833
                assert header["INT_TIME"] * header["NUM_FRM"] / 86400 < header["TIMEDEL"]
                assert 0.5 < header["CROWDSAP"] <= 1
                assert {"TEFF", "RADIUS", "LOGG", "RA_OBJ", "DEC_OBJ", "PROCVER"} <= set(primary)


def test_every_hdu_sums_to_all_ones_and_a_flipped_bit_shows(mirror):
    folder, _ = mirror
    for path in (
        *(products_of(folder, stars(folder)[target])[0] for target in ("planet", "kepler_planet")),
        *(pixel_files_of(folder, kind)[0] for kind in PIXEL_KINDS),
    ):
        content = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        assert len(content) % 2880 == 0
        with fits.open(io.BytesIO(content)) as hdus:
            places = [hdu.fileinfo() for hdu in hdus]
        ends = [(place["hdrLoc"], place["datLoc"] + place["datSpan"]) for place in places]
        assert [ones_complement_sum(content[start:stop]) for start, stop in ends] == [0xFFFFFFFF] * 3
        content[ends[1][0] + 20_000] ^= 4
        assert ones_complement_sum(content[slice(*ends[1])]) != 0xFFFFFFFF


@settings(deadline=None)
@given(st.integers(0, 0xFFFFFFFF))
def test_checksum_is_the_standards(total):
    """The encoding is reversible, without punctuation, and equal to astropy's."""
    encoded = formats.encode_checksum(total)
    assert encoded.decode().isalnum()
    assert encoded.decode() == fits.PrimaryHDU()._char_encode(~total & 0xFFFFFFFF)


def test_times_are_barycentric_and_float64(mirror):
    folder, _ = mirror
    for target in ("planet", "kepler_quiet", "sectors_years_apart"):
        for path in products_of(folder, stars(folder)[target]):
            with fits.open(path) as hdus:
                table, header = hdus[1].data, hdus[1].header
                time, correction = np.array(table["TIME"]), np.array(table["TIMECORR"], float)
                cadence = np.array(table["CADENCENO"])
            assert time.dtype.newbyteorder("=") == np.float64
            seen = np.isfinite(time)
            assert np.all(np.diff(time[seen]) > 0)
            assert np.all(np.diff(cadence) == 1)
            assert np.abs(correction).max() < 8.4 / 1440
            spacecraft = np.diff(time[seen] - correction[seen])
            steps = spacecraft / header["TIMEDEL"]
            assert np.allclose(steps, np.round(steps), atol=1e-4)
            assert time[seen][0] == pytest.approx(header["TSTART"], abs=header["TIMEDEL"])
            assert time[seen][-1] == pytest.approx(header["TSTOP"], abs=header["TIMEDEL"])


def test_gaps_and_momentum_dumps_are_flagged_and_empty(mirror):
    folder, _ = mirror
    for target, dump, gap in (("quiet", 32, 8), ("kepler_quiet", 32, 65536)):
        with fits.open(products_of(folder, stars(folder)[target])[0]) as hdus:
            table = hdus[1].data
            quality = np.array(table["QUALITY" if target == "quiet" else "SAP_QUALITY"])
            time, flux = np.array(table["TIME"]), np.array(table["PDCSAP_FLUX"])
        assert np.array_equal(np.isnan(time), quality & gap != 0)
        assert 5 < np.count_nonzero(np.diff((quality & dump != 0).astype(int)) == 1) < 40
        assert np.isnan(flux[quality & dump != 0]).all()
        assert 0.8 < np.isfinite(flux).mean() < 0.99


def test_damaged_products_are_damaged_as_named(mirror):
    folder, _ = mirror
    names = stars(folder)
    (truncated,) = products_of(folder, names["truncated"])
    assert truncated.stat().st_size % 2880
    (empty,) = products_of(folder, names["empty"])
    with fits.open(empty) as hdus:
        for column in ("SAP_FLUX", "PDCSAP_FLUX", "SAP_FLUX_ERR", "PDCSAP_FLUX_ERR"):
            assert np.isnan(hdus[1].data[column]).all()


def angular_offset(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Arcsec eastwards and northwards from the first (RA, Dec) to the second, degrees."""
    east = (second[0] - first[0]) * np.cos(np.radians((first[1] + second[1]) / 2))
    return 3600 * east, 3600 * (second[1] - first[1])


def star_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "stars.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_pixel_files_are_those_of_the_archives(mirror, kind):
    folder, _ = mirror
    paths = pixel_files_of(folder, kind)
    target_id = stars(folder)[kind]
    tess = target_id.startswith("TIC")
    size = 11 if tess else 6
    assert len(paths) == len(products_of(folder, target_id)) == (1 if tess else 4)
    for path in paths:
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "PIXELS" if tess else "TARGETTABLES", "APERTURE"]
            assert "TargetPixelExporterPipelineModule" in hdus[0].header["CREATOR"]
            table, header = hdus[1].data, hdus[1].header
            assert table.names == [
                "TIME", "TIMECORR", "CADENCENO", "RAW_CNTS", "FLUX", "FLUX_ERR", "QUALITY", "POS_CORR1", "POS_CORR2",
            ]  # fmt: skip
            assert table["FLUX"].shape == table["FLUX_ERR"].shape == (len(table), size, size)
            assert header["TDIM5"] == f"({size},{size})"
            assert header["OBJECT"] == hdus[0].header["OBJECT"] == target_id
            assert np.count_nonzero(hdus[2].data & 2) == hdus[2].header["NPIXSAP"] >= 4
            assert path.stat().st_size < 21e6


@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_pixels_and_light_curve_agree(mirror, kind):
    """Aperture sum, its error, centre of the light, times, flags and pointing are the same in both files."""
    folder, _ = mirror
    for path, pixel_path in zip(products_of(folder, stars(folder)[kind]), pixel_files_of(folder, kind), strict=True):
        with fits.open(path) as curve, fits.open(pixel_path) as pixels:
            rows, table = curve[1].data, pixels[1].data
            inside = pixels[2].data & 2 != 0
            assert np.array_equal(curve[2].data, pixels[2].data)
            for column in ("TIME", "TIMECORR", "CADENCENO", "POS_CORR1", "POS_CORR2"):
                assert np.array_equal(rows[column], table[column], equal_nan=True)
            flux = np.array(table["FLUX"], float)[:, inside]
            assert np.allclose(flux.sum(axis=1), rows["SAP_FLUX"], rtol=1e-6, equal_nan=True)
            error = np.hypot.reduce(np.array(table["FLUX_ERR"], float)[:, inside], axis=1)
            assert np.allclose(error, rows["SAP_FLUX_ERR"], rtol=1e-3, equal_nan=True)
            corner = [pixels[2].header[f"CRVAL{axis}P"] for axis in (1, 2)]
            places = np.argwhere(inside)[:, ::-1] + corner
            centres = flux @ places / flux.sum(axis=1, keepdims=True)
            for axis in (0, 1):
                assert np.allclose(centres[:, axis], rows[f"MOM_CENTR{axis + 1}"], atol=1e-5, rtol=0, equal_nan=True)


def test_the_world_coordinates_put_the_target_on_its_light(mirror):
    from astropy.wcs import WCS

    folder, _ = mirror
    rows = {row["kind"]: row for row in star_rows(folder)}
    for kind in PIXEL_KINDS:
        for path in pixel_files_of(folder, kind):
            with fits.open(path) as hdus:
                image = np.nanmedian(hdus[1].data["FLUX"], axis=0)
                ra, dec = hdus[0].header["RA_OBJ"], hdus[0].header["DEC_OBJ"]
                assert (ra, dec) == (float(rows[kind]["ra"]), float(rows[kind]["dec"]))
                column, row = WCS(hdus[2].header).all_world2pix([[ra, dec]], 0)[0]
                for number in (5, 6):
                    of_column = [
                        hdus[1].header[f"{key}{number}"] for key in ("1CRPX", "2CRVL", "1CDLT", "12PC", "21PC")
                    ]
                    keys = ("CRPIX1", "CRVAL2", "CDELT1", "PC1_2", "PC2_1")
                    assert of_column == [hdus[2].header[key] for key in keys]
            near = np.argwhere(image > 0.05 * np.nanmax(image))
            weights = image[tuple(near.T)]
            assert near.T @ weights / weights.sum() == pytest.approx((row, column), abs=0.2)


@pytest.mark.parametrize("kind", ["planet_with_pixels", "background_binary"])
def test_the_light_that_is_lost_lies_where_the_source_is(mirror, kind):
    """A plain difference image: out of transit minus in transit."""
    from astropy.wcs import WCS

    folder, truth = mirror
    (path,) = pixel_files_of(folder, kind)
    (signal,) = (signal for signal in truth if signal.target_id == stars(folder)[kind])
    with fits.open(path) as hdus:
        table = hdus[1].data
        good = table["QUALITY"] == 0
        time, flux = np.array(table["TIME"])[good], np.array(table["FLUX"], float)[good]
        wcs = WCS(hdus[2].header)
        here = hdus[0].header["RA_OBJ"], hdus[0].header["DEC_OBJ"]
    phase = np.abs(phase_days(time, signal.period, signal.epoch))
    half = signal.duration_h / 48
    event = np.round((time - signal.epoch) / signal.period)
    lost = np.mean(
        [
            flux[(event == number) & (phase > 1.2 * half) & (phase < 2.2 * half)].mean(axis=0)
            - flux[(event == number) & (phase < 0.7 * half)].mean(axis=0)
            for number in np.unique(event[phase < 0.5 * half])
        ],
        axis=0,
    )
    bright = np.argwhere(lost > 0.25 * lost.max())
    weights = lost[tuple(bright.T)]
    row, column = bright.T @ weights / weights.sum()
    ra, dec = wcs.all_pix2world([[column, row]], 0)[0]
    (expected,) = (float(star["source_arcsec"]) for star in star_rows(folder) if star["kind"] == kind)
    assert np.hypot(*angular_offset(here, (ra, dec))) == pytest.approx(expected, abs=8)
    assert expected == 0 if kind == "planet_with_pixels" else 20 < expected < 53


def test_the_centre_of_the_light_moves_with_the_pointing_and_away_from_the_source(mirror):
    folder, truth = mirror
    (signal,) = (signal for signal in truth if signal.kind == "contaminated")
    with fits.open(products_of(folder, signal.target_id)[0]) as hdus:
        table, header = hdus[1].data, hdus[2].header
        good = table["QUALITY"] == 0
        time = np.array(table["TIME"])[good]
        centre = np.column_stack([table["MOM_CENTR1"], table["MOM_CENTR2"]])[good]
        motion = np.column_stack([table["POS_CORR1"], table["POS_CORR2"]])[good]
        errors = [float(np.nanmedian(table[f"MOM_CENTR{axis}_ERR"])) for axis in (1, 2)]
    target = np.array([header["CRVAL1P"] + header["CRPIX1"] - 1, header["CRVAL2P"] + header["CRPIX2"] - 1])
    assert np.hypot(*(np.median(centre, axis=0) - target)) < 0.5
    phase = np.abs(phase_days(time, signal.period, signal.epoch))
    inside = phase < 0.2 * signal.duration_h / 24
    for axis in (0, 1):
        slope, _ = np.polyfit(motion[~inside, axis], centre[~inside, axis], 1)
        assert 0.5 < slope < 1.2
        rest = centre[:, axis] - np.polynomial.Polynomial.fit(motion[:, axis], centre[:, axis], 1)(motion[:, axis])
        assert np.std(np.diff(rest)) / np.sqrt(2) == pytest.approx(errors[axis], rel=0.3)
    shift = centre[inside].mean(axis=0) - centre[~inside & (phase < signal.duration_h / 24)].mean(axis=0)
    assert np.hypot(*shift) > 5 * np.hypot(*errors) / np.sqrt(inside.sum())


def test_the_stars_beside_a_bright_binary_show_its_eclipses(tmp_path):
    """Same period and epoch, shallower, 60 to 100 arcsec away; another field has another binary."""
    kinds = ["bright_binary", "contaminated", "contaminated", *["missing"] * 62, "bright_binary"]
    truth = simulate.write_archive(tmp_path, kinds=kinds)
    bright, *others, elsewhere = truth
    assert [signal.kind for signal in truth] == ["eclipsing_binary", "contaminated", "contaminated", "eclipsing_binary"]
    places = {row["target_id"]: (float(row["ra"]), float(row["dec"])) for row in star_rows(tmp_path)}
    separations = {row["target_id"]: row["source_arcsec"] for row in star_rows(tmp_path)}
    for signal in others:
        assert (signal.period, signal.epoch) == (bright.period, bright.epoch)
        assert 500 < signal.depth_ppm < 0.2 * bright.depth_ppm
        away = np.hypot(*angular_offset(places[bright.target_id], places[signal.target_id]))
        assert 60 < away < 100
        assert away == pytest.approx(float(separations[signal.target_id]), abs=0.05)
    assert elsewhere.period != bright.period
    shutil.rmtree(tmp_path)


def test_stars_are_spread_over_the_field(mirror):
    folder, _ = mirror
    places = np.array(
        [(float(row["ra"]), float(row["dec"])) for row in star_rows(folder) if row["kind"] != "contaminated"]
    )
    assert len(np.unique(places, axis=0)) == len(places)
    tess = places[:, 1] < 0
    assert (np.ptp(places[tess], axis=0) > (30, 20)).all()
    assert (np.ptp(places[~tess], axis=0) > (4, 2)).all()


def test_scattered_light_rises_before_the_gaps(mirror):
    folder, _ = mirror
    with fits.open(products_of(folder, stars(folder)["quiet"])[0]) as hdus:
        sky, quality = np.array(hdus[1].data["SAP_BKG"]), np.array(hdus[1].data["QUALITY"])
    gap = np.flatnonzero(quality & 8)[0]
    assert sky[gap - 1] > 2 * np.nanmedian(sky) > 100
    assert np.isnan(sky[gap])


def test_signals_are_in_the_files_where_the_truth_says(mirror):
    """Each planet and binary folds to its depth at its epoch, in files read by astropy."""
    folder, truth = mirror
    for signal in truth:
        if signal.snr < 12:
            continue
        inside, beside = [], []
        for path in products_of(folder, signal.target_id):
            time, flux = read(path)
            phase = np.abs(phase_days(time, signal.period, signal.epoch))
            half = signal.duration_h / 48
            event = np.round((time - signal.epoch) / signal.period)
            for number in np.unique(event):
                core = flux[(event == number) & (phase < 0.25 * half)]
                around = flux[(event == number) & (phase > 1.3 * half) & (phase < 2.3 * half)]
                if len(core) and len(around):
                    inside.append(core - np.median(around))
                    beside.append(around - np.median(around))
        lost = -np.mean(np.concatenate(inside)) * 1e6
        error = 1e6 * np.std(np.concatenate(beside)) / np.sqrt(len(np.concatenate(inside)))
        assert lost == pytest.approx(signal.depth_ppm, abs=5 * error + 0.2 * signal.depth_ppm), signal


def test_expected_snr_is_what_a_box_search_measures(mirror):
    """A plain search of the flattest stars comes back with the period and about the SNR that the truth promises."""
    folder, truth = mirror
    by_target = {signal.target_id: signal for signal in truth}
    for kind in ("planet", "sectors_years_apart"):
        signal = by_target[stars(folder)[kind]]
        time, flux = read(products_of(folder, signal.target_id)[0])
        bins = np.floor((time - time[0]) / (10 / 1440)).astype(int)
        counts = np.bincount(bins)
        used = counts > 0
        binned = (np.bincount(bins, flux)[used] / counts[used]) - 1
        middle = np.bincount(bins, time)[used] / counts[used]
        binned -= np.interp(middle, middle[::144], [np.median(binned[i : i + 144]) for i in range(0, len(binned), 144)])
        noise = 1.4826 * np.median(np.abs(binned - np.median(binned)))
        search = BoxLeastSquares(middle, binned, dy=noise)
        periods = np.geomspace(0.6, 9.0, 12_000)
        result = search.power(periods, signal.duration_h / 24, objective="snr")
        best = result.power.argmax()
        assert result.period[best] == pytest.approx(signal.period, rel=0.005)
        share = np.sqrt(0.5) if kind == "sectors_years_apart" else 1.0
        assert result.depth_snr[best] == pytest.approx(signal.snr * share, rel=0.4)


def test_sectors_of_a_star_differ_in_level_but_hold_one_star(mirror):
    folder, _ = mirror
    paths = products_of(folder, stars(folder)["sectors_years_apart"])
    assert [re.search(r"-s(\d{4})-", path.name).group(1) for path in paths] == ["0010", "0037"]
    levels, magnitudes = [], set()
    for path in paths:
        with fits.open(path) as hdus:
            levels.append(float(np.nanmedian(hdus[1].data["PDCSAP_FLUX"])))
            magnitudes.add(hdus[0].header["TESSMAG"])
    assert len(magnitudes) == 1
    assert 1e-4 < abs(levels[0] / levels[1] - 1) < 0.07


def test_kepler_stars_have_several_quarters(mirror):
    folder, _ = mirror
    for kind in ("kepler_planet", "kepler_planets", "kepler_binary"):
        assert 4 <= len(products_of(folder, stars(folder)[kind])) <= 6


def test_same_seed_gives_the_same_bytes(tmp_path):
    kinds = ("planet", "flares", "kepler_binary", "empty", "truncated")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate.write_archive(tmp_path / name, kinds=kinds, seed=seed)
    first, again, other = (digest(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert not [key for key in first if key.endswith(".fits") and first[key] == other[key]]


def test_a_star_does_not_depend_on_the_others(tmp_path):
    simulate.write_archive(tmp_path / "few", kinds=("planet", "rotation"))
    simulate.write_archive(tmp_path / "more", kinds=("planet", "rotation", "quiet"))
    few, more = digest(tmp_path / "few"), digest(tmp_path / "more")
    assert all(more[key] == few[key] for key in few if key.endswith(".fits"))


def test_demo_mix_has_what_a_survey_meets_and_an_honest_share_of_hard_signals(tmp_path):
    kinds = simulate.demo_kinds()
    assert len(kinds) == simulate.DEMO_STARS == 64
    assert set(kinds) == set(simulate.KINDS)
    assert Counter(kinds)["planet"] >= 10
    assert set(simulate.demo_kinds(len(simulate.KINDS))) == set(kinds)
    assert kinds.count("contaminated") == 2
    assert simulate.demo_kinds(130)[64:128] == kinds
    truth = simulate.write_archive(tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo")
    snrs = np.array([signal.snr for signal in truth])
    assert 40 <= len(truth) <= 70
    assert 0.85 <= np.mean(snrs > 12) <= 0.96
    assert 2 <= np.count_nonzero(snrs < 7) <= 4


def test_unknown_kind_is_refused_with_the_choices(tmp_path):
    with pytest.raises(UsageError, match=r"no kind of simulated star quark: choose from planet, "):
        simulate.write_archive(tmp_path, kinds=("planet", "quark"))


def test_unknown_keyword_is_refused():
    rows, aperture = np.zeros(1, formats.ROW), np.zeros((1, 1), np.int32)
    with pytest.raises(KeyError, match="tess format has no keyword KEPLERID"):
        formats.light_curve_file("tess", {"KEPLERID": 1}, rows, aperture)


def test_many_stars_are_plain_sector_1_products(tmp_path):
    truth = simulate.many_stars(tmp_path, 20)
    found = products(tmp_path)
    assert len(found) == 20
    assert all(TESS_KEY.fullmatch(key).group(1) == "0001" for key in found)
    assert Counter(signal.kind for signal in truth) == {"planet": 2, "eclipsing_binary": 2}
    ids = [line for line in (tmp_path / "targets.txt").read_text().splitlines() if line.startswith("TIC ")]
    assert len(ids) == len(set(ids)) == 20
    shutil.rmtree(tmp_path)


def test_samples_come_as_csv_and_fits_with_equal_values(tmp_path):
    paths = simulate.simulate_samples(tmp_path)
    assert {path.name for path in paths} == {
        f"{name}.{suffix}" for name in simulate.SAMPLES for suffix in ("csv", "fits")
    }
    assert all(path.is_file() for path in paths)
    for name in simulate.SAMPLES:
        table = np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", names=True)
        assert table.dtype.names == ("time", "flux", "flux_err")
        with fits.open(tmp_path / f"{name}.fits") as hdus:
            hdus.verify("exception")
            assert hdus[1].name == "LIGHTCURVE"
            assert hdus[1].header["BJDREFI"] == 2457000
            for column in table.dtype.names:
                assert np.allclose(hdus[1].data[column.upper()], table[column], rtol=0, atol=1e-8)


def sample(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    table = np.genfromtxt(folder / f"{name}.csv", delimiter=",", names=True)
    return table["time"], table["flux"]


def test_samples_are_what_their_names_say(tmp_path):
    simulate.simulate_samples(tmp_path, ("csv",))
    light = {name: sample(tmp_path, name) for name in simulate.SAMPLES}
    scatter = {name: 1.4826 * np.median(np.abs(np.diff(flux))) / np.sqrt(2) for name, (_, flux) in light.items()}

    time, flux = light["normal_star"]
    assert np.abs(flux - 1).max() < 6 * scatter["normal_star"]

    for name in ("exoplanet_transit", "complex_system"):
        time, flux = light[name]
        result = BoxLeastSquares(time, flux - np.median(flux)).power(np.linspace(5, 25, 4001), 0.2)
        assert result.period[result.power.argmax()] == pytest.approx(15.0, abs=0.1)
        assert result.depth[result.power.argmax()] > 0.005

    assert (light["stellar_flares"][1] > 1.01).sum() >= 5
    _, flux = light["noisy_outliers"]
    assert (np.abs(flux - 1) > 5 * scatter["noisy_outliers"]).sum() > 20
    assert scatter["noisy_outliers"] > 2 * scatter["normal_star"]


def test_samples_repeat_their_kinds_under_new_names(tmp_path):
    paths = simulate.simulate_samples(tmp_path, ("csv",), n=7)
    assert [path.stem for path in paths] == [*simulate.SAMPLES, "normal_star_2", "exoplanet_transit_2"]
    assert paths[0].read_bytes() != paths[5].read_bytes()
    again = simulate.simulate_samples(tmp_path / "again", ("csv",), n=7)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    with pytest.raises(UsageError, match="no sample format hdf5: choose from csv, fits"):
        simulate.simulate_samples(tmp_path, ("hdf5",))


KNOWN = ("TIC 1", 4.0, 1000.0, 0.1)


@settings(deadline=None)
@given(event=st.integers(-3, 3), drift=st.floats(-0.0009, 0.0009), late=st.floats(-0.04, 0.04))
def test_match_takes_any_event_of_the_signal(event, drift, late):
    period = 4.0 * (1 + drift)
    found = ("TIC 1", period, 1000.0 + event * period + late, 0.08)
    assert match_signals([KNOWN], [found]) == [Match("found", 0, 1.0)]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (("TIC 1", 4.0, 1000.0, 0.1), "found"),
        (("TIC 2", 4.0, 1000.0, 0.1), "missed"),
        (("KIC 1", 4.0, 1000.0, 0.1), "missed"),
        (("TIC 1", 4.0, 1002.0, 0.1), "missed"),  # right period, other side of the orbit
        (("TIC 1", 4.04, 1000.0, 0.1), "missed"),
        (("TIC 1", 2.0, 1002.0, 0.1), "alias"),  # half the period: every second event is real
        (("TIC 1", 8.0, 1004.0, 0.1), "alias"),
        (("TIC 1", 8.0, 1002.0, 0.1), "missed"),
        (("TIC 1", 4.0 / 3, 1000.0, 0.1), "alias"),
        (("TIC 1", 12.0, 1008.0, 0.1), "alias"),
        (("TIC 1", 6.0, 1000.0, 0.1), "missed"),
    ],
)
def test_match_verdicts(found, verdict):
    assert match_signals([KNOWN], [found])[0].verdict == verdict


def test_match_prefers_the_period_itself_and_uses_a_find_once():
    half, whole = ("TIC 1", 2.0, 1000.0, 0.1), ("TIC 1", 4.0, 1000.0, 0.1)
    assert match_signals([KNOWN], [half, whole]) == [Match("found", 1, 1.0)]
    assert [match.verdict for match in match_signals([KNOWN, KNOWN], [whole])] == ["found", "missed"]
    # A find at one planet's period is not taken as the alias of another.
    inner = ("TIC 1", 2.0, 1000.0, 0.1)
    assert match_signals([KNOWN, inner], [half]) == [Match("missed", None, None), Match("found", 0, 1.0)]
    assert match_signals([KNOWN], [half], aliases=()) == [Match("missed", None, None)]
    assert match_signals([], [whole]) == []


def test_match_tolerance_is_the_callers():
    found = ("TIC 1", 4.03, 1000.0, 0.1)
    assert match_signals([KNOWN], [found], period_tolerance=0.01)[0].verdict == "found"
    assert match_signals([KNOWN], [found], period_tolerance=0.001)[0].verdict == "missed"


def real_files(pattern: str) -> list[Path]:
    folder = Path(os.environ.get("SURVEY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "archive"
    if not folder.is_dir():
        pytest.skip(f"no real files: {folder} is not there, set SURVEY_TEST_DATA")
    return sorted(folder.glob(pattern))


@pytest.mark.verify
@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("tess/public/tid/s0001/**/*s_lc.fits", "planet"),
        ("kepler/public/lightcurves/0032/**/*_llc.fits", "kepler_planet"),
    ],
)
def test_structure_is_that_of_real_products(mirror, pattern, kind):
    folder, _ = mirror
    simulated_path = products_of(folder, stars(folder)[kind])[-1]
    compared = 0
    for real_path in real_files(pattern):
        with fits.open(real_path) as real, fits.open(simulated_path) as simulated:
            for theirs, ours in zip(real, simulated, strict=True):
                assert theirs.name == ours.name
                # Older products name fewer quality metrics; ours has the cards of the newest pipeline.
                assert {key for key in theirs.header if not key.startswith(("TMOFST", "PR_", "FITTYPE"))} <= set(
                    ours.header
                )
                for key in (
                    "BITPIX",
                    "NAXIS",
                    "NAXIS1",
                    "TELESCOP",
                    "INSTRUME",
                    "BJDREFI",
                    "BJDREFF",
                    "TIMESYS",
                    "TIMEDEL",
                ):
                    if theirs.name != "APERTURE" and key in theirs.header:
                        assert theirs.header[key] == ours.header[key], key
            columns = [(column.name, column.format, column.unit, column.disp) for column in real[1].columns]
            assert columns == [
                (column.name, column.format, column.unit, column.disp) for column in simulated[1].columns
            ]
            assert real[1].data.dtype == simulated[1].data.dtype
            compared += 1
    assert compared >= 10


@pytest.mark.verify
@pytest.mark.filterwarnings("ignore")  # lightkurve warns of packages of its own that are missing
def test_lightkurve_reads_the_products_as_real_ones(mirror):
    import lightkurve

    folder, _ = mirror
    names = stars(folder)
    for kind, mission in (("planet", "TESS"), ("kepler_planet", "Kepler")):
        path = products_of(folder, names[kind])[0]
        light_curve = lightkurve.read(path)
        assert light_curve.meta["MISSION"] == mission
        assert light_curve.meta["OBJECT"] == names[kind]
        time, _ = read(path)
        assert len(light_curve.remove_nans()) >= len(time)


@pytest.mark.verify
@pytest.mark.filterwarnings("ignore")  # lightkurve warns of packages of its own that are missing
@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_lightkurve_reads_the_pixel_files_as_real_ones(mirror, kind):
    import lightkurve

    folder, _ = mirror
    path = pixel_files_of(folder, kind)[0]
    pixels = lightkurve.read(path)
    assert type(pixels).__name__ == ("KeplerTargetPixelFile" if "kepler" in kind else "TessTargetPixelFile")
    column, row = pixels.wcs.all_world2pix([[pixels.ra, pixels.dec]], 0)[0]
    assert (pixels.column, pixels.row) == (pixels.hdu[2].header["CRVAL1P"], pixels.hdu[2].header["CRVAL2P"])
    assert (column, row) == pytest.approx([pixels.hdu[2].header[f"CRPIX{axis}"] - 1 for axis in (1, 2)], abs=1e-3)
    summed = pixels.to_lightcurve()
    curve = lightkurve.read(products_of(folder, stars(folder)[kind])[0], flux_column="sap_flux")
    both = np.isin(curve.cadenceno, summed.cadenceno)
    assert np.allclose(curve.flux.value[both], summed.flux.value[np.isin(summed.cadenceno, curve.cadenceno)], rtol=1e-5)


@pytest.mark.verify
def test_the_header_of_a_pixel_file_is_that_of_real_products(mirror):
    """Every keyword of the APERTURE and primary headers, and of the table but for its unused columns."""
    folder, _ = mirror
    simulated_path = pixel_files_of(folder, "kepler_planet_with_pixels")[-1]
    unlike = re.compile(
        r"(TMOFST|PR_|T(TYPE|FORM|UNIT|DISP|DIM|NULL)\d|[12]?[A-Z]+\d+P?$|[12]{2}PC\d|CDPP|DB(COLCO|THRES)|RBTDUR|BLKALGO)"
    )
    real_paths = real_files("kepler/public/target_pixel_files/**/*2010*_lpd-targ.fits.gz")
    assert real_paths
    for real_path in real_paths:
        with fits.open(real_path) as real, fits.open(simulated_path) as simulated:
            for theirs, ours in zip(real, simulated, strict=True):
                assert theirs.name == ours.name
                assert {key for key in theirs.header if not unlike.match(key)} <= set(ours.header)
            flux = theirs_column(real, "FLUX")
            assert theirs_column(simulated, "FLUX") == flux


def theirs_column(hdus: fits.HDUList, name: str) -> tuple[str, int, list[str]]:
    """Unit, place, and the keywords of the world coordinate system of a column of images."""
    number = hdus[1].columns.names.index(name) + 1
    column = hdus[1].columns[name]
    wcs = re.compile(rf"([12][A-Z1]+|WC[A-Z]+){number}P?")
    return column.unit, number, sorted(key for key in hdus[1].header if wcs.fullmatch(key))


@pytest.mark.verify
def test_noise_against_magnitude_is_that_of_real_products(mirror):
    """Point-to-point scatter over the photon model of the simulated stars, for real ones."""
    from survey.stars.simulate.stars import SimulatedStar

    ratios = []
    for path in real_files("tess/public/tid/s0001/**/*s_lc.fits"):
        with fits.open(path) as hdus:
            magnitude = hdus[0].header["TESSMAG"]
        _, flux = read(path)
        scatter = 1.4826 * np.median(np.abs(np.diff(flux))) / np.sqrt(2)
        star = SimulatedStar(1, "tess", magnitude, 5700, 1, 1, 0, 0, 1, 1)
        ratios.append(scatter / star.white_noise)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.3)
