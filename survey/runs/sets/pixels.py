"""Sets of labelled difference images, from manifests of stacks, finished runs, and dips put into pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey.config import Config
from survey.errors import StarError, UsageError
from survey.learning.sets import pixels as images
from survey.learning.sets.pixel_injections import injected_rows, injection_settings, star_image
from survey.learning.sets.table import check_place
from survey.runs import store
from survey.runs.sets.curves import Listed
from survey.runs.sets.views import views_by_catalogues
from survey.runs.stages import Row
from survey.runs.store import Run
from survey.signals.ephemeris import Ephemeris
from survey.signals.pixels import FRAMES, SIZE
from survey.stars.pixels import TargetPixels, read_pixels
from survey.stars.targets import MISSIONS

ENDINGS = ("*targ.fits", "*targ.fits.gz", "*_tp.fits", "*_tp.fits.gz")
"""Names of target pixel files."""


@dataclass(frozen=True)
class Wanted:
    """What a set is made of. manifests: CSV files of stacks; run: a finished sweep, labelled by catalogues; cutouts:
    target pixel files or folders of them, into each of which `per_file` dips are put, half of them on the target;
    simulated: so many simulated stars with a dip each."""

    manifests: tuple[Path, ...] = ()
    run: Run | None = None
    cutouts: tuple[Path, ...] = ()
    per_file: int = 200
    simulated: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Made:
    """A set that was written. origins: rows of each origin."""

    path: Path
    sha256: str
    origins: dict[str, int]


def make_pixel_set(path: Path, wanted: Wanted, catalogs: Path | None, config: Config) -> Made:
    """Makes and writes a set. Raises UsageError where nothing is asked for, or a source is not fit.

    catalogs: folder of the catalogue tables: labels of a run, and the signals that real pixels hold already.
    """
    check_place(path)
    if not (wanted.manifests or wanted.run or wanted.cutouts or wanted.simulated):
        raise UsageError("nothing to make a set of: give --manifest, --run, --pixels or --simulated")
    rows: list[Row] = []
    provenance: dict[str, Any] = {"sources": [], "seed": wanted.seed, "configuration": {}}
    for manifest in wanted.manifests:
        rows += images.manifest_rows(images.read_manifest(manifest))
        provenance["sources"].append(images.describe_file(manifest))
    if wanted.run is not None:
        found, said = run_rows(wanted.run, catalogs, seed=wanted.seed)
        rows += found
        provenance["sources"] += said.pop("sources")
        provenance["configuration"] |= said.pop("configuration")
        provenance = said | provenance
    if wanted.cutouts or wanted.simulated:
        cutouts, said = read_cutouts(find_cutouts(wanted.cutouts), catalogs, config)
        rows += injected_rows(cutouts, wanted.simulated, wanted.per_file, wanted.seed)
        provenance["sources"] += said.pop("sources")
        provenance = said | provenance
        settings = {"simulated": wanted.simulated, "per_file": wanted.per_file}
        provenance["configuration"] |= {"injections": injection_settings() | settings}
    sha256 = images.write_pixels(path, rows, provenance)
    origins = [row["origin"] for row in rows]
    return Made(path, sha256, {origin: origins.count(origin) for origin in dict.fromkeys(origins)})


def run_rows(run: Run, catalogs: Path | None, *, seed: int = 0) -> tuple[list[Row], dict[str, Any]]:
    """The signals of a run that have a stack and a label of the catalogues, and where the labels come from."""
    labelled = views_by_catalogues(run, catalogs, spec=run.config.views.spec, max_per_class=None, seed=seed)
    table = pq.read_table(
        pa.BufferReader(run.folder.read(store.FEATURES)), columns=["target_id", "number", "pixel_stack"]
    )
    table = table.filter(pc.is_valid(table.column("pixel_stack")))
    place = {
        (row["target_id"], row["number"]): k for k, row in enumerate(table.drop_columns("pixel_stack").to_pylist())
    }
    stacks, rows = table.column("pixel_stack"), []
    for row in labelled.table.select(["target_id", "other_names", "number", "label"]).to_pylist():
        k = place.get((row["target_id"], row["number"]))
        if k is not None:
            stack = stacks[k].values.to_numpy().reshape(FRAMES, SIZE, SIZE)
            named = {name: row[name] for name in ("target_id", "other_names", "label")}
            rows.append(named | {"image": images.standard_image(stack, row["target_id"]), "origin": "run"})
    if not rows:
        raise UsageError(f"{run.folder.root} holds no signal with both a difference image and a label")
    return rows, dict(labelled.provenance)


def find_cutouts(places: Sequence[Path]) -> list[Path]:
    """Target pixel files among files and folders, in order of their names. Raises UsageError where there are none."""
    found: list[Path] = []
    for place in places:
        inside = sorted({path for ending in ENDINGS for path in place.rglob(ending)}) if place.is_dir() else [place]
        if not inside:
            raise UsageError(f"{place} holds no target pixel file ({', '.join(ENDINGS)})")
        found += inside
    return sorted(set(found), key=lambda path: path.name)


def read_cutouts(
    paths: Sequence[Path], catalogs: Path | None, config: Config
) -> tuple[list[tuple[TargetPixels, list[Ephemeris]]], dict[str, Any]]:
    """Target pixel files with the listed signals of their stars, and where all of it is from.

    A file in which another star outshines the target is left out, as the image of its target is not known. Raises
    UsageError for files that are none. Without catalogues no signal is known.
    """
    listed = Listed(catalogs, config) if paths and catalogs is not None else None
    said: dict[str, Any] = {"sources": [], "left_out": []} | ({} if listed is None else listed.provenance())
    cutouts = []
    for path in paths:
        try:
            pixels = read_pixels(path.read_bytes(), path.name, config.fetch)
        except (OSError, StarError) as error:
            raise UsageError(f"cannot read {path}: {error}") from None
        try:
            star_image(pixels)
        except UsageError as error:
            said["left_out"].append({"target_id": pixels.target_id, "status": "no image", "reason": str(error)})
            continue
        star = {"target_id": pixels.target_id, "time_zero": MISSIONS[pixels.mission].time_zero}
        cutouts.append((pixels, [] if listed is None else listed.ephemerides_of(star)))
        said["sources"].append({"file": pixels.product, "sha256": pixels.sha256})
    return cutouts, said
