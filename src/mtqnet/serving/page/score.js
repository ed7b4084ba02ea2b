// @ts-check
/** The view in which recordings are scored, one by one, and looked at. */
import * as api from "./api.js";
import { byId, clock, download, element, say, takesFiles } from "./dom.js";
import * as gauges from "./gauges.js";
import { legend } from "./plots.js";
import { Player } from "./player.js";
import * as sound from "./sound.js";
import * as tables from "./tables.js";
import * as verdict from "./verdict.js";
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
  byId("sort").addEventListener("change", arrange);
  byId("filter").addEventListener("input", arrange);
  byId("score-limits").textContent =
    `WAV, FLAC, MP3, Ogg, AIFF and more; up to ${about.limits.max_body_mb} MB and ${Number((about.limits.max_duration_s / 60).toFixed(1))} minutes each.`;
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
  arrange();
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

/** Sort and filter the list; show the mean. The list is sorted when all files are scored, not while it is used. */
function arrange() {
  const part = byId("filter").value.trim().toLowerCase();
  const score = (/** @type {Item} */ item) => item.row?.g_mos ?? Infinity; // files without a score come last
  const sorted = byId("sort").value === "worst" ? [...items].sort((a, b) => (score(a) === score(b) ? 0 : score(a) - score(b))) : items;
  const focused = document.activeElement;
  for (const item of sorted) {
    const entry = /** @type {HTMLElement} */ (item.button.parentElement);
    entry.hidden = !item.file.name.toLowerCase().includes(part);
    byId("recordings").append(entry);
  }
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true }); // moving an element takes its focus away
  const listed = items.filter((item) => !item.button.parentElement?.hidden);
  const scores = listed.map(score).filter(Number.isFinite);
  const mean = scores.reduce((sum, value) => sum + value, 0) / scores.length;
  say(byId("mean"), scores.length ? `Mean G-MOS ${mean.toFixed(2)} of ${scores.length} recording${scores.length === 1 ? "" : "s"}` : "No scored recording in this list.");
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
  const overall = about.targets.find((/** @type {api.Target} */ target) => target.key === "g_mos");
  const notes = flags(row, about.flags);
  const top = row.g_mos == null ? notes : verdict.show(overall, row, notes);
  const pair = gaugesOf(about, row, ["s_mos", "n_mos"]);
  pair.classList.add("two");
  const more = element("details", { className: "estimates" }, element("summary", { textContent: "Estimates: PESQ, STOI, SDI" }),
    gaugesOf(about, row, ["pesq_est", "stoi_est", "sdi_est"]));
  const stage = element("div", {}, element("p", { textContent: "Drawing…" }));
  place.replaceChildren(title, top, pair, more, stage, actions(item));
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

/** @param {any} about @param {Record<string, any>} row @param {string[]} keys */
function gaugesOf(about, row, keys) {
  const place = element("div", { className: "gauges" });
  gauges.show(place, about.targets.filter((/** @type {api.Target} */ target) => keys.includes(target.key)), row);
  return place;
}

/** @param {Record<string, any>} row @param {api.Flag[]} known */
function flags(row, known) {
  const told = known.filter((flag) => row.flags.includes(flag.key));
  if (!told.length) return element("p", { className: "good", textContent: "No flags: these scores need no special care." });
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
