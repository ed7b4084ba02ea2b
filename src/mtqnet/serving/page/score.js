// @ts-check
/** The view in which recordings are scored, one by one, and looked at. */
import * as api from "./api.js";
import { byId, clock, download, element, say, takesFiles } from "./dom.js";
import * as gauges from "./gauges.js";
import { legend } from "./plots.js";
import { Player } from "./player.js";
import * as sound from "./sound.js";
import * as tables from "./tables.js";
import { digits, grade, short } from "./words.js";

/** @typedef {{file: File, row: Record<string, any> | null, problem: string, button: HTMLButtonElement}} Item */

/** @type {Item[]} */
const items = [];
/** @type {Player | null} */
let player = null;
let shown = /** @type {Item | null} */ (null);
let recorded = 0;

/** @param {{targets: api.Target[], flags: api.Flag[], limits: any}} about @param {() => string} model */
export function start(about, model) {
  takesFiles(byId("score-drop"), byId("score-files"), (files) => take(files, about, model));
  byId("score-limits").textContent =
    `WAV, FLAC, MP3, Ogg, AIFF and more; up to ${about.limits.max_body_mb} MB and ${clock(about.limits.max_duration_s)} each.`;
  const button = byId("record");
  /** @type {{stop: () => Promise<void>, rate: number} | null} */
  let listening = null;
  /** @type {Float32Array[]} */
  let pieces = [];
  button.addEventListener("click", async () => {
    if (listening) {
      const { rate } = listening;
      await listening.stop();
      listening = null;
      button.textContent = "Record from the microphone";
      recorded += 1;
      await take([sound.wav(pieces, rate, `recording-${recorded}.wav`)], about, model);
      return;
    }
    pieces = [];
    try {
      listening = await sound.microphone((chunk) => pieces.push(chunk));
      button.textContent = "Stop and score";
      say(byId("score-status"), "Recording…");
    } catch (error) {
      say(byId("score-status"), sound.noMicrophone(error), true);
    }
  });
}

/** @param {File[]} files @param {any} about @param {() => string} model */
async function take(files, about, model) {
  const added = files.map((file) => add(file, about));
  byId("score").querySelector(".columns").classList.toggle("many", items.length > 1);
  let done = 0;
  for (const item of added) {
    say(byId("score-status"), `Scoring ${item.file.name}, ${done + 1} of ${added.length}…`);
    try {
      item.row = await api.score(item.file, model());
    } catch (error) {
      item.problem = error instanceof Error ? error.message : String(error);
    }
    done += 1;
    label(item, about);
    if (done === 1 || shown === null) await show(item, about);
  }
  const failed = added.filter((item) => item.problem).length;
  if (added.length)
    say(byId("score-status"), `Scored ${added.length - failed} of ${added.length}${failed ? `; ${failed} could not be scored.` : "."}`);
}

/** @param {File} file @param {any} about @returns {Item} */
function add(file, about) {
  const button = element("button", { type: "button", textContent: file.name });
  const item = { file, row: null, problem: "", button };
  button.addEventListener("click", () => show(item, about));
  byId("recordings").append(element("li", {}, button));
  items.push(item);
  return item;
}

/** @param {Item} item @param {any} about */
function label(item, about) {
  const g = about.targets.find((/** @type {api.Target} */ target) => target.key === "g_mos");
  const value = item.row?.g_mos;
  const told = value == null
    ? element("span", { className: "value none", textContent: item.problem ? "no score" : "" })
    : element("span", { className: `value ${grade(g, value)}`, textContent: digits(g, value), title: short(g) });
  item.button.replaceChildren(told, item.file.name);
}

/** @param {Item} item @param {any} about */
async function show(item, about) {
  shown = item;
  items.forEach((one) => one.button.removeAttribute("aria-current"));
  item.button.setAttribute("aria-current", "true");
  player?.close();
  player = null;
  const place = byId("report");
  const title = element("h2", { textContent: item.file.name });
  if (!item.row) {
    place.replaceChildren(title, element("p", { className: "problem", textContent: item.problem || "Waiting…" }));
    return;
  }
  const row = item.row;
  const cells = element("div", { className: "gauges" });
  gauges.show(cells, about.targets, row);
  const stage = element("div", {}, element("p", { textContent: "Drawing…" }));
  place.replaceChildren(title, flags(row, about.flags), cells, stage, actions(item));
  try {
    const heard = await sound.open(item.file);
    if (shown !== item) return;
    player = new Player(heard, item.file.name, { targets: about.targets, row });
    stage.replaceChildren(player.root, legend(about.targets.filter((/** @type {any} */ target) => row[target.key] != null), row), ...worst(row, player));
    player.draw();
  } catch (error) {
    stage.replaceChildren(element("p", { className: "problem", textContent: `The plot is not available: ${error instanceof Error ? error.message : error}` }));
  }
}

/** @param {Record<string, any>} row @param {api.Flag[]} known */
function flags(row, known) {
  const told = known.filter((flag) => row.flags.includes(flag.key));
  if (!told.length) return element("p", { className: "good", textContent: "No problems detected in this recording." });
  return element("div", {},
    element("p", { className: row.level === "ok" ? "" : "fair", textContent: row.level === "ok" ? "Information:" : "Interpret these scores with care:" }),
    element("ul", { className: "flags" }, ...told.map((flag) => element("li", {}, element("strong", { textContent: flag.key }), `: ${flag.summary}. ${flag.advice}`))));
}

/** @param {Record<string, any>} row @param {Player} heard */
function worst(row, heard) {
  if (!row.worst) return [element("p", { className: "hint", textContent: "No segment is clearly worse than the others." })];
  const { start_s, end_s, g_mos } = row.worst;
  const button = element("button", { type: "button", id: "worst", textContent: `Play the worst segment: ${clock(start_s)} to ${clock(end_s)}, G-MOS ${g_mos.toFixed(2)}` });
  button.addEventListener("click", () => heard.play(start_s, end_s));
  return [element("p", {}, button)];
}

/** @param {Item} item */
function actions(item) {
  const stem = item.file.name.replace(/\.[^.]*$/, "");
  const scored = () => items.filter((one) => one.row).map((one) => /** @type {any} */ (one.row));
  /** @type {[string, string, () => Promise<Blob> | Blob][]} */
  const kinds = [
    ["CSV of all", "scores.csv", () => tables.csv(scored())],
    ["JSON", `${stem}.json`, () => tables.json(item.row)],
    ["Picture", `${stem}.png`, () => api.picture(item.file, item.row?.model)],
  ];
  const place = element("p", { className: "player" }, "Download: ");
  for (const [text, name, make] of kinds) {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        download(name, await make());
      } catch (error) {
        say(byId("score-status"), error instanceof Error ? error.message : String(error), true);
      }
      button.disabled = false;
    });
    place.append(button);
  }
  return place;
}
