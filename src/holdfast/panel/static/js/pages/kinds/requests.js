// Requests described as data: {method, path, body, query}.

import { call } from "../../api.js";

export const segment = (text) => encodeURIComponent(text);
export const segments = (text) => text.split("/").map(encodeURIComponent).join("/");

/** `dryRun`: everything is checked and nothing is done. `key`: a repetition with the same key is the same request. */
export function send({ method, path, body, query = {} }, { dryRun = false, key = "" } = {}) {
  const asked = Object.entries({ ...query, ...(dryRun ? { dry_run: true } : {}) }).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = asked.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
  const headers = key && method === "POST" && !dryRun ? { "Idempotency-Key": key } : {};
  return call(method, `/api/v1${path}${text ? `?${text}` : ""}`, body, headers);
}

export const load = (path, query) => send({ method: "GET", path, query });

/** Random, 128 bits. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
