"""Fits of stars on pixels against stars put there."""

import numpy as np
import pytest
from scipy.special import ndtr

from survey.signals.prf import Grid, find_star, fit_source, gravity_centre, source_gains

ROWS, COLUMNS = np.indices((9, 11)).reshape(2, -1).astype(np.float64)
GRID = Grid(COLUMNS, ROWS)
WIDTHS = np.array([0.8, 0.6])


def gaussian(column: float, row: float, flux: float) -> np.ndarray:
    """A star exactly as the fit takes it to be."""
    across = ndtr((COLUMNS + 0.5 - column) / 0.8) - ndtr((COLUMNS - 0.5 - column) / 0.8)
    along = ndtr((ROWS + 0.5 - row) / 0.6) - ndtr((ROWS - 0.5 - row) / 0.6)
    return flux * across * along


ERR = 1.0 + 0.05 * COLUMNS


def test_place_flux_and_covariance_of_a_source_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    true = np.array([60.0, 4.3, 3.8])
    image = gaussian(4.3, 3.8, 60.0) + 5.0
    pulls = []
    for _ in range(200):
        found = fit_source(image + rng.normal(0, ERR), ERR, GRID, np.array([4.0, 4.0]), WIDTHS)
        assert found is not None
        away = np.array([found.flux, *found.place]) - true
        pulls.append(away @ np.linalg.inv(found.covariance) @ away / 3)
    assert np.sqrt(np.mean(pulls)) == pytest.approx(1.0, abs=0.1)


def test_the_response_is_what_noise_does() -> None:
    image = gaussian(4.3, 3.8, 600.0)
    found = fit_source(image, ERR, GRID, np.array([4.0, 4.0]), WIDTHS)
    assert found is not None
    kick = np.zeros(len(image))
    kick[4 * 11 + 5] = 1.0
    moved = fit_source(image + kick, ERR, GRID, np.array([4.0, 4.0]), WIDTHS)
    assert moved is not None
    assert np.append(moved.flux, moved.place) - np.append(found.flux, found.place) == pytest.approx(
        found.response @ kick, rel=0.05
    )
    assert found.covariance == pytest.approx(np.einsum("ip,jp,p->ij", found.response, found.response, ERR**2))


@pytest.mark.parametrize("start", [(0.0, 0.0), (9.0, 1.0), (5.0, 4.0)])
def test_a_source_is_found_wherever_the_search_begins(start: tuple[float, float]) -> None:
    found = fit_source(gaussian(8.2, 6.6, 500.0) - 3.0, ERR, GRID, np.array(start), WIDTHS)
    assert found is not None
    assert found.place == pytest.approx([8.2, 6.6], abs=1e-3)
    assert (found.flux, found.level) == pytest.approx((500.0, -3.0), rel=1e-3)


def test_a_star_and_its_neighbours() -> None:
    """Blended neighbours, brighter or fainter, leave the place and the width of the star alone."""
    image = gaussian(4.3, 3.8, 1000.0) + gaussian(6.1, 5.0, 700.0) + gaussian(9.0, 1.0, 3000.0) + 20.0
    star = find_star(image, ERR, GRID, np.array([4.5, 3.5]))
    assert star is not None
    assert star.place == pytest.approx([4.3, 3.8], abs=0.02)
    assert star.widths == pytest.approx(WIDTHS, abs=0.02)
    assert star.level == pytest.approx(20.0, abs=0.5)


def test_no_light_no_place() -> None:
    nothing = np.zeros(len(COLUMNS))
    assert fit_source(nothing, ERR, GRID, np.array([4.0, 4.0]), WIDTHS) is None
    assert gravity_centre(nothing, ERR, GRID, np.array([4.0, 4.0])) is None
    assert find_star(gaussian(4, 4, 100.0), ERR, GRID, np.array([40.0, 40.0])) is None
    assert source_gains(-gaussian(4, 4, 100.0), ERR, GRID, np.array([[4.0, 4.0]]), WIDTHS) == pytest.approx([0.0])


def test_a_row_of_pixels_has_no_rows_to_tell() -> None:
    row = ROWS == 4
    grid = Grid(COLUMNS[row], ROWS[row])
    image = gaussian(4.3, 4.0, 500.0)[row]
    assert fit_source(image, ERR[row], grid, np.array([4.0, 4.0]), WIDTHS) is None
    assert gravity_centre(image, ERR[row], grid, np.array([4.0, 4.0])) is None


def test_the_gain_is_the_fall_of_chi2() -> None:
    image = gaussian(4.0, 4.0, 60.0) + 5.0
    (gain,) = source_gains(image, ERR, GRID, np.array([[4.0, 4.0]]), WIDTHS)
    level = np.average(image, weights=ERR**-2)
    assert gain == pytest.approx(np.sum(((image - level) / ERR) ** 2))


def test_the_centre_of_gravity_of_a_symmetric_star_is_its_middle() -> None:
    found = gravity_centre(gaussian(5.0, 4.0, 100.0), ERR, GRID, np.array([5.2, 4.4]))
    assert found is not None
    assert found.place == pytest.approx([5.0, 4.0])
    rng = np.random.default_rng(1)
    places = [
        gravity_centre(gaussian(5.0, 4.0, 100.0) + rng.normal(0, ERR), ERR, GRID, np.array([5.2, 4.4]))
        for _ in range(300)
    ]
    scatter = np.cov(np.array([one.place for one in places if one is not None]).T)
    assert np.diag(scatter) == pytest.approx(np.diag(found.covariance)[1:], rel=0.25)
