// @ts-check
/** Joins the views: which is shown follows the address, so that back, forward and bookmarks work. */
import * as api from "./api.js";
import * as browser from "./browser.js";
import * as compare from "./compare.js";
import { byId, element } from "./dom.js";
import * as history from "./history.js";
import * as live from "./live.js";
import * as score from "./score.js";

const VIEWS = ["score", "compare", "live", "history"];

/** @param {any} about */
function show(about) {
  const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS[0];
  for (const view of VIEWS) byId(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a"))
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.title = `mtqnet: ${byId(`${name}-title`).textContent}`;
  if (name === "history") history.refresh(about);
}

/** @param {any} about */
function begin(about) {
  byId("key").hidden = true;
  const select = byId("model");
  select.replaceChildren(...about.models.map((/** @type {any} */ model) => element("option", { value: model.name, textContent: model.name })));
  const model = () => select.value;
  const [first] = about.models;
  byId("about").textContent = `Model ${first.name} ${first.sha256.slice(0, 8)}.`;
  const local = about.limits.browser ? browser.create("browser/", api.model) : null;
  score.start(about, model, local ? { ...api, score: (/** @type {File} */ file, /** @type {import("./score.js").How} */ how) => (byId("score-where").value === "browser" ? local : api).score(file, how) } : api);
  compare.start(about, model, local ? { ...api, compare: (/** @type {File[]} */ a, /** @type {File[]} */ b, /** @type {string} */ name) => (byId("score-where").value === "browser" ? local : api).compare(a, b, name) } : api);
  live.start(about, model, local ? { stream: (/** @type {Record<string, unknown>} */ start) => (byId("live-where").value === "browser" ? local : api).stream(start) } : api);
  for (const where of document.querySelectorAll(".where")) /** @type {HTMLElement} */ (where).hidden = !local;
  if (!local) byId("live-where").value = "server";
  const hint = () => {
    const here = byId("live-where").value === "browser";
    byId("live-source").parentElement.hidden = here; // a label of the history, which the server writes
    byId("live-hint").textContent = here
      ? "The microphone signal stays in this browser, which scores the last ten seconds once per second. Nothing is stored."
      : "The microphone signal is sent to this server, which scores the last ten seconds once per second. The server stores the scores, not the audio.";
  };
  byId("live-where").addEventListener("change", hint);
  hint();
  history.start(about, api);
  addEventListener("hashchange", () => {
    show(about);
    byId("main").focus();
  });
  show(about);
}

async function load() {
  try {
    begin(await api.models());
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    byId("key").hidden = error.status !== 401;
    if (error.status === 401) byId("key-value").focus();
    else byId("main").prepend(element("p", { className: "problem", role: "alert", textContent: error.message }));
  }
}

byId("key").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  api.useKey(byId("key-value").value);
  load();
});
// A file that is dropped beside its place must not take the place of the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
load();
