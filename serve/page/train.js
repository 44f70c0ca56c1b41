/** The page on which a detector is trained. */

import { askLong } from "./api.js";
import { percent, points, tieSlider, useDetector, windowOf } from "./anomalies.js";
import { byId, make, makeFacts, makeTable } from "./dom.js";
import { LARGEST_FILE, fileFault } from "./question.js";
import { fileSize, number, seconds, whole } from "./words.js";

const MOST_FILES = 20;
let waiting = null;

const from = () => document.querySelector("#train input[name=from]:checked").value;
const settings = () => ({ contamination: Number(byId("train-contamination").value) / 100, window: Number(byId("train-window").value) });

function showSource() {
  for (const field of document.querySelectorAll("#train [data-from]")) field.hidden = field.dataset.from !== from();
  showFault("");
}

function showFault(words) {
  byId("train-fault").hidden = !words;
  byId("train-fault").textContent = words;
}

function showFiles() {
  const files = [...byId("train-files").files];
  byId("train-list").replaceChildren(...files.map((file) => make("li", {}, `${file.name} `, make("span", { class: "soft" }, fileSize(file.size)))));
}

/** Takes files that were dropped. @param {FileList} files */
export function learnFrom(files) {
  byId("train-files").files = files;
  document.querySelector("#train input[value=files]").checked = true;
  showSource();
  showFiles();
}

/** Throws RangeError for what cannot be sent. */
function request() {
  if (from() === "simulated") {
    const simulated = Number(byId("train-count").value);
    if (!Number.isInteger(simulated) || simulated < 1 || simulated > 1000) throw new RangeError("Give a whole number of synthetic curves from 1 to 1000.");
    return { json: { simulated, ...settings() } };
  }
  const files = [...byId("train-files").files];
  if (!files.length || files.length > MOST_FILES) throw new RangeError(`Choose 1 to ${MOST_FILES} light curves.`);
  for (const file of files) if (fileFault(file)) throw new RangeError(`${file.name}: ${fileFault(file)}`);
  if (files.reduce((sum, file) => sum + file.size, 0) > LARGEST_FILE) throw new RangeError("Together these files have more than 20 MB. Choose fewer, or compress them with gzip.");
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  for (const [name, value] of Object.entries(settings())) form.append(name, String(value));
  return { form };
}

function showWorking(busy) {
  byId("train-working").hidden = byId("train-cancel").hidden = !busy;
  byId("train-start").disabled = busy;
}

/** Asks for a detector and waits for it. @param {(error: Error) => boolean} handle whether it took care of an error */
async function train(handle) {
  showFault("");
  waiting = new AbortController();
  const say = (words) => {
    if (byId("train-words").textContent !== words) byId("train-words").textContent = words;
  };
  try {
    const question = request();
    showWorking(true);
    byId("trained").hidden = true;
    say("Sending…");
    const stage = (job) => say(job.seconds < 5 ? "Learning what quiet light looks like" : `Learning what quiet light looks like, for ${seconds(5 * Math.floor(job.seconds / 5))}`);
    showTrained(await askLong("/v1/train/anomaly", { ...question, signal: waiting.signal, tell: say, stage }));
  } catch (error) {
    if (error.name !== "AbortError" && !handle(error)) showFault(error.title ? `${error.title}. ${error.message}` : error.message);
  } finally {
    showWorking(false);
  }
}

const share = (value) => (typeof value === "number" ? `${(100 * value).toFixed(1)} %` : "");
const interval = (figure) => (figure && typeof figure.value === "number" ? `${number(figure.value)} (${number(figure.low)} to ${number(figure.high)})` : "");

/** What was learnt from, and how well it finds events that were put into quiet light. */
function showTrained(model) {
  byId("h-trained").textContent = model.name;
  const facts = [
    ["learnt from", model.simulated ? `${model.trained_on}: ${model.simulated}` : model.trained_on],
    ["stars", whole(model.stars)],
    ["window", points(windowOf(model))],
    [`${model.measure} (95%)`, interval(model.figure)],
    ["of what it must beat", number(model.floor)],
  ];
  byId("trained-facts").replaceChildren(makeFacts(facts, { class: "facts" }));
  byId("trained-figures").replaceChildren(...figureTable(model.figures));
  byId("trained-limits").replaceChildren(...(model.limits ?? []).map((limit) => make("li", {}, limit)));
  byId("use").onclick = () => {
    useDetector(model.name, windowOf(model));
    byId("trained").dispatchEvent(new CustomEvent("use", { bubbles: true }));
  };
  byId("trained").hidden = false;
  byId("trained").focus();
}

/** How many of the events that were put into quiet light are found, in windows and in points. */
function figureTable(figures) {
  const rows = ["windows", "points"].filter((name) => figures?.injected?.[name]?.model).map((name) => figureRow(name, figures.injected[name]));
  if (!rows.length) return [];
  const columns = [{ title: "" }, ...["of the events, found", "of what is flagged, events", "average precision", "of a limit of 4 σ alone"].map((title) => ({ title, class: "number" }))];
  const caption = `Events put into quiet light${figures.held_back ? ", in stars that it did not learn from" : ", in the stars that it learnt from: better than elsewhere"}`;
  return [makeTable(caption, columns, rows, { class: "figures" })];
}

const figureRow = (name, { model, baseline }) => [name, share(model.recall), share(model.precision), number(model.average_precision?.value), number(baseline?.average_precision?.value)];

/** Wires the page. @param {(error: Error) => boolean} handle whether it took care of an error */
export function wireTraining(handle) {
  tieSlider("train-contamination", percent);
  tieSlider("train-window", points);
  for (const choice of document.querySelectorAll("#train input[name=from]")) choice.addEventListener("change", showSource);
  byId("train-files").addEventListener("change", showFiles);
  byId("train-cancel").addEventListener("click", () => waiting?.abort(new DOMException("cancelled", "AbortError")));
  byId("train").addEventListener("submit", (event) => {
    event.preventDefault();
    train(handle);
  });
  showSource();
}
