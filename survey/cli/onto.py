"""`survey sweep --onto OLD`: a run on top of an older one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from survey.cli.tables import say
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.config import Config
    from survey.runs.onto import Asked, LookName
    from survey.runs.store import Run
    from survey.stars.sources import Source

OntoOption = Annotated[
    str | None,
    typer.Option(
        "--onto",
        metavar="OLD",
        help="A run to build on: its stars are taken along, and those whose files are the same are not searched.",
        show_default=False,
    ),
]
LookOption = Annotated[
    Literal["new", "names", "content"] | None,
    typer.Option(
        "--look",
        help="With --onto, how to tell: ask only for what is new, compare the names of all files, or their content.",
        show_default="content on a disk; from afar new for --sector, else names",
    ),
]


def open_older(root: str, out: str | None, config: "Config") -> "Run":
    """The run to build on. Raises UsageError where there is none, RunRefused where it was searched in another way."""
    from survey.runs import onto, store

    if out is None:
        raise UsageError("--onto makes a run of its own: say where with --out")
    if "://" not in root and Path(root).expanduser().resolve() == Path(out).expanduser().resolve():
        raise UsageError(f"--onto and --out are both {root}: the older run stays as it is, give another --out")
    older = store.load_run(root)
    onto.refuse_unlike(older, store.as_recorded(config, older.record))
    return older


def copy_rows(run: "Run", older: "Run", asked: "Asked", source: "Source", look: "LookName") -> None:
    """Copies what did not change into the run, and says and records how much that is."""
    from survey.runs import onto, store

    copied = onto.copy_unchanged(run, older, onto.LOOKS[look](source, run.config, asked))
    before = run.record.get("onto", {"copied": 0})
    run.record["onto"] = {
        "run": older.folder.root,
        "created_at": older.record["created_at"],
        "versions": older.record["versions"],
        "look": look,
        "copied": before["copied"] + copied,
    }
    store.start_clock(run)  # The rate of the session is that of searching.
    store.write_record(run)
    left = sum(len(table) for table in store.todo(run).values())
    say(f"{copied:,} stars are as in {escape(older.folder.root)} and copied, {left:,} to search")
