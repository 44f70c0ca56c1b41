"""A run on top of an older one: rows whose files did not change are copied, only the others are searched.

The new run has every star of the old one and those asked for, each with the observations of both. What is copied is
what a search would give again, so that the catalogue has the same bytes as one that was searched from nothing. How
closely it is looked at whether a star's files changed is said by `LOOKS`.
"""

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from survey import schema
from survey.config import Config
from survey.errors import RunRefused, StarError
from survey.runs import store
from survey.runs.merged import read_ahead
from survey.runs.store import Run
from survey.stars.lists import Targets
from survey.stars.products import ProductRef
from survey.stars.sources import Source, choose_pixels, choose_products
from survey.stars.targets import Target, merge_targets

Row = Mapping[str, Any]
LookName = Literal["new", "names", "content"]


@dataclass(frozen=True)
class Asked:
    """What is asked for beside the stars of the old run.

    stars: their names; observations: sectors, quarters or campaigns of `mission`, none for all of them.
    """

    stars: Collection[str]
    observations: tuple[int, ...]
    mission: str | None


def join_targets(old: Run, asked: Iterable[Target], observations: tuple[int, ...], mission: str | None) -> Targets:
    """The stars of the old run and those asked for, each with the observations of both.

    Observations that are asked for are asked of every star of their mission; a star that is new is asked for those of
    the old run too, where its stars have them in common.
    """
    before = Targets(old.manifest.select(schema.TARGET.names))
    joined = {
        star.target_id: merge_targets(star, Target(star.target_id, star.mission, observations))
        if observations and star.mission == mission
        else star
        for star in before
    }
    common: dict[str, set[tuple[int, ...]]] = {}
    for star in before:
        common.setdefault(star.mission, set()).add(star.observations)
    for star in asked:
        if star.target_id in joined:
            joined[star.target_id] = merge_targets(joined[star.target_id], star)
            continue
        of_mission = common.get(star.mission, set())
        shared = [Target(star.target_id, star.mission, some) for some in of_mission if len(of_mission) == 1]
        joined[star.target_id] = merge_targets(shared[0], star) if shared else star
    return Targets.of(joined.values())


def refuse_unlike(old: Run, config: Config) -> None:
    """Raises RunRefused where rows of the old run are not those that this configuration would give."""
    root = old.folder.root
    if "rescoring" in old.record:
        raise RunRefused(store.half_rescored(old))
    if any("rescored" in session for session in old.record["sessions"]):
        raise RunRefused(
            f"{root} was rescored, so that its rows are not those of a sweep: give the sweep another --onto"
        )
    if changes := store.science_changes(old, config):
        raise RunRefused(
            f"{root} was searched in another way: {'; '.join(changes)}. Sweep as it was, or without --onto"
        )


AHEAD: Final = 4
"""Shards of the old run that are read before they are looked at."""


def copy_unchanged(run: Run, old: Run, is_unchanged: "Check") -> int:
    """Commits the rows of stars that did not change, for every shard that has no commit; how many they are."""

    def commit(shard_rows: tuple[int, pa.Table, pa.Table]) -> int:
        shard, kept, features = shard_rows
        store.commit_copies(run, shard, _with_trace(kept, old), features)
        return len(kept)

    same = _find_unchanged(run, old, is_unchanged)
    with contextlib.closing(store.commit_each(commit, same)) as committed:
        return sum(committed)


def _find_unchanged(run: Run, old: Run, is_unchanged: "Check") -> Iterator[tuple[int, pa.Table, pa.Table]]:
    """Of every shard without a commit: its number, the rows that did not change, and the features of their signals."""
    place = pc.index_in(run.manifest.column("target_id"), value_set=old.manifest.column("target_id"))
    places = place.fill_null(-1).to_numpy()
    shards = run.manifest.column("shard").to_numpy()
    older = old.manifest.column("shard").to_numpy()

    def read(shard: int) -> tuple[pa.Table, pa.Table]:
        first, last = np.searchsorted(shards, [shard, shard + 1])
        inside = places[first:last]
        return _read_rows(old, run.shard(shard), np.unique(older[inside[inside >= 0]]).tolist())

    missing = [shard for shard in range(run.n_shards) if shard not in run.parts]
    with ThreadPoolExecutor(run.config.run.fetch_threads) as pool:
        for shard, (kept, features) in zip(missing, read_ahead(read, missing, AHEAD), strict=True):
            same = list(pool.map(is_unchanged, kept.select(LOOKED_AT).to_pylist()))
            kept = kept.filter(pa.array(same, pa.bool_()))
            if len(kept):
                of_kept = pc.is_in(features.column("target_id"), kept.column("target_id").combine_chunks())
                yield shard, kept, features.filter(of_kept)


LOOKED_AT: Final = ("target_id", "mission", "observations", "products", "pixel_products", "tces")


def _read_rows(old: Run, targets: pa.Table, shards: Sequence[int]) -> tuple[pa.Table, pa.Table]:
    """The good rows of some targets, with the observations asked for now, and the features of those shards."""
    read = [store.read_shard(old, shard, old.parts[shard].version) for shard in shards if shard in old.parts]
    kept = pa.concat_tables([schema.KEPT.empty_table(), *(rows for rows, _ in read)])
    kept = kept.filter(pc.equal(kept.column("status"), "ok"))
    place = pc.index_in(kept.column("target_id"), value_set=targets.column("target_id").combine_chunks())
    kept, place = kept.filter(pc.is_valid(place)), pc.drop_null(place)
    column = kept.schema.get_field_index("observations")
    kept = kept.set_column(column, schema.KEPT.field(column), targets.column("observations").take(place))
    return kept, pa.concat_tables([schema.FEATURES.empty_table(), *(features for _, features in read)])


def _with_trace(kept: pa.Table, old: Run) -> pa.Table:
    """The trace says where a row is from."""
    entry = {"stage": "copy", "seconds": 0.0, "node": old.folder.root, "traceback": None}
    return kept.append_column(schema.TRACE, pa.array([[entry]] * len(kept), schema.TRACE.type))


# Whether a star's files are as they were

Check = Callable[[Row], bool]


def same_when_not_asked(source: Source, config: Config, asked: Asked) -> Check:
    """Asks nothing: changed are stars that are asked for, unless their rows have all those observations."""
    wanted = set(asked.observations)

    def is_unchanged(row: Row) -> bool:
        read = {product["observation"] for product in row["products"]}
        return row["target_id"] not in asked.stars or bool(wanted and wanted <= read)

    return is_unchanged


def same_names(source: Source, config: Config, asked: Asked) -> Check:
    """Lists the files of every star: those that would be read are called like those that were."""
    return partial(_is_same, source=source, config=config, read=False)


def same_content(source: Source, config: Config, asked: Asked) -> Check:
    """Lists and reads the files of every star: they have the same checksums too."""
    return partial(_is_same, source=source, config=config, read=True)


LOOKS: Final[dict[LookName, Callable[[Source, Config, Asked], Check]]] = {
    "new": same_when_not_asked,
    "names": same_names,
    "content": same_content,
}


def _is_same(row: Row, source: Source, config: Config, read: bool) -> bool:
    target = Target(row["target_id"], row["mission"], tuple(row["observations"] or ()))
    light = {product["product"]: product["sha256"] for product in row["products"]}
    try:
        if not _are_same(choose_products(source.find(target), target, config.fetch), light, source, read):
            return False
        if not (config.pixels.use and any(tce["is_candidate"] or tce["centroids"] for tce in row["tces"])):
            return True
        pixels = {file["product"]: file["sha256"] for file in row["pixel_products"] if file["product"] not in light}
        observed = tuple(sorted({product["observation"] for product in row["products"]} - {None}))
        seen = Target(target.target_id, target.mission, observed or target.observations)
        return _are_same(choose_pixels(seen, source, config), pixels, source, read)
    except StarError:
        # Its search will say what is wrong with it.
        return False


def _are_same(refs: Sequence[ProductRef], before: Mapping[str, str], source: Source, read: bool) -> bool:
    return {ref.name for ref in refs} == before.keys() and not (
        read and any(hashlib.sha256(source.read(ref)).hexdigest() != before[ref.name] for ref in refs)
    )
