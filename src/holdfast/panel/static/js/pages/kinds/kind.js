// A kind's pages made from its description:
//
//   path, icon, title, lead, noun      the list: what it is called and what it is for, and what one of it is called
//   items(ctx) → rows, or an item of ctx.data; columns, key(row), rowTools(row, ctx), none
//   empty(ctx) → see emptyKind          instead of the list while there is nothing
//   above(ctx), below(ctx)              what else the list shows
//   tools(ctx)                          buttons of the list
//   one: {find(ctx, params) → row or undefined, title, look, tools, view(ctx, row)}   the page of one of them
//   actions                             name → function(id, ctx), besides those of service_actions.js

import { pill } from "../../dom.js";
import { buttons, rowButtons } from "../../parts.js";
import { emptyView, whenLoaded } from "../../states.js";
import { table } from "../../table.js";
import { emptyKind } from "./parts.js";

export function listPage(kind) {
  return {
    title: () => kind.title,
    lead: () => kind.lead,
    tools: (ctx) => (ctx.status && !kind.empty?.(ctx) ? buttons(ctx, kind.tools?.(ctx) ?? []) : []),
    view: (ctx) => {
      const empty = kind.empty?.(ctx);
      if (empty) return emptyKind(ctx, { picture: kind.icon, ...empty });
      const items = kind.items(ctx);
      return [kind.above?.(ctx), Array.isArray(items) ? rows(kind, ctx, items) : whenLoaded(items, (found) => rows(kind, ctx, found)), kind.below?.(ctx)];
    },
    actions: kind.actions,
  };
}

const rows = (kind, ctx, found) => table(kind.title, kind.columns(ctx), found, {
  noun: kind.noun, key: kind.key, empty: kind.none,
  actions: kind.rowTools && ((row) => rowButtons(ctx, kind.key(row), kind.rowTools(row, ctx))),
});

export function onePage(kind, one = kind.one) {
  const gone = (ctx) => emptyView(kind.icon, "It is not there", `There is no ${one.what} of this name: it was deleted, or never was.`);
  const found = (ctx) => ctx.status && one.find(ctx, ctx.params);
  return {
    crumbs: () => [[kind.title, `#/${kind.path}`]],
    title: (params) => one.title?.(params) ?? params.name,
    mark: (ctx) => {
      const row = found(ctx);
      const look = row && one.look?.(row, ctx);
      return look ? pill(look) : null;
    },
    tools: (ctx) => {
      const row = found(ctx);
      return row ? buttons(ctx, one.tools?.(row, ctx) ?? []) : [];
    },
    view: (ctx) => {
      const row = found(ctx);
      return row ? one.view(ctx, row) : gone(ctx);
    },
    actions: kind.actions,
  };
}
