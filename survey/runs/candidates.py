"""The rows of candidates.parquet: one a TCE, collected from those of the stars, and ranked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from survey import schema
from survey.runs.crossmatch import FOUND


def collect_signals(kept: pa.Table) -> pa.Table:
    """The TCEs of a shard as rows of FOUND, in the order of the run."""
    stars = kept.filter(pc.greater(pc.fill_null(pc.list_value_length(kept.column("tces")), 0), 0)).combine_chunks()
    tces = stars.column("tces").combine_chunks()
    owners, flat = pc.list_parent_indices(tces), pc.list_flatten(tces)
    measured = {field.name for field in schema.SCORED_TCE_FIELDS}
    of_star = _observations(stars.column("products").to_pylist())

    def column(field: pa.Field) -> pa.Array:
        if field.name in measured:
            return pc.struct_field(flat, field.name)
        whole = pa.array(of_star[field.name], field.type) if field.name in of_star else stars.column(field.name)
        return whole.take(owners)

    return pa.Table.from_arrays([column(field) for field in FOUND], schema=FOUND)


def _observations(products: Iterable[Sequence[Mapping[str, Any]] | None]) -> dict[str, list[Any]]:
    """What was observed of each star: sectors, quarters or campaigns; the channel if it is one; days of data."""
    observed: list[list[int]] = []
    channels: list[str | None] = []
    covered: list[float | None] = []
    for files in products:
        files = files or ()
        observed.append(sorted({file["observation"] for file in files} - {None}))
        places = {(file["camera"], file["ccd"]) for file in files}
        camera, ccd = places.pop() if len(places) == 1 else (None, None)
        channels.append(None if camera is None or ccd is None else f"{camera}.{ccd}")
        seconds = [(file["n_cadences"] or 0) * (file["cadence_s"] or 0.0) for file in files]
        covered.append(sum(seconds) / 86_400.0 or None)
    return {"observed": observed, "channel": channels, "covered_d": covered}


JUDGE: Final = "vetting"
"""The model whose score ranks."""

TRUSTED_OUTSIDE: Final = f"{JUDGE}: mission"
"""Light of another mission does not keep the score from ranking: of Kepler's stars, too, it ranks better than MES."""


RANKED_BY: Final = ("mes", f"{JUDGE}_score", "out_of_support")


def rank_candidates(matched: pa.Table) -> pa.Table:
    """Rows of schema.CANDIDATE, the first rank first."""
    order = rank_order(matched)
    return with_ranks(matched.take(order), 1)


def with_ranks(matched: pa.Table, first: int) -> pa.Table:
    """Rows of MATCHED that are in order as rows of schema.CANDIDATE. first: rank of the first of them."""
    ranks = pa.array(np.arange(first, first + len(matched)), pa.int32())
    return pa.Table.from_arrays([ranks, *matched.columns], schema=schema.CANDIDATE)


def rank_order(matched: pa.Table) -> NDArray[np.int64]:
    """Places of the signals, the first rank first: candidates, then by the score of JUDGE; ties by MES, then as in the
    run. matched: with is_candidate and the columns RANKED_BY.

    A signal that JUDGE did not score, or that is beyond what it learnt from, stands where it is undecided, at 0:
    without models the strongest is first.
    """
    passed = pc.fill_null(matched.column("is_candidate"), False).to_numpy(zero_copy_only=False)
    mes = pc.fill_null(matched.column("mes"), 0.0).to_numpy()
    scores = pc.fill_null(matched.column(f"{JUDGE}_score"), 0.0).to_numpy()
    judged = np.array([_is_judged(words) for words in matched.column("out_of_support").to_pylist()], bool)
    return np.lexsort((-mes, -np.where(judged, scores, 0.0), ~passed))


def _is_judged(outside: Sequence[str] | None) -> bool:
    return not any(word.startswith(f"{JUDGE}:") and word != TRUSTED_OUTSIDE for word in outside or ())
