"""Where signals come from: cutouts made here with transits on the target, beside it and beyond it, and real files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import FetchConfig, PixelsConfig
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.pixels import CATALOGUE_PIXELS, FLOOR_ARCSEC, FRAMES, METHODS, SIZE, Centroid, Location, locate
from survey.stars.pixels import TargetPixels, read_pixels
from tests.signals.cutouts import SCALES, SIGNAL, Dimming, make_cutout, make_light_centre

CONFIG = PixelsConfig()
TARGET = Dimming(5.2, 4.8, 10_000, 4e-3)
QUIET = TARGET._replace(depth=0.0)


def find(*pixels: TargetPixels, signal: Ephemeris = SIGNAL, others: tuple[Ephemeris, ...] = ()) -> Location:
    return locate(pixels, [], signal, others, CONFIG)


def by_method(location: Location) -> dict[str, Centroid]:
    return {one.method: one for one in location.centroids}


def offset(centroid: Centroid) -> np.ndarray:
    assert centroid.problem is None
    return np.array([centroid.column_offset, centroid.row_offset])


def covariance(centroid: Centroid) -> np.ndarray:
    return np.array([[centroid.column_var, centroid.covariance], [centroid.covariance, centroid.row_var]])


def is_null(centroid: Centroid) -> bool:
    """Whether nothing is said of the place; a 0 would be."""
    values = [value for name, value in vars(centroid).items() if name not in ("method", "problem", "n_products")]
    return all(value is None for value in values)


def test_a_transit_of_the_target_lies_on_the_target() -> None:
    location = find(make_cutout([TARGET._replace(depth=0.02)]))
    assert [one.method for one in location.centroids] == list(METHODS)
    for one in location.centroids:
        assert (one.problem, one.n_products) == (None, 1)
        assert np.hypot(*offset(one)) < 0.1
        assert one.significance < 1.5
    (check,) = location.checks
    assert (check.name, check.unit, check.threshold, check.passed) == ("centroid_offset", "arcsec", 3.0, True)
    assert (check.value, check.uncertainty) == (
        location.centroids[0].offset_arcsec,
        location.centroids[0].offset_arcsec_err,
    )


@pytest.mark.parametrize(("column", "row"), [(6.3, 4.8), (4.1, 6.4), (8.2, 7.1), (1.0, 9.0)])
def test_a_transit_of_a_neighbour_lies_on_the_neighbour(column: float, row: float) -> None:
    location = find(make_cutout([QUIET, Dimming(column, row, 900, 0.2)]))
    found = by_method(location)
    true = np.array([column, row]) - [QUIET.column, QUIET.row]
    assert offset(found["prf"]) == pytest.approx(true, abs=0.15)
    assert offset(found["prf_catalogue"]) == pytest.approx(true, abs=0.15)
    assert offset(found["flux_weighted"]) == pytest.approx(true, abs=0.35)
    (check,) = location.checks
    assert check.passed is False
    assert check.score == found["prf"].significance > 3
    assert found["prf"].offset_arcsec == pytest.approx(21 * np.hypot(*true), rel=0.1)


def test_sky_offsets_follow_the_orientation() -> None:
    """East and north are where `sky` puts them; the pixel offsets stay what they are."""
    turned = np.array([[-15.0, 14.7], [14.7, 15.0]])
    cutout = make_cutout([QUIET, Dimming(7.2, 5.8, 2000, 0.1)], sky=turned)
    found = by_method(find(cutout))["prf"]
    east, north = turned @ offset(found)
    assert (found.ra_offset_arcsec, found.dec_offset_arcsec) == pytest.approx((east, north))
    assert found.offset_arcsec == pytest.approx(np.hypot(east, north))
    without = by_method(find(replace(cutout, sky=None)))["prf"]
    assert (without.ra_offset_arcsec, without.dec_offset_arcsec) == (None, None)
    assert offset(without) == pytest.approx(offset(found))
    assert without.offset_arcsec == pytest.approx(21.0 * np.hypot(*offset(found)))


DEEPER = TARGET._replace(depth=8e-3)
SCENES = {
    "on_target": ([DEEPER], {}),
    "variable": ([DEEPER], {"red": 3e-3}),
    "crowded_field": ([DEEPER, Dimming(7.1, 5.9, 5000), Dimming(2.0, 8.0, 8000)], {"red": 1e-3}),
    "jitter": ([DEEPER], {"jitter": 0.02}),
    "kepler": ([Dimming(2.6, 2.2, 10_000, 3e-3)], {"mission": "kepler", "shape": (5, 6), "days": 80.0}),
}

LONG = ("variable", "crowded_field", "jitter")


@pytest.mark.parametrize(
    "name", ["on_target", "kepler", *(pytest.param(name, marks=pytest.mark.verify) for name in LONG)]
)
def test_errors_are_calibrated_and_targets_seldom_flagged(name: str) -> None:
    """Over 100 noises: offsets over their errors scatter by 1 (the floor left out), and 3 sigma is rare."""
    stars, options = SCENES[name]
    found = [find(make_cutout(stars, seed, cadence_s=1800.0, **options)) for seed in range(100)]
    measured = [by_method(one) for one in found if by_method(one)["prf"].problem is None]
    assert len(measured) > 80
    assert sum(one.checks[0].passed is False for one in found) <= 2
    mission = options.get("mission", "tess")
    floor = np.eye(2) * (FLOOR_ARCSEC[mission] / SCALES[mission]) ** 2
    for method in ("prf", "flux_weighted"):
        offsets = np.array([offset(one[method]) for one in measured])
        inverses = np.linalg.inv([covariance(one[method]) - floor for one in measured])
        pulls = np.sqrt(np.einsum("ni,nij,nj->n", offsets, inverses, offsets) / 2)
        assert 0.75 < np.sqrt(np.mean(pulls**2)) < 1.3, method
        assert np.all(np.abs(offsets.mean(axis=0)) < 0.1), method


@settings(max_examples=20, deadline=None)
@given(column=st.floats(3.0, 7.0), row=st.floats(3.0, 7.0), depth=st.floats(8e-3, 0.5), seed=st.integers(0, 1000))
def test_wherever_a_target_lies_its_transits_lie_on_it(column: float, row: float, depth: float, seed: int) -> None:
    cutout = make_cutout([Dimming(column, row, 20_000, depth)], seed, cadence_s=1800.0)
    found = by_method(find(cutout))
    for one in found.values():
        assert one.problem is None
        assert one.significance < 4.5
        assert one.offset_pixels_err > 0
        assert np.all(np.linalg.eigvalsh(covariance(one)) > 0)


def test_the_order_of_cadences_and_what_is_not_observed_change_nothing() -> None:
    cutout = make_cutout([TARGET])
    expected = find(cutout)
    order = np.random.default_rng(1).permutation(len(cutout.time))
    shuffled = replace(cutout, time=cutout.time[order], flux=cutout.flux[order], pointing=cutout.pointing[order])
    assert find(shuffled).centroids == expected.centroids
    holes = replace(
        cutout,
        time=np.append(cutout.time, [np.nan, 2020.01]),
        flux=np.append(cutout.flux, np.stack([cutout.flux[0], np.full((11, 11), np.nan, np.float32)]), axis=0),
        pointing=np.append(cutout.pointing, cutout.pointing[:2], axis=0),
    )
    assert find(holes).centroids == expected.centroids


def test_faint_differences_have_no_place() -> None:
    location = find(make_cutout([QUIET]))
    assert [one.problem for one in location.centroids] == ["low_snr"] * 3
    assert all(is_null(one) for one in location.centroids)
    assert (location.checks[0].passed, location.checks[0].value, location.checks[0].score) == (None, None, None)
    assert location.images is not None


def test_saturated_stars_have_no_place() -> None:
    cutout = make_cutout([TARGET])
    location = find(replace(cutout, saturation=1500.0))
    assert [one.problem for one in location.centroids] == ["saturated"] * 3
    assert all(is_null(one) for one in location.centroids)
    assert location.checks[0].passed is None
    afar = make_cutout([TARGET._replace(column=3.0, row=3.0, depth=0.05), Dimming(9.0, 9.0, 100_000)])
    assert by_method(find(replace(afar, saturation=4000.0)))["prf"].problem is None


def test_a_brighter_neighbour_leaves_the_catalogued_place() -> None:
    """The target cannot be seen beside a star that outshines it; where its coordinates put it, it is known."""
    bright = Dimming(6.4, 5.4, 60_000)
    on_target = find(make_cutout([Dimming(5.2, 4.8, 6000, 0.05), bright]))
    on_bright = find(make_cutout([Dimming(5.2, 4.8, 6000), bright._replace(depth=5e-3)]))
    for location in (on_target, on_bright):
        found = by_method(location)
        assert (found["prf"].problem, found["flux_weighted"].problem) == ("crowded", "crowded")
        assert is_null(found["prf"])
        assert location.checks[0].score == found["prf_catalogue"].significance
    assert by_method(on_target)["prf_catalogue"].offset_pixels < 2 * CATALOGUE_PIXELS
    assert offset(by_method(on_bright)["prf_catalogue"]) == pytest.approx([1.2, 0.6], abs=0.3)
    assert (on_target.checks[0].passed, on_bright.checks[0].passed) == (True, False)


def test_a_source_beyond_the_pixels_is_not_the_target() -> None:
    location = find(make_cutout([QUIET, Dimming(11.6, 11.2, 80_000, 0.3)]))
    assert [one.problem for one in location.centroids] == ["off_image"] * 3
    assert all(is_null(one) for one in location.centroids)
    (check,) = location.checks
    assert (check.value, check.passed) == (None, False)
    assert check.score > 3


def test_without_coordinates_the_direct_image_is_the_reference() -> None:
    found = by_method(find(replace(make_cutout([TARGET._replace(depth=0.02)]), target=None)))
    assert np.hypot(*offset(found["prf"])) < 0.1
    assert found["prf_catalogue"].problem == "no_coordinates"


def test_no_transits_no_place() -> None:
    cutout = make_cutout([TARGET])
    between = SIGNAL._replace(period=500.0, epoch=SIGNAL.epoch - 100)
    location = find(cutout, signal=between)
    assert [one.problem for one in location.centroids] == ["no_transits"] * 3
    assert (location.checks[0].passed, location.images) == (None, None)
    assert locate([], [], SIGNAL, [], CONFIG) == Location()


def test_two_short_stretches_are_no_transit() -> None:
    """Transits with less than half of their cadences are left out."""
    cutout = make_cutout([TARGET])
    begun = cutout.time < SIGNAL.epoch - 0.25 * SIGNAL.duration
    few = replace(cutout, time=cutout.time[begun], flux=cutout.flux[begun], pointing=cutout.pointing[begun])
    assert [one.problem for one in find(few).centroids] == ["no_transits"] * 3


def test_other_signals_are_left_out() -> None:
    """Transits of another star, beside those of the target, leave no trace in the images once they are known."""
    other = Ephemeris(SIGNAL.period, SIGNAL.epoch + 1.2 * SIGNAL.duration, SIGNAL.duration)
    cutout = make_cutout([TARGET._replace(depth=0.02)])
    disturbed = cutout.flux.copy()
    disturbed[np.ix_(in_transit(cutout.time, other), [8, 9], [8, 9])] -= 400
    cutout = replace(cutout, flux=disturbed)
    plain, known = find(cutout).images, find(cutout, others=(other,)).images
    assert plain is not None
    assert known is not None
    assert np.all(plain.difference_image[8:10, 8:10] < -50)
    assert np.all(np.abs(known.difference_image[8:10, 8:10]) < 20)
    assert find(cutout, others=(other, SIGNAL)).checks[0].passed is True


def test_pointing_outliers_and_drifts_do_not_pass_for_transits() -> None:
    cutout = make_cutout([TARGET], jitter=0.02)
    inside = in_transit(cutout.time, SIGNAL)
    kicked = np.flatnonzero(inside)[::7]
    flux, pointing = cutout.flux.copy(), cutout.pointing.copy()
    flux[kicked], pointing[kicked] = np.roll(flux[kicked], 1, axis=2), pointing[kicked] + [1.0, 0.0]
    drift = 40 * (cutout.time - 2000)[:, None, None] * np.linspace(0, 1, 11)[:, None]
    moved = by_method(find(replace(cutout, flux=(flux + drift).astype(np.float32), pointing=pointing)))["prf"]
    assert offset(moved) == pytest.approx(offset(by_method(find(cutout))["prf"]), abs=0.08)


def test_files_are_averaged_on_the_sky() -> None:
    """Sectors see the sky turned; the mean has a smaller error than each, and more where they disagree."""
    true = np.array([[0.0, 21.0], [21.0, 0.0]]) @ [2.0, -1.0]
    files = []
    for observation, angle in enumerate((0.0, 1.0, 2.0)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        sky = turn @ [[0.0, 21.0], [21.0, 0.0]]
        column, row = np.linalg.solve(sky, true)
        stars = [QUIET, Dimming(QUIET.column + column, QUIET.row + row, 1500, 0.04)]
        files.append(make_cutout(stars, observation, sky=sky, observation=observation))
    together = by_method(find(*files))["prf"]
    assert together.n_products == 3
    assert (together.ra_offset_arcsec, together.dec_offset_arcsec) == pytest.approx(tuple(true), abs=4.0)
    alone = [by_method(find(one))["prf"] for one in files]
    assert together.offset_arcsec_err < min(one.offset_arcsec_err for one in alone)
    elsewhere = make_cutout([QUIET, Dimming(2.0, 8.0, 1500, 0.04)], 7)
    assert by_method(find(files[0], elsewhere))["prf"].offset_arcsec_err > 2 * alone[0].offset_arcsec_err
    blind = [replace(one, sky=None) for one in files]
    assert by_method(find(*blind))["prf"].n_products == 1


def test_files_without_a_place_do_not_count() -> None:
    good, faint = make_cutout([TARGET._replace(depth=0.02)]), make_cutout([QUIET], 1)
    assert by_method(find(faint, good))["prf"] == by_method(find(good))["prf"]
    images = find(faint, good).images
    assert images is not None
    assert images.image_product == good.product


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    count=st.integers(2, 400),
    place=st.none() | st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    damage=st.sampled_from(["none", "zeros", "holes", "huge", "constant", "pointing"]),
    seed=st.integers(0, 10),
)
def test_no_cutout_is_too_odd(
    rows: int, columns: int, count: int, place: tuple[float, float] | None, damage: str, seed: int
) -> None:
    """Whatever is in a file: a place or a word, no error and no warning."""
    rng = np.random.default_rng(seed)
    cutout = make_cutout([Dimming(columns / 2, rows / 2, 3000, 0.1)], seed, shape=(rows, columns), cadence_s=5400.0)
    chosen = np.sort(rng.choice(len(cutout.time), min(count, len(cutout.time)), replace=False))
    flux = cutout.flux[chosen]
    pointing = cutout.pointing[chosen]
    if damage == "zeros":
        flux[:, 0] = 0.0
    elif damage == "holes":
        flux[rng.random(flux.shape) < 0.3] = np.nan
    elif damage == "huge":
        flux[rng.random(flux.shape) < 0.01] = rng.choice([3e38, -3e38, np.inf, -np.inf])
    elif damage == "constant":
        flux[:] = 100.0
    elif damage == "pointing":
        pointing[::2] = np.nan
    odd = replace(cutout, time=cutout.time[chosen], flux=flux, pointing=pointing, target=place)
    location = find(odd)
    assert [one.method for one in location.centroids] == list(METHODS)
    for one in location.centroids:
        assert is_null(one) == (one.problem is not None)
        assert one.significance is None or np.isfinite([*offset(one), one.significance, one.offset_arcsec_err]).all()
    if location.images is not None:
        assert np.isfinite(location.images.pixel_stack).all()


def test_the_images_are_those_of_the_clearest_file() -> None:
    cutout = make_cutout([TARGET._replace(depth=0.05)])
    cutout.flux[:, 0, 3] = np.nan
    images = find(cutout).images
    assert images is not None
    assert (images.image_target_column, images.image_target_row) == (5.2, 4.8)
    expected = np.isnan(cutout.flux[0])
    for image in (images.direct_image, images.difference_image, images.difference_err):
        assert (image.shape, image.dtype) == ((11, 11), np.float32)
        np.testing.assert_array_equal(np.isnan(image), expected)
    bright = images.direct_image > 500
    np.testing.assert_allclose((images.difference_image / images.direct_image)[bright], 0.05, rtol=0.1)
    row = images.as_row()
    assert (row["image_rows"], row["image_columns"]) == (11, 11)
    assert (row["pixel_stack"].shape, row["direct_image"].shape) == ((FRAMES * SIZE * SIZE,), (121,))


def test_errors_of_the_difference_image_are_its_scatter() -> None:
    cutouts = [find(make_cutout([QUIET], seed, cadence_s=1800.0)).images for seed in range(30)]
    differences = np.array([one.difference_image for one in cutouts if one is not None])
    errors = np.array([one.difference_err for one in cutouts if one is not None])
    ratios = np.sqrt(np.mean(differences**2, axis=0)) / errors.mean(axis=0)
    assert np.sqrt(np.mean(ratios**2)) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(("period", "shape"), [(0.61, (11, 11)), (3.3, (11, 11)), (25.0, (5, 6)), (3.3, (30, 28))])
def test_a_stack_has_its_standard_form(period: float, shape: tuple[int, int]) -> None:
    """32 images of 24 x 24 of mean 0 and variance 1, the target in the middle, whatever the transits and the cutout."""
    signal = Ephemeris(period, 2000.7, 0.1)
    place = Dimming(shape[1] // 2 + 0.2, shape[0] // 2 - 0.3, 10_000, 0.1)
    location = find(make_cutout([place], shape=shape, signal=signal, cadence_s=1800.0), signal=signal)
    assert location.images is not None
    stack = location.images.pixel_stack
    assert (stack.shape, stack.dtype) == ((32, 24, 24), np.float32)
    np.testing.assert_allclose(stack.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(stack.std(axis=(1, 2)), 1, rtol=1e-5)
    assert np.unravel_index(np.argmax(np.median(stack, axis=0)), (24, 24)) == (12, 12)
    frames = len(np.unique(stack.reshape(32, -1), axis=0))
    assert frames == {0.61: 32, 3.3: 8, 25.0: 2}[period]


def test_frames_are_in_order_of_time() -> None:
    """The first transits of one star, the later of another: the first frames show the one, the last the other."""
    early, late = make_cutout([QUIET, Dimming(3.0, 3.0, 3000, 0.2)]), make_cutout([QUIET, Dimming(8.0, 8.0, 3000, 0.2)])
    flux = np.where((early.time < 2013)[:, None, None], early.flux, late.flux)
    images = find(replace(early, flux=flux)).images
    assert images is not None
    brightest = [np.unravel_index(np.argmax(frame), (24, 24)) for frame in images.pixel_stack]
    assert brightest[0] == (12 + 3 - 5, 12 + 3 - 5)
    assert brightest[-1] == (12 + 8 - 5, 12 + 8 - 5)


def motion(stars: list[Dimming], depth: float | None, crowding: float | None = 0.95, seed: int = 0) -> Centroid:
    centre = make_light_centre(make_cutout(stars, seed), crowding)
    location = locate([], [centre], SIGNAL, [], CONFIG, depth)
    assert location.images is None
    (centroid,) = location.centroids
    assert centroid.method == "motion"
    assert location.checks[0].score == centroid.significance
    return centroid


def test_the_light_moves_away_from_a_source_that_dims() -> None:
    """The place of a neighbour from the motion alone: x - C = -(C' - C) (1 - d) / d."""
    neighbour = Dimming(6.4, 5.6, 1500, 0.5)
    cutout = make_cutout([QUIET, neighbour])
    light = cutout.flux[:, cutout.aperture].sum(axis=1)
    inside = in_transit(cutout.time, SIGNAL)
    depth = 1 - light[inside].mean() / light[~inside].mean()
    found = motion([QUIET, neighbour], depth / 0.95)
    assert found.significance > 3
    rows, columns = np.nonzero(cutout.aperture)
    images = [
        make_cutout([one._replace(depth=0)], noise=1.0).flux.mean(axis=0)[rows, columns] for one in (QUIET, neighbour)
    ]
    both = images[0] + images[1]
    centres = [np.average([columns, rows], axis=1, weights=weights) for weights in (images[1], both)]
    assert offset(found) == pytest.approx(centres[0] - centres[1], abs=0.1)
    on_target = motion([TARGET._replace(depth=0.01), neighbour._replace(depth=0)], 0.01 / 0.95)
    assert on_target.significance < 3


def test_motion_is_calibrated() -> None:
    found = [motion([TARGET], TARGET.depth, crowding=1.0, seed=seed) for seed in range(100)]
    floor = np.eye(2) * (FLOOR_ARCSEC["tess"] / 21) ** 2
    pulls = [offset(one) @ np.linalg.inv(covariance(one) - floor) @ offset(one) / 2 for one in found]
    assert 0.75 < np.sqrt(np.mean(pulls)) < 1.3


@pytest.mark.parametrize(
    ("depth", "crowding", "problem"),
    [
        (None, 0.95, "low_snr"),
        (0.0, 0.95, "low_snr"),
        (1e-6, 0.95, "low_snr"),
        (4e-3, None, "crowded"),
        (4e-3, 0.2, "crowded"),
    ],
)
def test_motion_without_what_it_needs_is_null(depth: float | None, crowding: float | None, problem: str) -> None:
    found = motion([TARGET], depth, crowding)
    assert found.problem == problem
    assert is_null(found)


def test_thresholds_are_configurable() -> None:
    cutout = make_cutout([QUIET, Dimming(6.3, 5.2, 900, 0.2)])
    score = find(cutout).checks[0].score
    assert score is not None
    for changes, passed in (({"max_offset_sigma": score + 1}, True), ({"max_offset_pixels": 3.0}, True), ({}, False)):
        (check,) = locate([cutout], [], SIGNAL, [], PixelsConfig(**changes)).checks
        assert check.passed is passed
    assert locate([cutout], [], SIGNAL, [], PixelsConfig(min_snr=1e4)).checks[0].passed is None


KEPLER = "kepler/public/target_pixel_files"


def read_real(archive: Path, name: str) -> TargetPixels:
    (path,) = (archive / KEPLER).rglob(name)
    return read_pixels(path.read_bytes(), path.name, FetchConfig())


@pytest.mark.verify
def test_kepler_8_b_lies_on_kepler_8(archive: Path) -> None:
    cutout = read_real(archive, "kplr006922244-2010078095331_lpd-targ.fits.gz")
    location = find(cutout, signal=Ephemeris(3.522498429, 121.1194228, 3.19843 / 24))
    found = by_method(location)
    assert location.checks[0].passed is True
    for method in ("prf", "flux_weighted"):
        assert found[method].offset_arcsec < 0.1
        assert found[method].offset_arcsec_err < 0.1
    images = location.images
    assert images is not None
    bright = images.direct_image > 2000
    np.testing.assert_allclose((images.difference_image / images.direct_image)[bright], 0.0085, rtol=0.05)


@pytest.mark.verify
def test_koi_6771_lies_beside_its_star(archive: Path) -> None:
    """A background eclipsing binary: the Robovetter of DR25 gives KOI-6771 the flag of a resolved offset."""
    cutout = read_real(archive, "kplr006804648-q10_1000cad_lpd-targ.fits")
    location = find(cutout, signal=Ephemeris(0.700606479, 131.59767, 0.993 / 24))
    found = by_method(location)
    assert location.checks[0].passed is False
    assert found["prf"].offset_arcsec == pytest.approx(7.9, abs=3 * found["prf"].offset_arcsec_err)
    assert found["flux_weighted"].ra_offset_arcsec == pytest.approx(found["prf"].ra_offset_arcsec, abs=2.0)


@pytest.mark.verify
@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("kplr012644774-q12_500cad_lpd-targ.fits", Ephemeris(41.0772969, 379.12848, 5.525 / 24)),
        ("kplr012644769-q12_500cad_lpd-targ.fits", Ephemeris(41.077590334, 173.7358974, 6.20583 / 24)),
        ("kplr012254688-2009131105131_lpd-targ.fits", Ephemeris(62.6825769, 182.22959, 2.327 / 24)),
    ],
)
def test_files_between_transits_say_nothing(archive: Path, name: str, signal: Ephemeris) -> None:
    location = find(read_real(archive, name), signal=signal)
    assert [one.problem for one in location.centroids] == ["no_transits"] * 3
    assert location.checks[0].passed is None


def give_transits(cutout: TargetPixels, signal: Ephemeris, depth: float, shift: tuple[int, int]) -> TargetPixels:
    """A cutout whose own image, moved by whole pixels (columns, rows), dims in transit: a real star of known place."""
    image = np.nan_to_num(cutout.flux.mean(axis=0))
    rows, columns = image.shape
    moved = np.zeros_like(image)
    right, up = shift
    moved[max(up, 0) : rows + min(up, 0), max(right, 0) : columns + min(right, 0)] = image[
        max(-up, 0) : rows + min(-up, 0), max(-right, 0) : columns + min(-right, 0)
    ]
    inside = in_transit(cutout.time, signal)[:, None, None]
    return replace(cutout, flux=(cutout.flux - depth * inside * moved).astype(np.float32))


@pytest.mark.verify
@pytest.mark.parametrize("name", ["kplr012254688*", "kplr012644769*", "kplr006804648*", "kplr006922244*"])
def test_transits_given_to_real_pixels_come_back(archive: Path, name: str) -> None:
    """Real images, motion and noise; on the target, where 3 sigma must be rare, and one or two pixels from it."""
    cutout = read_real(archive, name)
    offsets = {shift: [] for shift in ((0, 0), (1, 0), (0, -1), (-1, 1))}  # type: dict[tuple[int, int], list[Location]]
    for seed in range(12):
        rng = np.random.default_rng(seed)
        period = rng.uniform(2.0, 3.5)
        signal = Ephemeris(period, cutout.time[0] + rng.uniform(0, period), rng.uniform(2.5, 6.0) / 24)
        for shift, found in offsets.items():
            found.append(find(give_transits(cutout, signal, 2e-3, shift), signal=signal))
    for shift, found in offsets.items():
        places = np.array([offset(by_method(one)["prf"]) for one in found])
        assert np.median(places, axis=0) == pytest.approx(shift, abs=0.03 if shift == (0, 0) else 0.25)
        assert sum(one.checks[0].passed is False for one in found) == (0 if shift == (0, 0) else 12)


@pytest.mark.verify
def test_an_eclipse_of_kepler_16_is_seen_beside_it_and_on_it(archive: Path) -> None:
    """KOI-1555 is light of Kepler-16, 16 arcsec from KIC 12644774: its eclipse given to the wing that reaches over."""
    beside = read_real(archive, "kplr012644774-q12_500cad_lpd-targ.fits")
    itself = read_real(archive, "kplr012644769-q12_500cad_lpd-targ.fits")
    signal = Ephemeris(41.0772969, 1106.0, 5.525 / 24)
    assert itself.target is not None
    assert beside.target is not None
    source = np.add(itself.target, itself.corner) - beside.corner
    rows, columns = np.indices(beside.aperture.shape)
    wing = np.hypot(columns - source[0], rows - source[1]) < 2.7
    inside = in_transit(beside.time, signal)[:, None, None]
    eclipsed = replace(beside, flux=beside.flux * np.float32(1 - 0.134 * inside * wing))
    (check,) = find(eclipsed, signal=signal).checks
    assert check.passed is False
    assert check.score > 10
    whole = find(give_transits(itself, signal, 0.134, (0, 0)), signal=signal)
    assert whole.checks[0].passed is True
    assert by_method(whole)["prf"].offset_arcsec < 0.05
