"""`survey sweep`: from a list of stars to a run folder with a ranked catalogue."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.onto import LookOption, OntoOption, copy_rows, open_older
from survey.cli.options import (
    CacheOption,
    CatalogsOption,
    EngineOption,
    MissionName,
    PresetOption,
    SetOption,
    SourceOption,
    choose_cache,
    choose_catalogs,
    is_remote,
    load_config,
    load_resolver,
    open_source,
)
from survey.cli.tables import (
    SHOWN_CANDIDATES,
    candidate_table,
    counts_words,
    make_console,
    recovery_table,
    say,
    say_problems,
    show,
    size,
    span,
)
from survey.errors import UsageError
from survey.interruption import interruption_kept

if TYPE_CHECKING:
    from survey.config import Config
    from survey.runs import onto
    from survey.runs.store import Plan, Run, RunStatus
    from survey.runs.stream import Progress
    from survey.stars.lists import Targets
    from survey.stars.sources import Source

FINISHED_WITH_FAILED = 3


USUAL_STARS = {"tess": 20_000, "kepler": 165_000, "k2": 20_000}
"""With a light curve in a sector (at two minutes), quarter or campaign, about."""

PLAIN_PROGRESS_S = 5.0
"""Where there is no terminal, a line of progress at most this often."""


def register(app: typer.Typer) -> None:
    app.command("sweep", no_args_is_help=True)(sweep)


def sweep(
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            metavar="FILE|-",
            help="Stars to search: text, CSV or Parquet with a target column; - reads standard input.",
            show_default=False,
        ),
    ] = None,
    sector: Annotated[
        str | None, typer.Option("--sector", metavar="LIST", help="TESS sectors: 1,14-16", show_default=False)
    ] = None,
    quarter: Annotated[
        str | None, typer.Option("--quarter", metavar="LIST", help="Kepler quarters.", show_default=False)
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="LIST", help="K2 campaigns.", show_default=False)
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="64 simulated stars with known signals; needs no network.")
    ] = False,
    mission: Annotated[
        MissionName | None, typer.Option("--mission", help="Only stars of this mission.", show_default=False)
    ] = None,
    source: SourceOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="RUN", help="The run's folder or URL.", show_default="runs/ and what is searched"
        ),
    ] = None,
    cache: CacheOption = None,
    preset: PresetOption = None,
    settings: SetOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Search the first so many stars only.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; asks no archive.")] = False,
    engine: EngineOption = None,
    all_observations: Annotated[
        bool,
        typer.Option(
            "--all-observations",
            help="Sectors, quarters or campaigns only choose the stars; all of their data are searched.",
        ),
    ] = False,
    address: Annotated[
        str, typer.Option("--address", help="Ray: local for one of its own, auto or ray://HOST:PORT for a cluster.")
    ] = "local",
    catalogs: CatalogsOption = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes",
            metavar="FILE",
            help="With --dry-run: machines and their prices, like jobs/nodes.toml.",
            show_default=False,
        ),
    ] = None,
    onto: OntoOption = None,
    look: LookOption = None,
) -> None:
    """Search many stars for transits, into a run folder with a ranked catalogue of candidates.

    A run that was interrupted goes on when the same command is given again; stars that are done are not searched twice.
    Exit code 3 where some stars failed though they have data.

    [bold]Examples[/]

    survey sweep --demo

    survey sweep --targets stars.csv --source mirror:s3://stpubdata --out runs/mine

    survey sweep --sector 15 --limit 1000 --set search.period_max=20

    survey sweep --sector 16 --onto runs/sector-15 --out runs/sectors-15-16
    """
    from survey.runs import store

    config = load_config(preset, settings, engine)
    asked = Asked(targets, *_observed(sector, quarter, campaign, mission), demo, source or _default_source(demo))
    root = out or f"runs/{asked.name}"
    older = None if onto is None else open_older(onto, out, config)
    if older is not None:
        config = store.as_recorded(config, older.record)
    if dry_run and asked.needs_the_archive():
        _say_usual(asked, limit, config, nodes)
        return
    kept_in, compared = choose_cache(cache, asked.source), choose_catalogs(catalogs)
    opened = asked.open(config, kept_in, catalogs, limit, all_observations, older)
    say_problems(opened.problems)
    plan = store.plan(root, config, opened.targets)
    _say_plan(asked, opened, plan, config, root)
    if dry_run:
        _say_costs(plan, asked.source, nodes)
        return
    described = opened.source.describe()
    record = asked.record(limit, all_observations) | ({} if older is None else {"onto": older.folder.root})
    with (
        interruption_kept() as heed,
        store.open_run(root, config, opened.targets, source=described, asked=record, catalogs=compared) as run,
    ):
        if older is not None and opened.asked is not None:
            copy_rows(run, older, opened.asked, opened.source, look or asked.choose_look())
        del opened  # its stars stand in the manifest
        result = _stream(run, asked.source, kept_in, address, heed)
        _say_result(run, result, asked)
    if result.failed:
        raise typer.Exit(FINISHED_WITH_FAILED)


def _default_source(demo: bool) -> str:
    from survey.stars.remote import PUBLIC_BUCKET

    return "demo" if demo else f"mirror:s3://{PUBLIC_BUCKET}"


def _observed(
    sector: str | None, quarter: str | None, campaign: str | None, mission: MissionName | None
) -> tuple[tuple[int, ...], str | None]:
    """The observations asked for and the mission they belong to. Raises UsageError where options disagree."""
    from survey.stars.targets import parse_numbers

    given = [
        (name, owner, text)
        for name, owner, text in (
            ("sector", "tess", sector),
            ("quarter", "kepler", quarter),
            ("campaign", "k2", campaign),
        )
        if text is not None
    ]
    if len(given) > 1:
        raise UsageError(
            f"--{given[0][0]} and --{given[1][0]} belong to different missions: sweep them one after the other"
        )
    if not given:
        return (), mission
    name, owner, text = given[0]
    if mission not in (None, owner):
        raise UsageError(f"--{name} belongs to {owner}, not to --mission {mission}")
    return parse_numbers(text), owner


@dataclass(frozen=True)
class Opened:
    """targets: to search; asked: what of them was asked for, beside the stars of an older run, where there is one."""

    targets: "Targets"
    problems: tuple[str, ...]
    source: "Source"
    asked: "onto.Asked | None"


@dataclass(frozen=True)
class Asked:
    """Which stars, of what, from where."""

    targets: str | None
    observations: tuple[int, ...]
    mission: str | None
    demo: bool
    source: str

    @property
    def name(self) -> str:
        """Of the default run folder; the same question finds the same run again."""
        if self.demo:
            return "demo"
        if self.targets is not None:
            return "stdin" if self.targets == "-" else Path(self.targets).name.split(".")[0]
        if self.observations:
            word = {"tess": "sector", "kepler": "quarter", "k2": "campaign"}[self.mission or "tess"]
            return f"{word}-{'_'.join(map(str, self.observations[:6]))}" + (
                "_more" if len(self.observations) > 6 else ""
            )
        return Path(self.source.partition(":")[2].rstrip("/")).name or self.source

    def needs_the_archive(self) -> bool:
        """Whether nobody but a distant archive knows which stars are meant."""
        return self.targets is None and not self.demo and is_remote(self.source)

    def choose_look(self) -> "onto.LookName":
        """How closely it is looked at whether the files of an older run's stars have changed, by default."""
        if not is_remote(self.source):
            return "content"
        return "new" if self.observations and self.targets is None else "names"

    def open(
        self,
        config: "Config",
        cache: str | None,
        catalogs: Path | None,
        limit: int | None,
        all_observations: bool,
        older: "Run | None" = None,
    ) -> Opened:
        """The source, and the stars to search, each with the observations to search.

        Raises UsageError where it is not said which stars, or where there are none.
        """
        from survey.runs import onto
        from survey.stars.lists import Targets, read_targets
        from survey.stars.sources import demo_archive
        from survey.stars.targets import Target

        if self.demo and (self.targets or self.observations or self.mission or self.source != "demo"):
            raise UsageError(
                "--demo brings its own stars and source: leave out --targets, --sector, --mission, --source"
            )
        chosen = self.targets or self.observations or self.mission or self.demo
        listless = not chosen and (is_remote(self.source) or self.source == "demo")
        if listless and older is None:
            raise UsageError(
                "say which stars: --targets FILE, --sector LIST, --quarter LIST, --campaign LIST or --demo"
            )
        source = open_source(self.source, config, cache)
        problems: tuple[str, ...] = ()
        if self.demo or self.targets is not None:
            listed = read_targets(
                demo_archive() / "targets.txt" if self.targets is None else self.targets,
                resolve=load_resolver(catalogs),
                observations=self.observations,
                mission=self.mission,
            )
            found, problems = listed.targets, listed.problems
        else:
            found = Targets.of(() if listless else source.targets(self.mission, self.observations, limit))
        if not found and not listless:
            raise UsageError(f"{self.source} holds no star of what was asked for")
        if all_observations:
            found = Targets.of(Target(target.target_id, target.mission) for target in found)
        found = found[:limit]
        asked = None
        if older is not None:
            asked = onto.Asked({star.target_id for star in found}, self.observations, self.mission)
            found = onto.join_targets(older, found, () if all_observations else self.observations, self.mission)
        return Opened(found, problems, source, asked)

    def record(self, limit: int | None, all_observations: bool) -> dict[str, Any]:
        """For run.json."""
        return {
            "targets": self.targets,
            "observations": list(self.observations),
            "mission": self.mission,
            "source": self.source,
            "limit": limit,
            "all_observations": all_observations,
        }


def _say_plan(asked: Asked, opened: Opened, plan: "Plan", config: "Config", root: str) -> None:
    missions = Counter(opened.targets.table.column("mission").to_pylist())
    what = ", ".join(f"{count:,} of {mission}" for mission, count in missions.items())
    search = config.search
    longest = "" if search.period_max is None else f" to {search.period_max:g} d"
    done = plan.targets - plan.targets_todo
    cost = f", {plan.cost_usd:.2f} USD" if plan.cost_usd else ""
    at_most = " (at two minutes; full-frame light curves are smaller)" if missions["tess"] else ""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("stars", f"{plan.targets:,} ({what})" + (f", {done:,} of them done" if done else ""))
    table.add_row("source", escape(asked.source))
    table.add_row(
        "search", f"periods from {search.period_min:g} d{longest or ' on'}, MES {search.threshold:g} and more"
    )
    table.add_row("shards", f"{plan.shards:,}, {plan.shards_done:,} of them done")
    table.add_row(
        "to do",
        f"about {size(1e9 * plan.gigabytes)} to read, {span(3600 * plan.core_hours)} of one core{cost}{at_most}",
    )
    if plan.hours:
        table.add_row("rate", f"{span(3600 * plan.hours)} at that of the last session")
    table.add_row("run", escape(root))
    show(table)


def _say_usual(asked: Asked, limit: int | None, config: "Config", prices: str | None) -> None:
    """The costs of as many stars as there usually are."""
    from survey.runs import store

    mission = asked.mission or "tess"
    stars = USUAL_STARS[mission] * max(1, len(asked.observations))
    stars = stars if limit is None else min(limit, stars)
    say(
        f"Only the archive knows the stars of {asked.name}, and --dry-run asks nothing: `survey sweep` would first "
        f"read their list from {escape(asked.source)}. Usually they are about {stars:,}; --targets FILE is exact."
    )
    plan = store.plan_unlisted(mission, asked.observations[:1], stars, config)
    say(f"about {size(1e9 * plan.gigabytes)} to read, {span(3600 * plan.core_hours)} of one core")
    _say_costs(plan, asked.source, prices)


def _say_costs(plan: "Plan", source: str, prices: str | None) -> None:
    """What the sweep would cost on machines for hire."""
    from survey.runs.costs import read_prices, reckon

    listed = read_prices(prices)
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("machine")
    for head in ("cores", "USD/h", "hours of one", "USD"):
        table.add_column(head, justify="right")
    for cost in reckon(plan.core_hours, listed.node):
        node = cost.node
        table.add_row(
            escape(node.name), str(node.cores), f"{node.usd_per_hour:.3f}", f"{cost.hours:.2f}", f"{cost.usd:.2f}"
        )
    say()
    show(table)
    say(
        f"prices of {escape(listed.as_of)}, to be changed: --nodes FILE. Without head, storage and requests.",
        style="dim",
    )
    if is_remote(source) and plan.fetch_hours:
        # S3 is asked first how long a file is.
        hours = plan.fetch_hours * (2 if "s3:" in source else 1)
        say(
            f"not faster than {span(3600 * hours)}: run.requests_per_s asks the archive no oftener",
            style="dim",
        )


def _stream(run: "Run", source: str, cache: str | None, address: str, heed: Callable[[], None]) -> "RunStatus":
    from survey.runs import stream

    showing = _bar() if sys.stdout.isatty() else _lines()
    with showing as show:

        def on_progress(progress: "Progress") -> None:
            heed()
            show(progress)

        return stream.sweep(run, source, cache=cache, address=address, on_progress=on_progress)


@contextmanager
def _bar() -> "Iterator[Callable[[Progress], None]]":
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=make_console(), transient=True, expand=True) as bar:
        task = bar.add_task("stars", total=None, words="starting Ray")

        def show(progress: "Progress") -> None:
            bar.update(task, total=progress.stars_total, completed=progress.stars, words=_progress_words(progress))

        yield show


@contextmanager
def _lines() -> "Iterator[Callable[[Progress], None]]":
    last = -PLAIN_PROGRESS_S

    def show(progress: "Progress") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_PROGRESS_S or progress.stars == progress.stars_total:
            last = now
            say(f"{progress.stars:,}/{progress.stars_total:,} stars, {_progress_words(progress, styled=False)}")
            sys.stdout.flush()

    yield show


def _progress_words(progress: "Progress", *, styled: bool = True) -> str:
    if not progress.stars:
        return "the first shards are on their way"
    rate = progress.stars / progress.seconds if progress.seconds else 0.0
    left = f", {span(progress.remaining_s)} left" if progress.stars < progress.stars_total else ""
    return f"{rate:.3g} stars/s{left}; {counts_words(progress.counts, styled=styled)}"


def _say_result(run: "Run", result: "RunStatus", asked: Asked) -> None:
    from survey.runs import exports

    table = exports.read_candidates(run)
    passed = table.filter(table.column("is_candidate"))
    shown = passed.slice(0, SHOWN_CANDIDATES).to_pylist()
    say(f"[bold]{result.targets:,} stars:[/] {counts_words(result.counts)}")
    say(f"[bold]{len(table):,} signals[/] above the threshold, [bold]{len(passed):,} candidates[/]\n")
    if shown:
        show(candidate_table(shown))
        say()
    if len(passed) > len(shown):
        say(f"... and {len(passed) - len(shown):,} more\n")
    truth = find_truth(asked.source)
    if truth is not None:
        _say_recovered(run, truth, table)
    root = escape(run.folder.root)
    say(f"run folder: [bold]{root}[/]  (candidates.parquet, targets.parquet, progress.csv)")
    say("next:")
    say(f"  survey report {root}")
    say(f"  survey candidates {root} --format ecsv --out candidates.ecsv")
    if shown:
        say(f'  survey plot "{shown[0]["target_id"]}" --source {escape(asked.source)}')
    if result.failed:
        say(f"  survey status {root}      [dim]# why {result.failed:,} stars failed[/]")


def find_truth(source: str) -> Path | None:
    """The list of the signals in a simulated archive; None for any other source."""
    from survey.stars.sources import demo_archive

    if source == "demo":
        return demo_archive() / "truth.csv"
    path = Path(source.removeprefix("mirror:")) / "truth.csv"
    return path if source.startswith("mirror:") and not is_remote(source) and path.is_file() else None


def _say_recovered(run: "Run", truth: Path, candidates: Any) -> None:
    from survey.runs import exports
    from survey.stars.simulate import read_truth

    searched = set(run.manifest.column("target_id").to_pylist())
    recovered = exports.recover([signal for signal in read_truth(truth) if signal.target_id in searched], candidates)
    found = [one for one in recovered if one.verdict != "missed"]
    show(recovery_table(recovered))
    say()
    say(f"[bold]{len(found)} of {len(recovered)}[/] injected signals were found")
    for one in recovered:
        if one.verdict == "missed":
            signal = one.signal
            say(
                f"  missed: {signal.target_id}, {signal.kind.replace('_', ' ')}, {signal.period:.4f} d, "
                f"{signal.depth_ppm:,.0f} ppm, expected SNR {signal.snr:.1f}"
            )
    say()
