// What can be said of an input without asking the server. Each check: (text) → what is wrong with it, "" if nothing.
// The server checks everything again; these only answer sooner, in the same words.

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/;
const IQN = /^iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[a-z0-9.:_-]+)?$/;
const EUI = /^eui\.[0-9A-F]{16}$/;
const NAA = /^naa\.([0-9A-F]{16}|[0-9A-F]{32})$/;
const SIZE = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i;
const POWERS = { "": 0, K: 1, M: 2, G: 3, T: 4, P: 5 };

/** All of them, the first that complains decides. */
export const all = (...checks) => (text) => checks.map((check) => check(text)).find(Boolean) ?? "";

/** Nothing is said of an empty input: whether it may be empty is the field's `required`. */
const optional = (check) => (text) => (text === "" ? "" : check(text));

/** What has this form; `words` say which. */
export const matching = (pattern, words) => optional((text) => (pattern.test(text) ? "" : words));

export const name = optional((text) =>
  NAME.test(text) ? "" : "Use small letters, digits and hyphens, with a letter or digit first and last.");

/** Not one of those that exist. */
export const fresh = (known, what) => optional((text) => (known.includes(text) ? `There is ${what} \`${text}\` already.` : ""));

export const exactly = (wanted) => (text) => (text === wanted ? "" : `Type exactly ${wanted}.`);

/** "100GiB" → bytes; NaN if it is no size. A bare number counts `unit`s ("", "M", "G"). */
export function bytes(text, unit = "") {
  const match = SIZE.exec(text.trim());
  if (!match) return NaN;
  const power = match[2].toUpperCase() || (/b$/i.test(text.trim()) ? "" : unit);
  return Math.floor(Number(match[1]) * 1024 ** POWERS[power]);
}

export const size = optional((text) => (bytes(text) > 0 ? "" : "Write it like 100GiB."));

export const memory = optional((text) => (bytes(text, "M") >= 16 * 1024 ** 2 ? "" : "Write it like 2GiB; 16MiB at least."));

/** Bytes of a disk must fit blocks of 512. */
export const diskSize = all(size, optional((text) => (bytes(text) % 512 === 0 ? "" : "Use a multiple of 512 bytes.")));

export const between = (low, high) => optional((text) => {
  const number = Number(text);
  return Number.isFinite(number) && number >= low && number <= high ? "" : `Choose ${low} to ${high}.`;
});

export const whole = optional((text) => (/^\d+$/.test(text) ? "" : "Use a whole number."));

export function isIp(text) {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four) return four.slice(1).every((part) => Number(part) < 256 && String(Number(part)) === part);
  if (!/^[0-9a-f:]+(\d+\.\d+\.\d+\.\d+)?$/i.test(text) || !text.includes(":") || text.split("::").length > 2 || /:::/.test(text)) return false;
  const groups = text.split("::").flatMap((half) => half.split(":").filter(Boolean));
  return groups.every((group) => group.length <= 4 || isIp(group)) && (text.includes("::") ? groups.length < 8 : groups.length === 8);
}

export const ip = optional((text) => (isIp(text) ? "" : "Write an address like 10.78.0.101 or fd78::101."));

/** `IP` or `FIRST-LAST`. */
export const range = optional((text) => {
  const [first, last, more] = text.split("-").map((part) => part.trim());
  const fine = more === undefined && isIp(first) && (last === undefined || isIp(last));
  return fine ? "" : `Write \`${text}\` as an address, or as FIRST-LAST.`;
});

/** `ADDRESS[:PORT]` or `[IPV6]:PORT`. */
export const endpoint = optional((text) => {
  const six = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  const [address, port] = six ? six.slice(1) : text.split(":").length === 2 ? text.split(":") : [text];
  return isIp(address) && (port === undefined || (/^\d+$/.test(port) && Number(port) > 0 && Number(port) < 65536))
    ? "" : `Write \`${text}\` as ADDRESS or ADDRESS:PORT.`;
});

/** An address, or a prefix like 192.0.2.0/28. */
export const prefix = optional((text) => {
  const [address, length, more] = text.split("/");
  const fine = more === undefined && isIp(address) && (length === undefined || (/^\d+$/.test(length) && Number(length) <= (address.includes(":") ? 128 : 32)));
  return fine ? "" : `Write \`${text}\` as an address or a prefix, like 10.78.0.0/24.`;
});

/** Each item of a list. */
export const each = (check) => (items) => items.map(check).find(Boolean) ?? "";

export const domain = optional((text) => {
  const labels = text.toLowerCase().replace(/\.$/, "").split(".");
  return labels.length > 1 && text.length <= 200 && labels.every((label) => LABEL.test(label))
    ? "" : "Write a fully qualified name, like s3.example.lan.";
});

export const initiator = optional((text) =>
  IQN.test(text) || EUI.test(text) || NAA.test(text) ? "" : `Write \`${text}\` like iqn.2026-01.com.example:name, in small letters.`);

export const chapSecret = optional((text) =>
  /^[!-+\--~]{12,64}$/.test(text) ? "" : "Use 12 to 64 characters without spaces and commas.");

export const path = optional((text) => (text.startsWith("/") && !text.split("/").includes("..") ? "" : "Write the whole path, beginning with /."));

export const base64 = optional((text) =>
  /^[A-Za-z0-9+/]+={0,2}$/.test(text) && text.length % 4 === 0 && text.length >= 12 ? "" : "Paste the key's secret as it is: Base64.");

export const pem = (what) => optional((text) => (text.includes(`-----BEGIN`) && text.includes(what) ? "" : `Paste the text from -----BEGIN … to -----END …${what}-----.`));

/** As many nodes as it takes. */
export const atLeast = (count, why) => (nodes) => (nodes.length >= count ? "" : `Choose at least ${count}: ${why}`);
