"""What is to be cited follows from what a run read and did."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.cli import main
from survey.config import load
from survey.errors import UsageError
from survey.runs import citations, store
from survey.stars.catalogs import CATALOGUES
from tests.runs.fakes import targets


def make_run(
    root: Path,
    stars: list[tuple[str, str | None]],
    *,
    source: str = "mast",
    catalogs: tuple[str, ...] = (),
    pixels: bool = False,
    settings: tuple[str, ...] = (),
) -> store.Run:
    """A run that has come to its end. stars: (mission, author of its light curve, None for a star without)."""
    with store.open_run(root, load(overrides=settings), targets(len(stars)), source={"source": source}) as run:
        run.record["catalogs"] = [{"name": name, "file": f"{name}.csv", "sha256": "0" * 64} for name in catalogs]
        rows = [
            {
                "target_id": f"TIC {number}",
                "mission": mission,
                "status": "ok",
                "products": [] if author is None else [{"product": "a.fits", "author": author}],
                "pixel_products": [{"product": "b.fits"}] if pixels else [],
            }
            for number, (mission, author) in enumerate(stars, start=1)
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(schema.rows_table(rows, schema.KEPT), sink)
        run.folder.write(store.TARGETS, sink.getvalue())
        return run


def keys(run: store.Run) -> set[str]:
    return {one.reference.key for one in citations.cite(run)}


METHODS = {"transit-survey", "Kovacs2002", "Ofir2014", "Thompson2018", "Coughlin2014", "Astropy2022", "Lightkurve2018",
           "Moritz2018"}  # fmt: skip
DEFAULTS = METHODS | {"Hippke2019", "Staelin1969"}


@pytest.mark.parametrize(
    ("stars", "expected"),
    [
        ([("tess", "SPOC")], {"Ricker2015", "Jenkins2016", "MAST-TESS"}),
        ([("tess", "TESS-SPOC"), ("tess", "QLP")],
         {"Ricker2015", "Caldwell2020", "MAST-TESS-SPOC", "Huang2020", "MAST-QLP"}),
        ([("tess", "TGLC")], {"Ricker2015", "Han2023", "MAST-TGLC"}),
        ([("kepler", "Kepler"), ("k2", "K2")],
         {"Borucki2010", "Howell2014", "Jenkins2010", "MAST-Kepler", "MAST-K2"}),
        ([("tess", None), ("kepler", "Kepler")], {"Borucki2010", "Jenkins2010", "MAST-Kepler"}),
        ([("tess", "somebody")], {"Ricker2015"}),
    ],
)  # fmt: skip
def test_data_are_cited_that_were_read(tmp_path: Path, stars: list[tuple[str, str | None]], expected: set[str]) -> None:
    assert keys(make_run(tmp_path, stars)) == DEFAULTS | expected


def test_tables_and_pixels_are_cited_where_they_were_used(tmp_path: Path) -> None:
    tables = ("toi", "tess_ebs", "kepler_ebs")
    run = make_run(tmp_path, [("tess", "SPOC")], catalogs=tables, pixels=True)
    archive = {"Akeson2013", "Christiansen2025"}
    mission = {"Ricker2015", "Jenkins2016", "MAST-TESS"}
    assert keys(run) == DEFAULTS | mission | archive | {"Guerrero2021", "Prsa2022", "Kirk2016", "Bryson2013"}


def test_simulated_data_are_nobodys(tmp_path: Path) -> None:
    assert keys(make_run(tmp_path, [("tess", "SPOC")], source="demo")) == DEFAULTS


def test_methods_are_those_of_the_configuration(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, [("tess", "SPOC")], source="demo", settings=("detrend.method=median", "search.method=two_pass")
    )
    assert keys(run) == METHODS


def test_a_run_that_is_not_finished_cannot_be_cited(tmp_path: Path) -> None:
    run = make_run(tmp_path, [("tess", "SPOC")])
    (tmp_path / store.TARGETS).unlink()
    with pytest.raises(UsageError, match="is not finished"):
        citations.cite(run)


def test_text_and_bibtex_name_every_reference_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, [("tess", "SPOC"), ("k2", "K2")], catalogs=tuple(citations.CATALOGUES), pixels=True)
    cited = citations.cite(run)
    text, bibtex = citations.to_text(cited), citations.to_bibtex(cited)
    assert len(text.splitlines()) == len(cited) == len({one.reference.key for one in cited})
    assert "Ricker, G. R. et al. 2015, Transiting Exoplanet Survey Satellite (TESS), Journal of Astronomical" in text
    assert "doi:10.1117/1.JATIS.1.1.014003, 2015JATIS...1a4003R  [TESS mission]" in text
    assert run.record["science_hash"][:10] in text
    entries = re.findall(r"^@(article|inproceedings|misc)\{([A-Za-z0-9-]+),$", bibtex, re.MULTILINE)
    assert [key for _, key in entries] == [one.reference.key for one in cited]
    assert bibtex.count("{") == bibtex.count("}")
    assert r"Pr{\v{s}}a" in bibtex
    assert bibtex.isascii()
    assert "{, }" not in bibtex


def test_references_are_told_apart_and_linked() -> None:
    """A DOI of a journal's form, a bibcode of 19 characters that agrees with year and volume."""
    references = citations.REFERENCES.values()
    for part in ("doi", "bibcode"):
        given = [getattr(one, part) for one in references if getattr(one, part)]
        assert len(set(given)) == len(given)
    for one in references:
        assert one.doi or one.bibcode or one.url, one.key
        assert not one.doi or re.fullmatch(r"10\.\d{4,5}/\S+", one.doi)
        if one.bibcode:
            assert len(one.bibcode) == 19
            assert one.bibcode.startswith(str(one.year))
            assert one.bibcode.endswith(one.authors.strip("{")[0])
            if one.kind == "article":
                assert one.where[1] in one.bibcode
    named = {
        key
        for table in (citations.MISSIONS, citations.PIPELINES, citations.CATALOGUES)
        for key in sum(table.values(), ())
    }
    assert named <= set(citations.REFERENCES)
    assert set(citations.CATALOGUES) == set(CATALOGUES)


def test_the_command_writes_either_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, [("tess", "SPOC")])
    assert main(["cite", str(tmp_path)]) == 0
    assert capsys.readouterr().out == citations.to_text(citations.cite(run))
    assert main(["cite", str(tmp_path), "--format", "bibtex"]) == 0
    assert capsys.readouterr().out.count("\n@") + 1 > 10
    assert main(["cite", str(tmp_path / "nowhere")]) == 2
    assert "no run in" in capsys.readouterr().err
