// Zones, servers that are updated, secondaries, names.

import { load, segment } from "../../api.js";
import { copyBox } from "../../copy.js";
import { h } from "../../dom.js";
import * as check from "../../form/checks.js";
import { confirmLoss } from "../../form/confirm.js";
import { openForm } from "../../form/form.js";
import { present } from "../../form/present.js";

/** What is published, and why. */
export const dns = (ctx) => ctx.data("dns", () => load("/dns"), ctx.status.revision);

/** A name and the instance that has it, as one id: names hold no space. */
export const nameKey = (name, instance) => `${name} ${instance}`;

const ALGORITHMS = ["hmac-sha256", "hmac-sha384", "hmac-sha512"].map((name) => [name, name]);

const key = (required, when = null) => [
  { name: "key_name", label: "Name of the key", required, when, placeholder: "holdfast-key", blame: /name of a key/i, hint: "The same on both sides." },
  { name: "algorithm", label: "Algorithm", type: "select", value: "hmac-sha256", options: ALGORITHMS, when, blame: /algorithm/i, hint: "The same on both sides." },
  { name: "secret", label: "Secret of the key", type: "secret", required, when, must: check.base64, blame: /secret/i, hint: "Base64, as `tsig-keygen` prints it. Stored encrypted, shown nowhere." },
];
const ttl = { name: "ttl_s", label: "Time to live, in seconds", type: "number", required: true, value: "5", must: check.all(check.whole, check.between(1, 86400)), blame: /TTL/, hint: "How long clients may remember an address. Short, so that they leave a dead gateway soon." };
const keyOf = (values) => ({ name: values.key_name, secret: values.secret, algorithm: values.algorithm });

/** 256 bits, as a TSIG key has them. */
const madeUp = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));

/** The page draws itself from the picture; what is asked for beside it must be asked again. */
const refreshed = (ctx) => () => ctx.forget("dns");

export const DNS_ACTIONS = {
  "dns-zone-create": (_id, ctx) => openForm({
    title: "New zone", text: ["Every management node answers for it from then on. Clients find it once the zone above delegates it: what to write there is shown afterwards."],
    fields: [
      { name: "apex", label: "Name", required: true, placeholder: "cloud.example.com", must: check.domain, blame: /zone|name/i, hint: "The names of services lie below it." },
      { section: "More", advanced: true, fields: [
        { name: "network", label: "Network of the name servers", type: "select", options: [["", "public, or management where there is none"], ...ctx.status.cluster.networks.map((network) => [network.name, network.name])], blame: /network/i, hint: "Whose addresses clients are told." },
        ttl,
        { name: "minimum_s", label: "Absence is remembered for, in seconds", type: "number", required: true, value: "5", must: check.all(check.whole, check.between(1, 86400)), blame: /absence/i, hint: "How long clients may remember that there is no such name." },
        { name: "hostmaster", label: "Mail address", placeholder: "hostmaster@cloud.example.com", must: (text) => (/^\S+@\S+\.\S+$/.test(text) ? "" : "Write it like hostmaster@cloud.example.com."), blame: /mail/i, hint: "Of who cares for it. Empty: hostmaster@ and the zone." },
        { name: "servers", label: "Further name servers", type: "lines", must: check.each(check.domain), blame: /name server/i, hint: "Your secondaries, by name." }] }],
    confirm: "Create zone",
    request: (values) => ({ method: "POST", path: "/dns/zones", body: { ...values, ttl_s: Number(values.ttl_s), minimum_s: Number(values.minimum_s) } }),
    done: refreshed(ctx),
  }, ctx),
  "dns-zone-delete": (apex, ctx) => confirmLoss({
    title: `Delete the zone ${apex}`, lost: ["No server of Holdfast's answers for its names any more: clients find nothing under them."], stays: ["The services themselves, at their addresses.", "The delegation in the zone above: take it out there."],
    type: apex, confirm: "Delete zone", request: () => ({ method: "DELETE", path: `/dns/zones/${segment(apex)}` }), done: refreshed(ctx),
  }, ctx),
  "dns-delegation": (apex, ctx) => {
    const zone = dns(ctx).value?.zones.find((one) => one.zone.apex === apex);
    const servers = Object.entries(zone?.servers ?? {});
    const lines = [...servers.map(([name]) => `${apex}.  NS  ${name}.`), ...servers.flatMap(([name, addresses]) => addresses.map((address) => `${name}.  ${address.includes(":") ? "AAAA" : "A"}  ${address}`))];
    return present({ title: `Delegation of ${apex}`, wide: true, content: h("div", { class: "copy-boxes" }, h("p", {}, "Write this into the zone above. Without one, point your resolver to these addresses for this name."), copyBox("Records", lines.join("\n") || "The zone is not published yet: look again in a moment.")) });
  },
  "dns-target-add": (_id, ctx) => openForm({
    title: "Update a server of yours", text: ["The names of a zone on your own server are kept right by updates (RFC 2136), signed with a key that you make there."],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "office", must: check.name, blame: /update target/i, hint: "What you call it here." },
      { name: "server", label: "Address of the server", required: true, placeholder: "192.0.2.53", must: check.ip, blame: /IP address|updates/i, hint: "Of the primary server of the zone." },
      { name: "port", label: "Port", type: "number", required: true, value: "53", must: check.all(check.whole, check.between(1, 65535)), blame: /port/i, hint: "53, unless it listens elsewhere." },
      { name: "zone", label: "Zone", required: true, placeholder: "example.com", must: check.domain, blame: /zone/i, hint: "Names that lie in it are kept there." }, ttl, ...key(true)],
    confirm: "Add",
    request: (values) => ({ method: "POST", path: "/dns/update-targets", body: { name: values.name, server: values.server, port: Number(values.port), zone: values.zone, ttl_s: Number(values.ttl_s), key: keyOf(values) } }),
    done: refreshed(ctx),
  }, ctx),
  "dns-target-remove": (name, ctx) => confirmLoss({
    title: `Update ${name} no more`, lost: ["Its records are not kept right any more."], stays: ["What was written there: remove it there."], confirm: "Remove", request: () => ({ method: "DELETE", path: `/dns/update-targets/${segment(name)}` }), done: refreshed(ctx),
  }, ctx),
  "dns-secondary-add": (_id, ctx) => {
    const made = madeUp();
    const named = (values) => values.signed !== "none";
    return openForm({
      title: "Add a secondary", text: ["It may copy all zones, and is told of each change by every management node."],
      fields: [
        { name: "name", label: "Name", required: true, placeholder: "office", must: check.name, blame: /secondary/i, hint: "What you call it here." },
        { name: "addresses", label: "Addresses", type: "lines", required: true, placeholder: "192.0.2.53", must: check.each(check.prefix), blame: /address|prefix/i, hint: "From where it copies: addresses or prefixes." },
        { name: "notify", label: "Tell of changes", type: "lines", must: check.each(check.endpoint), blame: /port/i, hint: "ADDRESS or ADDRESS:PORT. Empty: its single addresses." },
        { name: "signed", label: "Key", type: "choice", options: [["made", "A new key", "Made now, and shown once."], ["own", "A key of yours", ""], ["none", "None", "Everybody who can use its address can copy the zones."]], hint: "What it must know to copy." },
        { ...key(true, named)[0] }, { ...key(true, named)[1] }, { ...key(true, (values) => values.signed === "own")[2] }],
      confirm: "Add",
      request: (values) => ({ method: "POST", path: "/dns/secondaries", body: { name: values.name, addresses: values.addresses, notify: values.notify, key: named(values) ? { ...keyOf(values), secret: values.signed === "made" ? made : values.secret } : null } }),
      secretTitle: "Key of the secondary", secrets: (_result, values) => (values.signed === "made" ? [["Name", values.key_name], ["Secret", made]] : []),
      done: refreshed(ctx),
    }, ctx);
  },
  "dns-secondary-remove": (name, ctx) => confirmLoss({ title: `Remove the secondary ${name}`, lost: ["It may not copy the zones any more, and is not told of changes."], confirm: "Remove", request: () => ({ method: "DELETE", path: `/dns/secondaries/${segment(name)}` }), done: refreshed(ctx) }, ctx),
  "dns-name-add": (_id, ctx) => openForm({
    title: "Give a name", text: ["Clients find the address of a service under it. Gateways have the names of their cluster."],
    fields: [
      { name: "instance", label: "Service", type: "select", options: ctx.status.instances.filter((one) => one.address && one.exclusivity !== "everywhere" && one.kind !== "s3").map((one) => [one.id, `${one.id}, ${one.address}`]), blame: /address of its own|instance/i, hint: "It keeps its address wherever it runs." },
      { name: "name", label: "Name", required: true, placeholder: "vol1.cloud.example.com", must: check.domain, blame: /name/i, hint: "In a zone of Holdfast's, or of a server that is updated." }],
    confirm: "Give it this name", request: (body) => ({ method: "POST", path: "/dns/names", body }), done: refreshed(ctx),
  }, ctx),
  "dns-name-remove": (id, ctx) => {
    const [name, instance] = id.split(" ");
    return openForm({ title: `Take ${name} away from ${instance}`, tone: "danger", text: ["Clients that use the name find nothing under it; the address stays."], confirm: "Take it away", request: () => ({ method: "DELETE", path: `/dns/names/${segment(name)}`, query: { instance } }), done: refreshed(ctx) }, ctx);
  },
  "dns-test": (_id, ctx) => openForm({
    title: "Test names", text: ["Asks every name server of Holdfast's, and looks whether the world is led to them. It takes a few seconds."],
    fields: [{ name: "resolver", label: "Resolver", value: ctx.local.test?.resolver ?? "", placeholder: "192.0.2.1", must: check.ip, blame: /resolver|IP/i, hint: "Whom to ask for the delegation. Empty: the one that this node uses." }],
    confirm: "Test",
    request: ({ resolver }) => ({ method: "GET", path: "/dns/test", query: { resolver } }),
    done: (found, { resolver }) => {
      ctx.local.test = { resolver, found };
      ctx.redraw();
    },
  }, ctx),
};
