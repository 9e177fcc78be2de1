// Backup clusters: create with each back-end, nodes, settings, users with their passwords, delete.

import { segment } from "../../api.js";
import * as check from "../../form/checks.js";
import { confirmLoss } from "../../form/confirm.js";
import { openForm } from "../../form/form.js";
import { to } from "../../router.js";
import { clientNetwork, listText } from "./wording.js";

const HA = "From two nodes on: clients find the gateways by name, and another node takes a dead one's address, so that its clients are told at once and go on elsewhere.";
const USER = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
const RESERVED = ["config", "data", "index", "keys", "locks", "snapshots"];

const cluster = (ctx, name) => ctx.status.backup_clusters.find((one) => one.name === name);
const at = (name, rest = "") => `/backup/clusters/${segment(name)}${rest}`;
const parts = (id) => [id.slice(0, id.indexOf("/")), id.slice(id.indexOf("/") + 1)];
const userAt = (id, rest = "") => at(parts(id)[0], `/users/${segment(parts(id)[1])}${rest}`);
const password = (result) => (result.data?.password ? [["User", result.data.user], ["Password", result.data.password]] : []);

const place = /back-end|no back-end|needs|bucket|mount|directory|answer/i;

/** What opens each kind of back-end; `is(values)`: whether it is the one. */
function secretsOf(kind, is) {
  return {
    local: [],
    nfs: [{ name: "nfs_options", label: "Mount options", when: is, placeholder: "vers=4.2,hard,timeo=50,retrans=2", blame: /option/i, hint: "Empty: good ones. Leave them unless the server needs others." }],
    s3: [
      { name: "access_key", label: "Access key", required: true, when: is, blame: /access_key|credential/i, hint: "Of a user who may read, write and delete in the bucket." },
      { name: "secret_key", label: "Secret key", type: "secret", required: true, when: is, blame: /secret_key/i, hint: "Stored encrypted, shown nowhere." },
      { name: "region", label: "Region", when: is, placeholder: "us-east-1", blame: /region/i, hint: "What requests are signed for." },
      { name: "s3_ca", label: "Certificate of its authority", type: "area", file: ".pem,.crt", when: is, must: check.pem("CERTIFICATE"), blame: /\bca\b|certificate/i, hint: "PEM. Empty: the authorities that the system trusts." }],
    sftp: [
      { name: "host_key", label: "Key of the server", type: "area", rows: 2, required: true, when: is, placeholder: "ssh-ed25519 AAAA…", must: (text) => (/^(ssh-|ecdsa-)\S+ \S+/.test(text) ? "" : "Paste what `ssh-keyscan` prints after the host's name: `ssh-ed25519 AAAA…`."), blame: /host.key/i, hint: "As `ssh-keyscan HOST` prints it after the host's name. No other server is believed." },
      { name: "private_key", label: "Private key", type: "area", file: ".pem,.key,*", when: is, must: check.pem("KEY"), blame: /private_key/i, hint: "OpenSSH or PEM. Stored encrypted, shown nowhere. Or a password:" },
      { name: "ssh_password", label: "Password", type: "secret", when: is, must: (_text, values) => (values.private_key ? "Give the key or the password, not both." : ""), blame: /password|login|authenti/i, hint: "Where there is no key. Stored encrypted, shown nowhere." }],
  }[kind];
}

function credentials(kind, values) {
  const given = {
    local: {}, nfs: { options: values.nfs_options },
    s3: { access_key: values.access_key, secret_key: values.secret_key, region: values.region, ca: values.s3_ca },
    sftp: { host_key: values.host_key, private_key: values.private_key, password: values.ssh_password },
  }[kind];
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

const FORMS = {
  local: [/^\/[\w/.+:@-]+$/, "Write a directory below the shared storage, like /shared/backup.", (text) => `local:${text}`],
  nfs: [/^[^/\s]+:\/\S+$/, "Write it like nas.example.lan:/export/backup.", (text) => `nfs:${text}`],
  s3: [/^https?:\/\/[^/\s]+\/[a-z0-9][a-z0-9.-]+/, "Write it like https://s3.example.lan/bucket/prefix.", (text) => `s3:${text}`],
  sftp: [/^[\w.-]+@[^:/\s]+(:\d+)?(:?\/\S+)$/, "Write it like backup@nas.example.lan:/srv/backup.", (text) => (/@[^/:]+:\d+\//.test(text) ? `sftp://${text}` : `sftp:${text}`)],
};

const places = (ctx) => [
  ["local", "Directory", `${ctx.status.cluster.shared_root}/backup`, "A directory of its own on the shared storage."],
  ["nfs", "NFS export", "nas.example.lan:/export/backup", "HOST:/PATH of an NFS 4.2 server; each gateway mounts it."],
  ["s3", "Bucket", "https://s3.example.lan/backup", "https://HOST[:PORT]/BUCKET[/PREFIX]; the bucket must exist."],
  ["sftp", "Account and directory", "backup@nas.example.lan:/srv/backup", "USER@HOST:/PATH of an OpenSSH server."],
].flatMap(([kind, label, placeholder, hint]) => {
  const is = (values) => values.backend === kind;
  return [{ name: `place_${kind}`, label, required: true, placeholder, hint, when: is, must: (text) => (FORMS[kind][0].test(text) ? "" : FORMS[kind][1]), blame: place }, ...secretsOf(kind, is)];
});

const certificate = [
  { name: "certificate", label: "Certificate", type: "area", file: ".pem,.crt", must: check.pem("CERTIFICATE"), blame: /certificate/i, hint: "Your own for the domain, PEM. Empty: one of the cluster's authority, which clients are then given." },
  { name: "certificate_key", label: "Key of the certificate", type: "area", file: ".pem,.key", must: check.pem("KEY"), blame: /\bkey\b/i, hint: "PEM. Stored encrypted, shown nowhere." },
];

const nodes = (ctx, but, value, hint) => ({
  name: "nodes", label: "Nodes", type: "several", required: true, value, hint, blame: /node/i, none: "All nodes of the cluster are in it.",
  options: ctx.status.nodes.filter((node) => !but.includes(node.id)).map((node) => [node.id, node.id, node.addresses[clientNetwork(ctx)] ?? node.state]),
});

const range = { name: "addresses", label: "Addresses of gateways", type: "lines", placeholder: "10.78.0.171-10.78.0.179", must: check.each(check.range), blame: /address/i, hint: "One is taken for each node, single ones or FIRST-LAST. Empty: the last free ones of the network." };
const appendOnly = (value, more = "") => ({ name: "append_only", label: "Append-only", type: "switch", value, hint: `What was stored cannot be deleted or changed, so a machine that was broken into cannot destroy its backups.${more}` });

const create = (_id, ctx) => openForm({
  title: "New backup cluster", wide: true, ha: HA,
  fields: [
    { name: "name", label: "Name", required: true, placeholder: "vault", must: check.all(check.name, check.fresh(ctx.status.backup_clusters.map((one) => one.name), "a backup cluster")), blame: /name of a backup cluster|exists already|being deleted/i, hint: "Small letters, digits and hyphens." },
    { name: "domain", label: "Domain", required: true, placeholder: "backup.example.lan", must: check.domain, blame: /domain|is a name of/i, hint: "Clients find the gateways under it. In a zone of Holdfast's it is kept right by itself." },
    nodes(ctx, [], ctx.status.nodes.filter((node) => node.state === "up" && node.addresses[clientNetwork(ctx)]).map((node) => node.id), "Two at least for high availability. They get the role `backup`, and a gateway each."),
    range,
    { section: "Back-end", note: "Where the backups lie. It is tried out before anything is made: something is written and read there.", fields: [
      { name: "backend", label: "It is", type: "choice", options: [["local", "The shared storage", "A directory that all nodes see."], ["nfs", "An NFS server", "Of yours, outside of the cluster."], ["s3", "A bucket", "Of any S3 storage."], ["sftp", "An SFTP server", "Over SSH."]], hint: "All gateways use the same." },
      ...places(ctx)] },
    appendOnly(false, " Ends with a change of the cluster, for a prune."),
    { section: "More", advanced: true, fields: [
      { name: "port", label: "Port", type: "number", value: "8000", must: check.all(check.whole, check.between(1, 65535)), blame: /port/i, hint: "Where the gateways listen; 8000 is what restic's own server uses." },
      { name: "network", label: "Network", type: "select", value: clientNetwork(ctx), options: ctx.status.cluster.networks.map((network) => [network.name, `${network.name} (${network.cidrs.join(", ")})`]), blame: /network/i, hint: "Where the clients are." },
      ...certificate] }],
  confirm: "Create backup cluster", effect: "asked",
  request: (values) => ({ method: "POST", path: "/backup/clusters", body: {
    name: values.name, domain: values.domain, nodes: values.nodes, addresses: values.addresses, network: values.network, port: Number(values.port || 8000), append_only: values.append_only,
    backend: FORMS[values.backend][2](values[`place_${values.backend}`]), credentials: credentials(values.backend, values), certificate: values.certificate, certificate_key: values.certificate_key } }),
  next: (_result, values) => to("backup", values.name),
}, ctx);

function change(name, ctx) {
  const one = cluster(ctx, name);
  const kind = one.backend.split(":")[0];
  const fresh = secretsOf(kind, (values) => values.renew);
  return openForm({
    title: `Change ${name}`, wide: true, text: ["The gateways take it over within seconds; clients repeat what came too late."],
    fields: [appendOnly(one.append_only),
      fresh.length > 0 && { name: "renew", label: "Replace what opens the back-end", type: "switch", value: false, hint: "It is tried out first. What is there now is shown nowhere." }, ...fresh,
      { section: "Certificate", advanced: true, fields: certificate }],
    confirm: "Save",
    request: (values) => ({ method: "PATCH", path: at(name), body: {
      append_only: values.append_only, ...(values.renew ? { credentials: credentials(kind, values) } : {}),
      ...(values.certificate ? { certificate: values.certificate, certificate_key: values.certificate_key } : {}) } }),
  }, ctx);
}

export const BACKUP_ACTIONS = {
  "backup-create": create,
  "backup-change": change,
  "backup-nodes-add": (name, ctx) => openForm({
    title: `Add nodes to ${name}`, text: ["They get a gateway each."], fields: [nodes(ctx, Object.keys(cluster(ctx, name).addresses), [], "They must reach the back-end."), { ...range, hint: "More than the cluster has. Empty: its own are enough." }],
    confirm: "Add", effect: "asked", request: (body) => ({ method: "POST", path: at(name, "/nodes"), body }),
  }, ctx),
  "backup-node-release": (id, ctx) => {
    const [name, node] = parts(id);
    return confirmLoss({
      title: `Release ${node} from ${name}`, lost: [`The gateway of ${node} is stopped and forgotten; its clients are cut off, and find another one.`], stays: ["Everything that was backed up."], confirm: "Release",
      request: () => ({ method: "DELETE", path: at(name, `/nodes/${segment(node)}`) }),
    }, ctx);
  },
  "backup-delete": (name, ctx) => confirmLoss({
    title: `Delete the backup cluster ${name}`,
    lost: ["Its gateways are stopped, and clients lose them.", `Its users and their passwords are forgotten: ${listText(cluster(ctx, name).users.map((user) => user.name), "it has none")}.`],
    stays: [`What was backed up stays in \`${cluster(ctx, name).backend}\`.`], type: name, confirm: "Delete backup cluster",
    request: () => ({ method: "DELETE", path: at(name), query: { yes: true } }), next: () => "#/backup",
  }, ctx),
  "backup-user-create": (name, ctx) => openForm({
    title: `New user of ${name}`, text: ["Best one for each machine that is backed up. The password is shown once."],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "web-1", blame: /name|user/i, hint: "Small letters, digits, dots, hyphens and underscores. Its repositories are below /NAME/.",
        must: check.all((text) => (USER.test(text) ? "" : "Use small letters, digits, dots, hyphens and underscores, a letter or digit first and last."), (text) => (RESERVED.includes(text) ? "This word has a meaning of its own in the protocol." : ""), check.fresh(cluster(ctx, name).users.map((user) => user.name), "a user")) },
      appendOnly(false)],
    confirm: "Create user", secretTitle: "Password of the new user", secrets: password, request: (body) => ({ method: "POST", path: at(name, "/users"), body }),
    next: () => to("backup", name),
  }, ctx),
  "backup-user-rotate": (id, ctx) => openForm({
    title: `New password for ${parts(id)[1]}`, text: ["The old one is refused within seconds. Its repositories, with their own keys, stay as they are. The new password is shown once."],
    confirm: "Make a new password", secretTitle: `New password of ${parts(id)[1]}`, secrets: password, request: () => ({ method: "POST", path: userAt(id, "/rotate") }),
  }, ctx),
  "backup-user-change": (id, ctx) => openForm({
    title: `Change ${parts(id)[1]}`, fields: [appendOnly(cluster(ctx, parts(id)[0]).users.find((user) => user.name === parts(id)[1]).append_only)],
    confirm: "Save", request: (body) => ({ method: "PATCH", path: userAt(id), body }),
  }, ctx),
  "backup-user-delete": (id, ctx) => confirmLoss({
    title: `Delete the user ${parts(id)[1]}`, lost: ["It is refused within seconds."], stays: ["Its repositories. A later user of the same name will have them."],
    type: parts(id)[1], confirm: "Delete user", request: () => ({ method: "DELETE", path: userAt(id) }),
  }, ctx),
};
