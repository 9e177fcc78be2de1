// Networks, who has which address on them, and the names under which clients find addresses.

import { h, icon, pill, prose } from "../dom.js";
import { buttons, dim, facts, mono, rowButtons, section, sectionButtons } from "../parts.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { clockTime } from "../words.js";
import { dns, DNS_ACTIONS, nameKey } from "./kinds/dns_forms.js";
import { emptyKind } from "./kinds/parts.js";
import { listText } from "./kinds/wording.js";

const yes = (words) => pill({ tone: "ok", icon: "check", label: words });
const no = (words, tone = "warn") => pill({ tone, icon: tone === "bad" ? "cross" : "alert", label: words });

/** Every address that is spoken for on a network. */
function owners(ctx, network) {
  const nodes = ctx.status.nodes.filter((node) => node.addresses[network]).map((node) => ({ address: node.addresses[network], owner: node.id, what: "node", where: node.id, href: `#/nodes/${node.id}` }));
  const services = ctx.status.instances.filter((one) => one.address && one.network === network).map((one) => ({ address: one.address, owner: one.id, what: "service address", where: one.node, href: null }));
  const order = new Intl.Collator("en", { numeric: true });
  return [...nodes, ...services].sort((one, other) => order.compare(one.address, other.address));
}

const pools = (ctx, network) => [
  ...ctx.status.kinds.filter((kind) => kind.config.network === network && kind.config.addresses).map((kind) => `${kind.kind.toUpperCase()}: ${listText(kind.config.addresses)}`),
  ...ctx.status.backup_clusters.filter((one) => one.network === network && one.pool.length).map((one) => `backup/${one.name}: ${listText(one.pool)}`)];

function networkView(ctx, network) {
  const found = owners(ctx, network.name);
  return section(`network-${network.name}`, `Network ${network.name}`, { note: `${network.cidrs.join(", ")}${network.bridge ? `, guests by the bridge ${network.bridge}` : ""}` },
    pools(ctx, network.name).length > 0 && facts([["Kept for services", h("ul", {}, pools(ctx, network.name).map((text) => h("li", {}, text)))]]),
    table(`Addresses on ${network.name}`, [
      ["Address", (one) => h("span", { class: "address name" }, one.address)], ["Belongs to", (one) => (one.href ? h("a", { href: one.href }, one.owner) : one.owner)],
      ["As", (one) => one.what], ["Now on", (one) => one.where || dim("no node")],
    ], found, { key: (one) => `${one.address}-${one.owner}`, empty: "Nobody has an address on it." }));
}

function namesView(ctx, found) {
  return section("names", "Names", { note: "What clients are told, and why each address is in or out.", tools: sectionButtons(ctx, [{ action: "dns-name-add", words: "Give a name…" }]) },
    facts([["Serial", found.serial || ""], ["Changed", found.changed && clockTime(found.changed)]]),
    table("Names", [
      ["Name", (one) => [h("span", { class: "name" }, one.name), h("small", { class: "dim" }, one.zone ? `zone ${one.zone}` : one.targets.length ? `updates ${listText(one.targets)}` : "in no zone: nobody answers for it")]],
      ["Addresses", (one) => h("ul", { class: "candidates" }, one.candidates.map((candidate) => h("li", {},
        one.published.includes(candidate.address) ? yes("in") : no("out", "idle"), " ", h("span", { class: "address" }, candidate.address), dim(` ${candidate.instance}, ${candidate.why}`))), one.candidates.length === 0 && listText(one.published))],
    ], found.names, { key: (one) => one.name, empty: "No service has a name yet. S3 and backup clusters bring theirs; any other address can be given one.",
      actions: (one) => { const ordinary = one.candidates.find((candidate) => !/^(s3|backup)\//.test(candidate.instance)); return ordinary ? rowButtons(ctx, nameKey(one.name, ordinary.instance), [{ action: "dns-name-remove", words: "Take away…" }]) : null; } }));
}

function zonesView(ctx, found) {
  if (!found.zones.length && !found.update_targets.length) {
    return emptyKind(ctx, {
      picture: "network", title: "No names are kept yet",
      text: "Clients find gateways by name. Let Holdfast keep a zone, which every management node then answers for, or have it update a server of yours.",
      needs: [[true, "a domain whose parent zone you can delegate, or a resolver that you can point to the management nodes"]], action: { action: "dns-zone-create", words: "New zone", may: "administer" },
    });
  }
  return [
    section("zones", "Zones of Holdfast's", { note: "Every management node answers for them." }, table("Zones", [
      ["Zone", (one) => h("span", { class: "name" }, one.zone.apex)],
      ["Name servers", (one) => h("ul", {}, Object.entries(one.servers).map(([name, addresses]) => h("li", {}, mono(name), dim(` ${listText(addresses)}`))), one.zone.servers?.map((name) => h("li", {}, mono(name), dim(" yours"))))],
      ["TTL", (one) => `${one.zone.ttl_s} s`], ["Network", (one) => one.zone.network],
    ], found.zones, { key: (one) => one.zone.apex, empty: "There is none.", actions: (one) => rowButtons(ctx, one.zone.apex, [{ action: "dns-delegation", words: "Delegation", may: "read" }, { action: "dns-zone-delete", words: "Delete…", tone: "danger", may: "administer" }]) })),
    section("targets", "Servers that are updated", { note: "Yours, by RFC 2136.", tools: sectionButtons(ctx, [{ action: "dns-target-add", words: "Add a server…", may: "administer" }]) }, table("Update targets", [
      ["Target", (one) => [h("span", { class: "name" }, one.name), h("small", { class: "dim" }, `${one.server} port ${one.port}`)]], ["Zone", (one) => one.zone],
      ["State", (one) => targetState(one.state)], ["Key", (one) => `${one.key}, ${one.algorithm}`],
    ], found.update_targets, { key: (one) => one.name, empty: "There is none.", actions: (one) => rowButtons(ctx, one.name, [{ action: "dns-target-remove", words: "Remove…", tone: "danger", may: "administer" }]) })),
    section("secondaries", "Secondaries", { note: "Servers of yours that may copy the zones, and answer when all of ours are away.", tools: sectionButtons(ctx, [{ action: "dns-secondary-add", words: "Add a secondary…", may: "administer" }]) }, table("Secondaries", [
      ["Secondary", (one) => h("span", { class: "name" }, one.name)], ["Addresses", (one) => listText(one.addresses)], ["Told of changes", (one) => listText(one.notify)],
      ["Key", (one) => one.key || h("span", { class: "trouble tone-warn" }, "none: the address alone decides")],
    ], found.secondaries, { key: (one) => one.name, empty: "There is none.", actions: (one) => rowButtons(ctx, one.name, [{ action: "dns-secondary-remove", words: "Remove…", tone: "danger", may: "administer" }]) })),
  ];
}

function targetState(state) {
  if (state.error) return [no("Failing", "bad"), h("small", { class: "trouble tone-bad" }, state.error)];
  return state.serial ? [yes("Up to date"), h("small", { class: "dim" }, `serial ${state.serial}`)] : pill({ tone: "idle", icon: "clock", label: "Nothing sent yet" });
}

function testView(ctx) {
  const { test } = ctx.local;
  if (!test) return null;
  const zones = Object.entries(test.found);
  return section("test", "Test", { note: "What each name server and the world answered.", tools: sectionButtons(ctx, [{ action: "dns-test", words: "Test again", may: "read" }]) },
    zones.length === 0 ? h("p", { class: "none" }, "There is no zone to test.")
      : zones.map(([zone, findings]) => h("div", { class: "findings", "data-key": zone }, h("h3", {}, zone),
        h("ul", {}, findings.map((one) => h("li", { class: `tone-${one.ok ? "ok" : "bad"}` }, icon(one.ok ? "check" : "cross"), h("span", {}, h("b", {}, one.where), " ", dim(one.check), " ", prose(one.text))))))));
}

export const page = {
  title: () => "Networks and names",
  lead: () => "Which addresses there are and who has them, and the names under which clients find services. Nobody edits a record: names follow what happens.",
  tools: (ctx) => buttons(ctx, [{ action: "dns-test", words: "Test names", may: "read" }, { action: "dns-target-add", words: "Update a server…", may: "administer" }, { action: "dns-zone-create", words: "New zone", tone: "primary", picture: "plus", may: "administer" }]),
  view: (ctx) => [
    testView(ctx),
    whenLoaded(dns(ctx), (found) => [zonesView(ctx, found), namesView(ctx, found)]),
    ctx.status.cluster.networks.map((network) => networkView(ctx, network)),
  ],
  actions: DNS_ACTIONS,
};
