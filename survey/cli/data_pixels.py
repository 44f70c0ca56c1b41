"""`survey data pixels` and what goes before it: difference images to learn from."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from survey.cli.options import CatalogsOption, choose_catalogs, load_config
from survey.cli.tables import say


def pixels(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.parquet", help="Where the set is written.", show_default=False)
    ],
    manifests: Annotated[
        list[Path] | None,
        typer.Option("--manifest", metavar="CSV", help="Stacks and their labels; may be repeated.", show_default=False),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="A finished sweep: labels from the catalogues.", show_default=False),
    ] = None,
    cutouts: Annotated[
        list[Path] | None,
        typer.Option(
            "--pixels", metavar="PATH", help="Target pixel files, or folders, to put dips into.", show_default=False
        ),
    ] = None,
    per_file: Annotated[int, typer.Option("--per-file", metavar="N", min=2, help="Dips put into each.")] = 200,
    simulated: Annotated[
        int, typer.Option("--simulated", metavar="N", min=0, help="Simulated stars, with a dip each.")
    ] = 0,
    catalogs: CatalogsOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")] = 0,
) -> None:
    """Labelled difference images, to learn whether it is the target that dims.

    A manifest has the columns file (or path), label (0, 1, CP, FP, ...) and kepid (or tic_id, epic, target_id). Dips
    are put on the target (label 1) and on stars beside it (label 0), alike in all else.

    [bold]Examples[/]

    survey data pixels --manifest pixel_manifest.csv --out pixels.parquet

    survey data pixels --simulated 5000 --pixels archive --per-file 200 --out pixels.parquet

    survey data pixels --run runs/toi --out pixels.parquet
    """
    from survey.runs.sets.pixels import Wanted, make_pixel_set
    from survey.runs.store import load_run

    wanted = Wanted(
        manifests=tuple(manifests or ()),
        run=None if run is None else load_run(run),
        cutouts=tuple(cutouts or ()),
        per_file=per_file,
        simulated=simulated,
        seed=seed,
    )
    made = make_pixel_set(out, wanted, choose_catalogs(catalogs), load_config(None, None, None))
    rows = ", ".join(f"{count:,} {origin}" for origin, count in made.origins.items())
    say(f"{rows} in [bold]{escape(str(made.path))}[/] ({made.sha256[:12]})")


def pixel_manifest(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.csv", help="Columns label and kepid (or tic_id, ...).", show_default=False)
    ],
    stacks: Annotated[Path, typer.Argument(metavar="DIR", help="pixdiff_KEPID*.npy files.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="Where the manifest is written.")],
) -> None:
    """A manifest of stacks and labels, from labels by star and a folder of stacks named by star.

    [bold]Examples[/]

    survey data pixel-manifest residual_manifest.csv pixel_diffs_clean --out pixel_manifest.csv
    """
    from survey.learning.sets.pixels import match_stacks, write_manifest

    rows = match_stacks(labels, stacks)
    write_manifest(out, rows)
    counted = {label: sum(row["label"] == label for row in rows) for label in sorted({row["label"] for row in rows})}
    words = ", ".join(f"{label} {count:,}" for label, count in counted.items())
    say(f"{len(rows):,} stacks in [bold]{escape(str(out))}[/]: {words}")


def convert_pixels(
    stacks: Annotated[
        list[Path], typer.Argument(metavar="STACK.npy...", help="Arrays (T, rows, columns).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where NAME_clean.npy are written.")],
) -> None:
    """Standard images of stacks: the median over time, 24 x 24 pixels, of mean 0 and variance 1.

    [bold]Examples[/]

    survey data convert-pixels pixel_diffs_std/*.npy --out pixel_diffs_clean
    """
    from survey.learning.sets.pixels import convert_stacks

    written = convert_stacks(stacks, out)
    say(f"{len(written):,} images of 24 x 24 pixels in [bold]{escape(str(out))}[/]")
