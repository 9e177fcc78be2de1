// The live connection: a server-sent event stream read with fetch, made anew within 300 ms when it breaks.
//
// EventSource is not used: it waits for seconds before it tries again, and it cannot notice a node that lost its power, which
// closes no connection. Here silence is noticed: after a moment without a word from the server a short question on a connection
// of its own tells whether anybody, and which process, still answers at the address.

const STREAM = "/api/v1/stream";
const PROBE = "/healthz";
const RETRY_MS = 300;
const SILENCE_MS = 1000;
const PROBE_MS = 700;
const FIRST_ATTEMPT_MS = 700;
const LONGEST_ATTEMPT_MS = 6000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Link {
  /**
   * `onStatus(status)`, `onSignedOut()`, `onState({connected, node, was, gap, missed, forgotten})`: `gap` in seconds; `missed`:
   * the lines of the cluster's history that were written meanwhile, `forgotten`: there were more that nobody knows any more.
   */
  constructor({ node, onStatus, onState, onSignedOut }) {
    this.onStatus = onStatus;
    this.onState = onState;
    this.onSignedOut = onSignedOut;
    this.node = node;
    this.lostAt = null;
    this.abort = null;
    this.stopped = false;
    /** Revision of the last thing that was heard; whichever node serves next goes on from there. */
    this.lastId = "";
    this.missed = [];
    this.forgotten = false;
  }

  /** Runs until the person is signed out. */
  async run() {
    for (const wake of ["online", "pageshow"]) addEventListener(wake, () => this.check());
    document.addEventListener("visibilitychange", () => document.hidden || this.check());
    while (!this.stopped) {
      const began = performance.now();
      try {
        await this.attempt();
      } catch {
        // What broke does not matter: the next attempt follows.
      }
      if (this.stopped) return;
      this.lose();
      await sleep(Math.max(0, RETRY_MS - (performance.now() - began)) || 20);
    }
  }

  /** One connection, from its beginning to its end. */
  async attempt() {
    this.abort = new AbortController();
    const began = performance.now();
    // Short at first, so that a packet sent into a failover is not waited for; longer then, for slow ways to the cluster.
    const away = this.lostAt === null ? LONGEST_ATTEMPT_MS : began - this.lostAt;
    const patience = Math.min(Math.max(FIRST_ATTEMPT_MS, away / 3), LONGEST_ATTEMPT_MS);
    const opening = setTimeout(() => this.abort.abort(), patience);
    let response;
    try {
      response = await fetch(STREAM, {
        headers: { Accept: "text/event-stream", ...(this.lastId ? { "Last-Event-ID": this.lastId } : {}) },
        cache: "no-store",
        credentials: "same-origin",
        signal: this.abort.signal,
      });
    } finally {
      clearTimeout(opening);
    }
    if (response.status === 401) {
      this.stopped = true;
      this.onSignedOut();
      return;
    }
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    // A slow way to the cluster must not look like silence.
    this.patience = Math.max(PROBE_MS, 3 * (performance.now() - began));
    await this.read(response);
  }

  async read(response) {
    const node = response.headers.get("X-Holdfast-Node") ?? this.node;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Events((name, data, id) => this.receive(node, name, data, id));
    this.lastWord = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - this.lastWord > SILENCE_MS) this.check();
    }, 200);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        this.lastWord = performance.now();
        parser.feed(value);
      }
    } finally {
      clearInterval(watch);
      this.abort.abort();
    }
  }

  receive(node, name, data, id) {
    if (id) this.lastId = id;
    if (name === "heartbeat") this.session = JSON.parse(data).session;
    if (name === "gap") this.forgotten = true;
    if (name === "event" && !this.connected) this.missed.push(JSON.parse(data));
    if (name !== "status") return;
    const status = JSON.parse(data);
    if (this.lostAt !== null || !this.connected) {
      const gap = this.lostAt === null ? 0 : (performance.now() - this.lostAt) / 1000;
      const was = this.node && this.node !== node ? this.node : "";
      this.node = node;
      this.lostAt = null;
      this.connected = true;
      this.onState({ connected: true, node, was, gap, missed: this.missed, forgotten: this.forgotten });
      this.missed = [];
      this.forgotten = false;
    }
    this.onStatus(status);
  }

  lose() {
    if (this.lostAt === null) this.lostAt = performance.now();
    this.connected = false;
    this.onState({ connected: false, node: this.node, was: "", gap: 0, missed: [], forgotten: false });
  }

  /** Ask on another connection whether the same process still serves the address; if not, the stream is given up at once. */
  async check() {
    if (!this.connected || this.checking) return;
    this.checking = true;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), this.patience);
    const abort = this.abort;
    try {
      const answer = await fetch(PROBE, { cache: "no-store", credentials: "same-origin", signal: stop.signal });
      const { session } = await answer.json();
      if (session === this.session) this.lastWord = performance.now();
      else abort?.abort();
    } catch {
      abort?.abort();
    } finally {
      clearTimeout(timer);
      this.checking = false;
    }
  }
}

/** Parser of the event-stream format (WHATWG HTML, section 9.2.6), as far as the server uses it. */
class Events {
  constructor(dispatch) {
    this.dispatch = dispatch;
    this.rest = "";
    this.name = "";
    this.id = "";
    this.data = [];
  }

  feed(text) {
    const lines = (this.rest + text).split(/\r\n|\n/);
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.dispatch(this.name || "message", this.data.join("\n"), this.id);
      this.name = "";
      this.data = [];
    } else if (line.startsWith("event:")) this.name = line.slice(6).trim();
    else if (line.startsWith("id:")) this.id = line.slice(3).trim();
    else if (line.startsWith("data:")) this.data.push(line.slice(5).replace(/^ /, ""));
  }
}
