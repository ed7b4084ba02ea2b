// @ts-check
/** Joins the views: which is shown follows the address, so that back, forward and bookmarks work. */
import * as api from "./api.js";
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
  score.start(about, model, api);
  compare.start(about, model, api);
  live.start(about, model, api);
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
