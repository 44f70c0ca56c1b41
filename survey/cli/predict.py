"""`survey predict`: what a model says of files that are there already, images or views."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from survey.cli.tables import say

if TYPE_CHECKING:
    from survey.learning.predict import Prediction, Words


def register(app: typer.Typer) -> None:
    app.command("predict", no_args_is_help=True)(predict)


def predict(
    model: Annotated[
        str,
        typer.Argument(metavar="ARTIFACT", help="A model's folder, or pixels, triage, vetting.", show_default=False),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Difference images as .npy; views as npz, CSV or Parquet.", show_default=False
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Of the probability.", show_default="the model's own"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Score difference images or folded views with a trained model.

    An image is an array (T, rows, columns) or (rows, columns); pixdiff_9967771.npy is taken for one of KIC 9967771, so
    that members that were trained on the star do not score it. All files are read before anything is printed.

    [bold]Examples[/]

    survey predict pixels pixdiff_9967771_clean.npy

    survey predict triage views.npz --threshold 0.9 --json
    """
    from survey.learning.artifact import find_artifact, load_artifact
    from survey.learning.predict import predict as predict_file
    from survey.learning.predict import words_of

    artifact = load_artifact(find_artifact(model))
    found = [one for file in files for one in predict_file(artifact, file, threshold)]
    if as_json:
        named = {"model": artifact.record.name, "model_id": artifact.id}
        print(json.dumps([asdict(one) | named for one in found], indent=1))
        return
    for one in found:
        say(escape(prediction_line(one, words_of(artifact))))


def prediction_line(one: "Prediction", words: "Words") -> str:
    """pixdiff_9967771.npy -> p_pixel = 0.4569 (FALSE POSITIVE)"""
    name = one.file if one.row is None else f"{one.file} row {one.row}"
    if one.row is not None and one.star:
        name = f"{name} ({one.star})"
    said = (
        f"score = {one.score:.4f} (never calibrated)"
        if one.probability is None
        else f"{words.symbol} = {one.probability:.4f} ({one.word})"
    )
    notes = [f"unlike the training set in {', '.join(one.outside)}"] if one.outside else []
    notes += ["a star it was trained on, scored by members that never saw it"] if one.seen else []
    return "; ".join([f"{name} -> {said}", *notes])
