"""A run on top of an older one: the same bytes as one from nothing, and only what changed is searched."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.cli import main
from survey.config import Config, load
from survey.errors import RunRefused, UsageError
from survey.runs import onto, store
from survey.runs.manifest import cut_shards
from survey.runs.stages import STAGES
from survey.stars import simulate
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target
from tests.runs import fakes
from tests.runs.small_run import quick
from tests.runs.test_store import hashes

KINDS = ("consecutive_sectors", "planet", "planet", "consecutive_sectors", "planet_with_pixels", "quiet", "quiet")
GROWN, SAME, REPLACED, NEW, PIXELS, GONE, QUIET = (f"TIC {number}" for number in range(900_000_001, 900_000_008))


@dataclass(frozen=True)
class Mirrors:
    """The archive before the second sector, and after it."""

    before: Path
    after: Path


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Mirrors:
    """GROWN gets a second sector and NEW has only that, REPLACED has another file of the same name, GONE is gone."""
    folder = tmp_path_factory.mktemp("mirrors")
    before, after, other = folder / "before", folder / "after", folder / "other"
    simulate.write_archive(after, kinds=KINDS)
    simulate.write_archive(other, kinds=KINDS, seed=5)
    shutil.rmtree(after / "missions")
    light(after, NEW, 1).unlink()
    shutil.copytree(after, before)
    for path in (before / "tess/public/tid/s0002").rglob("*.fits"):
        path.unlink()
    shutil.copy(light(other, REPLACED, 1), light(after, REPLACED, 1))
    light(after, GONE, 1).unlink()
    return Mirrors(before, after)


def light(mirror: Path, target_id: str, sector: int) -> Path:
    number = f"{int(target_id.split()[1]):016d}"
    [path] = (mirror / f"tess/public/tid/s{sector:04d}").rglob(f"*{number}*_lc.fits")
    return path


def finish(run: store.Run, source: Source) -> list[str]:
    """Searches what is missing, here and without Ray; the stars that it was."""
    searched = []
    for shard, table in store.todo(run).items():
        searched += table.column("target_id").to_pylist()
        for stage in STAGES:
            table = stage.make(run.config, source)(table)
        store.commit(run, shard, table)
    store.merge(run)
    return searched


def sweep(root: Path, mirror: Path, targets: Sequence[Target], *overrides: str) -> list[str]:
    source = open_source(f"mirror:{mirror}", Config())
    with store.open_run(root, quick(*overrides), targets) as run:
        return finish(run, source)


def listed(mirror: Path, *sectors: int) -> list[Target]:
    return list(open_source(f"mirror:{mirror}", Config()).targets("tess", sectors))


def begin_onto(root: Path, old: Path, mirror: Path, look: onto.LookName, *overrides: str) -> list[str]:
    """Adds sector 2, as the command does; the stars that are left to search."""
    source, older, asked = open_source(f"mirror:{mirror}", Config()), store.load_run(old), listed(mirror, 2)
    config = store.as_recorded(quick(*overrides), older.record)
    onto.refuse_unlike(older, config)
    check = onto.LOOKS[look](source, config, onto.Asked({star.target_id for star in asked}, (2,), "tess"))
    with store.open_run(root, config, onto.join_targets(older, asked, (2,), "tess")) as run:
        onto.copy_unchanged(run, older, check)
        return [name for table in store.todo(run).values() for name in table.column("target_id").to_pylist()]


@pytest.fixture(scope="module")
def old(mirrors: Mirrors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "old"
    targets = [*listed(mirrors.before, 1), Target("TIC 4", "tess", (1,))]
    assert len(sweep(root, mirrors.before, targets)) == 7
    return root


def test_a_sector_added_gives_the_bytes_of_a_sweep_from_nothing(mirrors: Mirrors, old: Path, tmp_path: Path) -> None:
    left = begin_onto(tmp_path / "new", old, mirrors.after, "content", "run.shard_size=3")
    assert set(left) == {GROWN, REPLACED, NEW, GONE, "TIC 4"}
    targets = [*listed(mirrors.after, 1, 2), Target(GONE, "tess", (1, 2)), Target("TIC 4", "tess", (1, 2))]
    assert sweep(tmp_path / "new", mirrors.after, targets) == left
    sweep(tmp_path / "nothing", mirrors.after, targets)
    assert hashes(tmp_path / "new") == hashes(tmp_path / "nothing")
    rows = {row["target_id"]: row for row in pq.read_table(tmp_path / "new" / store.TARGETS).to_pylist()}
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        GONE: "no_data",
        "TIC 4": "no_data",
    }
    assert [product["observation"] for product in rows[GROWN]["products"]] == [1, 2]
    assert all(row["observations"] == [1, 2] for row in rows.values())
    assert rows[PIXELS]["pixel_products"]


def test_names_alone_miss_a_file_that_was_replaced_under_its_name(mirrors: Mirrors, old: Path, tmp_path: Path) -> None:
    assert set(begin_onto(tmp_path / "new", old, mirrors.after, "names")) == {GROWN, NEW, GONE, "TIC 4"}


def test_from_afar_only_stars_of_the_new_sector_are_asked_for(
    mirrors: Mirrors, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Source, star: Target) -> None:
        raise AssertionError(f"{star.target_id} was asked for")

    monkeypatch.setattr("survey.stars.sources.FolderSource.find", refuse)
    assert set(begin_onto(tmp_path / "new", old, mirrors.after, "new")) == {GROWN, NEW, "TIC 4"}


def test_another_pixel_file_is_another_star(mirrors: Mirrors, old: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(mirrors.before, mirror)
    check = onto.LOOKS["content"](open_source(f"mirror:{mirror}", Config()), quick(), onto.Asked((), (), None))
    rows = {row["target_id"]: row for row in pq.read_table(old / store.TARGETS).to_pylist()}
    assert all(check(rows[name]) for name in (GROWN, SAME, PIXELS, QUIET))
    [pixels] = mirror.rglob("*_tp.fits")
    content = pixels.read_bytes()
    pixels.write_bytes(content[:-1] + b"x")
    assert not check(rows[PIXELS])
    pixels.unlink()
    gone = onto.LOOKS["names"](open_source(f"mirror:{mirror}", Config()), quick(), onto.Asked((), (), None))
    assert not gone(rows[PIXELS])
    without = quick("pixels.use=false")
    assert onto.LOOKS["names"](open_source(f"mirror:{mirror}", Config()), without, onto.Asked((), (), None))(
        rows[PIXELS]
    )


def copy_fakes(root: Path, old: Path, targets: Sequence[Target], same: Callable[[onto.Row], bool]) -> int:
    with store.open_run(root, load(overrides=["run.shard_size=4"]), targets) as run:
        return onto.copy_unchanged(run, store.load_run(old), same)


def finish_fakes(root: Path, targets: Sequence[Target]) -> list[str]:
    searched = []
    with store.open_run(root, Config(), targets) as run:
        for shard, table in store.todo(run).items():
            searched += table.column("target_id").to_pylist()
            store.commit(run, shard, fakes.described(table, run.config))
        store.merge(run)
    return searched


@pytest.fixture(scope="module")
def old_fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fakes") / "old"
    assert len(finish_fakes(root, fakes.targets(30))) == 30
    return root


def test_a_copy_that_was_interrupted_goes_on(old_fakes: Path, tmp_path: Path) -> None:
    root, targets, seen = tmp_path / "new", fakes.targets(17, first=10), []

    def some(row: onto.Row) -> bool:
        seen.append(row["target_id"])
        if len(seen) == 7:
            raise KeyboardInterrupt
        return row["target_id"] not in ("TIC 14", "TIC 15")

    with pytest.raises(KeyboardInterrupt):
        copy_fakes(root, old_fakes, targets, some)
    half = store.status(store.load_run(root))
    assert (half.shards_done, half.targets_done, half.complete) == (0, 4, False)
    assert half.counts == {"ok": 4}
    seen = [""] * 7
    assert copy_fakes(root, old_fakes, targets, some) == 6
    with store.open_run(root, Config(), targets) as run, pytest.raises(UsageError, match="shards are not done"):
        store.merge(run)
    assert finish_fakes(root, targets) == [
        name for name in (star.target_id for star in targets) if name not in copied_names(root)
    ]
    finish_fakes(tmp_path / "nothing", targets)
    assert hashes(root) == hashes(tmp_path / "nothing")
    progress = (root / store.PROGRESS).read_text()
    assert progress.count("\n") == 18


def test_the_rate_is_that_of_what_was_searched(
    old_fakes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = (datetime.now(UTC) - timedelta(seconds=100)).isoformat(timespec="seconds")
    with store.open_run(tmp_path, load(overrides=["run.shard_size=4"]), fakes.targets(17, first=10)) as run:
        assert onto.copy_unchanged(run, store.load_run(old_fakes), lambda row: row["target_id"] != "TIC 10") > 4
        with monkeypatch.context() as patch:
            patch.setattr(store, "now", lambda: earlier)
            store.start_clock(run)
        missing = store.todo(run)[0]
        store.commit(run, 0, fakes.described(missing, run.config))
        rate = store.status(run).stars_per_hour
        assert rate is not None
        assert round(rate * store.latest_session(run)[1] / 3600) == len(missing) < len(run.shard(0))


def copied_names(root: Path) -> set[str]:
    """Stars whose telemetry says that they were copied."""
    rows = store.read_telemetry(store.load_run(root)).to_pylist()
    return {row["target_id"] for row in rows if row["trace"][0]["stage"] == "copy"}


def test_a_finished_run_stands_without_the_one_it_was_built_on(old_fakes: Path, tmp_path: Path) -> None:
    shutil.copytree(old_fakes, tmp_path / "old")
    targets = fakes.targets(32)
    copy_fakes(tmp_path / "new", tmp_path / "old", targets, lambda row: True)
    shutil.rmtree(tmp_path / "old")
    searched = finish_fakes(tmp_path / "new", targets)
    assert set(searched) == {f"TIC {number}" for number in (3, 7, 9, 11, 16, 20, 22, 24, 29, 31, 32)}
    finish_fakes(tmp_path / "nothing", targets)
    assert hashes(tmp_path / "new") == hashes(tmp_path / "nothing")


def test_a_run_that_was_searched_in_another_way_is_refused(old_fakes: Path, tmp_path: Path) -> None:
    older = store.load_run(old_fakes)
    onto.refuse_unlike(older, store.as_recorded(Config(), older.record))
    with pytest.raises(RunRefused, match=r"gate\.mes: 7\.1 -> 9\.0"):
        onto.refuse_unlike(older, load(overrides=["gate.mes=9"], engine=older.config.engine))
    shutil.copytree(old_fakes, tmp_path / "rescored")
    record = json.loads((tmp_path / "rescored" / store.RECORD).read_text())
    record["sessions"].append({"started_at": store.now(), "rescored": ["gate.mes: 7 -> 8"]})
    (tmp_path / "rescored" / store.RECORD).write_text(json.dumps(record))
    with pytest.raises(RunRefused, match="was rescored"):
        onto.refuse_unlike(store.load_run(tmp_path / "rescored"), older.config)


def test_stars_have_the_observations_of_both(tmp_path: Path) -> None:
    def run_of(*targets: Target) -> store.Run:
        return store.Run(None, Config(), {}, cut_shards(targets, None))  # type: ignore[arg-type]

    def joined(
        old: store.Run, asked: Sequence[Target], observations: tuple[int, ...] = ()
    ) -> dict[str, tuple[int, ...]]:
        return {star.target_id: star.observations for star in onto.join_targets(old, asked, observations, "tess")}

    sector, others = run_of(*(Target(f"TIC {k}", "tess", (14,)) for k in (1, 2))), Target("KIC 9", "kepler", (3,))
    asked = [Target("TIC 2", "tess", (15,)), Target("TIC 3", "tess", (15,))]
    assert joined(sector, asked, (15,)) == {"TIC 1": (14, 15), "TIC 2": (14, 15), "TIC 3": (14, 15)}
    assert joined(run_of(Target("TIC 1", "tess"), others), asked, (15,)) == {
        "KIC 9": (3,), "TIC 1": (), "TIC 2": (), "TIC 3": (),
    }  # fmt: skip
    mixed = run_of(Target("TIC 1", "tess", (1,)), Target("TIC 2", "tess", (2,)))
    assert joined(mixed, asked) == {"TIC 1": (1,), "TIC 2": (2, 15), "TIC 3": (15,)}
    assert joined(sector, []) == {"TIC 1": (14,), "TIC 2": (14,)}


@pytest.mark.verify
@pytest.mark.usefixtures("local_ray")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")
def test_the_commands_of_a_new_sector(
    mirrors: Mirrors, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user does: a sector, the next one on top of it, what changed; and both sectors at once."""
    old, new, both = (str(tmp_path / name) for name in ("old", "new", "both"))
    settings = ["--set", "search.period_max=6", "--set", "search.max_tces=3"]
    before, after = (["--source", f"mirror:{mirror}", *settings] for mirror in (mirrors.before, mirrors.after))
    assert main(["sweep", "--sector", "1", "--out", old, *before]) == 0
    assert main(["sweep", "--sector", "2", "--out", old, "--onto", old, *after]) == 2
    assert "stays as it is" in capsys.readouterr().err
    assert main(["sweep", "--sector", "2", "--onto", old, *after]) == 2
    assert main(["sweep", "--sector", "2", "--onto", old, "--out", new, *after, "--set", "gate.mes=9"]) == 2
    assert "gate.mes: 7.1 -> 9.0" in capsys.readouterr().err
    assert main(["sweep", "--sector", "2", "--onto", old, "--out", new, *after]) == 0
    assert "3 stars are as in" in capsys.readouterr().out
    assert main(["sweep", "--sector", "2", "--onto", old, "--out", new, *after]) == 0, "nothing is left to do"
    (tmp_path / "list.txt").write_text("\n".join(f"TIC {number}" for number in range(900_000_001, 900_000_008)))
    assert main(["sweep", "--targets", str(tmp_path / "list.txt"), "--sector", "1,2", "--out", both, *after]) == 0
    assert hashes(Path(new)) == hashes(Path(both))
    record = json.loads((tmp_path / "new" / store.RECORD).read_text())
    assert (record["onto"]["run"], record["onto"]["look"], record["onto"]["copied"]) == (old, "content", 3)
    assert main(["status", new]) == 0
    capsys.readouterr()
    assert main(["compare", old, new, "--stars", "--format", "json"]) == 0
    moved = {row["target_id"]: row["verdict"] for row in json.loads(capsys.readouterr().out)["stars"]}
    assert moved == {GROWN: "other files", REPLACED: "other files", NEW: "new", GONE: "gone"}
