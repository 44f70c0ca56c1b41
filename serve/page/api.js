/** The service: asks, waits where it is told to, follows jobs, and turns what went wrong into plain words. */

const KEY = "survey-api-key";
const MOST_WAITS = 8;
const FIRST_PAUSE_S = 0.4;
const LONGEST_PAUSE_S = 4;

/** What to say above the service's own words. */
const TITLES = {
  bad_file: "This file could not be read",
  unauthorized: "An API key is needed",
  forbidden: "This key may not do that",
  not_found: "Not found",
  too_large: "The file is too large",
  unsupported: "The service cannot read this",
  invalid: "This cannot be examined",
  busy: "The service is busy",
  fetch_failed: "The archive did not answer",
  not_ready: "The service is still starting",
  failed: "Something went wrong in the service",
  offline: "No answer from the service",
};

/** A request that got no result. code: of the service, or "offline"; retry: seconds after which it may be asked again. */
export class Refusal extends Error {
  constructor(code, message, { id = null, retry = null } = {}) {
    super(sentence(message));
    Object.assign(this, { name: "Refusal", code, id, retry });
  }

  get title() {
    return TITLES[this.code] ?? "That did not work";
  }
}

/** What the service says, as a sentence. */
const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;

/** The key lives as long as this tab: it goes into no address and no other storage. */
export const getKey = () => sessionStorage.getItem(KEY);
export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

/** Resolves after so many seconds; rejects at once where it is cancelled. */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const cancelled = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", cancelled);
      resolve();
    }, 1000 * seconds);
    if (signal?.aborted) cancelled();
    signal?.addEventListener("abort", cancelled, { once: true });
  });
}

/** What a proxy's errors mean, which have no words of the service. */
const CODES = { 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large", 429: "busy", 502: "not_ready", 503: "not_ready" };

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  // A star that failed is answered with its row, whose error is a text.
  const { code, message, request_id: id } = typeof body.error === "string" ? { code: body.status, message: body.error } : (body.error ?? {});
  const words = message ?? `The service answered with status ${response.status}. Try again; if it stays so, tell whoever runs it.`;
  return new Refusal(code ?? CODES[response.status] ?? "failed", words, {
    id: id ?? response.headers.get("X-Request-ID"),
    retry: Number(response.headers.get("Retry-After")) || null,
  });
}

/**
 * One answer. A busy or starting service is asked again when it says so.
 * @param {string} path
 * @param {{json?: object, form?: FormData, signal?: AbortSignal, tell?: (words: string) => void}} question
 * @returns {Promise<Response>} of 200 or 202; throws Refusal
 */
export async function ask(path, { json, form, signal, tell } = {}) {
  const headers = getKey() ? { Authorization: `Bearer ${getKey()}` } : {};
  if (json) headers["Content-Type"] = "application/json";
  const request = { method: json || form ? "POST" : "GET", headers, body: json ? JSON.stringify(json) : form, signal, cache: "no-store" };
  for (let waits = 0; ; waits++) {
    let response;
    try {
      response = await fetch(path, request);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Refusal("offline", "Check that you are online and that the service runs, then try again.");
    }
    if (response.ok) return response;
    const refused = await refusal(response);
    if (!["busy", "not_ready"].includes(refused.code) || waits === MOST_WAITS) throw refused;
    await countDown(refused, signal, tell);
  }
}

/** Waits as long as the service asks, and says so every second. */
async function countDown(refused, signal, tell) {
  for (let left = Math.ceil(refused.retry ?? 2); left > 0; left--) {
    tell?.(`${refused.title}: asking again in ${left} s`);
    await pause(1, signal);
  }
}

/**
 * What may take long: an answer, or the result of the job that the service made of it.
 * @param {{json?: object, form?: FormData, signal?: AbortSignal, tell?: (words: string) => void,
 *          stage?: (job: {stage: string | null, seconds: number}) => void}} question
 */
export async function askLong(path, question) {
  const response = await ask(path, question);
  return response.status === 202 ? follow(await response.json(), question) : answerOf(response);
}

const answerOf = (response) => (response.headers.get("Content-Type")?.startsWith("image/") ? response.blob() : response.json());

/** Asks a job for its state, ever less often, until it is done. */
async function follow(job, { signal, tell, stage }) {
  const path = `/v1/jobs/${encodeURIComponent(job.id)}`;
  for (let wait = FIRST_PAUSE_S; ; wait = Math.min(1.4 * wait, LONGEST_PAUSE_S)) {
    stage?.(job);
    await pause(wait, signal);
    job = await (await ask(path, { signal, tell })).json();
    if (job.state === "failed") throw new Refusal(job.code ?? "failed", job.error ?? "The work failed. Try again.", { id: job.id });
    if (job.state === "done") return job.result ?? answerOf(await ask(`${path}/result`, { signal, tell }));
  }
}
