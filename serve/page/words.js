/** Numbers and names in words, as the sheets say them. */

export const NONE = "–";
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const measured = (value) => typeof value === "number" && Number.isFinite(value);

export const whole = (value) => (measured(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : NONE);
export const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;
export const spaced = (name) => String(name).replaceAll("_", " ");
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A number with so many decimals; thousands are set apart from ten thousand on. */
export function decimals(value, places) {
  const options = { minimumFractionDigits: places, maximumFractionDigits: places, useGrouping: Math.abs(value) >= 1000 };
  return value.toLocaleString("en-US", options).replace("-", "−");
}

/** A number to so many digits; very small and very large ones with a power of ten. */
export function number(value, digits = 3) {
  if (!measured(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, power] = value.toExponential(1).split("e");
    return `${mantissa.replace("-", "−")}×10${[...power.replace("+", "")].map((sign) => SUPERSCRIPTS[sign]).join("")}`;
  }
  return decimals(value, size ? Math.max(digits - 1 - Math.floor(Math.log10(size)), 0) : 0);
}

/** 1.23456 ± 0.00012 d: as many decimals as two digits of the error need. */
export function withError(value, error, unit = "", digits = 4) {
  if (!measured(value)) return NONE;
  const behind = unit && unit !== "″" ? ` ${unit}` : unit;
  if (!measured(error) || error <= 0) return number(value, digits) + behind;
  const places = Math.min(Math.max(1 - Math.floor(Math.log10(error)), 0), 9);
  return `${decimals(value, places)} ± ${decimals(error, places)}${behind}`;
}

/** A depth given in ppm, in percent where it is large. */
export function depth(value, error = null, digits = 3) {
  if (!measured(value)) return NONE;
  if (Math.abs(value) < 1e4) return withError(value, error, "ppm", digits);
  return withError(value / 1e4, measured(error) ? error / 1e4 : null, "%", digits);
}

/** A probability, and the scatter of those who give it. */
export function probability(value, spread = null) {
  if (!measured(value)) return NONE;
  if (value < 0.001) return "< 0.001";
  if (value > 0.999) return "> 0.999";
  return measured(spread) ? `${value.toFixed(3)} ± ${spread.toFixed(3)}` : value.toFixed(3);
}

/** A number without zeros at its end: 7.1, 4, 0.02. */
export const short = (value) => (measured(value) && Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(3))).replace("-", "−") : number(value));

export const chance = (value) => (measured(value) && value < 1e-99 ? "< 10⁻⁹⁹" : number(value, 2));

/** 1–3, 7 of [1, 2, 3, 7]. */
export function ranges(numbers) {
  const words = [];
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  for (let first = 0, last; first < sorted.length; first = last + 1) {
    for (last = first; sorted[last + 1] === sorted[last] + 1; last++);
    words.push(first === last ? `${sorted[first]}` : `${sorted[first]}–${sorted[last]}`);
  }
  return words.join(", ");
}

export function fileSize(bytes) {
  if (bytes < 1000) return plural(bytes, "byte");
  return bytes < 1e6 ? `${number(bytes / 1e3)} kB` : `${number(bytes / 1e6)} MB`;
}

export const seconds = (value) => (value < 90 ? `${value.toFixed(value < 10 ? 1 : 0)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);

const TIME_SYSTEMS = { 2457000: "BTJD", 2454833: "BKJD" };

/** What times count from: BTJD for days since BJD 2457000. */
export const timeSystem = (zero) => TIME_SYSTEMS[zero] ?? `BJD − ${zero}`;

/** The day of a time, as on a calendar; empty where it is none. */
export function day(time, zero) {
  const date = new Date((zero + time - 2440587.5) * 86_400_000);
  return Number.isNaN(date.getTime()) || zero + time < 2_400_000 ? "" : date.toISOString().slice(0, 10);
}

export const OBSERVATIONS = { tess: "sector", kepler: "quarter", k2: "campaign" };

/** Each model: what it is asked, and what its number is where the service does not say. */
export const MODELS = {
  triage: ["a transit or an eclipse", "Calibrated probability of a transit or an eclipse, by the folded light."],
  vetting: ["a planet", "Calibrated probability of a planet, by the folded light."],
  pixels: ["a planet, by its pixels", "Calibrated probability of a planet, by the images of its pixels."],
  fusion: ["a planet, all together", "Calibrated probability of a planet, by all of the evidence."],
  segments: ["a transit anywhere", "Calibrated probability of any transit in the light curve."],
  periods: ["a planet at any period", "Calibrated probability of any planet, by the spectrum of periods."],
  anomaly: ["something strange", "Ranking only, no probability: how strange its strangest windows are."],
};

export const STAGES = {
  fetch: "Fetching the light curve",
  detrend: "Removing the star's own variation",
  search: "Searching every period for dips",
  vet: "Checking what was found",
  pixels: "Looking at the pixels",
  describe: "Folding the signals",
  score: "Asking the models",
};

const OTHER_STAGES = { read: "Reading the file", train: "Learning what quiet light looks like", simulate: "Simulating quiet stars", measure: "Measuring the detector" };

export const stage = (name) => (name ? (STAGES[name] ?? OTHER_STAGES[name] ?? capital(spaced(name))) : "Waiting for its turn");

/** Each flaw that is looked for: in words, how a score without it compares with its limit, and what it would mean. */
export const FLAWS = {
  low_mes: ["weak", "≥", "The dips together must stand out from the noise."],
  single_transit: ["single transit", "≥", "One dip alone has no period."],
  two_transits: ["only two transits", "≥", "Two dips alone must be stronger than usual."],
  few_transits: ["few transits", "≥", "Enough dips must fall into the observed time."],
  one_event: ["one event is most of it", "≥", "Without its strongest dip the signal must still be there."],
  chance: ["chance", "≤", "How often noise alone would give so strong a signal."],
  as_strong_inverted: ["as strong upside down", "≥", "Noise gives bumps as often as dips; planets give only dips."],
  as_strong_nearby: ["as strong nearby", "≤", "Other times of the orbit must not dip as deeply."],
  gappy: ["beside gaps", "≤", "Dips beside holes in the data are often the instrument's."],
  depths_vary: ["depths vary", "≤", "A planet's dips are all equally deep."],
  products_differ: ["observations differ", "≤", "Each sector or quarter must show the same depth."],
  sine_like: ["sine-like", "≥", "A box must fit better than a wave, which spots or pulsation would give."],
  variable_star: ["period of a variation", "≥", "The period must not be one that the star varies with."],
  at_rotation: ["period of the rotation", "≥", "The period must not be that of the star's spots."],
  odd_even_differ: ["odd and even differ", "≤", "Dips that alternate in depth are two stars in eclipse."],
  secondary_eclipse: ["secondary eclipse", "≤", "A second dip says that the companion shines: a star."],
  secondary_of_another: ["another's secondary", "≥", "The dips must not be the second eclipses of another signal."],
  equal_eclipses: ["equal eclipses at 2P", "≤", "Two equal stars would eclipse at twice the period."],
  v_shaped: ["V-shaped", "≤", "A grazing eclipse has no flat bottom."],
  too_large: ["too large for a planet", "≤", "The companion must be no larger than planets are."],
  too_long: ["too long for the star", "≤", "A planet cannot take longer across this star."],
  centroid_offset: ["off the target", "≤", "The light must be lost where the target is, not beside it."],
  ephemeris_match: ["another star's signal", "", "The same signal in another star is scattered light."],
  shared_epoch: ["shared with many stars", "", "A dip in many stars at once is the instrument's."],
};

export const flaw = (name) => (Object.hasOwn(FLAWS, name) ? FLAWS[name][0] : spaced(name));
export const unit = (name) => (name ?? "").replace("earthRad", "R⊕").replace("arcsec", "″");

/** "2 signals, 1 candidate". */
export function verdict(tces) {
  const candidates = tces.filter((tce) => tce.is_candidate).length;
  if (!tces.length) return "No signal";
  return `${plural(tces.length, "signal")}, ${candidates ? plural(candidates, "candidate") : "no candidate"}`;
}
