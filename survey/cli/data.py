"""`survey data`: labelled sets to learn from, how they are made and whether they are fit."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.data_fusion import fusion
from survey.cli.data_periods import periods
from survey.cli.data_pixels import convert_pixels, pixel_manifest, pixels
from survey.cli.data_segments import segments
from survey.cli.options import CatalogsOption, choose_catalogs
from survey.cli.tables import say, show
from survey.errors import SurveyError, UsageError

if TYPE_CHECKING:
    from survey.learning.sets.table import LabelledTable
    from survey.runs.sets.views import ViewsTable
    from survey.runs.stream import Progress

data = typer.Typer(
    help="Labelled sets to learn from: made from runs, catalogues and injections, and audited.", no_args_is_help=True
)

UNFIT = 2
"""Exit code of an audit that finds anything wrong."""

SHOWN_REASONS = 8
SHOWN_SOURCES = 4

OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE.parquet", help="Where the set is written.", show_default=False)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of every draw: which rows, which folds.")]
MostOption = Annotated[
    int, typer.Option("--max-per-class", metavar="N", min=0, help="Of each label at most, drawn by seed; 0: all.")
]
SpecName = Literal["triage-201-61", "views-2048-256", "astronet-2001-201"]


def register(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        data.command(name, no_args_is_help=True)(command)
    app.add_typer(data, name="data")


def views(
    root: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished sweep.", show_default=False)],
    out: OutOption,
    catalogs: CatalogsOption = None,
    unlisted: Annotated[
        Literal["J", "skip"],
        typer.Option("--unlisted", help="Signals that no catalogue lists and the gate refuses: J (junk), or left out."),
    ] = "J",
    max_per_class: MostOption = 250,
    spec: Annotated[SpecName, typer.Option("--spec", help="Form of the views.")] = "triage-201-61",
    seed: SeedOption = 0,
) -> None:
    """Labelled views from a sweep: its signals, called what the catalogues call them.

    A signal takes the label of the listed one whose period and epoch it has (KOI, TOI, K2, composite planets, eclipsing
    binaries), under any name of its star. Signals that nobody can label are left out, and the file says how many and
    why. To begin with a catalogue, choose its stars and sweep them first.

    [bold]Examples[/]

    survey data views runs/sector-15 --out sets/sector-15.parquet

    survey data targets toi --out stars.txt && survey sweep --targets stars.txt --out runs/toi && survey data views
    runs/toi --out sets/toi.parquet
    """
    from survey.learning.sets.table import check_place
    from survey.runs.sets.views import views_by_catalogues
    from survey.runs.store import load_run

    check_place(out)
    folder = _need_catalogs(catalogs)
    found = views_by_catalogues(
        load_run(root), folder, spec=spec, unlisted=unlisted == "J", max_per_class=max_per_class or None, seed=seed
    )
    _write_views(out, found)


def demo(
    out: OutOption,
    stars: Annotated[int, typer.Option("--stars", metavar="N", min=32, help="Simulated stars.")] = 400,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the simulated archive and its run here.", show_default=False),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Labelled views without any archive: simulated planets, binaries, variables and noise, as a sweep finds them.

    Needs no network and no catalogue. A model that is trained on it shows how training goes; it knows no real star.

    [bold]Examples[/]

    survey data demo --stars 400 --out demo.parquet

    survey train triage --set demo.parquet --out models/demo --set train.batch=16 --set train.average=0.9
    """
    from survey.learning.sets.table import check_place
    from survey.runs.sets.views import make_demo

    check_place(out)
    with tempfile.TemporaryDirectory(prefix="survey-demo-") as folder:
        found = make_demo(stars, keep or Path(folder), seed=seed, on_progress=_say_progress())
        _write_views(out, found)


def targets(
    names: Annotated[
        list[str],
        typer.Argument(metavar="TABLE...", help="toi, koi, k2, planets, tess_ebs, kepler_ebs.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="List of stars for `survey sweep --targets`.")],
    catalogs: CatalogsOption = None,
    max_per_class: MostOption = 250,
    seed: SeedOption = 0,
) -> None:
    """Stars that catalogues list, some of every disposition: what a set of views is made of.

    [bold]Examples[/]

    survey data targets toi tess_ebs --max-per-class 250 --out stars.txt

    survey sweep --targets stars.txt --out runs/listed
    """
    from survey.runs.sets.views import choose_listed

    chosen = choose_listed(_need_catalogs(catalogs), names, max_per_class=max_per_class or None, seed=seed)
    lines = [f"{star}  # {letter}\n" for star, letter in chosen]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(lines))
    except OSError as error:
        raise UsageError(f"cannot write {out}: {(error.strerror or str(error)).lower()}") from None
    say(f"{len(chosen):,} stars in [bold]{escape(str(out))}[/]: {_counted([letter for _, letter in chosen])}")


def audit(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Parquet, or views as npz or CSV.", show_default=False)
    ],
) -> None:
    """What is in a labelled set, where it comes from, and whether it is fit to learn from.

    Found are: a star, or another name of it, in two folds; labels that are none; one class only; NaN; copies of rows;
    inputs of several lengths; and no word about the origin. Exit code 2 where anything is wrong.

    [bold]Examples[/]

    survey data audit sets/*.parquet views.npz
    """
    problems = [problem for file in files for problem in _audit_file(file)]
    if problems:
        raise typer.Exit(UNFIT)


def import_views(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Views as npz or CSV.", show_default=False)],
    out: OutOption,
    simulated: Annotated[
        str, typer.Option("--simulated", metavar="WORDS", help="What of it is simulated.", show_default="nothing")
    ] = "",
    seed: SeedOption = 0,
) -> None:
    """Your own labelled views as a set: audited, with folds by star, and with a word about the origin.

    CSV: global_0 ..., local_0 ..., label (0 or 1, or letters such as PC, EB, J), a star (target_id, tic_id, kepid),
    optional centroid_offset, period, duration_h, depth_ppm, snr, and fold (0, 1 and so on) where the file divides its
    stars itself; or `path` to one npz a row. npz: global_view and local_view (n, bins), label and the same names.

    [bold]Examples[/]

    survey data import views.csv --out sets/own.parquet
    """
    from survey.learning.sets.table import check_place, write_set
    from survey.learning.sets.views import read_views, tabulate_views

    check_place(out)
    table, provenance = tabulate_views(read_views(file), simulated, seed)
    write_set(out, "views", table, provenance)
    _audit_file(out)


COMMANDS: dict[str, Callable[..., None]] = {
    "views": views,
    "demo": demo,
    "targets": targets,
    "import": import_views,
    "fusion": fusion,
    "segments": segments,
    "periods": periods,
    "audit": audit,
    "pixels": pixels,
    "pixel-manifest": pixel_manifest,
    "convert-pixels": convert_pixels,
}


def _need_catalogs(catalogs: Path | None) -> Path:
    from survey.stars.catalogs import HOW_TO_FETCH, default_folder

    folder = choose_catalogs(catalogs)
    if folder is None:
        raise UsageError(f"no catalogue table in {default_folder()}: {HOW_TO_FETCH}, or name a folder with --catalogs")
    return folder


def _write_views(out: Path, found: "ViewsTable") -> None:
    from survey.learning.sets.table import write_set

    if not len(found.table):
        left_out = found.provenance["signals_left_out"]
        raise UsageError(f"no signal of the run has a label ({_reasons(left_out) or 'it has no signals'})")
    write_set(out, "views", found.table, found.provenance)
    _audit_file(out)


# What a set is


def _audit_file(path: Path) -> list[str]:
    """Shows a file and what is wrong with it, and returns that."""
    from survey.learning.sets.audit import find_problems
    from survey.learning.sets.table import is_set, open_set
    from survey.learning.sets.views import read_views

    problems = []
    try:
        if is_set(path):
            found = open_set(path)
            problems = find_problems(found.table, found.provenance, found.kind)
            _show_facts(found.name, _facts_of_set(found) if "target_id" in found.table.column_names else {})
        else:
            own = read_views(path)
            folds = None if own.folds is None else own.folds.tolist()
            _show_facts(own.name, {"kind": "views", **_facts_of_rows(own.stars.tolist(), own.kinds.tolist(), folds)})
            for note in own.notes:
                say(f"  [dim]{escape(note)}[/]")
    except SurveyError as error:
        problems = [str(error).removeprefix(f"{path.name}: ")]
    for problem in problems:
        say(f"[bold red]{escape(path.name)}:[/] {escape(problem)}")
    if not problems:
        say(f"[green]{escape(path.name)} is fit to learn from[/]")
    return problems


def _facts_of_set(found: "LabelledTable") -> dict[str, str]:
    said, table = found.provenance, found.table
    folds = table.column("fold").to_pylist() if "fold" in table.column_names else None
    labels = table.column("label").to_pylist() if "label" in table.column_names else []
    tables = ", ".join(one["file"] for one in said.get("catalogues", ()))
    return {
        "kind": found.kind,
        **_facts_of_rows(table.column("target_id").to_pylist(), labels, folds),
        "columns": ", ".join(name for name in table.column_names if name != "target_id"),
        "simulated": said.get("simulated", "not said") or "nothing",
        "sources": _sources_words(said.get("sources", ())),
        "catalogues": tables or "none",
        "left out": _reasons(said.get("signals_left_out", {})) or "nothing",
        "stars left out": _stars_words(said.get("left_out", ())) or "none",
        "seed": str(said.get("seed", "not said")),
        "sha256": found.sha256,
    }


def _facts_of_rows(stars: list[str], labels: list[str], folds: list[int] | None) -> dict[str, str]:
    return {
        "rows, stars": f"{len(stars):,}, {len(set(stars)):,}",
        "labels": _counted(labels),
        "rows of each fold": "made when it is learnt from" if folds is None else _counted(folds),
    }


def _sources_words(sources: Any) -> str:
    words = []
    for one in sources[:SHOWN_SOURCES]:
        name = next((str(one[key]) for key in ("source", "file", "product") if key in one), "")
        products = len(one.get("products", ()))
        words.append(
            (name or f"run {str(one.get('run', '?'))[:12]}") + (f" ({products:,} products)" if products else "")
        )
    return ", ".join([*words, *_more(sources, SHOWN_SOURCES)]) or "not said"


def _stars_words(left_out: Any) -> str:
    """3: TIC 7 (no_data), TIC 8 (listed: TOI-122.01), ..."""
    words = [
        f"{star['target_id']} ({star['reason'] if star['status'] == 'ok' else star['status']})"
        for star in left_out[:SHOWN_SOURCES]
    ]
    return f"{len(left_out):,}: {', '.join([*words, *_more(left_out, SHOWN_SOURCES)])}" if words else ""


def _more(things: Any, shown: int) -> list[str]:
    return [f"and {len(things) - shown:,} more"] if len(things) > shown else []


def _counted(values: list[Any]) -> str:
    """EB 12, J 40"""
    return ", ".join(f"{value} {values.count(value):,}" for value in sorted(set(values), key=str))


def _reasons(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_REASONS]
    return "; ".join(f"{count:,} {reason}" for reason, count in most)


def _show_facts(name: str, facts: Mapping[str, str]) -> None:
    table = Table(title=escape(name), title_justify="left", title_style="bold", box=None, show_header=False)
    for fact, words in facts.items():
        table.add_row(fact, escape(words))
    show(table)


def _say_progress() -> "Callable[[Progress], None]":
    """A line whenever another tenth of the stars is done."""
    said = 0

    def tell(progress: "Progress") -> None:
        nonlocal said
        tenth = 10 * progress.stars // max(1, progress.stars_total)
        if tenth > said:
            said = tenth
            say(f"{progress.stars:,}/{progress.stars_total:,} simulated stars searched")
            sys.stdout.flush()

    return tell
