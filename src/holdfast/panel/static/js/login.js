// The sign-in form.

import { api } from "./api.js";
import { problemText } from "./say.js";
import { icon } from "./dom.js";

const form = document.getElementById("login");
const error = document.getElementById("login-error");
const button = form.querySelector("button[type=submit]");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  error.hidden = true;
  try {
    await api.login(form.elements.username.value, form.elements.password.value);
    location.assign("/");
  } catch (problem) {
    error.replaceChildren(icon("alert"), problemText(problem));
    error.hidden = false;
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});
