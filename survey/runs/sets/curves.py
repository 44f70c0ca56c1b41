"""Light curves for labelled sets: stars fetched and detrended as in a sweep, and what the catalogues list of them.

    curves = Curves(targets, source, config)
    for row in curves:              # rows of schema.DETRENDED, series as arrays, in the order of the targets
        ...
    curves.provenance()             # products with sha256, and which stars were left out and why

A set's builder labels by `Listed`: which signals a star has under any of its names, and whether it counts as quiet.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from survey.config import Config
from survey.runs.crossmatch.sky import separation
from survey.runs.stages import STAGES, Row, examine, flat_curve, rows_of
from survey.signals.ephemeris import Ephemeris
from survey.signals.search import find_tces, resolve_engine
from survey.stars import catalogs
from survey.stars.sources import Source
from survey.stars.targets import MISSION_OF_PREFIX, Target

DETRENDED: Final = STAGES[:2]
"""Fetch and detrend."""


class Curves:
    """The detrended rows of stars, one after the other; `left_out` and `products` grow as it goes.

    threads: stars that are worked on at a time; no more than twice as many are held. The rows and their order do not
    depend on it. left_out: target_id, status and reason of every star that has no row.
    """

    def __init__(
        self, targets: Sequence[Target], source: Source, config: Config, *, threads: int | None = None
    ) -> None:
        self._targets, self._source, self._config = targets, source, config
        self._threads = threads or config.run.fetch_threads
        self.left_out: list[dict[str, str]] = []
        self.products: list[dict[str, str]] = []

    def __iter__(self) -> Iterator[Row]:
        self.left_out, self.products = [], []
        for row in self._rows():
            if row["status"] == "ok":
                self.products += [{"product": file["product"], "sha256": file["sha256"]} for file in row["products"]]
                yield row
            else:
                self.leave_out(row, row["error"] or row["status"], row["status"])

    def leave_out(self, row: Row, reason: str, status: str = "ok") -> None:
        """Notes that a star is not in the set, for the provenance."""
        self.left_out.append({"target_id": row["target_id"], "status": status, "reason": " ".join(reason.split())})

    def provenance(self) -> dict[str, Any]:
        """sources, with every product that was read, and left_out."""
        return {
            "sources": [{"source": name_source(self._source), "products": self.products}],
            "left_out": self.left_out,
        }

    def _rows(self) -> Iterator[Row]:
        waiting: deque[Future[Row]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for target in self._targets:
                    waiting.append(pool.submit(self._detrend, target))
                    if len(waiting) >= 2 * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _detrend(self, target: Target) -> Row:
        return rows_of(examine(target, self._config, self._source, DETRENDED))[0]


def name_source(source: Source) -> str:
    """A source's name without the folders of this machine: mirror:archive."""
    name: str = source.describe()["source"]
    kind, _, place = name.partition(":")
    return name if "://" in name or not place else f"{kind}:{Path(place).name}"


class Listed:
    """What the catalogues of a folder list: signals of stars, and the names that one star has in them.

    Names are one star's where they are listed within `match.same_star_arcsec`. Raises UsageError where the folder has
    no table.
    """

    def __init__(self, folder: str | Path | None, config: Config) -> None:
        self.table = catalogs.signals_table(folder)
        self.files = catalogs.signal_tables(folder)
        self._config = config
        self._engine = resolve_engine(config.engine, has_gpu=False)
        self._ra, self._dec = (self.table[name].to_numpy() for name in ("ra", "dec"))
        self._missions = {_prefix(name) for name in self.table["target_id"].unique()}

    def signals_of(self, row: Row) -> list[catalogs.KnownSignal]:
        """Everything listed of a star, under any of its names.

        row: of a light curve, with target_id and, if known, ra and dec. Epochs are in days since the time zero of the
        catalogue's own mission.
        """
        return [
            catalogs.KnownSignal(**one) for one in self.table.filter(pl.Series(self._own(row))).iter_rows(named=True)
        ]

    def ephemerides_of(self, row: Row) -> list[Ephemeris]:
        """The listed ephemerides of a star in days since the time zero of its row; those without epoch or duration are
        missing."""
        found = []
        for one in self.signals_of(row):
            if one.period is not None and one.epoch is not None and one.duration_h is not None:
                shift = MISSION_OF_PREFIX[_prefix(one.target_id)].time_zero - row["time_zero"]
                found.append(Ephemeris(one.period, one.epoch + shift, one.duration_h / 24))
        return found

    def names_of(self, row: Row) -> list[str]:
        """The names that a star has in the catalogues beside its own."""
        return sorted(set(self.table.filter(pl.Series(self._own(row)))["target_id"]) - {row["target_id"]})

    def why_not_quiet(self, row: Row, *, search: bool = True) -> str | None:
        """Why a star cannot stand for stars without transits, in words; None where it can.

        Quiet is a star of which no catalogue lists a signal and in which a search finds none.
        row: detrended; search: False takes the catalogues' word.
        """
        if _prefix(row["target_id"]) not in self._missions:
            return f"no catalogue of the stars called {_prefix(row['target_id'])} is at hand"
        if signals := self.signals_of(row):
            return f"listed: {signals[0].name} ({signals[0].disposition or signals[0].catalogue})"
        if search and (tces := find_tces([flat_curve(row, self._config)], self._config, self._engine)[0]):
            period = "once" if tces[0].period is None else f"every {tces[0].period:.4f} d"
            return f"the search finds a signal {period} (MES {tces[0].mes:.1f})"
        return None

    def provenance(self) -> dict[str, Any]:
        """catalogues: the tables with their sha256."""
        return {"catalogues": catalogs.describe_tables(self.files)}

    def _own(self, row: Row) -> NDArray[np.bool_]:
        own: NDArray[np.bool_] = (self.table["target_id"] == row["target_id"]).to_numpy()
        ra, dec = row.get("ra"), row.get("dec")
        if ra is None or dec is None:
            return own
        apart = separation(np.array([ra]), np.array([dec]), self._ra, self._dec)
        return own | (np.nan_to_num(apart, nan=np.inf) < self._config.match.same_star_arcsec)


def _prefix(target_id: str) -> str:
    return target_id.partition(" ")[0]
