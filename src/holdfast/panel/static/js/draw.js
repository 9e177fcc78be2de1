// Asking for the page to be drawn again, from anywhere: several wishes within one turn are one drawing.

let draw = () => {};
let asked = false;

/** app.js says how. */
export const onDraw = (callback) => { draw = callback; };

export function requestDraw() {
  if (asked) return;
  asked = true;
  queueMicrotask(() => {
    asked = false;
    draw();
  });
}
