"""What a sweep would cost, on paper."""

from pathlib import Path

import pytest

from survey.cli import main
from survey.errors import UsageError
from survey.runs.costs import Node, read_prices, reckon


def test_the_work_is_shared_by_the_cores_and_paid_by_the_hour() -> None:
    [cost] = reckon(32.0, [Node(name="big", cores=16, usd_per_hour=0.5)])
    assert (cost.hours, cost.usd) == (2.0, 1.0)


def test_the_list_that_is_shipped_says_when_it_was_taken() -> None:
    prices = read_prices()
    assert prices.as_of
    assert any("spot" in node.name for node in prices.node)


@pytest.mark.parametrize(
    "text",
    ["", "not toml", 'as_of = "now"\n[[node]]\nname = "x"\ncores = 0\nusd_per_hour = 1', 'as_of = "now"\nother = 1'],
)
def test_what_is_no_list_of_prices_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "nodes.toml").write_text(text)
    with pytest.raises(UsageError, match="no list of prices"):
        read_prices(tmp_path / "nodes.toml")
    with pytest.raises(UsageError, match="cannot read"):
        read_prices(tmp_path / "none.toml")


def test_a_dry_run_says_hours_and_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text("\n".join(f"TIC {number}" for number in range(1, 3_601)))
    (tmp_path / "nodes.toml").write_text('as_of = "today"\n[[node]]\nname = "mine"\ncores = 4\nusd_per_hour = 4\n')
    asked = ["sweep", "--targets", str(tmp_path / "list.txt"), "--sector", "15", "--dry-run"]
    assert main([*asked, "--nodes", str(tmp_path / "nodes.toml"), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    [row] = [line.split() for line in said.splitlines() if line.startswith("mine")]
    assert row == ["mine", "4", "4.000", "0.02", "0.07"], "3,600 stars of 0.07 s each"
    assert "prices of today" in said
    assert "not faster than 12 min" in said, "two requests a file"
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_a_sector_reckons_with_as_many_stars_as_usual(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nodes.toml").write_text('as_of = "today"\n[[node]]\nname = "mine"\ncores = 4\nusd_per_hour = 4\n')
    asked = ["sweep", "--sector", "15,16", "--dry-run", "--nodes", str(tmp_path / "nodes.toml")]
    assert main([*asked, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "about 40,000" in said
    [row] = [line.split() for line in said.splitlines() if line.startswith("mine")]
    assert row == ["mine", "4", "4.000", "0.19", "0.78"], "40,000 stars of 0.07 s each"
    assert main([*asked, "--limit", "3600"]) == 0
    assert "not faster than 12 min" in capsys.readouterr().out
