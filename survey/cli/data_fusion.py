"""`survey data fusion`: labelled scores, to learn how they go together."""

from typing import Annotated, Literal

import typer

from survey.cli.options import CatalogsOption, choose_catalogs
from survey.cli.tables import say
from survey.errors import UsageError


def fusion(
    root: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished, scored sweep.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.parquet", help="Where the set is written.")],
    catalogs: CatalogsOption = None,
    unlisted: Annotated[
        Literal["J", "skip"],
        typer.Option(
            "--unlisted",
            help="Signals that no catalogue lists and the gate refuses: left out, or J (junk), though what the gate "
            "goes by is among what is learnt from.",
        ),
    ] = "skip",
    max_per_class: Annotated[
        int, typer.Option("--max-per-class", metavar="N", min=0, help="Of each label at most, drawn by seed; 0: all.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of every draw: which rows, which folds.")] = 0,
) -> None:
    """Labelled scores from a sweep: what its models and checks say of each signal, and what catalogues say it is.

    [bold]Examples[/]

    survey data fusion runs/listed --out sets/fusion.parquet

    survey train fusion --set sets/fusion.parquet --out models/fusion
    """
    from pathlib import Path

    from survey.learning.sets.table import check_place, write_set
    from survey.runs.sets.fusion import scores_by_catalogues
    from survey.runs.store import load_run
    from survey.stars.catalogs import HOW_TO_FETCH, default_folder

    check_place(Path(out))
    folder = choose_catalogs(catalogs)
    if folder is None:
        raise UsageError(f"no catalogue table in {default_folder()}: {HOW_TO_FETCH}, or name a folder with --catalogs")
    made = scores_by_catalogues(
        load_run(root), folder, unlisted=unlisted == "J", max_per_class=max_per_class or None, seed=seed
    )
    if not len(made.table):
        raise UsageError("no signal of the run has a label: " + "; ".join(made.provenance["signals_left_out"]))
    write_set(out, "fusion", made.table, made.provenance)
    labels = made.table.column("label").to_pylist()
    counted = ", ".join(f"{label} {labels.count(label):,}" for label in sorted(set(labels)))
    say(f"{len(labels):,} signals in [bold]{out}[/]: {counted}")
