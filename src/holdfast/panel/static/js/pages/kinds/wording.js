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

/** "100 GiB" is written "100GiB" in inputs. */
export const sizeInput = (bytes) => bytesText(bytes).replace(" ", "");

export const coresText = (cores) => `${cores} ${cores === 1 ? "core" : "cores"}`;

export const listText = (names, none = "none") => (names.length ? names.join(", ") : none);

/** "a", "a and b", "a, b and c" */
export const andText = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);
