// States as people read them: a tone (colour), an icon and words, always together. Formatting of times.

const NODE = {
  up: { tone: "ok", icon: "check", label: "Up" },
  joining: { tone: "busy", icon: "busy", label: "Joining" },
  suspect: { tone: "warn", icon: "question", label: "Suspect" },
  claimed: { tone: "bad", icon: "skull", label: "Dead, claimed" },
  released: { tone: "idle", icon: "power", label: "Shut down" },
  maintenance: { tone: "busy", icon: "pause", label: "Maintenance" },
  quarantined: { tone: "warn", icon: "alert", label: "Quarantined" },
  "never-seen": { tone: "idle", icon: "question", label: "Never seen" },
  "would-fail": { tone: "bad", icon: "skull", label: "Fails" },
};

const INSTANCE = {
  starting: { tone: "busy", icon: "busy", label: "Starting" },
  running: { tone: "ok", icon: "check", label: "Running" },
  unhealthy: { tone: "warn", icon: "alert", label: "Not answering" },
  stopping: { tone: "busy", icon: "busy", label: "Stopping" },
  stopped: { tone: "idle", icon: "pause", label: "Stopped" },
  failed: { tone: "bad", icon: "cross", label: "Failed" },
  unplaced: { tone: "warn", icon: "clock", label: "Waiting for a node" },
  unknown: { tone: "warn", icon: "question", label: "Unknown" },
  // What would become of it (what-if).
  "would-go": { tone: "busy", icon: "move", label: "Would start here" },
  "would-make-room": { tone: "busy", icon: "move", label: "Moved to make room" },
  "would-stop": { tone: "warn", icon: "pause", label: "Would be stopped" },
  "would-end": { tone: "idle", icon: "cross", label: "Ends with its node" },
  "no-room": { tone: "bad", icon: "cross", label: "Does not fit" },
};

export const PROOFS = {
  P1: { label: "Power off, verified", text: "The power was switched off by a fence device and read back as off." },
  P2: { label: "Rebooted", text: "The same machine registered again with a new boot; nothing of the old one runs." },
  P3: { label: "Released by the node", text: "The node itself confirmed that everything had stopped." },
  P4: { label: "Watchdog time-out", text: "The attested watchdog must have reset the node: it was silent long enough." },
  P5: { label: "Confirmed by an operator", text: "An operator confirmed that the node is dead." },
  P6: { label: "Evicted at the storage", text: "The storage refuses the node, verified." },
};

const STEP = {
  missed: { tone: "warn", icon: "question", label: "Beat missed" },
  suspect: { tone: "warn", icon: "eye", label: "Suspect" },
  fencing: { tone: "warn", icon: "plug", label: "Fencing" },
  "proven-dead": { tone: "bad", icon: "skull", label: "Proven dead" },
  claimed: { tone: "bad", icon: "shield", label: "Claimed" },
  placed: { tone: "busy", icon: "move", label: "Placed" },
  started: { tone: "busy", icon: "busy", label: "Started" },
  recovered: { tone: "ok", icon: "check", label: "Recovered" },
  waiting: { tone: "warn", icon: "clock", label: "Waiting" },
  closed: { tone: "ok", icon: "flag", label: "Closed" },
};

const SEVERITY = {
  info: { tone: "idle", icon: "info", label: "Info" },
  warning: { tone: "warn", icon: "alert", label: "Warning" },
  error: { tone: "bad", icon: "cross", label: "Error" },
};

/** The role that a node needs for it. */
export const KIND_ROLE = { panel: "management", vm: "compute", nfs: "storage", iscsi: "storage", s3: "s3", backup: "backup" };
const ROLES = { management: "management", compute: "compute", storage: "storage", s3: "S3", backup: "backup" };
const KINDS = { panel: "Admin panel", vm: "VM", iscsi: "iSCSI", s3: "S3", backup: "Backup gateway", nfs: "NFS volume" };
const strange = (word) => ({ tone: "idle", icon: "question", label: word });

export const nodeLook = (state) => NODE[state] ?? strange(state);
export const stepLook = (name) => STEP[name] ?? strange(name);
export const severityLook = (severity) => SEVERITY[severity] ?? SEVERITY.info;
export const roleWord = (role) => ROLES[role] ?? role;
export const kindWord = (kind) => KINDS[kind] ?? kind;
export const kindIcon = (kind) => (kind in KINDS ? kind : "node");

export function instanceLook(instance) {
  if (instance.state === "running" && !instance.healthy) return INSTANCE.unhealthy;
  return INSTANCE[instance.state] ?? strange(instance.state);
}

/** 0.4123 → "412 ms", 12.3456 → "12.35 s", 75 → "1 min 15 s". */
export function duration(seconds) {
  const ms = Math.round(seconds * 1000);
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Offset within an incident, to the millisecond: 1.5 → "+1.500 s". */
export const offset = (seconds) => `+${seconds.toFixed(3)} s`;

/** ISO 8601 UTC → time of day where the reader is; with the date unless it is today. */
export function clockTime(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const time = date.toLocaleTimeString([], { hour12: false });
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}

/** All of a moment: day, second and zone. */
export function wholeTime(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString([], { dateStyle: "full", timeStyle: "long" });
}

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 107374182400 → "100 GiB" */
export function bytes(number) {
  if (!number) return "0 B";
  const power = Math.min(Math.floor(Math.log2(number) / 10), UNITS.length - 1);
  return `${round(number / 1024 ** power)} ${UNITS[power]}`;
}

/** 1536 → "1.5 GiB", 512 → "512 MiB". */
export const memory = (mib) => bytes(mib * 1024 ** 2);
export const cores = (number) => `${round(number)} ${number === 1 ? "core" : "cores"}`;
const round = (number) => Number(number.toFixed(number >= 100 ? 0 : number >= 10 ? 1 : 2)).toLocaleString("en");

/** ["a", "b", "c"] → "a, b and c"; more than `most` are counted. */
export function listed(names, most = 6) {
  const shown = names.length > most ? [...names.slice(0, most - 1), `${names.length - most + 1} more`] : names;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/** A sentence begins with a capital letter, unless it begins with an id ("nfs/home is …", "n2 failed"). */
export const capital = (text) => (/^[a-z]+(?![\w/-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

/** With a capital letter and a full stop. */
export const sentence = (text) => `${capital(text)}${/[.!?…]$/.test(text) ? "" : "."}`;
export const KIND_ORDER = ["panel", "vm", "nfs", "iscsi", "s3", "backup"];
