// Runs before the first paint (a classic script in the head), so that the page never flashes in the wrong colours.
// "dark" and "light" are a person's choice; without one the system's preference counts (see css/base.css).
(function () {
  var root = document.documentElement;
  try {
    var chosen = localStorage.getItem("holdfast-theme");
    if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  } catch (error) {
    // Storage may be switched off; then the system's preference counts.
  }
})();
