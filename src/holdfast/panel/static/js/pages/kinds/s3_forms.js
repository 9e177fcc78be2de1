// S3 clusters: create, nodes, users with their keys, delete.

import { segment } from "../../api.js";
import * as check from "../../form/checks.js";
import { confirmLoss } from "../../form/confirm.js";
import { openForm } from "../../form/form.js";
import { to } from "../../router.js";
import { clientNetwork, listText } from "./wording.js";

const HA = "From three nodes on, and with a highly available admin panel: name and object servers of a dead node start on the others with their addresses; gateways are found by name, and a survivor answers at a dead one's address.";

const cluster = (ctx, name) => ctx.status.s3_clusters.find((one) => one.name === name);
const at = (name, rest = "") => `/s3/clusters/${segment(name)}${rest}`;
/** Users are told apart by "CLUSTER/USER". */
export const userKey = (name, user) => `${name}/${user}`;
const parts = (id) => [id.slice(0, id.indexOf("/")), id.slice(id.indexOf("/") + 1)];
const userAt = (id, rest = "") => at(parts(id)[0], `/users/${segment(parts(id)[1])}${rest}`);
const keys = (result) => (result.data?.secret_key ? [["Access key", result.data.access_key], ["Secret key", result.data.secret_key]] : []);

const addresses = [
  { name: "gateway_addresses", label: "Addresses of gateways", type: "lines", placeholder: "10.78.0.151-10.78.0.159", must: check.each(check.range), blame: /--gateway-addresses/, hint: "One is taken for each node, single ones or FIRST-LAST. Empty: the last free ones of the clients' network." },
  { name: "server_addresses", label: "Addresses of servers", type: "lines", placeholder: "10.77.0.151-10.77.0.189", must: check.each(check.range), blame: /--server-addresses/, hint: "One is taken for each name and object server. Empty: the last free ones of the servers' network." },
];

const servers = (words) => [
  { name: "name_servers", label: "Name servers", type: "number", must: check.all(check.whole, check.between(0, 64)), blame: /name.server/i, hint: `They know which buckets and objects there are. ${words}` },
  { name: "object_servers", label: "Object servers", type: "number", must: check.all(check.whole, check.between(0, 64)), blame: /object.server/i, hint: `They keep the objects. ${words}` },
];

const nodes = (ctx, but, value, hint) => ({
  name: "nodes", label: "Nodes", type: "several", required: true, value, hint, blame: /node/i, none: "All nodes of the cluster are in it.",
  options: ctx.status.nodes.filter((node) => !but.includes(node.id)).map((node) => [node.id, node.id, node.state === "up" ? Object.keys(node.addresses).join(", ") : node.state]),
});

const servingNetworks = (ctx) => ctx.status.cluster.networks.map((network) => [network.name, `${network.name} (${network.cidrs.join(", ")})`]);
const numbers = (values) => ({ name_servers: Number(values.name_servers || 0), object_servers: Number(values.object_servers || 0) });

export const S3_ACTIONS = {
  "s3-create": (_id, ctx) => openForm({
    title: "New S3 cluster", wide: true, ha: HA,
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "main", must: check.all(check.name, check.fresh(ctx.status.s3_clusters.map((one) => one.name), "an S3 cluster")), blame: /name of a cluster|exists already|being deleted|former cluster/i, hint: "Small letters, digits and hyphens. Its objects lie on the shared storage under this name." },
      { name: "domain", label: "Domain", required: true, placeholder: "s3.example.lan", must: check.domain, blame: /domain|host name|is a name of/i, hint: "Clients find the gateways under it, and under BUCKET.DOMAIN. In a zone of Holdfast's it is kept right by itself." },
      nodes(ctx, [], ctx.status.nodes.filter((node) => node.state === "up").map((node) => node.id), "Three at least for high availability. They get the role `s3`, and a gateway each."),
      ...addresses,
      { section: "More", advanced: true, fields: [
        { name: "network", label: "Network of clients", type: "select", value: clientNetwork(ctx), options: servingNetworks(ctx), blame: /--network/i, hint: "Where gateways listen." },
        { name: "server_network", label: "Network of servers", type: "select", options: [["", "storage, or management where there is none"], ...servingNetworks(ctx)], blame: /--server-network/i, hint: "Where name and object servers listen. They ask nobody who he is: not where clients are." },
        ...servers("Empty: by the number of nodes, so that the load stays even when one fails."),
        { name: "region", label: "Region", value: "us-east-1", hint: "What clients sign for." }] }],
    confirm: "Create S3 cluster", effect: "asked", force: "body",
    request: (values) => ({ method: "POST", path: "/s3/clusters", body: { ...values, ...numbers(values) } }),
    next: (_result, values) => to("s3", values.name),
  }, ctx),

  "s3-nodes-add": (name, ctx) => openForm({
    title: `Add nodes to ${name}`, wide: true,
    text: ["They get a gateway each, and servers move to them until all nodes have as many. No object is copied."],
    fields: [nodes(ctx, cluster(ctx, name).nodes, [], "They see the shared storage."), ...addresses,
      { section: "More servers", advanced: true, fields: servers("So many from now on, in all; they cannot be taken away again. Empty: as many as there are.") }],
    confirm: "Add", effect: "asked", force: "body",
    request: (values) => ({ method: "POST", path: at(name, "/nodes"), body: { ...values, ...numbers(values) } }),
  }, ctx),

  "s3-node-release": (id, ctx) => {
    const [name, node] = parts(id);
    return confirmLoss({
      title: `Release ${node} from ${name}`, lost: [`Clients of the gateway on ${node} are cut off, and find another one.`, "Requests for what its servers keep are answered with 503 while these move."],
      stays: ["Every object: its servers move to the other nodes with all they keep."], confirm: "Release", effect: "typing", force: "query",
      request: () => ({ method: "DELETE", path: at(name, `/nodes/${segment(node)}`) }),
    }, ctx);
  },

  "s3-rebalance": (name, ctx) => openForm({
    title: `Rebalance ${name}`, text: ["Evens out how many of its servers each node carries. Each move interrupts one server for a second or two."],
    fields: [{ name: "limit", label: "Moves at most", type: "number", value: "20", required: true, must: check.all(check.whole, check.between(1, 1000)), hint: "The best ones are made first." }],
    confirm: "Rebalance", effect: "typing", force: "body",
    request: ({ limit }) => ({ method: "POST", path: at(name, "/rebalance"), body: { limit: Number(limit) } }),
  }, ctx),

  "s3-delete": (name, ctx) => confirmLoss({
    title: `Delete the S3 cluster ${name}`,
    lost: ["All its clients lose their access for ever.", `Its users and their keys are forgotten: ${listText(cluster(ctx, name).users.map((user) => user.name), "it has none")}.`, "No other S3 cluster can serve its objects."],
    stays: [`The files take up room in \`${ctx.status.cluster.shared_root}/s3/${name}\` until somebody removes them.`],
    type: name, confirm: "Delete S3 cluster",
    request: () => ({ method: "DELETE", path: at(name), query: { yes: true } }), next: () => "#/s3",
  }, ctx),

  "s3-user-create": (name, ctx) => openForm({
    title: `New user of ${name}`, text: ["The user gets an access key. Its secret is shown once."],
    fields: [{ name: "name", label: "Name", required: true, placeholder: "alice", must: check.all(check.name, check.fresh(cluster(ctx, name).users.map((user) => user.name), "a user")), blame: /user|name/i, hint: "Small letters, digits and hyphens." }],
    confirm: "Create user", secretTitle: "Keys of the new user", secrets: keys,
    request: (body) => ({ method: "POST", path: at(name, "/users"), body }),
  }, ctx),

  "s3-user-rotate": (id, ctx) => openForm({
    title: `New key for ${parts(id)[1]}`, text: ["What the user owns stays the user's. The new secret is shown once."],
    fields: [{ name: "keep", label: "The old keys work on", type: "switch", value: false, hint: "Until the next rotation without this. Off: clients with an old key are refused within two seconds." }],
    confirm: "Make a new key", secretTitle: `New key of ${parts(id)[1]}`, secrets: keys,
    request: (body) => ({ method: "POST", path: userAt(id, "/rotate"), body }),
  }, ctx),

  "s3-user-disable": (id, ctx) => openForm({ title: `Disable ${parts(id)[1]}`, tone: "danger", text: ["All its keys are refused within two seconds. Buckets and objects stay as they are."], confirm: "Disable", request: () => ({ method: "POST", path: userAt(id, "/disable") }) }, ctx),
  "s3-user-enable": (id, ctx) => openForm({ title: `Enable ${parts(id)[1]}`, text: ["Its keys are accepted again."], confirm: "Enable", request: () => ({ method: "POST", path: userAt(id, "/enable") }) }, ctx),
  "s3-user-delete": (id, ctx) => confirmLoss({
    title: `Delete the user ${parts(id)[1]}`, lost: ["Its keys are forgotten.", "Nobody can reach what it owns, unless others were given access to it: not even a new user of the same name."], stays: ["Its buckets and objects take up room in the cluster. To keep them reachable, disable the user instead."],
    type: parts(id)[1], confirm: "Delete user", request: () => ({ method: "DELETE", path: userAt(id), query: { yes: true } }),
  }, ctx),
};
