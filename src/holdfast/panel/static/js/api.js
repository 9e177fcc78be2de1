// Calls to the HTTP API. Errors arrive as problem details (RFC 9457) and are thrown as Problem.

import { capital } from "./words.js";

export class Problem extends Error {
  constructor(status, text, advice = "", members = {}) {
    super(text);
    this.status = status;
    /** what happened, to what */
    this.text = text;
    /** what to do next */
    this.advice = advice;
    /** everything the API sent, e.g. `worst` and `unplaced` where the guarantee would be broken */
    this.members = members;
  }
}

/**
 * `fetch` with a JSON body and answer. Throws Problem, also when nothing answers. `terms`: `dryRun` (nothing is changed; the
 * answer says what would be), `force` (also where the guarantee is broken then), `key` (the same key, the same change: it is
 * carried out once however often it is sent), `match` (an ETag: only if nobody has changed it meanwhile).
 */
export async function call(method, path, body = undefined, terms = {}) {
  let response;
  try {
    response = await fetch(withTerms(path, terms), {
      method,
      cache: "no-store",
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(method === "GET" ? {} : { "X-Holdfast-Request": "1" }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(terms.key ? { "Idempotency-Key": terms.key } : {}),
        ...(terms.match ? { "If-Match": terms.match } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "The connection broke, and it is not known whether the request was carried out",
      "Wait until the page is connected again, look, and repeat it if needed.");
  }
  if (response.ok) return response.status === 204 ? null : response.json().catch(() => null);
  throw await problemOf(response);
}

function withTerms(path, { dryRun = false, force = false }) {
  const wishes = [dryRun && "dry_run=true", force && "force=true"].filter(Boolean).join("&");
  return wishes ? `${path}${path.includes("?") ? "&" : "?"}${wishes}` : path;
}

async function problemOf(response) {
  const raw = await response.json().catch(() => ({}));
  // `detail` is the sentence for people; `title` only names the sort of error.
  const text = raw.detail || raw.title || `the request failed with HTTP status ${response.status}`;
  return new Problem(response.status, capital(text), raw.advice ?? "", raw);
}

/** An id as part of a path; its slashes stay. */
export const path = (text) => text.split("/").map(encodeURIComponent).join("/");

/** What a list answered, whether it comes in leaves ({items, next}) or whole. */
export const items = (answer) => (Array.isArray(answer) ? answer : answer.items);

/** Calls that several pages make. */
export const api = {
  login: (name, password) => call("POST", "/api/v1/login", { name, password }),
  /** Who is signed in, and what they may do. */
  me: () => call("GET", "/api/v1/me"),
  task: (id) => call("GET", `/api/v1/tasks/${path(id)}`),
  cancelTask: (id) => call("POST", `/api/v1/tasks/${path(id)}/cancel`),
  logout: () => call("POST", "/api/v1/logout"),
  start: (service) => call("POST", `/api/v1/services/${path(service)}/start`),
  stop: (service, terms) => call("POST", `/api/v1/services/${path(service)}/stop`, undefined, terms),
  move: (instance, node, live, terms) => call("POST", `/api/v1/instances/${path(instance)}/move`, { node, live }, terms),
  confirmDead: (node, reason) => call("POST", `/api/v1/nodes/${path(node)}/confirm-dead`, { reason, yes: true }),
  /** What a wrong word would corrupt, or why it is refused, as one sentence; writes nothing. */
  deathWarning: (node) => call("POST", `/api/v1/nodes/${path(node)}/confirm-dead`, { yes: false }).then(() => "", (problem) => problem.text),
};
