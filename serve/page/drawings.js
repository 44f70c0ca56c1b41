/** The drawings of a star: its light, the spectrum of the search, and the folds of a signal. */

import { firstFrom, nearestTo } from "./pen.js";
import { linear, logarithmic, timeScale } from "./scales.js";
import { day, decimals, depth, number, plural, timeSystem, whole } from "./words.js";

const PERCENT = 100;
const PPM = 1e6;
/** More transits than this in view are not marked one by one. */
const MOST_MARKS = 600;
const ALIASES = [["P/3", 1 / 3], ["P/2", 1 / 2], ["P", 1], ["2P", 2], ["3P", 3]];
const TABLE_ROWS = 60;
/** How far up a light curve is shown, in heights of its scatter: what is higher stands at the edge until it is zoomed to. */
const HIGHEST = 2;

const right = (title) => ({ title, class: "number" });

/** Values about 1 as differences from it; null stays null. */
const differences = (values, factor) => values.map((value) => (value === null ? null : factor * (value - 1)));

/** Bounds with some room; of the values, a few outliers at either side left out. */
function bounds(values, { outliers = 0, room = 0.08 } = {}) {
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  if (!sorted.length) return [-1, 1];
  const skipped = Math.min(outliers, Math.floor((sorted.length - 1) / 20));
  const [low, high] = [sorted[skipped], sorted[sorted.length - 1 - skipped]];
  const margin = room * (high - low) || Math.abs(high) || 1;
  return [low - margin, high + margin];
}

/** Bounds of light: of dips all is shown but the two lowest points, of rises only as far as the scatter reaches. */
function lightBounds(values) {
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  if (!sorted.length) return [-1, 1];
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const high = Math.min(sorted.at(-1), at(0.5) + HIGHEST * (at(0.998) - at(0.5)));
  const low = sorted[sorted.length > 200 ? 2 : 0];
  const margin = 0.07 * (high - low) || 1;
  return [low - margin, high + margin];
}

/** Percent for deep signals, ppm for shallow ones. */
const unitFor = (depthPpm) => (Math.abs(depthPpm) >= 1e4 ? { factor: PERCENT, name: "%" } : { factor: PPM, name: "ppm" });

// Light

/** Middles of a signal's transits between two times; one for a single transit. */
export function transits(signal, begin, end) {
  if (!signal) return [];
  if (signal.period === null) return signal.epoch >= begin && signal.epoch <= end ? [signal.epoch] : [];
  const middles = [];
  for (let k = Math.ceil((begin - signal.epoch) / signal.period); signal.epoch + k * signal.period <= end; k++) middles.push(signal.epoch + k * signal.period);
  return middles;
}

/** (d,) 1 for each flagged point. */
function flag(time, anomalies) {
  const flagged = new Uint8Array(time.length);
  for (const k of anomalies?.points ?? []) flagged[k] = 1;
  return flagged;
}

/**
 * Transits that fall where light was measured, places and half width in the units of the scale.
 * @returns {{place: number, half: number}[]}
 */
function marks(signal, time, scale) {
  const half = signal ? signal.duration_h / 48 : 0;
  const middles = transits(signal, time[0] - half, time.at(-1) + half);
  return middles
    .filter((middle) => firstFrom(time, middle - half) < firstFrom(time, middle + half))
    .map((middle) => ({ place: scale.to(middle), half }));
}

/**
 * The light curve.
 * @param {object} plot as the service answers it
 * @param {{signal: object | null, shown: {trend: boolean, flagged: boolean, transits: boolean, flat: boolean}}} choice
 */
export function drawLight(plot, { signal, shown }) {
  const { time } = plot.light;
  const scale = timeScale(time);
  const places = Float64Array.from(time, scale.to);
  const flat = plot.light.flux.map((flux, k) => (flux === null || !plot.light.trend[k] ? null : flux / plot.light.trend[k]));
  const values = differences(shown.flat ? flat : plot.light.flux, PERCENT);
  const trend = shown.flat ? null : differences(plot.light.trend, PERCENT);
  const flagged = flag(time, plot.anomalies);
  const longest = Math.max(0.5, (3 * (plot.binned_min ?? 0)) / 1440);
  const dips = marks(signal, time, scale);
  const system = timeSystem(plot.time_zero);
  const within = (low, high) => values.slice(firstFrom(places, low), firstFrom(places, high) + 1);
  const size = (pen) => (within(...pen.view).length > 4000 ? 1.6 : within(...pen.view).length > 800 ? 2.2 : 3.2);
  const layers = [];
  if (shown.transits) layers.push((pen) => drawMarks(pen, dips));
  layers.push((pen) => pen.points(places, values, "points", size(pen), (k) => !(shown.flagged && flagged[k])));
  if (shown.trend && trend) layers.push((pen) => pen.line(places, trend, "model", { joins: (k) => time[k] - time[k - 1] <= longest }));
  if (shown.flagged) layers.push((pen) => pen.points(places, values, "strange", size(pen) + 1.2, (k) => flagged[k]));
  const count = flagged.reduce((sum, one) => sum + one, 0);
  return {
    label: "Light curve",
    summary:
      `${plural(time.length, "brightness value")}${plot.binned_min ? ` (averages over ${plot.binned_min} min)` : ""} from ${day(time[0], plot.time_zero)} to ${day(time.at(-1), plot.time_zero)}; ` +
      `${whole(count)} flagged as strange` + (signal ? `; ${plural(dips.length, "transit")} of signal ${signal.number} marked.` : "."),
    xTitle: `time (days, ${system})`,
    yTitle: shown.flat ? "brightness over trend (%)" : "brightness (%)",
    scale,
    bounds: edges(places),
    closest: Math.max((20 * plot.cadence_s) / 86_400, (10 * (plot.binned_min ?? 0)) / 1440),
    range: (low, high) => lightBounds(within(low, high)),
    layers,
    nearest(place) {
      const k = nearestTo(places, place);
      if (k < 0 || values[k] === null) return null;
      const words = `${decimals(time[k], 4)} ${system}, ${day(time[k], plot.time_zero)}: ${decimals(values[k], 3)} %`;
      return { x: places[k], y: values[k], words: flagged[k] ? `${words}, flagged` : words };
    },
    table: () => lightTable(time, values, flagged, system),
  };
}

function edges(places) {
  const margin = 0.006 * (places.at(-1) - places[0]) || 0.5;
  return [places[0] - margin, places.at(-1) + margin];
}

function drawMarks(pen, dips) {
  const seen = dips.filter(({ place, half }) => place + half >= pen.view[0] && place - half <= pen.view[1]);
  if (seen.length <= MOST_MARKS) for (const { place, half } of seen) pen.transit(place, half);
}

/** The light in as many stretches as a table can hold. */
function lightTable(time, values, flagged, system) {
  const size = Math.ceil(time.length / TABLE_ROWS);
  const rows = [];
  for (let begin = 0; begin < time.length; begin += size) {
    const part = values.slice(begin, begin + size).filter((value) => value !== null);
    const strange = flagged.slice(begin, begin + size).reduce((sum, one) => sum + one, 0);
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length;
    rows.push([decimals(time[begin], 2), ...[mean, part.reduce((a, b) => Math.min(a, b), Infinity), part.reduce((a, b) => Math.max(a, b), -Infinity)].map((value) => (part.length ? decimals(value, 3) : "")), whole(strange)]);
  }
  return { columns: [right(`from (${system})`), right("mean (%)"), right("lowest (%)"), right("highest (%)"), right("flagged")], rows };
}

// Spectrum

/** The spectrum of the search, with the period of a signal and its simple multiples. */
export function drawSpectrum({ period, power }, signal) {
  const places = Float64Array.from(period, Math.log10);
  const aliases = signal?.period ? ALIASES.map(([name, ratio]) => [name, Math.log10(ratio * signal.period)]) : [];
  const best = power.reduce((peak, value, k) => ((value ?? -Infinity) > (power[peak] ?? -Infinity) ? k : peak), 0);
  return {
    label: "Spectrum",
    summary:
      `How strongly the light repeats at each period from ${number(period[0], 2)} to ${number(period.at(-1), 3)} days; the strongest is ${number(period[best], 5)} days with ${number(power[best])}` +
      (signal?.period ? `; signal ${signal.number} has ${number(signal.period, 6)} days.` : "."),
    xTitle: "period (days)",
    yTitle: "signal to noise",
    scale: logarithmic,
    bounds: [places[0], places.at(-1)],
    closest: 0.02,
    range: () => [Math.min(0, ...power.filter((value) => value !== null)), 1.12 * Math.max(...power, 1)],
    layers: [
      (pen) => aliases.forEach(([name, place]) => pen.upright(place, name, name === "P" ? "mark" : "soft", { strong: name === "P" })),
      (pen) => pen.line(places, power, "binned", { width: 1.3 }),
    ],
    nearest(place) {
      const k = nearestTo(places, place);
      return power[k] === null ? null : { x: places[k], y: power[k], words: `${number(period[k], 5)} d: ${number(power[k])}` };
    },
    table: () => ({ columns: [right("period (d)"), right("signal to noise")], rows: peaks(period, power).map((k) => [number(period[k], 6), number(power[k])]) }),
  };
}

/** The places of the highest peaks, the highest first. */
function peaks(period, power) {
  const tops = [];
  for (let k = 1; k + 1 < period.length; k++) if (power[k] >= power[k - 1] && power[k] > power[k + 1]) tops.push(k);
  return tops.sort((a, b) => power[b] - power[a]).slice(0, 20);
}

// Folds

/** The transit of a signal: all its transits laid over each other. */
export function drawClose(signal) {
  const { factor, name } = unitFor(signal.depth_ppm);
  const order = [...signal.close.hours.keys()].sort((a, b) => signal.close.hours[a] - signal.close.hours[b]);
  const hours = Float64Array.from(order, (k) => signal.close.hours[k]);
  const flux = differences(order.map((k) => signal.close.flux[k]), factor);
  const { bins, model } = signal.close;
  const means = differences(bins.flux, factor);
  const errors = bins.error.map((error) => (error === null ? null : factor * error));
  const line = differences(model.flux, factor);
  const half = Math.max(...model.hours.map(Math.abs), ...bins.hours.map(Math.abs));
  const [low, high] = bounds([...means, ...line], { room: 0.25 });
  const [least, most] = bounds(flux, { outliers: Math.floor(flux.length / 50), room: 0.02 });
  return {
    label: `Folded transit of signal ${signal.number}`,
    summary: `All transits of signal ${signal.number} laid over each other: ${depth(signal.depth_ppm)} deep, ${number(signal.duration_h)} h long.`,
    xTitle: "hours from the middle of the transit",
    yTitle: `brightness (${name})`,
    scale: linear,
    bounds: [-half, half],
    closest: half / 8,
    range: () => [Math.min(low, least), Math.max(high, most)],
    layers: [
      (pen) => pen.points(hours, flux, "faint", hours.length > 1500 ? 1.8 : 2.6),
      (pen) => pen.line(model.hours, line, "model", { width: 2.2 }),
      (pen) => pen.bars(bins.hours, means, errors, "binned"),
    ],
    nearest: (place) => nearestBin(bins.hours, means, errors, place, (at) => `${decimals(at, 2)} h`, name),
    table: () => binTable(bins.hours.map((at) => decimals(at, 2)), "hours", means, errors, name),
  };
}

/** The whole orbit of a signal in bins. */
export function drawWide(signal) {
  const { factor, name } = unitFor(signal.depth_ppm);
  const { phase } = signal.wide;
  const means = differences(signal.wide.flux, factor);
  const errors = signal.wide.error.map((error) => (error === null ? null : factor * error));
  return {
    label: `Whole orbit of signal ${signal.number}`,
    summary: "The light over one whole orbit, in bins; the transit lies at 0, and a second dip elsewhere would mean a companion that shines.",
    xTitle: "part of the orbit since the transit",
    yTitle: `brightness (${name})`,
    scale: linear,
    bounds: [phase[0] - 0.005, phase.at(-1) + 0.005],
    closest: 0.05,
    range: () => bounds(means),
    layers: [
      (pen) => pen.upright(0, "", "line"),
      (pen) => pen.upright(0.5, "", "line"),
      (pen) => (pen.crowds(phase) ? pen.bars(phase, means, null, "binned", 1.7) : pen.bars(phase, means, errors, "binned", 2.6)),
    ],
    nearest: (place) => nearestBin(phase, means, errors, place, (at) => `phase ${decimals(at, 3)}`, name),
    table: () => binTable(phase.map((at) => decimals(at, 3)), "phase", means, errors, name),
  };
}

function nearestBin(places, means, errors, place, say, unit) {
  const k = nearestTo(places, place);
  if (k < 0 || means[k] === null) return null;
  const places_ = unit === "%" ? 3 : 0;
  return { x: places[k], y: means[k], words: `${say(places[k])}: ${decimals(means[k], places_)}${errors[k] === null ? "" : ` ± ${decimals(errors[k], places_)}`} ${unit}` };
}

function binTable(places, title, means, errors, unit) {
  const digits = unit === "%" ? 3 : 0;
  const say = (value) => (value === null ? "" : decimals(value, digits));
  return { columns: [right(title), right(`brightness (${unit})`), right("error")], rows: places.map((place, k) => [place, say(means[k]), say(errors[k])]) };
}
