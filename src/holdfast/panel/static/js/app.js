// The page: one picture of the cluster, drawn anew whenever the server sends another one.

import { ACTIONS } from "./actions.js";
import { api } from "./api.js";
import { render } from "./dom.js";
import { elapsedText, eventsView, openIncidentsView, pastIncidentsView, sizePhases } from "./incidents.js";
import { instancesView } from "./instances.js";
import { Link } from "./link.js";
import { Moves, nodesView, positions, travel } from "./nodes.js";
import { bannersView, connectionView, leaderView, summaryView } from "./overview.js";

const MOVED_BANNER_MS = 30000;

const root = document.documentElement;
const part = (id) => document.getElementById(id);

let status = null;
let link = { connected: false, node: root.dataset.node, everConnected: false };
let followed = null;
/** incident id → when this page learned of its last step (performance.now) */
const ages = new Map();
const stepsSeen = new Map();
const moves = new Moves();

function onStatus(next) {
  for (const incident of next.open_incidents) {
    if (stepsSeen.get(incident.id) !== incident.steps.length) {
      stepsSeen.set(incident.id, incident.steps.length);
      ages.set(incident.id, performance.now());
    }
  }
  const before = positions(part("nodes"));
  const moved = moves.observe(next);
  status = next;
  draw();
  travel(part("nodes"), before, moved);
}

function onState(next) {
  link = { ...next, everConnected: link.everConnected || next.connected };
  if (next.connected && next.was) {
    followed = next;
    setTimeout(() => {
      if (followed === next) followed = null;
      drawHead();
    }, MOVED_BANNER_MS);
  }
  if (next.connected) part("announce").textContent = next.was ? `Now served by ${next.node}, was ${next.was}` : "Connected";
  else if (link.everConnected) part("announce").textContent = "Reconnecting";
  drawHead();
  root.classList.toggle("stale", link.everConnected && !next.connected);
}

function drawHead() {
  render(part("connection"), connectionView(link));
  render(part("banners"), bannersView(status, link, followed));
}

function draw() {
  drawHead();
  document.title = title();
  part("cluster").textContent = status.cluster.name;
  render(part("leader"), leaderView(status));
  render(part("summary"), summaryView(status));
  render(part("incidents"), openIncidentsView(status, ages));
  render(part("nodes"), nodesView(status, link, moves));
  render(part("instances"), instancesView(status, moves));
  render(part("past"), pastIncidentsView(status, ages));
  render(part("events"), eventsView(status));
  sizePhases(document);
  root.classList.add("ready");
}

function title() {
  const open = status.open_incidents.map((incident) => incident.node);
  return `${open.length ? `⚠ ${open.join(", ")} failed · ` : ""}${status.cluster.name} · Holdfast`;
}

function tickElapsed() {
  if (!link.connected) return;
  for (const element of document.querySelectorAll("[data-elapsed]")) {
    const incident = status.open_incidents.find((one) => one.id === element.dataset.elapsed);
    if (incident) element.textContent = elapsedText(incident, ages);
  }
}

function toggleTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  try {
    localStorage.setItem("holdfast-theme", next);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

const OWN_ACTIONS = {
  theme: toggleTheme,
  dismiss: () => {
    followed = null;
    drawHead();
  },
  logout: async () => {
    await api.logout().catch(() => null);
    location.assign("/login");
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  const { action, id } = button.dataset;
  if (OWN_ACTIONS[action]) OWN_ACTIONS[action]();
  else if (status) ACTIONS[action]?.(id, status);
});

setInterval(() => status?.open_incidents.length && tickElapsed(), 97);
drawHead();
new Link({ node: link.node, onStatus, onState, onSignedOut: () => location.assign("/login?expired") }).run();
