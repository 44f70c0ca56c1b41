"""What to cite for a run: the data it read, the tables it was compared with, and the methods and programs it used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey.errors import UsageError
from survey.runs import store
from survey.runs.store import Run


@dataclass(frozen=True)
class Reference:
    """An article, or what `kind` of BibTeX entry it is. where: journal, volume and page, or who publishes it."""

    key: str
    authors: str
    year: int | None
    title: str
    where: tuple[str, ...]
    doi: str = ""
    bibcode: str = ""
    kind: str = "article"
    url: str = ""


# fmt: off
REFERENCES: Final[dict[str, Reference]] = {
    reference.key: reference
    for reference in (
        Reference("Ricker2015", "Ricker, G. R. and others", 2015, "Transiting Exoplanet Survey Satellite (TESS)",
                  ("Journal of Astronomical Telescopes, Instruments, and Systems", "1", "014003"),
                  "10.1117/1.JATIS.1.1.014003", "2015JATIS...1a4003R"),
        Reference("Jenkins2016", "Jenkins, J. M. and others", 2016, "The TESS science processing operations center",
                  ("Proc. SPIE", "9913", "99133E"), "10.1117/12.2233418", "2016SPIE.9913E..3EJ", "inproceedings"),
        Reference("Caldwell2020", "Caldwell, D. A. and others", 2020,
                  "TESS Science Processing Operations Center FFI Target List Products",
                  ("Research Notes of the AAS", "4", "201"), "10.3847/2515-5172/abc9b3", "2020RNAAS...4..201C"),
        Reference("Huang2020", "Huang, C. X. and others", 2020,
                  "Photometry of 10 Million Stars from the First Two Years of TESS Full Frame Images: Part I",
                  ("Research Notes of the AAS", "4", "204"), "10.3847/2515-5172/abca2e", "2020RNAAS...4..204H"),
        Reference("Han2023", "Han, T. and Brandt, T. D.", 2023,
                  "TESS-Gaia Light Curve: A PSF-based TESS FFI Light-curve Product",
                  ("The Astronomical Journal", "165", "71"), "10.3847/1538-3881/acaaa7", "2023AJ....165...71H"),
        Reference("Borucki2010", "Borucki, W. J. and others", 2010,
                  "Kepler Planet-Detection Mission: Introduction and First Results",
                  ("Science", "327", "977"), "10.1126/science.1185402", "2010Sci...327..977B"),
        Reference("Jenkins2010", "Jenkins, J. M. and others", 2010,
                  "Overview of the Kepler Science Processing Pipeline",
                  ("The Astrophysical Journal Letters", "713", "L87"), "10.1088/2041-8205/713/2/L87",
                  "2010ApJ...713L..87J"),
        Reference("Howell2014", "Howell, S. B. and others", 2014,
                  "The K2 Mission: Characterization and Early Results",
                  ("Publications of the Astronomical Society of the Pacific", "126", "398"), "10.1086/676406",
                  "2014PASP..126..398H"),
        Reference("MAST-TESS", "{MAST Team}", None, "TESS Light Curves - All Sectors", ("STScI/MAST",),
                  "10.17909/t9-nmc8-f686", kind="misc"),
        Reference("MAST-TESS-SPOC", "{MAST Team}", None, "TESS Light Curves From Full Frame Images (TESS-SPOC)",
                  ("STScI/MAST",), "10.17909/t9-wpz1-8s54", kind="misc"),
        Reference("MAST-QLP", "{MAST Team}", None, "MIT Quick-Look Pipeline light curves (QLP)", ("STScI/MAST",),
                  "10.17909/t9-r086-e880", kind="misc"),
        Reference("MAST-TGLC", "{MAST Team}", None, "TESS-Gaia Light Curves (TGLC)", ("STScI/MAST",),
                  "10.17909/610m-9474", kind="misc"),
        Reference("MAST-Kepler", "{MAST Team}", None, "Kepler light curves", ("STScI/MAST",),
                  "10.17909/T9488N", kind="misc"),
        Reference("MAST-K2", "{MAST Team}", None, "K2 light curves", ("STScI/MAST",), "10.17909/T9WS3R", kind="misc"),
        Reference("Akeson2013", "Akeson, R. L. and others", 2013,
                  "The NASA Exoplanet Archive: Data and Tools for Exoplanet Research",
                  ("Publications of the Astronomical Society of the Pacific", "125", "989"), "10.1086/672273",
                  "2013PASP..125..989A"),
        Reference("Christiansen2025", "Christiansen, J. L. and others", 2025,
                  "The NASA Exoplanet Archive and Exoplanet Follow-up Observing Program: Data, Tools, and Usage",
                  ("The Planetary Science Journal", "6", "186"), "10.3847/PSJ/ade3c2", "2025PSJ.....6..186C"),
        Reference("Guerrero2021", "Guerrero, N. M. and others", 2021,
                  "The TESS Objects of Interest Catalog from the TESS Prime Mission",
                  ("The Astrophysical Journal Supplement Series", "254", "39"), "10.3847/1538-4365/abefe1",
                  "2021ApJS..254...39G"),
        Reference("Kirk2016", "Kirk, B. and others", 2016,
                  "Kepler Eclipsing Binary Stars. VII. The Catalog of Eclipsing Binaries Found in the Entire Kepler "
                  "Data Set",
                  ("The Astronomical Journal", "151", "68"), "10.3847/0004-6256/151/3/68", "2016AJ....151...68K"),
        Reference("Prsa2022", "Prša, A. and others", 2022,
                  "TESS Eclipsing Binary Stars. I. Short-cadence Observations of 4584 Eclipsing Binaries in Sectors "
                  "1-26",
                  ("The Astrophysical Journal Supplement Series", "258", "16"), "10.3847/1538-4365/ac324a",
                  "2022ApJS..258...16P"),
        Reference("Hippke2019", "Hippke, M. and others", 2019,
                  "Wotan: Comprehensive Time-series Detrending in Python",
                  ("The Astronomical Journal", "158", "143"), "10.3847/1538-3881/ab3984", "2019AJ....158..143H"),
        Reference("Kovacs2002", "Kovács, G. and Zucker, S. and Mazeh, T.", 2002,
                  "A box-fitting algorithm in the search for periodic transits",
                  ("Astronomy and Astrophysics", "391", "369"), "10.1051/0004-6361:20020802", "2002A&A...391..369K"),
        Reference("Staelin1969", "Staelin, D. H.", 1969,
                  "Fast Folding Algorithm for Detection of Periodic Pulse Trains",
                  ("Proceedings of the IEEE", "57", "724"), "10.1109/PROC.1969.7051", "1969IEEEP..57..724S"),
        Reference("Ofir2014", "Ofir, A.", 2014, "Optimizing the search for transiting planets in long time series",
                  ("Astronomy and Astrophysics", "561", "A138"), "10.1051/0004-6361/201220860",
                  "2014A&A...561A.138O"),
        Reference("Thompson2018", "Thompson, S. E. and others", 2018,
                  "Planetary Candidates Observed by Kepler. VIII. A Fully Automated Catalog with Measured Completeness "
                  "and Reliability Based on Data Release 25",
                  ("The Astrophysical Journal Supplement Series", "235", "38"), "10.3847/1538-4365/aab4f9",
                  "2018ApJS..235...38T"),
        Reference("Coughlin2014", "Coughlin, J. L. and others", 2014,
                  "Contamination in the Kepler Field. Identification of 685 KOIs as False Positives via Ephemeris "
                  "Matching Based on Q1-Q12 Data",
                  ("The Astronomical Journal", "147", "119"), "10.1088/0004-6256/147/5/119", "2014AJ....147..119C"),
        Reference("Bryson2013", "Bryson, S. T. and others", 2013,
                  "Identification of Background False Positives from Kepler Data",
                  ("Publications of the Astronomical Society of the Pacific", "125", "889"), "10.1086/671767",
                  "2013PASP..125..889B"),
        Reference("Astropy2022", "{Astropy Collaboration}", 2022,
                  "The Astropy Project: Sustaining and Growing a Community-oriented Open-source Project and the Latest "
                  "Major Release (v5.0) of the Core Package",
                  ("The Astrophysical Journal", "935", "167"), "10.3847/1538-4357/ac7c74", "2022ApJ...935..167A"),
        Reference("Lightkurve2018", "{Lightkurve Collaboration}", 2018,
                  "Lightkurve: Kepler and TESS time series analysis in Python",
                  ("Astrophysics Source Code Library, ascl:1812.013",), "", "2018ascl.soft12013L", "misc"),
        Reference("Moritz2018", "Moritz, P. and others", 2018,
                  "Ray: A Distributed Framework for Emerging AI Applications",
                  ("13th USENIX Symposium on Operating Systems Design and Implementation (OSDI 18)", "", "561-577"),
                  kind="inproceedings",
                  url="https://www.usenix.org/conference/osdi18/presentation/moritz"),
    )
}
# fmt: on

PIPELINES: Final = {
    "SPOC": ("Jenkins2016", "MAST-TESS"),
    "TESS-SPOC": ("Caldwell2020", "MAST-TESS-SPOC"),
    "QLP": ("Huang2020", "MAST-QLP"),
    "TGLC": ("Han2023", "MAST-TGLC"),
    "Kepler": ("Jenkins2010", "MAST-Kepler"),
    "K2": ("Jenkins2010", "MAST-K2"),
}
"""Author of light curves -> references."""

MISSIONS: Final = {"tess": ("Ricker2015",), "kepler": ("Borucki2010",), "k2": ("Howell2014",)}

_ARCHIVE = ("Akeson2013", "Christiansen2025")
CATALOGUES: Final = {
    "toi": ("Guerrero2021", *_ARCHIVE),
    "koi": ("Thompson2018", *_ARCHIVE),
    "k2": _ARCHIVE,
    "planets": _ARCHIVE,
    "tess_ebs": ("Prsa2022",),
    "kepler_ebs": ("Kirk2016",),
}
"""Table of known signals -> references."""


@dataclass(frozen=True)
class Citation:
    """A reference, and what of the run rests on it."""

    reference: Reference
    reason: str


@dataclass(frozen=True)
class Used:
    """What a run read."""

    missions: tuple[str, ...]
    authors: tuple[str, ...]
    catalogues: tuple[str, ...]
    pixels: bool
    simulated: bool


def find_used(run: Run) -> Used:
    """Raises UsageError where the run has not come to its end yet."""
    if not run.folder.exists(store.TARGETS):
        raise UsageError(f"{run.folder.root} is not finished: run the same `survey sweep` again, then cite it")
    columns = ["mission", "products", "pixel_products"]
    stars = pq.read_table(pa.BufferReader(run.folder.read(store.TARGETS)), columns=columns)
    stars = stars.filter(pc.greater(pc.fill_null(pc.list_value_length(stars.column("products")), 0), 0))
    authors = pc.struct_field(pc.list_flatten(stars.column("products")), "author")
    return Used(
        missions=_words(stars.column("mission")),
        authors=_words(authors),
        catalogues=tuple(sorted(table["name"] for table in run.record.get("catalogs", ()))),
        pixels=len(pc.list_flatten(stars.column("pixel_products"))) > 0,
        simulated={session["source"].get("source") for session in run.record["sessions"] if "source" in session}
        == {"demo"},
    )


def _words(column: pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(sorted(set(column.unique().to_pylist()) - {None}))


def cite(run: Run) -> list[Citation]:
    """What a publication that rests on this run should cite, each reference once.

    Raises UsageError where the run has not come to its end yet.
    """
    reasons: dict[str, list[str]] = {}
    for key, reason in _reasons(run, find_used(run)):
        said = reasons.setdefault(key, [])
        if reason not in said:
            said.append(reason)
    own = Citation(_survey_itself(run), "the survey")
    return [own, *(Citation(REFERENCES[key], ", ".join(said)) for key, said in reasons.items())]


def _reasons(run: Run, used: Used) -> Iterator[tuple[str, str]]:
    """(key of a reference, what rests on it); simulated light curves are nobody's data."""
    if not used.simulated:
        for words, table, kind in ((used.missions, MISSIONS, "mission"), (used.authors, PIPELINES, "light curves")):
            for word in words:
                yield from ((key, f"{_MISSION_NAMES.get(word, word)} {kind}") for key in table.get(word, ()))
    for name in used.catalogues:
        yield from ((key, f"table {name} of known signals") for key in CATALOGUES.get(name, ()))
    if run.config.detrend.method == "biweight":
        yield "Hippke2019", "detrending"
    if run.config.search.method == "fast_folding":
        yield "Staelin1969", "search"
    yield "Kovacs2002", "search"
    yield "Ofir2014", "periods searched"
    yield "Thompson2018", "vetting"
    if used.pixels:
        yield "Bryson2013", "centroids"
    yield "Coughlin2014", "ephemeris matching"
    yield "Astropy2022", "program"
    yield "Lightkurve2018", "quality masks"
    yield "Moritz2018", "program"


_MISSION_NAMES = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}


def _survey_itself(run: Run) -> Reference:
    version = run.record["versions"]["transit-survey"]
    day = run.record["created_at"][:10]
    return Reference(
        "transit-survey",
        "{The transit-survey developers}",
        int(day[:4]),
        f"transit-survey {version}",
        (f"run of {day}, science hash {run.record['science_hash'][:10]}",),
        kind="misc",
    )


def to_text(citations: Sequence[Citation]) -> str:
    """One reference a line, with what rests on it."""
    return "".join(f"{_one_line(one.reference)}  [{one.reason}]\n" for one in citations)


def _one_line(of: Reference) -> str:
    authors = of.authors.strip("{}").replace(" and others", " et al.").replace(" and ", "; ")
    head = f"{authors} {of.year}" if of.year else authors
    where = ", ".join(part for part in of.where if part)
    links = [f"doi:{of.doi}" if of.doi else "", of.bibcode, of.url]
    return ", ".join([head, of.title, where, *(link for link in links if link)])


def to_bibtex(citations: Sequence[Citation]) -> str:
    """One entry a reference; what rests on it stands before it as a comment."""
    return "\n".join(f"% {one.reason}\n{_entry(one.reference)}" for one in citations)


def _entry(of: Reference) -> str:
    place = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}[of.kind]
    where = dict(zip((place, "volume", "pages"), of.where, strict=False))
    fields = {
        "author": of.authors,
        "title": f"{{{of.title}}}",
        "year": "" if of.year is None else str(of.year),
        **where,
        "doi": of.doi,
        "adsurl": f"https://ui.adsabs.harvard.edu/abs/{of.bibcode}" if of.bibcode else "",
        "url": of.url,
    }
    lines = [f"  {name} = {{{_plain_tex(value)}}},\n" for name, value in fields.items() if value]
    return f"@{of.kind}{{{of.key},\n{''.join(lines)}}}\n"


def _plain_tex(text: str) -> str:
    for letter, tex in (("á", r"{\'a}"), ("š", r"{\v{s}}"), ("%", r"\%")):
        text = text.replace(letter, tex)
    return text


CITATION_FORMATS: Final[dict[str, Callable[[Sequence[Citation]], str]]] = {"text": to_text, "bibtex": to_bibtex}
