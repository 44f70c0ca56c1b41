/** What is strange in the light of a star: with which detector and how strictly it is looked for, and where it is. */

import { ask, askLong } from "./api.js";
import { byId, make, makeButton, makeTable } from "./dom.js";
import { readObservations } from "./question.js";
import { decimals, number, plural, stage, timeSystem, whole } from "./words.js";

const SHIPPED = "anomaly";
const OWN = "own";
const SIGNS = { dip: "▼ dip", brightening: "▲ brightening", noise: "• noise" };
const SHOWN = 200;

/** Trained detectors that this page knows: name -> points of its windows. */
const trained = new Map();

/** The points of a model's windows: 50 of "points 50; step 10". */
export const windowOf = (model) => Number(/points (\d+)/.exec(model.inputs ?? "")?.[1] ?? 50);

/** Ties a slider to the words beside its name. */
export function tieSlider(id, say) {
  const [slider, said] = [byId(id), byId(`${id}-said`)];
  const show = () => {
    said.textContent = say(Number(slider.value));
    slider.setAttribute("aria-valuetext", said.textContent);
  };
  slider.addEventListener("input", show);
  show();
}

export const percent = (value) => `${value} %`;
export const points = (value) => plural(value, "point");

/** Fills the list of detectors with those that the service knows. */
export async function listDetectors() {
  const { models } = await (await ask("/v1/models")).json();
  for (const model of models) if (/^detector-/.test(model.name)) trained.set(model.name, windowOf(model));
  showDetectors(byId("detector").value || SHIPPED);
}

/** Adds a detector to the list and chooses it. */
export function useDetector(name, window) {
  trained.set(name, window);
  showDetectors(name);
}

function showDetectors(chosen) {
  const options = [[SHIPPED, "of the survey"], [OWN, "fit on this star alone"], ...[...trained.keys()].map((name) => [name, `trained: ${name}`])];
  byId("detector").replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
  byId("detector").value = options.some(([value]) => value === chosen) ? chosen : SHIPPED;
  showWindow();
}

/** Only a detector that is yet to be fit can look through another window. */
function showWindow() {
  const name = byId("detector").value;
  const free = name === OWN;
  if (!free) byId("look-window").value = trained.get(name) ?? 50;
  byId("look-window").disabled = !free;
  byId("look-window").dispatchEvent(new Event("input"));
  byId("look-window-why").textContent = free ? "Longer ones catch longer events." : "Fixed by its training. “Fit on this star alone” and detectors trained anew take others.";
}

/** What /v1/anomalies takes: JSON of a star, a form of a file. */
function request(question, wait) {
  const model = byId("detector").value;
  const fields = {
    model,
    contamination: Number(byId("look-contamination").value) / 100,
    window: model === OWN ? Number(byId("look-window").value) : null,
    vote_threshold: Number(byId("look-votes").value),
    wait,
  };
  if (!question.file) {
    const observations = readObservations(question.observations);
    return { json: { target: question.target, observations: observations.length ? observations : null, ...fields } };
  }
  const form = new FormData();
  form.append("file", question.file, question.file.name);
  const told = { ...fields, mission: question.mission, time_zero: question.timeZero };
  for (const [name, value] of Object.entries(told)) if (value !== null && value !== undefined && value !== "") form.append(name, String(value));
  return { form };
}

/**
 * Looks again with what the controls say.
 * @returns {Promise<object>} the anomalies, as in the plot of a score, with the light that they were found in
 */
export async function lookAgain(question, signal) {
  const tell = (words) => (byId("look-state").textContent = words);
  tell("Looking…");
  const { row, plot, error } = await askLong("/v1/anomalies", { ...request(question, 3), signal, tell, stage: (job) => tell(`${stage(job.stage)}…`) });
  tell("");
  if (!plot) throw new RangeError(error ?? "There is no light to look at.");
  return { ...plot.anomalies, light: plot.light, counts: row };
}

/** The stretches that are strange. @param {(interval: object) => void} go zooms to one */
export function showStrange(anomalies, plot, go) {
  const intervals = anomalies?.intervals ?? [];
  byId("strange-words").replaceChildren(...strangeWords(anomalies, intervals));
  const system = timeSystem(plot.time_zero);
  const columns = [{ title: `from (${system})` }, { title: "hours", class: "number" }, { title: "height (σ)", class: "number" }, { title: "votes", class: "number" }, { title: "looks like" }];
  const shown = [...intervals].sort((a, b) => Math.abs(b.sigmas ?? 0) - Math.abs(a.sigmas ?? 0)).slice(0, SHOWN).sort((a, b) => a.begin - b.begin);
  const rows = shown.map((interval) => [
    makeButton(decimals(interval.begin, 3), () => go(interval), { class: "opener", "aria-label": `Zoom to ${SIGNS[interval.kind]?.slice(2) ?? "stretch"} at ${decimals(interval.begin, 3)}` }),
    number(24 * (interval.end - interval.begin), 2),
    number(interval.sigmas, 2),
    number(interval.votes, 2),
    make("span", { class: `kind ${interval.kind in SIGNS ? interval.kind : ""}` }, SIGNS[interval.kind] ?? ""),
  ]);
  byId("intervals").hidden = !rows.length;
  const caption = intervals.length > SHOWN ? `The ${SHOWN} most striking of ${whole(intervals.length)}` : "Each opens its part of the light curve";
  byId("intervals").replaceChildren(rows.length ? makeTable(caption, columns, rows) : "");
}

function strangeWords(anomalies, intervals) {
  if (!anomalies) return ["No detector has looked at this light."];
  if (anomalies.score === null) return ["No stretch of the light is as long as a window: nothing was looked at."];
  const words = [make("b", {}, `${plural(intervals.length, "stretch", "stretches")}, score ${number(anomalies.score)}`), " · 0 is usual, 1 is as strange as one window in twenty of quiet stars; it ranks stars and is no probability."];
  const { counts } = anomalies;
  if (counts) words.push(` ${whole(counts.n_flagged_points)} of ${whole(counts.n_points)} points are flagged, ${whole(counts.n_strange_windows)} of ${whole(counts.n_windows)} windows are strange.`);
  if (counts?.seen_in_training) words.push(" The detector was trained on this star: what it does is less strange to it.");
  return words;
}

/** Wires the controls. @param {() => void} look asks again */
export function wireControls(look) {
  tieSlider("look-contamination", percent);
  tieSlider("look-window", points);
  tieSlider("look-votes", (value) => `${Math.round(100 * value)} %`);
  showDetectors(SHIPPED);
  byId("detector").addEventListener("change", showWindow);
  byId("look").addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
}
