// @ts-check
/** The view that compares A with B: numbers, a verdict, and a player that switches between them. */
import * as api from "./api.js";
import { byId, element, say, takesFiles } from "./dom.js";
import { Player } from "./player.js";
import * as sound from "./sound.js";
import { digits, short } from "./words.js";

/** @type {{a: File[], b: File[]}} */
const sides = { a: [], b: [] };
/** @type {Player[]} */
let players = [];

/** @param {{targets: api.Target[]}} about @param {() => string} model */
export function start(about, model) {
  for (const side of /** @type {("a" | "b")[]} */ (["a", "b"]))
    takesFiles(byId(`drop-${side}`), byId(`files-${side}`), async (files) => {
      sides[side] = files;
      byId(`names-${side}`).textContent = files.length > 3 ? `${files.length} files` : files.map((file) => file.name).join(", ");
      if (sides.a.length && sides.b.length) await compare(about, model());
    });
}

/** @param {{targets: api.Target[]}} about @param {string} model */
async function compare(about, model) {
  players.forEach((player) => player.close());
  players = [];
  byId("compared").replaceChildren();
  say(byId("compare-status"), "Comparing…");
  let answer;
  try {
    answer = await api.compare(sides.a, sides.b, model);
  } catch (error) {
    say(byId("compare-status"), error instanceof Error ? error.message : String(error), true);
    return;
  }
  say(byId("compare-status"), answer.verdict.join(" "));
  const failed = [...answer.a, ...answer.b].filter((row) => row.error);
  byId("compared").append(
    ...failed.map((row) => element("p", { className: "problem", textContent: `${row.file}: ${row.error}` })),
    table(about.targets, answer),
  );
  if (sides.a.length === 1 && sides.b.length === 1 && !failed.length) await listen();
}

/** @param {api.Target[]} targets @param {any} answer */
function table(targets, answer) {
  const head = element("tr", {}, ...["Score", "A", "B", "B minus A", "95 % interval", "Better"].map((text, place) =>
    element("th", { textContent: text, scope: "col", className: place && place < 5 ? "number" : "" })));
  const rows = answer.comparisons.map((/** @type {any} */ one) => {
    const target = /** @type {api.Target} */ (targets.find((known) => known.key === one.target));
    const plain = (/** @type {number | null} */ value) => (value === null ? null : target.log ? 10 ** value : value);
    const step = (/** @type {number} */ value) => (target.log ? `× ${(10 ** value).toPrecision(2)}` : `${value > 0 ? "+" : ""}${value.toFixed(2)}`);
    const cells = [digits(target, plain(one.a_mean)), digits(target, plain(one.b_mean)), step(one.difference),
      one.low === null ? "too few" : `${step(one.low)} to ${step(one.high)}`];
    return element("tr", {}, element("th", { scope: "row", textContent: short(target) + (target.higher_is_better ? "" : " (lower is better)") }),
      ...cells.map((text) => element("td", { className: "number", textContent: text })),
      element("td", { textContent: one.better ?? "–" }));
  });
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Comparison" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

/** Two players of which one is heard: to change over keeps the time. */
async function listen() {
  try {
    const heard = await Promise.all([sound.open(sides.a[0], null, api.playable), sound.open(sides.b[0], null, api.playable)]);
    players = heard.map((one, place) => new Player(one, "AB"[place], null));
  } catch (error) {
    byId("compared").append(element("p", { className: "problem", textContent: `Playback is not available: ${error instanceof Error ? error.message : error}` }));
    return;
  }
  const choice = element("fieldset", {}, element("legend", { textContent: "Listen to (keys A and B)" }));
  players.forEach((player, place) => {
    const name = "AB"[place];
    const radio = element("input", { type: "radio", name: "heard", id: `heard-${name}`, checked: place === 0 });
    radio.addEventListener("change", () => change(place));
    choice.append(element("label", {}, radio, ` ${name}`));
    player.root.hidden = place !== 0;
  });
  byId("compared").append(choice, ...players.map((player) => player.root));
  players.forEach((player) => player.draw());
}

/** @param {number} place */
function change(place) {
  const [from, to] = [players[1 - place], players[place]];
  const playing = !from.audio.paused;
  to.seek(from.audio.currentTime);
  from.audio.pause();
  from.root.hidden = true;
  to.root.hidden = false;
  to.draw();
  if (playing) to.play();
}

document.addEventListener("keydown", (event) => {
  const place = ["a", "b"].indexOf(event.key.toLowerCase());
  const typing = event.target instanceof HTMLElement && event.target.matches("input:not([type=range], [type=radio]), select, textarea");
  if (place < 0 || typing || event.ctrlKey || event.metaKey || event.altKey || byId("compare").hidden || players.length < 2) return;
  const radio = byId(`heard-${"AB"[place]}`);
  if (!radio.checked) radio.click();
});
