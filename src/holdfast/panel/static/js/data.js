// What pages fetch besides the live picture, kept by key until the page is left.

import { load } from "./api.js";
import { requestDraw } from "./draw.js";

/** Between two loads of the same thing that are not asked for by a person, in milliseconds. */
const PAUSE_MS = 1500;

export class Shelf {
  constructor() {
    this.items = new Map();
  }

  /**
   * {value, error, loading}: at once what is known, and the page is drawn again when there is more. `loader` runs when `key`
   * is asked for the first time, and again when `token` differs from the last one (e.g. the picture's revision); meanwhile
   * the old value stays.
   */
  get(key, loader, token = "") {
    let item = this.items.get(key);
    if (!item) this.items.set(key, item = { value: undefined, error: null, loading: false, token: null, at: -Infinity });
    if (!item.loading && item.token !== token) {
      const wait = item.token === null ? 0 : PAUSE_MS - (performance.now() - item.at);
      if (wait <= 0) this.load(key, item, loader, token);
      else if (!item.timer) item.timer = setTimeout(() => { item.timer = 0; if (this.items.get(key) === item) requestDraw(); }, wait);
    }
    return item;
  }

  async load(key, item, loader, token) {
    Object.assign(item, { loading: true, token, at: performance.now() });
    try {
      const value = await loader();
      Object.assign(item, { value, error: null });
    } catch (error) {
      item.error = error;
    } finally {
      item.loading = false;
    }
    if (this.items.get(key) === item) requestDraw();
  }

  /** Load these again, all whose key begins so: after a change. */
  forget(prefix = "") {
    for (const [key, item] of this.items) if (key.startsWith(prefix)) Object.assign(item, { token: null, at: -Infinity });
    requestDraw();
  }

  clear() {
    this.items.clear();
  }
}
