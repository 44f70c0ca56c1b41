/** The candidates of the run that the service was given. */

import { ask } from "./api.js";
import { byId, make, makeTable } from "./dom.js";
import { toHash } from "./question.js";
import { depth, flaw, number, plural, probability, spaced, whole, withError } from "./words.js";

const COLUMNS = [
  { title: "rank", class: "number rank" },
  { title: "star", class: "star" },
  { title: "period (d)", class: "number" },
  { title: "depth", class: "number" },
  { title: "radius", class: "number" },
  { title: "MES", class: "number" },
  { title: "planet", class: "number" },
  { title: "verdict", class: "verdict-cell" },
];

const first = (...values) => values.find((value) => value !== null && value !== undefined) ?? null;

function cells(one) {
  const under = [one.number > 1 ? `signal ${one.number}` : "", one.known_name ?? ""].filter(Boolean).join(", ");
  const chance = first(one.fusion_probability, one.vetting_probability);
  return [
    whole(one.rank),
    make("span", {}, make("a", { href: toHash({ target: one.target_id }) }, one.target_id), under ? make("small", {}, under) : null),
    one.period === null ? "one transit" : number(one.period, 6),
    depth(one.depth_ppm),
    one.planet_radius === null ? "" : withError(one.planet_radius, null, "R⊕", 3),
    number(one.mes),
    probability(chance),
    make("span", {}, make("span", { class: `chip ${one.is_candidate ? "yes" : "no"}` }, one.is_candidate ? "candidate" : "not a candidate"), make("small", {}, one.flags?.length ? one.flags.map(flaw).join(", ") : one.novelty ? spaced(one.novelty) : "")),
  ];
}

/** Fetches and shows the candidates. @param {(error: Error) => boolean} handle whether it took care of an error */
export async function showRecent(handle) {
  const fault = byId("recent-fault");
  fault.hidden = true;
  try {
    const { run, candidates } = await (await ask(`/v1/candidates?limit=${byId("recent-limit").value}`)).json();
    const shown = byId("only-passed").checked ? candidates.filter((one) => one.is_candidate) : candidates;
    byId("run-words").textContent = `${run.name}, begun ${run.created_at.slice(0, 10)}: ${plural(run.targets, "star")}, ${plural(run.signals, "signal")}, ${plural(run.passed, "candidate")}.`;
    const caption = shown.length === candidates.length ? `The ${whole(shown.length)} most convincing` : `${whole(shown.length)} of the ${whole(candidates.length)} most convincing signals`;
    byId("recent").replaceChildren(shown.length ? makeTable(caption, COLUMNS, shown.map(cells), { class: "recent" }) : make("p", { class: "soft" }, "The run has none."));
  } catch (error) {
    if (handle(error)) return;
    fault.hidden = false;
    fault.textContent = `${error.title ?? "That did not work"}. ${error.message}`;
  }
}

/** Wires the page. */
export function wireRecent(handle) {
  for (const id of ["recent-limit", "only-passed"]) byId(id).addEventListener("change", () => showRecent(handle));
}
