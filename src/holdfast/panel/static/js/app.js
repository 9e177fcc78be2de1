// The shell: one live picture of the cluster, one page at a time that is drawn from it, and what stands around the page.

import { Announcer } from "./announce.js";
import { api } from "./api.js";
import { Shelf } from "./data.js";
import { h, render } from "./dom.js";
import { onDraw, requestDraw } from "./draw.js";
import { bannersView, connectionView, leaderView, userView } from "./head.js";
import { Ages, sizePhases } from "./incidents.js";
import { Link } from "./link.js";
import { Moves } from "./moves.js";
import { barView, navView } from "./nav.js";
import * as router from "./router.js";
import { ACTIONS } from "./service_actions.js";
import { problemView, waitingView } from "./states.js";
import "./tasks.js";

const MOVED_BANNER_MS = 60000;

const root = document.documentElement;
const part = (id) => document.getElementById(id);

const shelf = new Shelf();
const moves = new Moves();
const ages = new Ages();
const announcer = new Announcer((text) => { part("announce").textContent = text; });
let status = null;
let link = { connected: false, node: root.dataset.node, everConnected: false };
let followed = null;
let user = null;
/** {path, query, params, page, error, local} of what is open; `page` is null while it is loaded. */
let open = { path: "", query: {}, params: {}, page: null, error: null, local: {} };

/** What a page gets to work with (docs/panel.md). */
function context() {
  return {
    status, api, link, moves, ages, user,
    params: open.params,
    query: open.query,
    /** Kept as long as the page is open; a page may put here what it likes. */
    local: open.local,
    go: (hash) => { location.hash = hash; },
    data: (key, loader, token) => shelf.get(key, loader, token),
    forget: (prefix) => shelf.forget(prefix),
    redraw: requestDraw,
    may,
  };
}

/** Whether the person may do what needs the permission `operate` or `administer`; the API has the last word. */
const may = (permission) => !user?.permissions || user.permissions.includes(permission);

// --- the live picture ---

function onStatus(next) {
  ages.observe(next);
  announcer.observe(next);
  const before = context();
  open.page?.beforeDraw?.(part("page"), before);
  moves.observe(next);
  status = next;
  draw();
}

function onState(next) {
  link = { ...next, everConnected: link.everConnected || next.connected };
  if (next.connected && (next.was || (next.missed.length > 0 && next.gap > 0))) {
    followed = next;
    const mine = followed;
    setTimeout(() => {
      if (followed === mine) dismiss();
    }, MOVED_BANNER_MS);
  }
  if (next.connected) part("announce").textContent = next.was ? `Now served by ${next.node}, was ${next.was}` : "Connected";
  else if (link.everConnected) part("announce").textContent = "Reconnecting";
  drawHead();
  root.classList.toggle("stale", link.everConnected && !next.connected);
}

function dismiss() {
  followed = null;
  drawHead();
}

// --- drawing ---

function drawHead() {
  render(part("connection"), connectionView(link));
  render(part("banners"), bannersView(status, link, followed));
  render(part("user"), userView(user));
}

function drawAround() {
  render(part("nav"), navView(status, open.path, may));
  render(part("bar"), barView(status, open.path, may));
}

function draw() {
  drawHead();
  drawAround();
  if (status) {
    part("cluster").textContent = status.cluster.name;
    render(part("leader"), leaderView(status));
  }
  const ctx = context();
  try {
    drawPage(ctx);
    sizePhases(document);
    open.page?.afterDraw?.(part("page"), ctx);
  } catch (error) {
    reportError(error); // a mistake of one page must not look like a connection that broke
    drawError(error);
  }
  if (status) root.classList.add("ready");
}

function drawPage(ctx) {
  const { page, error } = open;
  const title = page ? page.title(open.params, ctx) : "";
  document.title = titleOf(title);
  part("page").dataset.page = open.path.split("/")[0] || "overview";
  if (error) return drawError(error);
  if (!page || !status) return render(part("page"), waitingView());
  const tools = page.tools?.(ctx) ?? [];
  return render(part("page"),
    page.crumbs && h("nav", { class: "crumbs", "aria-label": "Above this page", "data-key": "crumbs" },
      page.crumbs(open.params, ctx).map(([words, hash]) => h("a", { href: hash }, words))),
    h("div", { class: "page-head", "data-key": "page-head" },
      h("h1", {}, title),
      page.mark?.(ctx),
      h("div", { class: "tools" }, tools),
      page.lead && h("p", { class: "lead" }, page.lead(ctx))),
    page.view(ctx));
}

const drawError = (error) => render(part("page"), h("div", { class: "page-head" }, h("h1", {}, "Nothing here")), problemView(error, "This page cannot be shown"));

function titleOf(page) {
  const failed = (status?.open_incidents ?? []).map((incident) => incident.node);
  const parts = [page, status?.cluster.name ?? root.dataset.cluster, "Holdfast"].filter(Boolean);
  return `${failed.length ? `⚠ ${failed.join(", ")} failed · ` : ""}${parts.join(" · ")}`;
}

// --- going from page to page ---

async function navigate({ first = false } = {}) {
  const { path, query } = router.parse(location.hash);
  const found = router.match(path);
  open.page?.leave?.();
  shelf.clear();
  const next = open = { path, query, params: found?.params ?? {}, page: null, error: null, local: {} };
  if (part("menu").open) part("menu").close();
  part("page").replaceChildren();
  try {
    if (!found) throw Object.assign(new Error(`There is no page ${path}`), { advice: "Choose one from the navigation." });
    const page = await router.load(found.entry);
    if (next !== open) return;
    next.page = page;
  } catch (error) {
    if (next !== open) return;
    next.error = error;
  }
  next.page?.enter?.(context());
  draw();
  if (!first) {
    scrollTo(0, 0);
    part("main").focus({ preventScroll: true });
  }
}

// --- what people press ---

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
  /** The address of the link is no page's. */
  skip: (_id, _ctx, event) => {
    event.preventDefault();
    part("main").focus();
  },
  theme: toggleTheme,
  dismiss,
  menu: () => {
    render(part("menu-entries"), navView(status, open.path, may));
    part("menu").showModal();
  },
  "close-menu": () => part("menu").close(),
  reload: () => { shelf.forget(); },
  logout: async () => {
    await api.logout().catch(() => null);
    location.assign("/login");
  },
};

/** An action is looked up at the page, then among those that every page offers. */
function act(name, id, event) {
  const action = OWN_ACTIONS[name] ?? open.page?.actions?.[name] ?? (status && ACTIONS[name]);
  return action?.(id, context(), event);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button && !button.disabled) act(button.dataset.action, button.dataset.id, event);
});
for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    const name = event.target.dataset?.[`on${kind === "input" ? "Input" : "Change"}`];
    if (name) act(name, event.target.dataset.id, event);
  });
}

addEventListener("hashchange", () => navigate());
addEventListener("resize", requestDraw);
onDraw(draw);
setInterval(() => link.connected && ages.tick(status), 97);
drawHead();
drawAround();
navigate({ first: true });
api.me().then((answer) => { user = answer; requestDraw(); }, () => null);
(globalThis.requestIdleCallback ?? setTimeout)(() => router.prefetch());
new Link({ node: link.node, onStatus, onState, onSignedOut: () => location.assign("/login?expired") }).run();
