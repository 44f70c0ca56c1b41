"""How numbers are put into words."""

import pytest

from survey.cli.tables import moment, ranges


@pytest.mark.parametrize(
    ("numbers", "words"), [([], ""), ([3], "3"), ([1, 2], "1-2"), ([5, 1, 3, 4, 4], "1, 3-5"), (range(18), "0-17")]
)
def test_neighbours_become_ranges(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0134, "13 ms"), (0.9, "900 ms"), (7.88, "7.9 s")])
def test_moments_are_in_the_unit_that_one_reads(seconds: float, words: str) -> None:
    assert moment(seconds) == words
