/** The page: what is asked, what is shown while it is worked on, and what the address says. */

import { listDetectors, lookAgain, showStrange, wireControls } from "./anomalies.js";
import { Refusal, ask, askLong, getKey, setKey } from "./api.js";
import { byId, copy, download, make, makeButton } from "./dom.js";
import { drawClose, drawLight, drawSpectrum, drawWide } from "./drawings.js";
import { Plot } from "./plots.js";
import { check, fileFault, fromHash, request, toCurl, toHash, toPython } from "./question.js";
import { showRecent, wireRecent } from "./recent.js";
import { showChecks, showHeadline, showProvenance, showScores, showSignal, showSignals } from "./star.js";
import { learnFrom, wireTraining } from "./train.js";
import { STAGES, fileSize, seconds, stage } from "./words.js";

const EXAMPLES = ["TIC 441462736", "TOI-700", "KIC 757076", "K00752.01", "EPIC 201367065"];
/** Seconds that the service may take before it makes a job of a star, whose stages can then be shown. */
const PATIENCE_S = 2;
const SHEET_PATIENCE_S = 30;
const KEPT_ANSWERS = 8;

/** Of the service: whether it wants a key, and whether it has a run. */
const service = { keyed: false };
/** What is shown: the question and its answer; what is drawn of it, which another look changes; the chosen signal. */
const state = { question: null, answer: null, plot: null, signal: null, file: null, shown: { trend: true, flagged: true, transits: true, flat: false } };
/** Answers of this visit by their addresses, so that going back asks nobody. */
const answers = new Map();
let working = null;
let looking = null;
let sheetUrl = null;
/** What to do again when the key is there. */
let afterKey = null;

// Asking

/** The question that the form holds. */
function readForm() {
  const value = (id) => byId(id).value.trim();
  const both = { periodMin: value("period-min"), periodMax: value("period-max") };
  if (state.file) return { file: state.file, mission: value("mission"), timeZero: value("time-zero"), ...both };
  return { target: value("star"), observations: value("observations").replace(/\s+/g, ""), ...both };
}

function fillForm({ target, observations = "", periodMin = "", periodMax = "" }) {
  chooseFile(null);
  byId("star").value = target;
  byId("observations").value = observations;
  byId("period-min").value = periodMin;
  byId("period-max").value = periodMax;
  byId("options").open ||= Boolean(observations || periodMin || periodMax);
}

function showFault(words) {
  byId("fault").hidden = !words;
  byId("fault").textContent = words;
}

function submit() {
  const question = readForm();
  try {
    check(question);
  } catch (error) {
    showFault(error.message);
    if (/period|sector/.test(error.message)) byId("options").open = true;
    return;
  }
  showFault("");
  const hash = toHash(question);
  answers.delete(hash);
  if (question.file) {
    history.pushState(null, "", location.pathname + location.search);
    examine(question);
  } else if (location.hash === hash) examine(question);
  else location.hash = hash;
}

/** Asks for a star and shows what comes; one that was asked before is shown at once. */
async function examine(question, { quiet = false } = {}) {
  cancelWork();
  const hash = toHash(question);
  state.question = question;
  hideAnswer();
  if (hash && answers.has(hash)) return showAnswer(question, answers.get(hash), { quiet });
  const mine = (working = new AbortController());
  showWork(question);
  try {
    const { path, ...asked } = request(question, { plot: true, wait: PATIENCE_S });
    const answer = await askLong(path, { ...asked, signal: mine.signal, tell: sayWork, stage: showStage });
    if (hash) keep(hash, answer);
    if (working === mine) showAnswer(question, answer, { quiet });
  } catch (error) {
    if (working === mine && error.name !== "AbortError") showProblem(error, () => examine(question));
  } finally {
    if (working === mine) endWork();
  }
}

function keep(hash, answer) {
  answers.set(hash, answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
}

// While it works

let clock = null;

function showWork(question) {
  const began = performance.now();
  const name = question.target ?? question.file.name;
  sayWork(`Examining ${name}`);
  byId("working-bar").removeAttribute("value");
  byId("working").hidden = false;
  byId("submit").disabled = true;
  const tick = () => (byId("working-time").textContent = seconds((performance.now() - began) / 1000));
  tick();
  clock = setInterval(tick, 500);
}

/** A status is read out whenever it is set: only news are said. */
function sayWork(words) {
  if (byId("working-words").textContent !== words) byId("working-words").textContent = words;
}

function showStage(job) {
  sayWork(stage(job.stage === "queue" ? null : job.stage));
  const place = Object.keys(STAGES).indexOf(job.stage);
  if (place >= 0) byId("working-bar").value = place + 0.5;
}

function endWork() {
  working = null;
  clearInterval(clock);
  byId("working").hidden = true;
  byId("submit").disabled = false;
}

function cancelWork() {
  for (const one of [working, looking]) one?.abort(new DOMException("cancelled", "AbortError"));
  looking = null;
  endWork();
}

// Problems

const AGAIN = new Set(["busy", "fetch_failed", "offline", "failed", "not_ready"]);

/** What went wrong, and what to do. */
function showProblem(error, again) {
  if (needsKey(error, again)) return;
  if (!(error instanceof Refusal)) console.error(error);
  const known = error instanceof Refusal ? error : new Refusal("failed", "The page could not show the answer. Reload it and try again.");
  byId("problem").replaceChildren(
    make("h2", {}, known.title),
    make("p", {}, known.message),
    ...(AGAIN.has(known.code) ? [make("div", { class: "row" }, makeButton("Try again", again))] : []),
    ...(known.id ? [make("p", { class: "soft" }, "Request ", make("code", {}, known.id))] : []),
  );
  byId("problem").hidden = false;
  byId("problem").focus();
}

/** Asks for the key where the service wants one. @returns {boolean} whether it does */
function needsKey(error, again) {
  if (error.code !== "unauthorized") return false;
  service.keyed = true;
  const had = getKey();
  setKey(null);
  openKey(had ? "The service does not know this key. Check it, or ask whoever runs the service for one." : "This service asks for a key. Whoever runs it gives you one.", again);
  return true;
}

function openKey(words, again = null) {
  afterKey = again;
  byId("key-button").hidden = false;
  byId("key-words").textContent = words;
  byId("key").value = "";
  byId("key-forget").hidden = !getKey();
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

function wireKey() {
  const dialog = byId("key-dialog");
  byId("key-button").addEventListener("click", () => openKey(getKey() ? "A key is set. Another one takes its place." : "This service asks for a key. Whoever runs it gives you one."));
  byId("key-close").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => (setKey(null), dialog.close()));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = byId("key").value.trim();
    // A header holds no other letters.
    if (!/^[\x21-\x7e]+$/.test(key)) return void (byId("key-words").textContent = "A key has only plain letters, digits and signs, without spaces.");
    setKey(key);
    const again = afterKey;
    dialog.close();
    listDetectors().catch(() => {});
    again?.();
  });
  dialog.addEventListener("close", () => {
    if (afterKey && !getKey() && byId("result").hidden) showFault("Without a key the service examines nothing: press “API key” and enter it.");
    afterKey = null;
    byId("key").value = "";
  });
}

// The answer

const plots = {};

function hideAnswer() {
  byId("about").hidden = true;
  byId("problem").hidden = true;
  byId("result").hidden = true;
  state.answer = null;
}

function makePlots() {
  const toggle = (name, words) =>
    makeButton(make("span", {}, name === "flat" ? null : make("i", { class: `swatch ${name}` }), words), (event) => {
      state.shown[name] = !state.shown[name];
      event.currentTarget.setAttribute("aria-pressed", state.shown[name]);
      drawStar({ keep: true });
    }, { class: "toggle", "aria-pressed": state.shown[name], id: `show-${name}` });
  const tools = [make("span", { class: "toggles" }, toggle("trend", "trend"), toggle("flagged", "flagged"), toggle("transits", "transits"), toggle("flat", "trend removed"))];
  plots.light = new Plot(byId("light"), { title: "Light curve", kind: "tall", tools, note: "Drag over a part, or turn the wheel or pinch, to zoom; a double click shows all." });
  plots.close = new Plot(byId("close"), { title: "Folded transit" });
  plots.spectrum = new Plot(byId("spectrum"), { title: "Spectrum" });
  plots.wide = new Plot(byId("wide"), { title: "Whole orbit", kind: "low" });
}

function showAnswer(question, answer, { quiet = false } = {}) {
  const { row, plot } = answer;
  Object.assign(state, { answer, plot });
  byId("result").hidden = false;
  showHeadline(answer);
  const first = showSignals(row.tces ?? [], (number) => chooseSignal(number));
  byId("drawn").hidden = !plot;
  byId("take-state").textContent = "";
  byId("sheet").replaceChildren();
  byId("get-sheet").hidden = answer.status !== "ok";
  byId("copy-link").hidden = Boolean(question.file);
  byId("look-fault").hidden = true;
  showProvenance(answer);
  byId("curl").textContent = toCurl(question, location.origin, service.keyed);
  byId("python").textContent = toPython(question, location.origin, service.keyed);
  if (plot) showStrange(plot.anomalies, plot, goTo);
  for (const one of Object.values(plots)) one.view = null;
  chooseSignal(first?.number ?? null);
  if (byId("tab-star").hidden) return;
  document.title = `${answer.target_id} · Transit survey`;
  if (!quiet) byId("h-star").focus();
}

function chooseSignal(number) {
  const { row, meanings } = state.answer;
  const { plot } = state;
  const tce = (row.tces ?? []).find((one) => one.number === number) ?? null;
  state.signal = plot?.signals.find((one) => one.number === number) ?? null;
  showSignal(tce, row);
  showScores(tce, row, meanings);
  showChecks(tce);
  byId("sheet").replaceChildren();
  byId("get-sheet").textContent = tce && row.tces.length > 1 ? `Sheet of signal ${number} (PNG)` : "Sheet of evidence (PNG)";
  if (plot) drawStar({ keep: true });
}

/** Draws all that there is; the part of the light curve that was zoomed to stays. */
function drawStar({ keep }) {
  const { plot, signal } = state;
  byId("close").parentElement.hidden = !signal;
  byId("wide-section").hidden = !signal?.wide;
  byId("spectrum").parentElement.hidden = !plot.spectrum;
  plots.light.show(drawLight(plot, { signal, shown: state.shown }), { keep });
  if (plot.spectrum) plots.spectrum.show(drawSpectrum(plot.spectrum, signal));
  if (signal) plots.close.show(drawClose(signal));
  if (signal?.wide) plots.wide.show(drawWide(signal));
}

/** Zooms the light curve to a stretch. */
function goTo({ begin, end }) {
  plots.light.zoomTo(begin, end);
  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("light").scrollIntoView({ block: "nearest", behavior: reduced ? "auto" : "smooth" });
}

async function look() {
  looking?.abort(new DOMException("cancelled", "AbortError"));
  const mine = (looking = new AbortController());
  const { answer, question } = state;
  byId("look-fault").hidden = true;
  try {
    const anomalies = await lookAgain(question, mine.signal);
    if (state.answer !== answer) return;
    // Its points are places in the light that came with it.
    state.plot = { ...answer.plot, light: anomalies.light, anomalies };
    showStrange(anomalies, state.plot, goTo);
    drawStar({ keep: true });
  } catch (error) {
    byId("look-state").textContent = "";
    if (error.name === "AbortError" || needsKey(error, look)) return;
    byId("look-fault").textContent = error.title ? `${error.title}. ${error.message}` : error.message;
    byId("look-fault").hidden = false;
  }
}

// What is taken away

const fileName = (ending) => `${state.answer.target_id.replace(/[^A-Za-z0-9.+-]+/g, "_").slice(0, 80) || "star"}${ending}`;

const saveJson = () => download(fileName(".json"), new Blob([JSON.stringify(state.answer, null, 1)], { type: "application/json" }));

async function showSheet() {
  const say = (words) => (byId("take-state").textContent = words);
  const { answer, question, signal } = state;
  byId("get-sheet").disabled = true;
  say("Drawing the sheet…");
  try {
    const { path, ...asked } = request(question, { format: "png", wait: SHEET_PATIENCE_S, ...(signal ? { tce: signal.number } : {}) });
    const image = await askLong(path, { ...asked, tell: say, stage: (job) => say(`${stage(job.stage)}…`) });
    if (state.answer?.target_id !== answer.target_id) return;
    if (sheetUrl) URL.revokeObjectURL(sheetUrl);
    sheetUrl = URL.createObjectURL(image);
    const name = fileName(`${signal ? `-${signal.number}` : ""}.png`);
    byId("sheet").replaceChildren(
      make("p", {}, make("a", { href: sheetUrl, download: name, class: "button" }, "Save the sheet"), " ", make("a", { href: sheetUrl, target: "_blank", rel: "noopener" }, "Open it in a tab of its own")),
      make("img", { src: sheetUrl, alt: `Sheet of evidence of ${answer.target_id}: light curve, folds, spectrum and checks` }),
    );
    say("");
  } catch (error) {
    say(needsKey(error, showSheet) ? "" : `${error.title ?? "That did not work"}. ${error.message}`);
  } finally {
    byId("get-sheet").disabled = false;
  }
}

// Files

function chooseFile(file) {
  const fault = file && fileFault(file);
  showFault(fault ? `${file.name} cannot be sent. ${fault}` : "");
  state.file = fault ? null : file;
  byId("file").value = "";
  byId("name-field").hidden = Boolean(state.file);
  byId("chosen").hidden = !state.file;
  byId("examples").hidden = Boolean(state.file);
  byId("file-name").textContent = state.file?.name ?? "";
  byId("file-size").textContent = state.file ? fileSize(state.file.size) : "";
  for (const field of document.querySelectorAll("#options [data-for]")) field.hidden = (field.dataset.for === "file") !== Boolean(state.file);
  if (!state.file) return;
  byId("options").open = true;
  showTab("star");
  byId("submit").focus();
}

function wireDrop() {
  const cover = byId("dropping");
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => holdsFiles(event) && (cover.hidden = false));
  addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  addEventListener("dragleave", (event) => event.relatedTarget === null && (cover.hidden = true));
  addEventListener("drop", (event) => {
    cover.hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const { files } = event.dataTransfer;
    if (!byId("tab-train").hidden) learnFrom(files);
    else if (files.length) chooseFile(files[0]);
  });
}

// The address

function showTab(name) {
  for (const tab of ["star", "train", "recent"]) byId(`tab-${tab}`).hidden = tab !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.tab === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("to-star").setAttribute("href", (state.question && toHash(state.question)) || "#");
}

/** Shows what the address says. */
function follow({ quiet = false } = {}) {
  const question = fromHash(location.hash);
  const tab = { "#train": "train", "#recent": "recent" }[location.hash] ?? "star";
  showTab(tab);
  if (tab === "train") document.title = "Train a detector · Transit survey";
  if (tab === "recent") {
    document.title = "Candidates · Transit survey";
    showRecent((error) => needsKey(error, () => follow()));
  }
  if (tab !== "star") return;
  if (question) {
    if (state.answer && state.question && toHash(state.question) === toHash(question)) return void (document.title = `${state.answer.target_id} · Transit survey`);
    fillForm(question);
    try {
      check(question);
      examine(question, { quiet });
      showTab("star");
    } catch (error) {
      showFault(error.message);
    }
  } else if (state.question?.target) {
    cancelWork();
    hideAnswer();
    byId("about").hidden = false;
    state.question = null;
    showTab("star");
    document.title = "Transit survey";
  }
}

// The page

async function readService() {
  const about = await fetch("/ready", { cache: "no-store" }).then((response) => response.json()).catch(() => ({}));
  service.keyed ||= Boolean(about.key_needed);
  byId("key-button").hidden = !service.keyed;
  byId("to-recent").hidden = !about.run;
  byId("version").textContent = about.version ? `transit-survey ${about.version}` : "";
  const examples = Array.isArray(about.examples) && about.examples.length ? about.examples : EXAMPLES;
  byId("example-buttons").replaceChildren(...examples.slice(0, 5).map((name) => makeButton(String(name), () => {
    chooseFile(null);
    byId("star").value = name;
    submit();
  }, { class: "example" })));
  if (!service.keyed || getKey()) await listDetectors().catch(() => {});
}

function wire() {
  makePlots();
  wireControls(look);
  const handle = (again) => (error) => needsKey(error, again);
  wireTraining(handle(() => byId("train").requestSubmit()));
  wireRecent(handle(() => follow()));
  wireKey();
  wireDrop();
  byId("ask").addEventListener("submit", (event) => (event.preventDefault(), submit()));
  byId("star").addEventListener("input", () => showFault(""));
  byId("file").addEventListener("change", (event) => event.target.files.length && chooseFile(event.target.files[0]));
  byId("drop-file").addEventListener("click", () => (chooseFile(null), byId("star").focus()));
  byId("cancel").addEventListener("click", () => (cancelWork(), byId("star").focus()));
  byId("get-json").addEventListener("click", saveJson);
  byId("get-sheet").addEventListener("click", showSheet);
  byId("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
  byId("print").addEventListener("click", () => print());
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(byId(button.dataset.copy).textContent, button));
  byId("tab-train").addEventListener("use", () => {
    location.hash = (state.question && toHash(state.question)) || "";
    showTab("star");
    if (state.answer?.plot) look();
  });
  document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), byId("main").focus()));
  addEventListener("hashchange", () => follow());
}

wire();
chooseFile(null);
// Who asked for a star before the service had told of itself is not asked for another.
readService().finally(() => {
  if (!state.question) follow({ quiet: true });
});
