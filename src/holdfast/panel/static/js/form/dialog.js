// The one modal dialog. The browser keeps the focus in it; here it is given back, and nobody leaves by a slip.

const place = () => document.getElementById("dialog");

/**
 * Show `content`. `leave()`: somebody wants out, by Escape or by a button with data-cancel, and it decides. {closed, close()}:
 * `closed` resolves when it is gone. Whoever comes while another one is open has its turn afterwards.
 */
export function modal(content, { wide = false, focus = null, leave }) {
  let finish;
  const shown = { closed: new Promise((resolve) => { finish = resolve; }), close: () => undefined };
  const open = () => {
    const dialog = place();
    const over = new AbortController();
    const opener = document.activeElement;
    const end = () => {
      if (over.signal.aborted) return;
      over.abort();
      if (dialog.open) dialog.close();
      content.remove(); // what it showed may be a secret
      giveBack(opener);
      finish();
      waiting.shift()?.();
    };
    const out = (event) => {
      event.preventDefault();
      leave();
    };
    const listen = (name, listener) => dialog.addEventListener(name, listener, { signal: over.signal });
    listen("keydown", (event) => event.key === "Escape" && out(event));
    listen("cancel", out);
    listen("click", (event) => event.target.closest("[data-cancel]") && leave());
    listen("close", () => dialog.open || end());
    dialog.classList.toggle("wide", wide);
    dialog.replaceChildren(content);
    dialog.showModal();
    (focus ?? content.querySelector("input, select, textarea, button"))?.focus();
    shown.close = end;
  };
  if (place().open) waiting.push(open);
  else open();
  return shown;
}

const waiting = [];

/** The browser gives the focus back, unless what had it was drawn anew meanwhile. */
function giveBack(opener) {
  if (document.activeElement !== document.body) return;
  const { action, id = "" } = opener?.dataset ?? {};
  const same = action && document.querySelector(`[data-action="${CSS.escape(action)}"][data-id="${CSS.escape(id)}"]`);
  (same || document.getElementById("main"))?.focus({ preventScroll: true });
}
