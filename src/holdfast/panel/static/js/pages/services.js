// All services and their instances: where each runs, at which address, in which state, and why.

import { h } from "../dom.js";
import { instancesView } from "../instances.js";

export const page = {
  title: () => "All services",
  lead: () => "Every instance of every kind: where it runs, and why there. Its name leads to the whole explanation.",
  tools: (ctx) => (ctx.may("operate") ? [h("button", { type: "button", class: "primary", "data-action": "create-nfs" }, "New NFS volume")] : []),
  view: (ctx) => h("div", { id: "instances", class: "instances-list", "data-key": "instances" }, instancesView(ctx)),
};
