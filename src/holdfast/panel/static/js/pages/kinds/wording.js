// Values as they stand in forms.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** As it is written in inputs, exact to the byte: 107374182400 → "100GiB", 1153433600 → "1100MiB". */
export function sizeInput(bytes) {
  let power = 0;
  while (power < UNITS.length - 1 && bytes > 0 && bytes % 1024 ** (power + 1) === 0) power += 1;
  return `${bytes / 1024 ** power}${UNITS[power]}`;
}

export const listText = (names, none = "none") => (names.length ? names.join(", ") : none);

/** What of `wanted` differs from `before`: only that is sent, so that the history tells what was changed. */
export const changed = (wanted, before) =>
  Object.fromEntries(Object.entries(wanted).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));

/** The network where clients usually are, of those that there are. */
export const clientNetwork = (ctx) => (ctx.status.cluster.networks.find((one) => one.name === "public") ?? ctx.status.cluster.networks[0])?.name ?? "";
