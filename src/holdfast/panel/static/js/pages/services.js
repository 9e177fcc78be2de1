// All services and their instances: where each runs, at which address, in which state, and why.

import { h, icon } from "../dom.js";
import { instancesView } from "../instances.js";
import { registered } from "../router.js";
import { KIND_ORDER, kindIcon, kindWord } from "../words.js";

export const page = {
  title: () => "All services",
  lead: () => "Every instance of every kind: where it runs, and why there. Its name leads to the whole explanation; services are created on the page of their kind.",
  view: (ctx) => [
    h("nav", { class: "kind-links", "aria-label": "Kinds", "data-key": "kinds" }, KIND_ORDER.filter(registered).map((kind) =>
      h("a", { href: `#/${kind}`, "data-key": kind }, icon(kindIcon(kind)), kindWord(kind), h("b", {}, ctx.status.services.filter((one) => one.kind === kind).length)))),
    h("div", { id: "instances", class: "instances-list", "data-key": "instances" }, instancesView(ctx)),
  ],
};
