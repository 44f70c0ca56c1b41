/** What is asked of the service: a star by its name, or a file; as a request, an address, a command and a program. */

export const LARGEST_FILE = 20 * 2 ** 20;

/**
 * @typedef {object} Question
 * @property {string} [target]
 * @property {string} [observations] "1,14-16"
 * @property {File} [file]
 * @property {string} [mission] of the file
 * @property {string} [timeZero] BJD of the file's time 0
 * @property {string} [periodMin] days
 * @property {string} [periodMax] days
 */

/** Why a file cannot be sent, or null. */
export function fileFault(file) {
  if (file.size > LARGEST_FILE) return `It has ${(file.size / 1e6).toFixed(1)} MB, and the service takes at most 20 MB. Cut it, or compress it with gzip.`;
  if (file.size === 0) return "It is empty.";
  return null;
}

/** The numbers of "1,14-16". Throws RangeError with words for people. */
export function readObservations(text) {
  const numbers = [];
  for (const part of (text ?? "").split(",").map((word) => word.trim()).filter(Boolean)) {
    const [, first, last = first] = /^(\d{1,4})(?:\s*[-–]\s*(\d{1,4}))?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) throw new RangeError(`“${part}” is no list of sectors: write 1,14-16.`);
    for (let one = Number(first); one <= Number(last); one++) numbers.push(one);
  }
  return numbers;
}

/** A positive number of days, or null for an empty field. Throws RangeError. */
function readDays(text, name) {
  if (!text) return null;
  const days = Number(text);
  if (!(days > 0 && Number.isFinite(days))) throw new RangeError(`The ${name} period “${text}” is no positive number of days.`);
  return days;
}

/** Throws RangeError where the question cannot be asked. */
export function check(question) {
  const [low, high] = [readDays(question.periodMin, "shortest"), readDays(question.periodMax, "longest")];
  if (low !== null && high !== null && low >= high) throw new RangeError("The shortest period must be below the longest.");
  readObservations(question.observations);
  if (!question.file && !question.target) throw new RangeError("Type the name of a star, or choose a file.");
}

/** What `ask` takes: {path, json} of a star, {path, form} of a file. */
export function request(question, extra = {}) {
  if (question.file) return { path: "/v1/score/file", form: fileForm(question, extra) };
  const observations = readObservations(question.observations);
  const [period_min, period_max] = [readDays(question.periodMin, "shortest"), readDays(question.periodMax, "longest")];
  const json = { target: question.target, observations: observations.length ? observations : null, period_min, period_max, ...extra };
  return { path: "/v1/score", json };
}

/** The fields of a file's form that were filled in, by the service's names. */
const fileFields = (question) =>
  Object.entries({ mission: question.mission, time_zero: question.timeZero, period_min: question.periodMin, period_max: question.periodMax }).filter(([, value]) => value);

function fileForm(question, extra = {}) {
  const form = new FormData();
  form.append("file", question.file, question.file.name);
  for (const [name, value] of [...fileFields(question), ...Object.entries(extra)]) form.append(name, String(value));
  return form;
}

// Address

/** #star=TIC+1234&sector=1,14-16; empty for a file, which no address can hold. */
export function toHash(question) {
  if (!question.target) return "";
  const fields = { star: question.target, sector: question.observations, pmin: question.periodMin, pmax: question.periodMax };
  const told = Object.entries(fields).filter(([, value]) => value);
  return `#${told.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%20", "+").replaceAll("%2C", ",")}`).join("&")}`;
}

/** The question of an address; null where it names no star. */
export function fromHash(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const target = fields.get("star")?.trim();
  if (!target) return null;
  return { target, observations: fields.get("sector") ?? "", periodMin: fields.get("pmin") ?? "", periodMax: fields.get("pmax") ?? "" };
}

// Commands

/** A word of a shell, whatever it holds. */
const shell = (word) => `'${word.replaceAll("'", "'\\''")}'`;

/** curl splits an unquoted file name at commas and semicolons. */
const curlFile = (name) => `file=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

/** Seconds that a command waits, the most that the service allows: then it gives a job, to be asked for later. */
const LONGEST_WAIT_S = 60;

/** The command that gets the same answer. keyed: the service asks for a key. */
export function toCurl(question, origin, keyed) {
  const parts = ["curl --fail-with-body"];
  if (keyed) parts.push('-H "Authorization: Bearer $SURVEY_API_KEY"');
  if (question.file) {
    parts.push(`-F ${shell(curlFile(question.file.name))}`);
    for (const [name, value] of [...fileFields(question), ["wait", LONGEST_WAIT_S]]) parts.push(`-F ${shell(`${name}=${value}`)}`);
    parts.push(shell(`${origin}/v1/score/file`));
  } else {
    const fields = { observations: question.observations?.replaceAll(" ", ""), period_min: question.periodMin, period_max: question.periodMax, wait: LONGEST_WAIT_S };
    const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value)).toString().replaceAll("%2C", ",");
    parts.push(shell(`${origin}/v1/score/${encodeURIComponent(question.target)}?${query}`));
  }
  return parts.join(" \\\n  ");
}

/** A JSON string is a Python string. */
const python = (value) => JSON.stringify(value).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
const pythonDict = (pairs) => `{${pairs.map(([name, value]) => `${python(name)}: ${value === null ? "None" : typeof value === "string" ? python(value) : JSON.stringify(value)}`).join(", ")}}`;

/** The program that gets the same answer. */
export function toPython(question, origin, keyed) {
  const lines = keyed ? ["import os", "import time", ""] : ["import time", ""];
  lines.push("import requests", "", `server = ${python(origin)}`, "session = requests.Session()");
  if (keyed) lines.push('session.headers["Authorization"] = "Bearer " + os.environ["SURVEY_API_KEY"]');
  lines.push("");
  if (question.file) {
    lines.push(`settings = ${pythonDict(fileFields(question))}`, `with open(${python(question.file.name)}, "rb") as file:`);
    lines.push('    answer = session.post(server + "/v1/score/file", files={"file": file}, data=settings)');
  } else {
    const told = Object.entries(request(question).json).filter(([, value]) => value !== null);
    lines.push(`question = ${pythonDict(told)}`, 'answer = session.post(server + "/v1/score", json=question)');
  }
  return [...lines, ...PYTHON_END].join("\n");
}

/** What takes long is a job, which is asked until it is done. */
const PYTHON_END = [
  "answer.raise_for_status()",
  "found = answer.json()",
  'while found.get("state") == "running":',
  "    time.sleep(2)",
  '    found = session.get(server + found["status_url"]).json()',
  'if "state" in found:',
  '    found = found["result"] or exit(found["error"])',
  "",
  'for tce in found["row"]["tces"]:',
  '    print(tce["period"], tce["depth_ppm"], tce["is_candidate"])',
];
