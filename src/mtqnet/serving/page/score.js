// @ts-check
/** The view that scores recordings and shows them. The service is passed in, so that a page without a server can use it. */
import { byId, download, element, say, takesFiles, clock } from "./dom.js";
import * as files from "./export.js";
import * as gauges from "./gauges.js";
import { List } from "./list.js";
import { legend } from "./plots.js";
import { Player } from "./player.js";
import * as segments from "./segments.js";
import * as sound from "./sound.js";
import * as store from "./store.js";
import * as verdict from "./verdict.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./words.js").Flag} Flag */
/** @typedef {{id?: number, name: string, file: Blob | null, row: Record<string, any> | null, problem: string}} Item */
/** @typedef {{model: string, channels: string, signal: AbortSignal, progress: (part: number, work: string) => void}} How */
/**
 * What scores recordings. `score` returns the row, or {rows} for every channel, as POST /v1/score does.
 * @typedef {object} Service
 * @property {(file: File, how: How) => Promise<Record<string, any>>} score
 * @property {((file: Blob, model: string) => Promise<Blob>)} [picture] a plot as PNG
 * @property {((file: Blob) => Promise<Blob>)} [playable] a format that every browser decodes
 */

const EXAMPLES = [
  { title: "clean speech", file: "1_clean.flac" },
  { title: "office noise", file: "2_office_noise.flac" },
  { title: "lost packets", file: "6_lost_packets.flac" },
];

/** @type {Service} */
let service;
/** @type {any} */
let about;
let model = () => "";
/** @type {List<Item>} */
let list;
/** @type {Player | null} */
let player = null;
/** @type {Item | null} */
let shown = null;
let recorded = 0;
/** @type {Item[]} recordings that wait for their scores */
let queue = [];
/** @type {AbortController | null} */
let running = null;

/** @param {any} what scores, flags and limits, as GET /v1/models returns them @param {() => string} chosen the model @param {Service} scorer */
export async function start(what, chosen, scorer) {
  [about, model, service] = [what, chosen, scorer];
  list = new List(byId("list"), about, show, remove);
  takesFiles(byId("score-drop"), byId("score-files"), take);
  const { max_body_mb: mb, max_duration_s: seconds } = about.limits;
  const minutes = Number((seconds / 60).toFixed(1));
  byId("score-limits").textContent = `WAV, FLAC, MP3, Ogg, AIFF and more; up to ${mb} MB and ${minutes} minute${minutes === 1 ? "" : "s"} each.`;
  byId("score-cancel").addEventListener("click", cancel);
  byId("examples").append(...EXAMPLES.map(({ title, file }) => {
    const button = element("button", { type: "button", textContent: title });
    button.addEventListener("click", async () => {
      const answer = await fetch(new URL(`examples/${file}`, import.meta.url));
      take([new File([await answer.blob()], file)]);
    });
    return button;
  }));
  record(byId("record"));
  actions();
  const kept = await store.all();
  list.items = [...kept, ...list.items];
  arrange();
  if (kept.length && !shown) show(list.listed[0]);
}

/** @param {HTMLButtonElement} button */
function record(button) {
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
      take([sound.wav(pieces, rate, `recording-${recorded}.wav`)]);
      return;
    }
    pieces = [];
    try {
      listening = await sound.microphone((chunk) => pieces.push(chunk), () => listening && button.click());
      button.textContent = "Stop and score";
      say(byId("score-status"), "Recording…");
    } catch (error) {
      say(byId("score-status"), sound.noMicrophone(error), true);
    }
  });
}

/** Add recordings and score them, after those that wait. @param {File[]} added */
function take(added) {
  if (!added.length) return;
  const made = added.map((file) => ({ name: file.name, file, row: null, problem: "" }));
  list.items.push(...made);
  queue.push(...made);
  arrange();
  if (!running) work();
}

/** Score what waits, one recording after the other. */
async function work() {
  running = new AbortController();
  const { signal } = running;
  const bar = byId("score-progress");
  byId("score-work").hidden = false;
  let [done, failed] = [0, 0];
  for (let item = queue.shift(); item && !signal.aborted; item = queue.shift()) {
    const total = done + 1 + queue.length;
    const { name } = item;
    let before = "";
    const progress = (/** @type {number} */ part, /** @type {string} */ what) => {
      bar.value = (done + part) / (done + 1 + queue.length);
      bar.textContent = `${Math.round(100 * bar.value)} %`;
      byId("score-part").textContent = `${Math.floor(100 * part)} % of this recording`;
      if (what !== before) say(byId("score-status"), `${what} ${name}, ${done + 1} of ${total}…`);
      before = what;
    };
    progress(0, "Scoring");
    await scoreOne(item, { model: model(), channels: byId("channels").value, signal, progress });
    done += 1;
    failed += Number(Boolean(item.problem));
    if (done === 1 || shown === null) show(item);
    else list.arrange();
  }
  const cancelled = signal.aborted;
  for (const item of queue) item.problem = "Cancelled.";
  if (cancelled) queue = [];
  running = null;
  byId("score-work").hidden = true;
  arrange();
  const reasons = failed ? `; ${failed} could not be scored.` : ".";
  say(byId("score-status"), cancelled ? `Cancelled: ${done - failed} of the recordings were scored.` : `Scored ${done - failed} of ${done}${reasons}`);
}

/** @param {Item} item @param {How} how */
async function scoreOne(item, how) {
  try {
    const answer = await service.score(/** @type {File} */ (item.file), how);
    if (answer.rows) separate(item, answer.rows);
    else item.row = answer;
    item.problem = "";
  } catch (error) {
    item.problem = how.signal.aborted ? "Cancelled." : error instanceof Error ? error.message : String(error);
  }
  await Promise.all(list.items.filter((one) => one.file === item.file).map(keep));
}

/** Replace a recording by one item for each of its channels. @param {Item} item @param {Record<string, any>[]} rows */
function separate(item, rows) {
  const named = (/** @type {Record<string, any>} */ row) => `${item.name} (channel ${row.channel})`;
  const [first, ...others] = rows.map((row) => ({ name: named(row), file: item.file, row: row.error ? null : row, problem: row.error ?? "" }));
  Object.assign(item, first);
  list.items.splice(list.items.indexOf(item) + 1, 0, ...others);
}

/** @param {Item} item */
async function keep(item) {
  item.id = await store.put(item);
}

function cancel() {
  running?.abort();
}

/** @param {Item} item */
async function remove(item) {
  queue = queue.filter((one) => one !== item);
  list.items = list.items.filter((one) => one !== item);
  if (shown === item) clearReport();
  arrange();
  await store.remove(item.id);
}

function clearReport() {
  player?.close();
  [player, shown, list.current] = [null, null, null];
  byId("report").replaceChildren();
}

/** The list is visible from the second recording on. */
function arrange() {
  byId("score").querySelector(".columns").classList.toggle("many", list.items.length > 1);
  byId("list-actions").hidden = !list.items.length;
  list.arrange();
}

/** Downloads of all that are listed, and the end of the list. */
function actions() {
  const rows = () => list.listed.filter((item) => item.row).map((item) => ({ ...item.row, file: item.name.replace(/ \(channel \d+\)$/, "") }));
  const button = (/** @type {string} */ text, /** @type {() => void} */ act) => {
    const made = element("button", { type: "button", textContent: text });
    made.addEventListener("click", act);
    return made;
  };
  byId("list-actions").append(
    button("CSV", () => download("scores.csv", files.csv(rows()))),
    button("HTML report", () => download("report.html", files.report(list.listed, about, model()))),
    button("Remove all", async () => {
      cancel();
      [list.items, queue] = [[], []];
      clearReport();
      arrange();
      say(byId("score-status"), "The list is empty.");
      await store.clear();
    }));
}

/** @param {Item} item */
async function show(item) {
  shown = list.current = item;
  list.arrange();
  player?.close();
  player = null;
  const place = byId("report");
  const title = element("h2", { textContent: item.name });
  const { row } = item;
  if (!row) {
    place.replaceChildren(title, element("p", { className: "problem", textContent: item.problem || "Waiting…" }), ...again(item));
    return;
  }
  const overall = about.targets.find((/** @type {Target} */ target) => target.key === "g_mos");
  const notes = flags(row, about.flags);
  const top = row.g_mos == null ? notes : verdict.show(overall, row, notes);
  const pair = gaugesOf(row, ["s_mos", "n_mos"]);
  pair.classList.add("two");
  const more = element("details", { className: "estimates" }, element("summary", { textContent: "Estimates: PESQ, STOI, SDI" }),
    gaugesOf(row, ["pesq_est", "stoi_est", "sdi_est"]));
  const stage = element("div", {}, element("p", { textContent: item.file ? "Drawing…" : "The recording is not kept in this browser: choose it again to listen." }));
  place.replaceChildren(title, top, pair, more, stage, single(item));
  if (!item.file) return;
  try {
    const opened = await sound.open(item.file, row.duration_s, service.playable, row.channel);
    if (shown !== item) return;
    const worst = segments.worst(row);
    player = new Player(opened, item.name, { targets: about.targets, row, segments: worst });
    const long = opened.samples ? [] : [element("p", { className: "hint", textContent: `Waveform and spectrogram are drawn for recordings of up to ${sound.MAX_DRAWN_S / 60} minutes.` })];
    stage.replaceChildren(...segmentList(worst, player), player.root, ...long,
      legend(about.targets.filter((/** @type {Target} */ target) => row[target.key] != null), row));
    player.draw();
  } catch (error) {
    stage.replaceChildren(element("p", { className: "problem", textContent: `The plot is not available: ${error instanceof Error ? error.message : error}` }));
  }
}

/** A button that scores again what failed. @param {Item} item */
function again(item) {
  if (!item.problem || !item.file) return [];
  const button = element("button", { type: "button", textContent: "Score again" });
  button.addEventListener("click", () => {
    item.problem = "";
    queue.push(item);
    show(item);
    if (!running) work();
  });
  return [element("p", {}, button)];
}

/** @param {Record<string, any>} row @param {string[]} keys */
function gaugesOf(row, keys) {
  const place = element("div", { className: "gauges" });
  gauges.show(place, about.targets.filter((/** @type {Target} */ target) => keys.includes(target.key)), row);
  return place;
}

/** @param {Record<string, any>} row @param {Flag[]} known */
export function flags(row, known) {
  const raised = known.filter((flag) => row.flags.includes(flag.key));
  if (!raised.length) return element("p", { className: "good", textContent: "No flags: these scores need no special care." });
  return element("div", {},
    element("p", { className: row.level === "ok" ? "" : "fair", textContent: row.level === "ok" ? "Information:" : "Interpret these scores with care:" }),
    element("ul", { className: "flags" }, ...raised.map((flag) => element("li", {}, element("strong", { textContent: flag.key }), `: ${flag.summary}. ${flag.advice}`))));
}

/** @param {segments.Segment[]} worst @param {Player} played */
function segmentList(worst, played) {
  if (!worst.length) return [element("p", { className: "hint", textContent: "No segment is clearly worse than the others." })];
  const buttons = worst.map((segment, place) => {
    const text = `${clock(segment.start_s)} to ${clock(segment.end_s)}`;
    const button = element("button", { type: "button", id: place ? `segment-${place + 1}` : "worst", title: `Play segment ${place + 1}, G-MOS ${segment.g_mos.toFixed(2)}` },
      element("span", { textContent: `▶ ${text}` }), element("strong", { textContent: segment.g_mos.toFixed(2) }));
    button.addEventListener("click", () => played.playSegment(segment));
    return element("li", {}, button);
  });
  return [element("h3", { textContent: worst.length > 1 ? `The ${worst.length} worst segments` : "The worst segment" }), element("ol", { className: "segments" }, ...buttons)];
}

/** Downloads of one recording. @param {Item} item */
function single(item) {
  const stem = item.name.replace(/\.[^.]*$/, "");
  /** @type {[string, string, () => Promise<Blob> | Blob][]} */
  const kinds = [["JSON", `${stem}.json`, () => files.json(item.row)]];
  const { picture } = service;
  const { file } = item;
  if (picture && file) kinds.push(["Picture", `${stem}.png`, () => picture(file, item.row?.model)]);
  const place = element("p", { className: "player" }, "Download of this recording: ");
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
