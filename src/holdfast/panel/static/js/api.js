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

const ROOT = "/api/v1";

/**
 * A request described as data: {method, path, body, query} (of a query what is empty is
 * left out, and of a list each goes by itself), answered as JSON. Throws Problem, also when nothing answers. `terms`:
 * `dryRun` (nothing is changed; the answer says what would be), `key` (the same key, the same change: it is carried out once
 * however often it is sent).
 */
export async function send({ method = "GET", path, body, query = {} }, terms = {}) {
  let response;
  try {
    response = await fetch(addressOf(path, query, terms), {
      method,
      cache: "no-store",
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(method === "GET" ? {} : { "X-Holdfast-Request": "1" }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(terms.key ? { "Idempotency-Key": terms.key } : {}),
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

function addressOf(path, query, { dryRun = false }) {
  const wishes = Object.entries({ ...query, ...(dryRun ? { dry_run: true } : {}) }).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const text = new URLSearchParams(wishes.filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString();
  return `${ROOT}${path}${text ? `?${text}` : ""}`;
}

async function problemOf(response) {
  const raw = await response.json().catch(() => ({}));
  // `detail` is the sentence for people; `title` only names the sort of error.
  const text = raw.detail || raw.title || `the request failed with HTTP status ${response.status}`;
  return new Problem(response.status, capital(text), raw.advice ?? "", raw);
}

/** A name as part of a path. */
export const segment = encodeURIComponent;

/** An id as part of a path; its slashes stay. */
export const segments = (id) => id.split("/").map(segment).join("/");

export const load = (path, query) => send({ path, query });

/** What a list has, whether it comes in leaves ({items, next}) or whole. */
export const list = (path, query) => load(path, query).then((answer) => (Array.isArray(answer) ? answer : answer.items));

/** Calls that the shell makes. */
export const api = {
  login: (name, password) => send({ method: "POST", path: "/login", body: { name, password } }),
  logout: () => send({ method: "POST", path: "/logout" }),
  /** Who is signed in, and what they may do. */
  me: () => load("/me"),
  task: (id) => load(`/tasks/${segments(id)}`),
  cancelTask: (id) => send({ method: "POST", path: `/tasks/${segments(id)}/cancel` }),
};
