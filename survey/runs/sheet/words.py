"""The sheet's numbers in words: values with their errors, checks, the star, the signal, where it all comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

from survey import schema
from survey.config import Config
from survey.runs.stages import Row
from survey.stars.targets import MISSIONS

Signal = Mapping[str, Any]
Fact = tuple[str, str]
"""What is measured, and its value with error and unit."""

NONE: Final = "–"

TIME_SYSTEMS: Final = {mission.time_zero: mission.time_system for mission in MISSIONS.values()}


def with_error(value: float | None, error: float | None, unit: str = "", digits: int = 4) -> str:
    """1.23456 ± 0.00012 d: as many decimals as two digits of the error need; without an error, `digits` digits."""
    if value is None or not math.isfinite(value):
        return NONE
    unit = f" {unit}" if unit and unit != "″" else unit
    if error is None or not (math.isfinite(error) and error > 0):
        return plain_number(value, digits) + unit
    places = min(max(1 - math.floor(math.log10(error)), 0), 9)
    return f"{_grouped(value, places)} ± {_grouped(error, places)}{unit}"


def plain_number(value: float | None, digits: int = 3) -> str:
    """A number to so many digits; very small and very large ones with a power of ten."""
    if value is None or not math.isfinite(value):
        return NONE if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size and not 1e-3 <= size < 1e6:
        power = math.floor(math.log10(size))
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{_grouped(value / 10.0**power, 1)}×10{raised}"
    places = max(digits - 1 - math.floor(math.log10(size)), 0) if size else 0
    return _grouped(value, places)


def _grouped(value: float, places: int) -> str:
    return f"{value:,.{places}f}".replace("-", "−") if abs(value) >= 10_000 else f"{value:.{places}f}".replace("-", "−")


def ranges(numbers: Sequence[int]) -> str:
    """1–3, 7 of [1, 2, 3, 7]."""
    words: list[str] = []
    first = last = numbers[0]
    for number in [*numbers[1:], None]:
        if number is not None and number == last + 1:
            last = number
            continue
        words.append(str(first) if first == last else f"{first}–{last}" if last > first + 1 else f"{first}, {last}")
        if number is not None:
            first = last = number
    return ", ".join(words)


def time_system(row: Row) -> str:
    """BTJD = BJD − 2457000."""
    name = TIME_SYSTEMS.get(row["time_zero"])
    zero = f"BJD − {row['time_zero']:.0f}"
    return f"{name} = {zero}" if name else zero


def observation(row: Row) -> str:
    """Sector, quarter or campaign."""
    return MISSIONS[row["mission"]].observation


def flaw(name: str) -> str:
    """A check or flag in words."""
    return FLAWS[name][0] if name in FLAWS else name.replace("_", " ")


FLAWS: Final[dict[str, tuple[str, str]]] = {
    "low_mes": ("weak", "≥"),
    "single_transit": ("single transit", "≥"),
    "two_transits": ("only two transits", "≥"),
    "few_transits": ("few transits", "≥"),
    "one_event": ("one event is most of it", "≥"),
    "chance": ("chance", "≤"),
    "as_strong_inverted": ("as strong upside down", "≥"),
    "as_strong_nearby": ("as strong nearby", "≤"),
    "gappy": ("beside gaps", "≤"),
    "depths_vary": ("depths vary", "≤"),
    "products_differ": ("observations differ", "≤"),
    "sine_like": ("sine-like", "≥"),
    "variable_star": ("period of a variation", "≥"),
    "at_rotation": ("period of the rotation", "≥"),
    "odd_even_differ": ("odd and even differ", "≤"),
    "secondary_eclipse": ("secondary eclipse", "≤"),
    "secondary_of_another": ("another's secondary", "≥"),
    "equal_eclipses": ("equal eclipses at 2P", "≤"),
    "v_shaped": ("V-shaped", "≤"),
    "too_large": ("too large for a planet", "≤"),
    "too_long": ("too long for the star", "≤"),
    "centroid_offset": ("off the target", "≤"),
    "ephemeris_match": ("another star's signal", ""),
    "shared_epoch": ("shared with many stars", ""),
}
"""Each check in words, and how a score without the flaw compares with its limit; others are said as they are called."""


def verdict(tce: Signal | None) -> tuple[str, bool | None]:
    """(words, passed) of the gate's verdict; None where it was not asked."""
    if tce is None:
        return "NO SIGNAL ABOVE THE THRESHOLD", None
    if tce["is_candidate"] is None:
        return "GIVEN EPHEMERIS", None
    return ("CANDIDATE", True) if tce["is_candidate"] else ("NOT A CANDIDATE", False)


def star_facts(row: Row) -> list[Fact]:
    """What is known of the star, and what its light does."""
    crowding = [p["crowding"] for p in row["products"] if p.get("crowding") is not None]
    return [
        ("magnitude", with_error(row["magnitude"], None, "mag")),
        ("temperature", with_error(row["teff"], None, "K")),
        ("radius", with_error(row["radius"], None, "R☉", 3)),
        ("log g", with_error(row["logg"], None, "", 3)),
        ("RA", _degrees(row.get("ra"))),
        ("dec", _degrees(row.get("dec"))),
        ("cadence", _cadence(row["cadence_s"])),
        ("cadences", f"{row['n_cadences']:,}"),
        ("baseline", f"{plain_number(row['baseline_d'], 4)} d"),
        ("scatter", with_error(row["scatter_ppm"], None, "ppm", 3)),
        ("own light", f"{min(crowding):.3f}" if crowding else NONE),
        ("flares", NONE if row.get("n_flares") is None else str(row["n_flares"])),
    ]


def observed(row: Row) -> Fact:
    """Sectors, quarters or campaigns that were searched."""
    seen = sorted({product["observation"] for product in row["products"]} - {None})
    name = observation(row)
    return (f"{name}s" if len(seen) != 1 else name), ranges(seen) if seen else NONE


def variation(row: Row) -> Fact:
    """The strongest periodic variation."""
    if row.get("variability_period") is None:
        return "variation", NONE
    size, power = row.get("variability_amplitude_ppm"), row.get("variability_power")
    parts = [f"{plain_number(row['variability_period'], 3)} d"]
    if size is not None:
        parts.append(f"amplitude {amplitude(size)}")
    if power is not None:
        parts.append(f"power {power:.2f}")
    return "variation", ", ".join(parts)


def _degrees(value: float | None) -> str:
    return NONE if value is None else f"{value:.5f}°".replace("-", "−")


def _cadence(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.1f} min"


def period(tce: Signal) -> str:
    return "one transit" if tce["period"] is None else f"{plain_number(tce['period'], 6)} d"


def amplitude(value: float) -> str:
    """A depth given in ppm, in percent where it is large."""
    return f"{plain_number(value / 1e4, 3)} %" if abs(value) >= 1e4 else f"{plain_number(value, 3)} ppm"


def depth(value: float, error: float | None) -> str:
    """A depth given in ppm with its error, in percent where it is large."""
    if abs(value) < 1e4:
        return with_error(value, error, "ppm", 3)
    return with_error(value / 1e4, None if error is None else error / 1e4, "%", 3)


def matched(tce: Signal) -> list[str]:
    """What catalogues and the other stars of a sweep say of the signal, where they were asked."""
    said = [listed(tce)] if tce.get("known_name") else []
    if tce.get("ephemeris_match") and tce.get("match_target"):
        said.append(f"same signal as {tce['match_target']}")
    return said


def listed(tce: Signal) -> str:
    """new; rediscovered: TOI-122.01 (PC); known star, of TOI-122.01 (PC); empty where there are no catalogues."""
    novelty = tce.get("novelty")
    if novelty in (None, "new"):
        return novelty or ""
    word = tce.get("known_disposition")
    called = f"{tce.get('known_name') or tce.get('known_catalogue') or ''}" + (f" ({word})" if word else "")
    # A star whose listed signals are others keeps their name: it does not pass on to this one.
    return f"rediscovered: {called}" if novelty == "rediscovered" else f"known star, of {called}"


def signal_facts(tce: Signal, row: Row) -> list[Fact]:
    """The signal's measurements, each with its error."""
    system = TIME_SYSTEMS.get(row["time_zero"], "days")
    once = tce["period"] is None
    return [
        ("period", NONE if once else with_error(tce["period"], tce.get("period_err"), "d", 8)),
        (f"epoch, {system}", with_error(tce["epoch"], tce.get("epoch_err"), "", 8)),
        ("epoch, BJD", f"{tce['epoch_bjd']:.5f}" if tce.get("epoch_bjd") is not None else NONE),
        ("duration", with_error(tce["duration_h"], None, "h", 3)),
        ("depth", with_error(tce["depth_ppm"], tce.get("depth_err_ppm"), "ppm")),
        ("transits seen", _transits(tce)),
        ("planet radius", with_error(tce.get("planet_radius"), tce.get("planet_radius_err"), "R⊕", 3)),
        ("insolation", with_error(tce.get("insolation"), None, "S⊕", 3)),
        ("equil. temp.", with_error(tce.get("equilibrium_temp"), None, "K", 3)),
    ]


def _transits(tce: Signal) -> str:
    count = NONE if tce.get("n_transits") is None else str(tce["n_transits"])
    left = tce.get("n_open_periods")
    return f"{count}; {left} periods fit" if left and left > 1 else count


def statistics(tce: Signal) -> list[Fact]:
    """How sure the detection is."""
    return [
        ("MES", plain_number(tce.get("mes"), 3)),
        ("SNR", plain_number(tce.get("snr"), 3)),
        ("pink SNR", plain_number(tce.get("pink_snr"), 3)),
        ("SDE", plain_number(tce.get("sde"), 3)),
        ("FAP", chance(tce.get("fap"))),
        ("inverted MES", plain_number(tce.get("inverted_mes"), 3)),
    ]


SCORED: Final = {
    "triage": "transit or eclipse",
    "vetting": "planet",
    "pixels": "planet, by its pixels",
    "fusion": "planet, all together",
    "segments": "any transit",
    "periods": "any planet",
    "anomaly": "strangeness",
}
"""What each model gives the chance or the measure of."""


@dataclass(frozen=True)
class Scored:
    """What a model says: of what, its value or why there is none, and what of the input was unlike its training."""

    model: str
    what: str
    value: str
    outside: tuple[str, ...] = ()


def scores(row: Row, tce: Signal | None) -> list[Scored]:
    """What the models make of a signal and of its star's whole light curve; nothing where none was asked."""
    said = [_of_signal(model, tce) for model in schema.SIGNAL_MODELS] if tce else []
    count, stretches = row.get("num_segments"), len(row.get("anomalies") or ())
    for model, value, more in (
        ("segments", probability(row.get("star_probability")), f" in {count:,} segments" if count else ""),
        ("periods", probability(row.get("period_probability")), ""),
        ("anomaly", plain_number(row.get("anomaly_score"), 3), f", {stretches} stretches" if stretches else ""),
    ):
        said.append(Scored(model, SCORED[model] + more, value, _of_model(row.get("star_out_of_support"), model)))
    return [score for score in said if score.value != NONE]


def _of_signal(model: str, tce: Signal) -> Scored:
    """A probability; a score that was not calibrated only ranks."""
    chance, rank = tce.get(f"{model}_probability"), tce.get(f"{model}_score")
    value = probability(chance, tce.get(f"{model}_spread"))
    if chance is None and rank is not None:
        value = f"{plain_number(rank, 3)}, only ranks"
    if chance is None and rank is None:
        value = ", ".join(_of_model(tce.get("not_scored"), model)) or NONE
    return Scored(model, SCORED[model], value, _of_model(tce.get("out_of_support"), model))


def _of_model(remarks: Sequence[str] | None, model: str) -> tuple[str, ...]:
    """`duration h` of `vetting: duration_h`, for the model's own remarks."""
    pairs = (remark.partition(": ") for remark in remarks or ())
    return tuple(said.replace("_", " ") for name, _, said in pairs if name == model)


def probability(value: float | None, spread: float | None = None) -> str:
    """A probability and the scatter of those who give it, to three decimals: 0.970 ± 0.020, <0.001."""
    if value is None or not math.isfinite(value):
        return NONE
    said = "<0.001" if value < 0.001 else ">0.999" if value > 0.999 else f"{value:.3f}"
    return said if spread is None or not math.isfinite(spread) or said[0] in "<>" else f"{said} ± {spread:.3f}"


def models(row: Row) -> str:
    """triage 4f3a2c1b, vetting 0b1c5d7e: the models that were asked, with the beginnings of their ids."""
    return ", ".join(f"{used['name']} {used['id'][:8]}" for used in row.get("models") or ())


def pixel_size(row: Row) -> str:
    return f"{MISSIONS[row['mission']].pixel_arcsec:g}"


def place(centroid: Mapping[str, Any] | None) -> str:
    """Where the signal comes from: 1.2 ± 0.4″, 2.9σ."""
    if centroid is None:
        return "no position"
    offset = with_error(centroid["offset_arcsec"], centroid["offset_arcsec_err"], "″", 3)
    sure = "" if centroid["significance"] is None else f", {centroid['significance']:.1f}σ"
    return f"{offset}{sure}"


def method(centroid: Mapping[str, Any]) -> str:
    """How a place was measured."""
    return str(centroid["method"]).replace("prf", "PRF").replace("_", " ")


def centroid_cells(centroid: Mapping[str, Any]) -> tuple[str, str, str]:
    """(method, offset, problem) of a measurement of the signal's place."""
    offset = NONE if centroid["offset_arcsec"] is None else place(centroid)
    return method(centroid), offset, (centroid["problem"] or "").replace("_", " ")


KINDS: Final = {
    "not_transit_like": "transit-like",
    "significant_secondary": "no secondary",
    "centroid_offset": "on target",
    "ephemeris_match": "own ephemeris",
}
"""The four classes of flaws (Thompson et al. 2018), said the other way round: what a planet should be."""


def kinds(tce: Signal) -> list[tuple[str, bool | None]]:
    """(words, passed) of each class of flaws."""
    return [(words, None if tce.get(name) is None else not tce[name]) for name, words in KINDS.items()]


def check_cells(check: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """(flaw, measured, score, limit) of a check; what was measured only where it is more than the score."""
    name, value, score, limit = (check[key] for key in ("name", "value", "score", "threshold"))
    unit = check["unit"].replace("earthRad", "R⊕").replace("arcsec", "″")
    measured = ""
    if value is not None and (value != score or check["uncertainty"] is not None or unit):
        error = check["uncertainty"]
        measured = depth(value, error) if unit == "ppm" else with_error(value, error, unit, 3)
    said = chance(score) if name == "chance" else short(score)
    sign = FLAWS[name][1] if name in FLAWS else ""
    # A second dip that a planet itself can cause is no flaw, however sure it is.
    own = check["passed"] and sign == "≤" and score > limit
    return "a planet's secondary" if own else flaw(name), measured, said, f"{sign} {short(limit)}".strip()


def short(value: float | None) -> str:
    """A number to three digits without zeros at its end."""
    text = plain_number(value, 3)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def chance(value: float | None) -> str:
    """A probability; the smallest ones are not told apart."""
    return "<10⁻⁹⁹" if value is not None and value < 1e-99 else plain_number(value, 2)


def dates(row: Row) -> str:
    """First and last day of the light curve."""
    first, last = (_day(row["time_zero"] + time) for time in (row["time"][0], row["time"][-1]))
    return f"{first} to {last}"


def _day(bjd: float) -> str:
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=bjd - 2440587.5):%Y-%m-%d}"
    except OverflowError:
        return f"BJD {bjd:.1f}"


def provenance(row: Row, config: Config) -> list[str]:
    """Paragraphs that say what the page was made of and how."""
    authors: dict[str, set[str]] = {}
    for product in row["products"]:
        authors.setdefault(product["author"], set()).add(product["pipeline"] or "")
    made_by = "; ".join(f"{author} {_first_to_last(versions)}".strip() for author, versions in authors.items())
    columns = {f"{product['flux_column']}, quality mask {product['quality_mask']}" for product in row["products"]}
    made = (
        f"Light of {dates(row)}. Pipeline {made_by}; {' / '.join(sorted(columns))}. Detrended by {row['detrender']}, "
        f"window {plain_number(row['window_d'], 3)} d. transit-survey {version('transit-survey')}, "
        f"science {config.science_hash()[:12]}."
    )
    paragraphs = [made, f"Files: {_names(row['products'])}"]
    read = {product["sha256"] for product in row["products"]}
    pixels = [product for product in row.get("pixel_products") or () if product["sha256"] not in read]
    if pixels:
        paragraphs.append(f"Pixel files: {_names(pixels)}")
    if models(row):
        paragraphs.append(f"Models: {models(row)}; probabilities hold at the base rates of their training.")
    if row.get("notes"):
        paragraphs.append("Notes: " + ";  ".join(row["notes"]))
    return paragraphs


def _first_to_last(versions: set[str]) -> str:
    known = sorted(versions - {""})
    return " to ".join(dict.fromkeys([known[0], known[-1]])) if known else ""


def _names(products: Sequence[Mapping[str, Any]]) -> str:
    """Names with the beginning of their checksums, which stays on the same line."""
    return ";  ".join(f"{product['product']}\u00a0{product['sha256'][:10]}" for product in products)
