/** What the service says of a star, in words and tables. */

import { byId, make, makeFacts, makeTable } from "./dom.js";
import {
  FLAWS, MODELS, NONE, OBSERVATIONS, capital, chance, day, depth, flaw, number, plural, probability, ranges, short, spaced, timeSystem, unit, verdict, whole, withError,
} from "./words.js";

const degrees = (value) => (value === null || value === undefined ? "" : `${value.toFixed(5)}°`.replace("-", "−"));
const told = (words) => (words === NONE ? "" : words);
const chip = (words, kind = "") => make("span", { class: `chip ${kind}` }, words);

const WITHOUT = {
  no_data: ["No light curve", "The archive holds no light curve of this star. Check its number, or choose other sectors."],
  too_short: ["Too little light", "What was observed of this star is too short to search."],
};

/** Headline: the star, what was found, and what is known of the star. */
export function showHeadline({ target_id: name, status, error, row }) {
  const tces = row.tces ?? [];
  const [words, advice] = WITHOUT[status] ?? [verdict(tces), ""];
  byId("h-star").textContent = name;
  byId("verdict").textContent = words;
  byId("verdict").className = `verdict ${tces.some((tce) => tce.is_candidate) ? "yes" : ""}`;
  byId("star-chips").replaceChildren(...(row.star_class ? [chip(spaced(row.star_class))] : []));
  const lines = [...(row.class_evidence ?? []), ...(status === "ok" && !tces.length ? ["Nothing repeats strongly enough to be a signal."] : []), ...(advice ? [advice] : []), ...(error ? [error] : [])];
  byId("evidence").replaceChildren(...lines.map((line) => make("p", {}, capital(line))), ...(row.notes ?? []).map((note) => make("p", { class: "soft" }, `Note: ${note}`)));
  byId("star-facts").replaceChildren(makeFacts(starFacts(row), { class: "facts star" }));
}

function starFacts(row) {
  if (row.n_cadences === undefined || row.n_cadences === null) return [];
  const seen = [...new Set((row.products ?? []).map((product) => product.observation))].filter((one) => one !== null && one !== undefined);
  const word = OBSERVATIONS[row.mission] ?? "observation";
  return [
    ["magnitude", told(number(row.magnitude, 4))],
    ["temperature", told(withError(row.teff, null, "K"))],
    ["radius", told(withError(row.radius, null, "R☉", 3))],
    ["log g", told(number(row.logg, 3))],
    ["RA, dec", row.ra === null || row.ra === undefined ? "" : `${degrees(row.ra)}, ${degrees(row.dec)}`],
    [seen.length === 1 ? word : `${word}s`, seen.length ? ranges(seen) : ""],
    ["light", `${whole(row.n_cadences)} cadences of ${row.cadence_s < 600 ? `${number(row.cadence_s)} s` : `${number(row.cadence_s / 60)} min`} over ${number(row.baseline_d)} d`],
    ["scatter", told(depth(row.scatter_ppm))],
    ["variation", row.variability_period ? `${number(row.variability_period)} d, ${depth(row.variability_amplitude_ppm)}` : ""],
    ["flares", row.n_flares === null || row.n_flares === undefined ? "" : whole(row.n_flares)],
  ];
}

// Signals

const period = (tce) => (tce.period === null ? "one transit" : `${number(tce.period, 6)} d`);

/** The signals to choose from, candidates first. @param {(number: number) => void} choose */
export function showSignals(tces, choose) {
  const ordered = [...tces].sort((a, b) => b.is_candidate - a.is_candidate || a.number - b.number);
  const cards = ordered.map((tce, k) =>
    make(
      "label",
      {},
      make("input", { type: "radio", name: "signal", value: tce.number, checked: k === 0, change: () => choose(tce.number) }),
      make(
        "span",
        { class: "card" },
        make("b", {}, `Signal ${tce.number} `, tce.is_candidate ? chip("candidate", "yes") : chip("not a candidate", "no")),
        make("span", {}, [period(tce), depth(tce.depth_ppm), `MES ${number(tce.mes)}`].join(" · ")),
        make("small", {}, tce.flags?.length ? tce.flags.map(flaw).join(", ") : "passes every check"),
      ),
    ),
  );
  byId("signals").replaceChildren(make("legend", { class: "hidden" }, "Signal that is shown"), ...cards);
  byId("signals").hidden = !cards.length;
  return ordered[0] ?? null;
}

/** The measurements of a signal. */
export function showSignal(tce, row) {
  byId("signal-section").hidden = !tce;
  if (!tce) return;
  byId("h-signal").textContent = row.tces.length > 1 ? `Signal ${tce.number}` : "Signal";
  byId("signal-facts").replaceChildren(makeFacts(signalFacts(tce, row), { class: "facts" }));
}

function signalFacts(tce, row) {
  const open = tce.n_open_periods > 1 ? `; ${tce.n_open_periods} periods fit` : "";
  const place = (tce.centroids ?? []).find((centroid) => centroid.offset_arcsec !== null);
  return [
    ["period", tce.period === null ? "one transit" : withError(tce.period, tce.period_err, "d", 8)],
    [`first transit, ${timeSystem(row.time_zero)}`, withError(tce.epoch, tce.epoch_err, "", 8)],
    ["its day", day(tce.epoch, row.time_zero)],
    ["duration", withError(tce.duration_h, null, "h", 3)],
    ["depth", depth(tce.depth_ppm, tce.depth_err_ppm)],
    ["transits seen", `${whole(tce.n_transits)}${open}`],
    ["radius of the companion", told(withError(tce.planet_radius, tce.planet_radius_err, "R⊕", 3))],
    ["light it gets", told(withError(tce.insolation, null, "× Earth's", 3))],
    ["its temperature", told(withError(tce.equilibrium_temp, null, "K", 3))],
    ["strength (MES)", number(tce.mes)],
    ["signal to noise", told(number(tce.snr))],
    ["chance of noise", told(chance(tce.fap))],
    ["light is lost", place ? `${withError(place.offset_arcsec, place.offset_arcsec_err, "″")} from the target` : ""],
    ["listed as", [spaced(tce.novelty ?? ""), tce.known_name, tce.known_disposition].filter(Boolean).join(", ")],
  ];
}

// Scores

/** What the models say of a signal and of the whole light curve, and what each number means. */
export function showScores(tce, row, meanings) {
  const groups = [
    ["This signal: is it …", tce ? ["triage", "vetting", "pixels", "fusion"].map((model) => signalScore(model, tce)).filter(Boolean) : []],
    ["The whole light curve: is there …", starScores(row)],
  ].filter(([, scores]) => scores.length);
  const lists = groups.map(([title, scores]) => [make("h4", {}, title), make("ul", { class: "scores" }, ...scores.map((score) => scoreRow(score, meanings)))]);
  byId("scores").replaceChildren(...(lists.length ? lists.flat() : [make("p", { class: "soft" }, "No model was asked.")]));
}

function signalScore(model, tce) {
  const value = tce[`${model}_probability`] ?? null;
  const rank = tce[`${model}_score`] ?? null;
  const given = { model, value, outside: remarks(tce.out_of_support, model) };
  if (value !== null) return { ...given, said: probability(value, tce[`${model}_spread`]), field: `${model}_probability`, kind: "calibrated" };
  if (rank !== null) return { ...given, said: number(rank), field: `${model}_score`, kind: "ranking only" };
  const why = remarks(tce.not_scored, model).join(", ");
  return why ? { ...given, said: NONE, kind: "not scored", why } : null;
}

function starScores(row) {
  const given = [
    { model: "segments", value: row.star_probability, said: probability(row.star_probability), field: "star_probability", kind: "calibrated" },
    { model: "periods", value: row.period_probability, said: probability(row.period_probability), field: "period_probability", kind: "calibrated" },
    { model: "anomaly", value: null, said: number(row.anomaly_score), field: "anomaly_score", kind: "ranking only" },
  ];
  return given.filter(({ said }) => said !== NONE).map((score) => ({ ...score, outside: remarks(row.star_out_of_support, score.model) }));
}

/** `duration h` of `vetting: duration_h`, for the model's own remarks. */
const remarks = (list, model) => (list ?? []).filter((remark) => remark.startsWith(`${model}: `)).map((remark) => spaced(remark.slice(model.length + 2)).replace(/ (h|ppm)$/, ""));

function scoreRow({ model, value, said, field, kind, why, outside }, meanings) {
  const [question, fallback] = MODELS[model];
  const meaning = why ? `Not scored: ${why}.` : (meanings?.[field] ?? fallback);
  return make(
    "li",
    {},
    make("div", { class: "score-head" }, make("b", {}, question), make("span", { class: "chip" }, kind), make("span", { class: "number value" }, said)),
    typeof value === "number" ? make("meter", { min: 0, max: 1, value, "aria-label": `${question}: ${said}` }) : null,
    make("p", { class: "soft" }, `${capital(model)}. ${meaning}`),
    outside.length ? make("p", { class: "warning" }, `Take care: in its ${outside.join(" and ")} it is unlike all that this model was trained on.`) : null,
  );
}

// Checks

const ORDER = new Map([[false, 0], [true, 1], [null, 2]]);
const VERDICTS = new Map([[false, ["✕ fails", "no"]], [true, ["✓ passes", "yes"]], [null, ["– not measured", "unknown"]]]);

/** The flaws that were looked for, the ones found first. */
export function showChecks(tce) {
  const checks = [...(tce?.checks ?? [])].sort((a, b) => ORDER.get(a.passed) - ORDER.get(b.passed));
  byId("checks-section").hidden = !checks.length;
  const count = (passed) => checks.filter((check) => check.passed === passed).length;
  const words = `${count(false) ? plural(count(false), "check") : "No check"} failed, ${whole(count(true))} passed${count(null) ? `, ${whole(count(null))} could not be measured` : ""}.`;
  const columns = [{ title: "flaw looked for" }, { title: "measured", class: "number" }, { title: "score", class: "number" }, { title: "to pass", class: "number" }, { title: "verdict" }];
  const table = makeTable(words, columns, checks.map(checkCells), { class: "checks" });
  checks.forEach((check, k) => table.tBodies[0].rows[k].classList.add(VERDICTS.get(check.passed)[1]));
  byId("checks").replaceChildren(table);
}

function checkCells({ name, value, uncertainty, unit: unitName, score, threshold, passed }) {
  const [, sign, why] = Object.hasOwn(FLAWS, name) ? FLAWS[name] : ["", "", ""];
  const units = unit(unitName);
  const shown = value !== null && (value !== score || uncertainty !== null || units);
  const measured = !shown ? "" : units === "ppm" ? depth(value, uncertainty) : uncertainty === null && !units ? short(value) : withError(value, uncertainty, units, 3);
  const [words, kind] = VERDICTS.get(passed);
  return [
    make("span", {}, make("b", {}, flaw(name)), why ? make("small", {}, why) : null),
    measured,
    score === null ? "" : name === "chance" ? chance(score) : short(score),
    `${sign} ${short(threshold)}`.trim(),
    make("span", { class: `mark ${kind}` }, words),
  ];
}

// Provenance

export function showProvenance({ row, provenance }) {
  const files = (row.products ?? []).map((product) => make("li", {}, `${product.product} `, make("code", {}, (product.sha256 ?? "").slice(0, 10)), ` ${[product.author, product.pipeline, product.flux_column].filter(Boolean).join(", ")}`));
  const facts = [
    ["source", provenance.source],
    ["survey", provenance.survey_version],
    ["science", make("code", {}, (provenance.science_hash ?? "").slice(0, 12))],
    ["detrended by", row.detrender ? `${row.detrender}, window ${number(row.window_d)} d` : ""],
    ["models", (provenance.models ?? row.models ?? []).map((model) => `${model.name} ${model.id.slice(0, 8)}`).join(", ")],
    ["request", make("code", {}, provenance.request_id ?? "")],
    ["took", provenance.seconds === undefined ? "" : `${number(provenance.seconds)} s`],
    ["files", files.length ? make("ul", { class: "plain" }, ...files) : ""],
  ];
  byId("provenance-facts").replaceChildren(makeFacts(facts, { class: "facts long" }));
}
