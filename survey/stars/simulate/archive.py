"""Folders of simulated stars under the archives' own keys, and the table of what is in them."""

import csv
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np

from survey.errors import UsageError
from survey.stars.simulate.products import QUARTERS, SECTORS, barycentric_correction, frame_of, make_products
from survey.stars.simulate.scenes import make_scene
from survey.stars.simulate.stars import (
    BINARIES,
    Binary,
    InjectedSignal,
    Kind,
    Light,
    SimulatedStar,
    draw_bright_binary,
    draw_light,
    draw_star,
    put_beside,
)

DEMO_STARS = 64
DEMO_SEED = 2026

_STAR_NAMES = ("target_id", "kind", "observations", "magnitude", "ra", "dec", "source_arcsec")
_SIGNAL_NAMES = [field.name for field in fields(InjectedSignal)]

_KEPLER_YEAR = (2, 3, 4, 5)

KINDS = {
    "planet": Kind(planets=1),
    "planets": Kind(planets=2),
    "eclipsing_binary": Kind(binary="unequal"),
    "equal_binary": Kind(binary="equal"),
    "rotation": Kind(rotation=(0.002, 0.02), rotation_days=(1.5, 9)),
    "flares": Kind(rotation=(0.001, 0.008), rotation_days=(1.5, 6), flares_a_day=0.6),
    "quiet": Kind(),
    "consecutive_sectors": Kind(planets=1, observations=(1, 2), periods=(9.0, 16.0)),
    "sectors_years_apart": Kind(planets=1, observations=(10, 37), periods=(2.0, 8.0)),
    "kepler_planet": Kind("kepler", _KEPLER_YEAR, planets=1, periods=(4.0, 60.0)),
    "kepler_planets": Kind("kepler", (2, 3, 4, 5, 6), planets=3, periods=(3.0, 60.0)),
    "kepler_binary": Kind("kepler", _KEPLER_YEAR, binary="unequal"),
    "kepler_rotation": Kind("kepler", _KEPLER_YEAR, rotation=(0.002, 0.01), rotation_days=(4, 20)),
    "kepler_quiet": Kind("kepler", _KEPLER_YEAR),
    "truncated": Kind(damage="truncated"),
    "empty": Kind(damage="empty"),
    "missing": Kind(damage="missing"),
    "marginal_planet": Kind(planets=1, snr=(8, 11)),
    "undetectable_planet": Kind(planets=1, snr=(3.5, 6)),
    "planet_with_pixels": Kind(planets=1, snr=(30, 90), pixels=True),
    "kepler_planet_with_pixels": Kind(
        "kepler", _KEPLER_YEAR, planets=1, periods=(4.0, 20.0), snr=(30, 90), pixels=True
    ),
    "background_binary": Kind(binary="background", magnitudes=(9.0, 10.5), pixels=True),
    "bright_binary": Kind(binary="bright", magnitudes=(8.0, 8.4)),
    "contaminated": Kind(binary="beside", magnitudes=(9.0, 10.0)),
}
"""Kinds of simulated stars, by name: what `write_archive(kinds=...)` takes."""

_DEMO_MIX = {
    "planet": 19, "planets": 6, "eclipsing_binary": 4, "equal_binary": 1, "rotation": 5, "flares": 4, "quiet": 6,
    "consecutive_sectors": 1, "sectors_years_apart": 1, "kepler_planet": 1, "kepler_planets": 1, "kepler_binary": 1,
    "kepler_rotation": 1, "kepler_quiet": 1, "truncated": 1, "empty": 1, "missing": 1, "marginal_planet": 1,
    "undetectable_planet": 2, "planet_with_pixels": 1, "kepler_planet_with_pixels": 1, "background_binary": 1,
    "bright_binary": 1, "contaminated": 2,
}  # fmt: skip

_PLAIN_MIX = ("planet", "quiet", "rotation", "quiet", "eclipsing_binary", "quiet", "quiet", "flares", "quiet", "quiet")


def demo_kinds(n_stars: int = DEMO_STARS) -> list[str]:
    """The kinds of the demo's stars: one of each first, then the rest of the mix; over again beyond 64."""
    rest = dict(_DEMO_MIX)
    order: list[str] = []
    while any(rest.values()):
        for kind in [kind for kind, count in rest.items() if count]:
            order.append(kind)
            rest[kind] -= 1
    return [order[number % len(order)] for number in range(n_stars)]


def write_archive(
    folder: str | Path, *, n_stars: int = DEMO_STARS, seed: int = DEMO_SEED, kinds: Sequence[str] | None = None
) -> list[InjectedSignal]:
    """Write a mirror of `n_stars` simulated stars into `folder` and return the signals in them.

    kinds: what each star is, names of `KINDS`; None for the demo's mix. A star depends on its number, its kind and the
    seed, not on the other stars; 64 stars make a field, which has one bright binary. Raises UsageError for unknown
    kinds, OSError when the folder cannot be written.
    """
    return _write_stars(Path(folder), demo_kinds(n_stars) if kinds is None else kinds, seed, first_number=900_000_001)


def many_stars(folder: str | Path, n_stars: int, *, seed: int = DEMO_SEED) -> list[InjectedSignal]:
    """Write `n_stars` TESS 2-min stars of one sector, a tenth of them with a planet: 2 MB and a few milliseconds
    each."""
    kinds = [_PLAIN_MIX[number % len(_PLAIN_MIX)] for number in range(n_stars)]
    return _write_stars(Path(folder), kinds, seed, first_number=800_000_001)


def _write_stars(folder: Path, kinds: Sequence[str], seed: int, first_number: int) -> list[InjectedSignal]:
    unknown = sorted(set(kinds) - KINDS.keys())
    if unknown:
        raise UsageError(f"no kind of simulated star {', '.join(unknown)}: choose from {', '.join(KINDS)}")
    folder.mkdir(parents=True, exist_ok=True)
    stars: list[tuple[str, ...]] = []
    truth: list[InjectedSignal] = []
    names: list[str] = []
    for number, name in enumerate(kinds):
        kind = KINDS[name]
        star, bright = _draw_star(kind, number, first_number, seed)
        signals, products = _make_star(star, kind, bright, np.random.default_rng([seed, number, 1]))
        if kind.damage == "none":
            truth += signals
        for key, content in products:
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            names.append(path.name)
        stars.append(
            (
                star.target_id,
                name,
                " ".join(map(str, kind.observations)),
                f"{star.magnitude:.2f}",
                f"{star.ra:.6f}",
                f"{star.dec:.6f}",
                _source_words(star, kind),
            )
        )
    for key, text in _download_scripts(names).items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(text)
    lines = ["# simulated stars", *(star[0] for star in stars)]
    (folder / "targets.txt").write_text("\n".join(lines) + "\n")
    _write_csv(folder / "stars.csv", _STAR_NAMES, stars)
    _write_csv(folder / "truth.csv", _SIGNAL_NAMES, map(astuple, truth))
    return truth


def _draw_star(kind: Kind, number: int, first_number: int, seed: int) -> tuple[SimulatedStar, Binary | None]:
    """The star, and the bright binary of its field if its light has to do with that one."""
    rng = np.random.default_rng([seed, number])
    star = draw_star(kind, first_number + number, rng)
    place = BINARIES[kind.binary].place if kind.binary else "target"
    if place not in ("bright", "beside"):
        return star, None
    field_rng = np.random.default_rng([seed, number // DEMO_STARS, 2])
    bright, binary = draw_bright_binary(KINDS["bright_binary"], SECTORS[1].start, field_rng)
    if place == "bright":
        return replace(bright, number=star.number), binary
    return put_beside(star, bright, rng), binary


def _source_words(star: SimulatedStar, kind: Kind) -> str:
    """Arcsec from the star to where its signals come from; empty where it has none."""
    if kind.binary and BINARIES[kind.binary].place in ("background", "beside"):
        source = star.neighbours[0]
        return f"{math.hypot(source.east, source.north):.3f}"
    return "0" if kind.binary or kind.planets else ""


def _download_scripts(names: Sequence[str]) -> dict[str, str]:
    """The archive's list of the 2-min products of each sector, by key: a script, one download a line."""
    scripts: dict[str, str] = {}
    for sector, form in itertools.product(SECTORS.values(), ("lc", "tp")):
        products = [
            name for name in names if name.startswith(f"tess{sector.stamp}-") and name.endswith(f"_{form}.fits")
        ]
        if products:
            url = "https://mast.stsci.edu/api/v0.1/Download/file/?uri=mast:TESS/product/"
            lines = ["#!/bin/sh", *(f"curl -C - -L -o {name} {url}{name}" for name in products)]
            key = f"missions/tess/download_scripts/sector/tesscurl_sector_{sector.number}_{form}.sh"
            scripts[key] = "\n".join(lines) + "\n"
    return scripts


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def read_truth(path: str | Path) -> list[InjectedSignal]:
    """The signals in a `truth.csv`."""
    with Path(path).open(newline="") as file:
        return [
            InjectedSignal(row["target_id"], row["kind"], *(float(row[name]) for name in _SIGNAL_NAMES[2:]))
            for row in csv.DictReader(file)
        ]


def _make_star(
    star: SimulatedStar, kind: Kind, bright: Binary | None, rng: np.random.Generator
) -> tuple[list[InjectedSignal], list[tuple[str, bytes]]]:
    """The signals of a star and its products, as (key, content)."""
    if kind.damage == "missing":
        return [], []
    observations = [(SECTORS if kind.mission == "tess" else QUARTERS)[number] for number in kind.observations]
    frames = [frame_of(observation) for observation in observations]
    scenes = [make_scene(star, observation.number) for observation in observations]
    corrections = [barycentric_correction(star, frame.time) for frame in frames]
    times = [frame.time + correction for frame, correction in zip(frames, corrections, strict=True)]
    light, signals = draw_light(
        star,
        kind,
        np.concatenate(times),
        np.concatenate([frame.good for frame in frames]),
        rng,
        dilution=scenes[0].dilution,
        bright=bright,
    )
    bounds = np.cumsum([len(part) for part in times])[:-1]
    parts = map(Light, *(np.split(values, bounds) for values in light))
    products = [
        product
        for observation, scene, correction, part in zip(observations, scenes, corrections, parts, strict=True)
        for product in make_products(star, kind, observation, scene, correction, part, rng)
    ]
    return signals, products
