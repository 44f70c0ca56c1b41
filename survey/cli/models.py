"""`survey models`, `survey import-model`: the trained models at hand, and those that others have trained."""

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import JsonOption
from survey.cli.tables import NOTHING, make_console, number, say, show
from survey.errors import SurveyError, UsageError

if TYPE_CHECKING:
    from survey.learning.foreign import Match
    from survey.learning.shelf import Description

CHECK = "check"

NARROW = 120
"""Columns of a terminal below which the table leaves out what the JSON has."""


def register(app: typer.Typer) -> None:
    app.command("models")(models)
    app.command("import-model", no_args_is_help=True)(import_model)


def models(
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[check] [DIR]...", help="Models' folders; those that come with the survey if none."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The trained models: what each was trained on, how it is measured, and its id.

    With `check` before the folders: whether every file has the sha256 that its model says; exit code 1 where not.

    [bold]Examples[/]

    survey models

    survey models check

    survey models models/vetting --json
    """
    from survey.learning import shelf

    given = list(folders or ())
    checked = given[:1] == [CHECK]
    paths = [Path(folder) for folder in given[checked:]] or list(shelf.shipped().values())
    if checked:
        _check(paths)
        return
    found = [shelf.describe(path) for path in paths]
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    show(_table(found))
    say("AP: average precision, AUC: area under the ROC curve; of stars that were not learnt from.", "dim")
    say("floor: the same figure of what a model has to beat.", "dim")


def _check(paths: list[Path]) -> None:
    from survey.learning import shelf

    problems = [problem for path in paths for problem in shelf.check_files(path)]
    if problems:
        raise SurveyError("; ".join(problems))
    say(f"{len(paths)} models, every file as its model says" if len(paths) != 1 else "every file as its model says")


def _table(found: "list[Description]") -> Table:
    narrow = make_console().width < NARROW
    table = Table(header_style="bold", box=None, pad_edge=False)
    shown = [column for column in COLUMNS if not (narrow and column.spare)]
    for column in shown:
        table.add_column(
            column.head, justify="right" if column.right else "left", no_wrap=column.whole, overflow="fold"
        )
    for one in found:
        table.add_row(*(column.words(one) or NOTHING for column in shown))
    return table


class Column(NamedTuple):
    """A column of the table. spare: left out where the terminal is narrow; whole: never broken."""

    head: str
    words: Callable[["Description"], str]
    right: bool = False
    whole: bool = True
    spare: bool = False


def _light_words(one: "Description") -> str:
    return "not said" if one.simulated is None else "simulated" if one.simulated else "real"


def _floor_words(one: "Description") -> str:
    """0.968 +0.007; red where the model is not above it."""
    if one.floor is None or one.figure is None or one.figure["value"] is None:
        return ""
    gain = one.figure["value"] - one.floor
    said = f"{one.floor:.3f} {gain:+.3f}"
    return said if gain > 0 else f"[red]{said}[/]"


SHORT = {"average precision": "AP", "area under the ROC curve": "AUC"}


def _figure_words(one: "Description") -> str:
    if one.figure is None:
        return "not measured, only ranks"
    value, low, high = (one.figure[name] for name in ("value", "low", "high"))
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{SHORT[one.measure]} {value:.3f}{interval}"


COLUMNS: Final = (
    Column("model", lambda one: f"[bold]{escape(one.name)}[/]"),
    Column("light", _light_words),
    Column("trained on", lambda one: escape(one.trained_on), whole=False, spare=True),
    Column("stars", lambda one: "" if one.stars is None else f"{one.stars:,}", right=True),
    Column("inputs", lambda one: escape(one.inputs), whole=False, spare=True),
    Column("figure (95%)", _figure_words),
    Column("base rate", lambda one: number(one.base_rate, ".3f"), right=True, spare=True),
    Column("floor, gain", _floor_words),
    Column("to beat", lambda one: escape(one.bar), whole=False, spare=True),
    Column("id", lambda one: one.id[:8]),
)


# Models from elsewhere

TASKS: Final = {"resnet1d": "vetting", "inception1d": "segments", "period_net": "periods", "pixel_cnn": "pixels"}
"""What a network of each kind does, where nobody says otherwise."""


def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A torch checkpoint (.pt), or safetensors.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model is written.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="The network whose weights they are: resnet1d and so on.")
    ] = "resnet1d",
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="MODEL", help="What it tells apart: triage, vetting, segments and so on."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="ARTIFACT", help="Take shape and inputs from this model.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="KEY=VALUE", help="Of shape or inputs: global_bins=2048; may be repeated."),
    ] = None,
    renames: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="REGEX=NAME", help="Which tensor is which, as re.sub does it; may be repeated."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Layers that the file lacks may stay untrained.")] = False,
) -> None:
    """Make a model of weights that others have trained, so that it can be measured, fine-tuned and used.

    Tensors find their places by name, then by shape and order; what could go to several places is refused. No code of
    the file is run. The model has neither figures nor calibration: its scores only rank. Keras files cannot be read.

    [bold]Examples[/]

    survey import-model resnet1d.pt --like vetting --out models/theirs

    survey import-model theirs.pt --setting global_bins=2048 --setting local_bins=256 --setting scalars=1
    --setting 'inputs.scalars=["centroid_offset"]' --map 'fc2=logit' --out models/theirs
    """
    from survey.learning.foreign import import_model as make_model
    from survey.learning.foreign import parse_renames, read_checkpoint

    chosen = _choose_settings(like, settings or ())
    made = make_model(
        read_checkpoint(file),
        kind,
        task or TASKS.get(kind, kind),
        chosen,
        out,
        renames=parse_renames(renames or ()),
        partial=partial,
    )
    _show_match(made.match)
    say(f"model {made.id[:12]} in [bold]{escape(str(made.folder))}[/]; it only ranks: measure or fine-tune it")


def _choose_settings(like: str | None, words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Shape and inputs: those of a model, then what is said word by word; inputs.KEY where both have such a key."""
    from survey.learning.artifact import find_artifact, load_artifact

    shape: dict[str, Any] = {}
    inputs: dict[str, Any] = {"view_spec": None, "scalars": []} if like is None else {}
    if like is not None:
        model = load_artifact(find_artifact(like))
        shape, inputs = dict(model.record.network), dict(model.record.inputs)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"--setting takes KEY=VALUE, not {word!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        if key.startswith("inputs.") or (key in inputs and key not in shape and key not in BOTH):
            inputs[key.removeprefix("inputs.")] = value
        else:
            shape[key] = value
    return shape, inputs


BOTH: Final = ("scalars",)
"""Settings of a shape (how many) and of inputs (which)."""

LISTED = 8


def _show_match(match: "Match") -> None:
    by_name = len(match.pairs) - len(match.guessed)
    say(f"{len(match.pairs)} tensors have their places: {by_name} by name, {len(match.guessed)} by shape and order")
    for words, names in (
        ("by shape and order", [f"{match.pairs[name]} as {name}" for name in match.guessed]),
        ("untrained, as the file lacks them", match.missing),
        ("left out, as there is no place for them", match.unexpected),
    ):
        if names:
            more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
            say(f"{words}: {escape(', '.join(names[:LISTED]))}{more}", "dim")
