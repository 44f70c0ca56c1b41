"""Transits and eclipses given to pixels, so that their source is known: the target, or a star beside it.

Cutouts are simulated ones (`stars.simulate.scenes`: other stars, jitter, photons) and real target pixel files, in which
the target's own image, moved by whole pixels, is the star that dims. What comes of them is what a sweep would make:
`signals.pixels.locate` looks at the cutout and knows nothing of what was put there.

On and off the target all else is drawn alike: a dip is taken only where the target and the star beside it could both
have made it, and that star is there, and constant, where the target dims.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.config import PixelsConfig
from survey.errors import UsageError
from survey.learning.sets.pixels import standard_image
from survey.signals.ephemeris import Ephemeris
from survey.signals.pixels import locate
from survey.stars import inject
from survey.stars.pixels import SATURATION, TargetPixels
from survey.stars.simulate.products import QUARTERS, SECTORS, frame_of
from survey.stars.simulate.scenes import DETECTORS, Detector, Scene, make_scene
from survey.stars.simulate.stars import Kind, Neighbour, SimulatedStar, draw_star

Array = NDArray[np.float64]

PERIODS: Final = (0.5, 8.0)
"""Days; no longer than a third of the time observed."""

DURATIONS_H: Final = (1.5, 7.0)

STRENGTHS: Final = (5.0, 200.0)
"""What all transits lose over its noise, in the pixels weighted by the image of the source."""

DISTANCES: Final = (1.0, 7.0)
"""Pixels from the target to a star beside it; some are beyond the cutout."""

DEEPEST: Final = 0.2
"""Most that a target loses of its light,"""

ECLIPSES: Final = (0.05, 0.5)
"""and the range of what a star beside it loses of its own."""

BRIGHTEST: Final = 20.0
"""Light of the star beside over that of the target, at most."""

COORDINATE_PIXELS: Final = 0.15
"""Error of a simulated target's coordinates along an axis; 0.2 on six Kepler files (`signals.pixels`)."""

MAGNITUDES: Final = {"tess": (7.5, 13.0), "kepler": (10.5, 15.5)}

SIDES: Final = {"tess": (8, 13), "kepler": (4, 11)}
"""Rows and columns of a simulated cutout, least and most; even ones have the target beside their middle."""

EVERY: Final = {"tess": 5, "kepler": 1}
"""Simulated cadences that make one: of 10 and of 29.4 minutes."""

STAR_REACH: Final = 2.6
"""Pixels: the image of a real target is what is above the median within this."""

PEAK_PIXELS: Final = 1.2
"""Where the brightest pixel of that image lies further from the target, the light is another star's."""

TRIES: Final = 100

ON_TARGET: Final = (0.0, 0.0)


@dataclass(frozen=True)
class Dip:
    """What is put into a cutout. strength: in STRENGTHS; place: pixels along columns and rows from the target, (0, 0)
    on it."""

    signal: Ephemeris
    ingress: float
    strength: float
    place: tuple[float, float]

    @property
    def on_target(self) -> bool:
        return self.place == ON_TARGET

    def lost(self, times: Array) -> Array:
        """(n,) from 0 to 1 at the bottom."""
        shape = self.signal._asdict() | {"ingress": self.ingress}
        lost: Array = 1 - inject.trapezoid_transit(times, depth=1.0, **shape)
        return lost

    def electrons(self, times: Array, image: Array, noise: Array) -> float:
        """Electrons a second that a source of this image, of sum 1 over all the sky, must lose to be so clear.

        noise: scatter of one cadence in each pixel of the image.
        """
        clear = math.sqrt(np.sum((image / noise) ** 2) * np.sum(self.lost(times) ** 2))
        return self.strength / max(clear, 1e-12)


@dataclass(frozen=True)
class Injected:
    """A cutout with a dip in it; known: the signals that were in it before."""

    pixels: TargetPixels
    dip: Dip
    simulated: bool
    known: tuple[Ephemeris, ...] = ()


def draw_dip(times: Array, rng: np.random.Generator) -> Dip:
    """A dip beside the target, its numbers even in their logarithms.

    Raises UsageError where the times are too few for three transits.
    """
    longest = min(PERIODS[1], float(np.ptp(times)) / 3)
    if longest <= PERIODS[0]:
        raise UsageError(f"pixels over {np.ptp(times):.1f} days are too few for three transits")
    period = _draw_even(rng, PERIODS[0], longest)
    duration = min(_draw_even(rng, *DURATIONS_H) / 24, 0.2 * period)
    signal = Ephemeris(period, float(times[0]) + period * rng.uniform(0.1, 0.9), duration)
    ingress, strength = rng.uniform(0.05, 0.5), _draw_even(rng, *STRENGTHS)
    distance, angle = _draw_even(rng, *DISTANCES), rng.uniform(0, 2 * math.pi)
    return Dip(signal, ingress, strength, (distance * math.cos(angle), distance * math.sin(angle)))


def _draw_even(rng: np.random.Generator, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))


# Simulated cutouts


def simulate_cutout(number: int, mission: str, on_target: bool, rng: np.random.Generator) -> Injected:
    """A simulated star's cutout; the star that may dim beside the target is there in either case."""
    star = draw_star(Kind(mission, magnitudes=MAGNITUDES[mission]), number, rng)  # type: ignore[arg-type]
    observations = SECTORS if mission == "tess" else QUARTERS
    observation = observations[int(rng.choice(list(observations)))]
    frame = frame_of(observation)
    chosen = np.flatnonzero(frame.good)[:: EVERY[mission]]
    times, motion = frame.time[chosen], rng.uniform(0.5, 4.0) * frame.motion[chosen]
    detector = _draw_detector(mission, rng)
    for _ in range(TRIES):
        dip = draw_dip(times, rng)
        scene = _put_beside(star, observation.number, detector, dip)
        own, beside = (dip.electrons(times, image, _noise(star, scene)) / star.flux for image in scene.shares[:2, 0])
        brightness = beside / _draw_even(rng, *ECLIPSES)
        if own < DEEPEST and brightness < BRIGHTEST:
            break
    else:
        raise AssertionError(f"no dip fits star {number}")
    shares = scene.shares.copy()
    shares[1] *= brightness
    scene = replace(scene, shares=shares)
    light = [_vary_star(times, rng), *(np.ones(len(times)) for _ in star.neighbours), np.ones(len(times))]
    if on_target:
        light[0] = light[0] * (1 - own * dip.lost(times))
    else:
        light[1] = 1 - beside / brightness * dip.lost(times)
    noise = _noise(star, scene)
    images = star.flux * scene.images(light, motion) + noise * rng.standard_normal((len(times), len(noise)))
    dip = replace(dip, place=ON_TARGET) if on_target else dip
    return Injected(_cut_out(star, observation.number, scene, times, motion, images, noise, rng), dip, True)


def _draw_detector(mission: str, rng: np.random.Generator) -> Detector:
    """Stars' images differ over a detector."""
    usual, width = DETECTORS[mission], rng.uniform(0.8, 1.4)
    return replace(usual, size=SIDES[mission][1], core=width * usual.core, halo=width * usual.halo)


def _put_beside(star: SimulatedStar, observation: int, detector: Detector, dip: Dip) -> Scene:
    """The star's scene with one neighbour more, the first, as bright as the target."""
    bare = make_scene(star, observation, detector)
    east, north = bare.sky @ np.array(dip.place)
    beside = Neighbour(float(east), float(north), 1.0)
    return make_scene(replace(star, neighbours=(beside, *star.neighbours)), observation, detector)


def _noise(star: SimulatedStar, scene: Scene) -> Array:
    """(pixels,) scatter of one cadence that is taken."""
    error = star.white_noise * star.flux * float(scene.caught[0, 0]) / math.sqrt(EVERY[star.mission])
    return scene.pixel_noise(star.flux, error)


def _vary_star(times: Array, rng: np.random.Generator) -> Array:
    """(n,) light of a target with spots."""
    return inject.rotation(times, period=rng.uniform(3, 25), amplitude=_draw_even(rng, 1e-4, 5e-3), rng=rng)


def _cut_out(
    star: SimulatedStar,
    observation: int,
    scene: Scene,
    times: Array,
    motion: Array,
    images: Array,
    noise: Array,
    rng: np.random.Generator,
) -> TargetPixels:
    """The images as a target pixel file would have them, some rows and columns less."""
    shape = scene.flags.shape
    least, most = SIDES[star.mission]
    rows, columns = (_draw_window(middle, least, most, rng) for middle in scene.target[::-1])
    window = (rows, columns)
    target = np.subtract(scene.target, (columns.start, rows.start)) + rng.normal(0, COORDINATE_PIXELS, 2)
    return TargetPixels(
        product=f"simulated {star.target_id}",
        sha256="",
        target_id=f"simulated {star.target_id}",
        mission=star.mission,
        observation=observation,
        time=times,
        flux=images.reshape(-1, *shape)[:, rows, columns].astype(np.float32),
        flux_err=np.broadcast_to(noise.reshape(shape)[window], (len(times), *scene.flags[window].shape)).astype(
            np.float32
        ),
        aperture=(scene.flags & 2 != 0)[window],
        target=(float(target[0]), float(target[1])),
        sky=scene.sky,
        pointing=motion,
        corner=(scene.corner[0] + columns.start, scene.corner[1] + rows.start),
        pixel_arcsec=DETECTORS[star.mission].arcsec,
        saturation=SATURATION[star.mission],
        magnitude=star.magnitude,
    )


def _draw_window(middle: float, least: int, most: int, rng: np.random.Generator) -> slice:
    """Rows or columns that are kept of `most`, about even on either side of the target."""
    side = int(rng.integers(least, most + 1))
    start = round(middle - (side - 1) / 2 + rng.uniform(-0.5, 0.5))
    start = min(max(start, 0), most - side)
    return slice(start, start + side)


# Real pixels


def inject_cutout(
    pixels: TargetPixels, known: Sequence[Ephemeris], on_target: bool, rng: np.random.Generator
) -> Injected:
    """A real cutout in which the target, or its image moved by whole pixels, dims."""
    own = star_image(pixels)
    noise = _scatter(pixels.flux)
    for _ in range(TRIES):
        dip = draw_dip(pixels.time, rng)
        across, up = (round(step) for step in dip.place)
        images = [own / own.sum(), move_image(own, across, up) / own.sum()]
        needed = [dip.electrons(pixels.time, image[noise > 0], noise[noise > 0]) / own.sum() for image in images]
        if (across or up) and needed[0] < DEEPEST and needed[1] < DEEPEST * BRIGHTEST:
            break
    else:
        raise UsageError(f"{pixels.product}: its target is too faint for transits as clear as those of the set")
    chosen = 0 if on_target else 1
    lost = needed[chosen] * own.sum() * dip.lost(pixels.time)[:, None, None] * images[chosen]
    dimmed = replace(pixels, flux=(pixels.flux - lost).astype(np.float32))
    place = ON_TARGET if on_target else (float(across), float(up))
    return Injected(dimmed, replace(dip, place=place), False, tuple(known))


def star_image(pixels: TargetPixels) -> Array:
    """(rows, columns) the target's light, without the sky and other stars further off.

    Raises UsageError where there is none, or another star's.
    """
    light = np.nansum(pixels.flux, axis=0, dtype=np.float64) / np.maximum(np.isfinite(pixels.flux).sum(axis=0), 1)
    column, row = pixels.target or [(side - 1) / 2 for side in light.shape[::-1]]
    rows, columns = np.indices(light.shape)
    distances = np.hypot(columns - column, rows - row)
    observed = light[light != 0]
    sky = np.median(observed) if len(observed) else 0.0
    image: Array = np.where(distances < STAR_REACH, np.maximum(light - sky, 0.0), 0.0)
    if not image.any():
        raise UsageError(f"{pixels.product}: no light at its target")
    if distances.flat[image.argmax()] > PEAK_PIXELS:
        raise UsageError(f"{pixels.product}: another star outshines its target")
    return image


def _scatter(flux: NDArray[np.float32]) -> Array:
    """(rows, columns) robust scatter from cadence to cadence, 0 where not observed."""
    steps = np.abs(np.diff(flux[np.isfinite(flux).any(axis=(1, 2))].astype(np.float64), axis=0))
    observed = np.isfinite(steps).mean(axis=0) > 0.5
    steps[:, ~observed] = 0.0
    scatter: Array = 1.4826 / math.sqrt(2) * np.nanmedian(steps, axis=0)
    return scatter


def move_image(image: Array, across: int, up: int) -> Array:
    """An image moved by whole pixels; what leaves is lost, what enters is 0."""
    rows, columns = image.shape
    moved = np.zeros_like(image)
    if abs(across) < columns and abs(up) < rows:
        moved[max(up, 0) : rows + min(up, 0), max(across, 0) : columns + min(across, 0)] = image[
            max(-up, 0) : rows + min(-up, 0), max(-across, 0) : columns + min(-across, 0)
        ]
    return moved


# Rows


def injection_settings() -> dict[str, Any]:
    """What the draws go by, for a set's provenance."""
    return {
        "periods_d": PERIODS,
        "durations_h": DURATIONS_H,
        "strengths": STRENGTHS,
        "distances_pixels": DISTANCES,
        "deepest": DEEPEST,
        "brightest": BRIGHTEST,
        "coordinate_pixels": COORDINATE_PIXELS,
    }


def injected_rows(
    files: Sequence[tuple[TargetPixels, Sequence[Ephemeris]]], n_simulated: int, per_file: int, seed: int
) -> Iterator[dict[str, Any]]:
    """One row a dip, half of them on the target. files: real cutouts and the signals that are known in each.

    The rows depend on the seed, the files and their order, not on how many simulated stars there are beside.
    """
    for number in range(n_simulated):
        rng = np.random.default_rng([seed, number])
        mission = ("tess", "kepler")[number // 2 % 2]
        yield from _row(simulate_cutout(1 + number, mission, number % 2 == 0, rng))
    for place, (pixels, known) in enumerate(files):
        for number in range(per_file):
            rng = np.random.default_rng([seed, place, number, 1])
            yield from _row(inject_cutout(pixels, known, number % 2 == 0, rng))


def _row(injected: Injected) -> Iterator[dict[str, Any]]:
    """What a sweep would see of it; nothing where no transit has cadences enough."""
    pixels, dip = injected.pixels, injected.dip
    location = locate([pixels], [], dip.signal, injected.known, PixelsConfig())
    if location.images is None:
        return
    (check,) = location.checks
    offset = next((one.offset_pixels for one in location.centroids if one.offset_pixels is not None), None)
    yield {
        "target_id": pixels.target_id,
        "label": "1" if dip.on_target else "0",
        "image": standard_image(location.images.pixel_stack),
        "file": pixels.product,
        "mission": pixels.mission,
        "origin": "simulated" if injected.simulated else "injected",
        "centroid_offset": offset,
        "centroid_significance": check.score,
        "true_offset": math.hypot(*dip.place),
        "strength": dip.strength,
    }
