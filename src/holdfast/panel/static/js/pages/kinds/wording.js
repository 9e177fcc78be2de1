// Numbers as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 107374182400 → "100 GiB" */
export function bytesText(bytes) {
  if (!bytes) return "0 B";
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${Number.isInteger(value) ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[power]}`;
}

export const memoryText = (mib) => bytesText(mib * 1024 ** 2);

/** As it is written in inputs, exact to the byte: 107374182400 → "100GiB", 1153433600 → "1100MiB". */
export function sizeInput(bytes) {
  let power = 0;
  while (power < UNITS.length - 1 && bytes > 0 && bytes % 1024 ** (power + 1) === 0) power += 1;
  return `${bytes / 1024 ** power}${UNITS[power]}`;
}

export const coresText = (cores) => `${cores} ${cores === 1 ? "core" : "cores"}`;

export const listText = (names, none = "none") => (names.length ? names.join(", ") : none);

/** "a", "a and b", "a, b and c" */
export const andText = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

/** What of `wanted` differs from `before`: only that is sent, so that the history tells what was changed. */
export const changed = (wanted, before) =>
  Object.fromEntries(Object.entries(wanted).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));

/** The network where clients usually are, of those that there are. */
export const clientNetwork = (ctx) => (ctx.status.cluster.networks.find((one) => one.name === "public") ?? ctx.status.cluster.networks[0])?.name ?? "";
