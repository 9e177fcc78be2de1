// Requests described as data: {method, path, body, query}.

import { call, path as segments } from "../../api.js";

export { segments };
export const segment = encodeURIComponent;

/** `terms`: see `call` of api.js. */
export function send({ method, path, body, query = {} }, terms = {}) {
  const asked = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = asked.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
  return call(method, `/api/v1${path}${text ? `?${text}` : ""}`, body, terms);
}

export const load = (path, query) => send({ method: "GET", path, query });
