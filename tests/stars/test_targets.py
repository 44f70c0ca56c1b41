"""Names of stars, lists of them, and the archive's download scripts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.stars.targets import (
    MISSION_OF_PREFIX,
    MISSIONS,
    ListedProduct,
    Target,
    make_target,
    parse_download_script,
    parse_numbers,
    parse_target,
)


def resolve(name: str) -> str:
    """Stands for the catalogue tables."""
    stars = {"TOI-700": "TIC 150428135", "TOI-700.02": "TIC 150428135", "K00351.01": "KIC 11442793"}
    if name not in stars:
        raise UsageError(f"{name} is in no table")
    return stars[name]


@pytest.mark.parametrize(
    ("text", "target_id", "mission"),
    [
        ("TIC 441462736", "TIC 441462736", "tess"),
        ("tic441462736", "TIC 441462736", "tess"),
        ("  TIC\t 441462736 ", "TIC 441462736", "tess"),
        ("TIC-441462736", "TIC 441462736", "tess"),
        ("TIC_0000000441462736", "TIC 441462736", "tess"),
        ("TIC 50365310.01", "TIC 50365310", "tess"),
        ("KIC 757076", "KIC 757076", "kepler"),
        ("kic 000757076", "KIC 757076", "kepler"),
        ("EPIC 201367065", "EPIC 201367065", "k2"),
    ],
)
def test_a_name_in_any_spelling_is_one_target(text: str, target_id: str, mission: str) -> None:
    assert parse_target(text) == Target(target_id, mission)


@given(st.sampled_from(sorted(MISSIONS)), st.integers(1, 10**9 - 1))
def test_target_ids_parse_to_themselves(mission: str, number: int) -> None:
    target = make_target(mission, number)
    assert parse_target(target.target_id) == target
    assert target.number == number
    assert target.target_id.split()[0] == MISSIONS[mission].prefix


@pytest.mark.parametrize("text", ["231663901", " 231663901 ", "231663901.0", "0"])
def test_a_number_alone_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(UsageError, match=r"TIC .* or KIC .* or EPIC") as error:
        parse_target(text)
    assert f"TIC {text.strip()}" in str(error.value)


@given(st.text(max_size=60).filter(lambda text: text.strip()[:3].upper() not in ("TIC", "KIC", "EPI")))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


@pytest.mark.parametrize(
    "text", ["", "TIC", "TIC 12a", "TIC 0", "TIC 12345678901234567", "KIC 1234567890", "TIC ٣٤", "T1C 5", "TIC 1 2"]
)
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


def test_an_endless_number_is_refused_shortly() -> None:
    with pytest.raises(UsageError) as error:
        parse_target("TIC " + "9" * 10_000)
    assert len(str(error.value)) < 300


def test_names_of_candidates_go_through_the_tables() -> None:
    assert parse_target("TOI-700.02", resolve=resolve) == Target("TIC 150428135", "tess")
    assert parse_target("K00351.01", resolve=resolve) == Target("KIC 11442793", "kepler")
    with pytest.raises(UsageError, match="in no table"):
        parse_target("TOI-701", resolve=resolve)


@pytest.mark.parametrize("text", ["TOI-700.02", "TOI 700", "toi700", "KOI-351", "K00351.01"])
def test_without_tables_names_of_candidates_say_how_to_get_them(text: str) -> None:
    with pytest.raises(UsageError, match="survey catalogs fetch"):
        parse_target(text)


def test_missions_have_their_own_time_zero_and_masks() -> None:
    tess, kepler, k2 = (MISSIONS[name] for name in ("tess", "kepler", "k2"))
    assert (tess.time_zero, kepler.time_zero, k2.time_zero) == (2457000.0, 2454833.0, 2454833.0)
    assert kepler.time_zero - tess.time_zero == -2167  # BTJD = BKJD - 2167
    assert tess.quality_masks == {"none": 0, "default": 17087, "hard": 24319, "hardest": 65535}
    assert kepler.quality_masks == {"none": 0, "default": 1130799, "hard": 1664431, "hardest": 2096639}
    assert k2.quality_masks == kepler.quality_masks
    assert sum(1 << (bit - 1) for bit in (1, 2, 3, 4, 5, 6, 8, 10, 15)) == tess.quality_masks["default"]
    assert [mission.observation for mission in (tess, kepler, k2)] == ["sector", "quarter", "campaign"]
    assert {prefix: mission.name for prefix, mission in MISSION_OF_PREFIX.items()} == {
        "TIC": "tess",
        "KIC": "kepler",
        "EPIC": "k2",
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("15", (15,)), ("1,14-16", (1, 14, 15, 16)), (" 3 , 1-2, 2 ", (1, 2, 3)), ("0", (0,)), ("5-5", (5,))],
)
def test_numbers_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "1,", "a", "16-14", "1-", "-1", "1--3", "1.5", "1-99999999", "1 2"])
def test_malformed_numbers_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_numbers(text)


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=30))
def test_numbers_written_singly_come_back(numbers: set[int]) -> None:
    assert parse_numbers(",".join(map(str, numbers))) == tuple(sorted(numbers))


# ----------------------------------------------------------------------------------------------------- download scripts

PRODUCT = "tess2019226182529-s0015-0000000{:09d}-0151-s_lc.fits"
URL = "https://archive.example/api/v0.1/Download/file/?uri=mast:TESS/product/{}"


def script(*numbers: int) -> str:
    products = [PRODUCT.format(number) for number in numbers]
    return "#!/bin/sh\n" + "".join(f"curl -C - -L -o {product} {URL.format(product)}\n" for product in products)


def test_a_download_script_gives_targets_products_and_addresses() -> None:
    first, second = parse_download_script(script(441462736, 7))
    product = PRODUCT.format(441462736)
    assert first == ListedProduct(Target("TIC 441462736", "tess", (15,)), product, URL.format(product))
    assert second.target == Target("TIC 7", "tess", (15,))


def test_fast_cadence_scripts_are_read_too() -> None:
    product = "tess2020186164531-s0027-0000000001727745-0189-a_fast-lc.fits"
    (listed,) = parse_download_script(f"curl -C - -L -o '{product}' '{URL.format(product)}'\r\n")
    assert listed.target == Target("TIC 1727745", "tess", (27,))


def test_a_download_script_is_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    text = f"touch {witness}\n" + script(7) + f"$(touch {witness})\n"
    assert [listed.target.number for listed in parse_download_script(text)] == [7]
    assert not witness.exists()


@pytest.mark.parametrize(
    "line",
    [
        script(7).splitlines()[1][:-20],  # torn
        f"curl -C - -L -o ../../etc/{PRODUCT.format(7)} {URL.format(PRODUCT.format(7))}",
        f"curl -C - -L -o {PRODUCT.format(7)} {URL.format(PRODUCT.format(8))}",
        f"curl -C - -L -o {PRODUCT.format(7)} file:///{PRODUCT.format(7)}",
        f"curl -C - -L -o {PRODUCT.format(7)} {URL.format(PRODUCT.format(7))}; rm -rf .",
        script(7).splitlines()[1].replace("-s_lc", "-s_tp"),
        script(7).splitlines()[1].replace("0000000000000007", "0000000000000000"),
    ],
)
def test_a_line_that_is_no_light_curve_stops_the_script(line: str) -> None:
    with pytest.raises(UsageError):
        parse_download_script(script(1) + line + "\n")


@pytest.mark.parametrize("text", ["", "#!/bin/sh\n", "<html><body>502 Bad Gateway</body></html>"])
def test_a_script_without_light_curves_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="download script"):
        parse_download_script(text)
