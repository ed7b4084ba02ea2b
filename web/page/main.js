// @ts-check
/** The page without a server: the views of the service's page, with a service that runs in this browser. */
import * as browser from "./browser.js";
import * as compare from "./compare.js";
import { byId, element } from "./dom.js";
import * as live from "./live.js";
import * as score from "./score.js";
import { definition } from "./mtqnet/definition.js";

const VIEWS = ["score", "compare", "live"];
const MODEL = "small";
const MEGABYTE = 1e6;

const service = browser.create("mtqnet/");
const record = definition.models[MODEL];
const about = {
  models: [record],
  targets: definition.targets,
  flags: definition.flags,
  limits: { max_body_mb: 500, max_duration_s: definition.limits.max_held_s, history: false, keep_audio: false },
};
const limited = {
  ...service,
  score: async (/** @type {File} */ file, /** @type {any} */ how) => {
    if (file.size > about.limits.max_body_mb * MEGABYTE) throw new Error(`${file.name}: larger than ${about.limits.max_body_mb} MB. Cut it into parts.`);
    return service.score(file, how);
  },
};

function show() {
  const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS[0];
  for (const view of VIEWS) byId(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a"))
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.title = `mtqnet: ${byId(`${name}-title`).textContent}`;
}

byId("model").replaceChildren(element("option", { value: MODEL, textContent: MODEL }));
byId("about").textContent = `Model ${record.name} ${record.sha256.slice(0, 8)}, mtqnet ${definition.version}.`;
const model = () => MODEL;
score.start(about, model, limited);
byId("score-limits").textContent = `Audio and video files that this browser plays: WAV, FLAC, MP3, M4A, Ogg, WebM; up to ${about.limits.max_body_mb} MB each.`;
compare.start(about, model, limited);
live.start(about, model, limited);
addEventListener("hashchange", () => {
  show();
  byId("main").focus();
});
show();
// A file that is dropped outside a drop zone must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

const offline = byId("offline");
if (typeof WebAssembly !== "object") {
  offline.className = "problem";
  offline.textContent = "This browser has no WebAssembly, which scoring needs: allow it for this page, or use another browser.";
} else {
  service.prepare(MODEL).catch(() => undefined); // the reason is shown with the first recording
  navigator.serviceWorker?.register("sw.js").then(async () => {
    await navigator.serviceWorker.ready;
    offline.textContent = "This page now also works offline.";
  }).catch(() => undefined);
}
