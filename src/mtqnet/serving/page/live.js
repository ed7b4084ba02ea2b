// @ts-check
/** The view of live audio: input device, level, scores of the last ten seconds, and marks where quality dropped. */
import { byId, clock, element, say } from "./dom.js";
import * as gauges from "./gauges.js";
import * as plots from "./plots.js";
import * as segments from "./segments.js";
import * as sound from "./sound.js";

const SHOWN_S = 120; // seconds of the lines
const QUIETEST_DB = -60; // of the level meter
const FALL_DB = 1.5; // by which the meter falls with each block of samples

/** @typedef {import("./words.js").Target} Target */
/** @typedef {Record<string, any>} Row */
/**
 * @typedef {object} Service
 * @property {(start: Record<string, unknown>) => WebSocket} stream what speaks the protocol of /v1/stream
 */

/** @type {Row[]} all rows of the stream */
let rows = [];
/** @type {(() => Promise<void>) | null} */
let stop = null;
let level = QUIETEST_DB;
/** Whether the device ended the stream */
let lost = false;

/** @param {{targets: Target[]}} about @param {() => string} model @param {Service} service */
export function start(about, model, service) {
  const button = byId("live-start");
  button.addEventListener("click", async () => {
    button.disabled = true;
    if (stop) await stop();
    else await listen(about, model(), button, service);
    button.disabled = false;
  });
  const changed = () => devices();
  navigator.mediaDevices?.addEventListener("devicechange", changed);
  changed();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => rows.length && draw(about));
  addEventListener("hashchange", () => location.hash !== "#live" && stop?.());
}

/** Offer the input devices; the chosen one stays chosen. */
async function devices() {
  const select = byId("live-device");
  const chosen = select.value;
  const known = await sound.inputs().catch(() => []);
  select.replaceChildren(element("option", { value: "", textContent: "default" }),
    ...known.filter(({ id }) => id !== "default").map(({ id, name }) => element("option", { value: id, textContent: name })));
  select.value = known.some(({ id }) => id === chosen) ? chosen : "";
}

/** The peak of a block on the meter. @param {Float32Array} chunk */
function meter(chunk) {
  let peak = 0;
  for (const sample of chunk) peak = Math.max(peak, Math.abs(sample));
  const now = 20 * Math.log10(Math.max(peak, 1e-4));
  level = Math.max(now, level - FALL_DB, QUIETEST_DB);
  const shown = byId("live-level");
  shown.value = level;
  shown.textContent = `${level.toFixed(0)} dB`;
  byId("live-level-text").textContent = level > -0.5 ? "overload" : level <= QUIETEST_DB ? "no signal" : `${level.toFixed(0)} dB`;
}

/** @param {{targets: Target[]}} about @param {string} model @param {HTMLButtonElement} button @param {Service} service */
async function listen(about, model, button, service) {
  rows = [];
  level = QUIETEST_DB;
  lost = false;
  byId("live-drops").replaceChildren();
  /** @type {WebSocket | null} */
  let socket = null;
  let microphone;
  try {
    microphone = await sound.microphone((chunk) => {
      meter(chunk);
      if (socket?.readyState === WebSocket.OPEN) socket.send(chunk);
    }, () => {
      lost = true;
      stop?.();
    }, byId("live-device").value);
  } catch (error) {
    say(byId("live-status"), sound.noMicrophone(error), true);
    return;
  }
  devices(); // their names are known now
  const input = microphone;
  socket = service.stream({ rate: input.rate, encoding: "f32le", model, source: byId("live-source").value, name: "microphone" });
  const open = socket;
  draw(about);
  button.textContent = "Stop listening";
  say(byId("live-status"), "Listening… the first score comes after a second.");
  stop = async () => {
    stop = null;
    button.textContent = "Start listening";
    await input.stop();
    if (open.readyState === WebSocket.OPEN) open.send('{"type": "end"}');
  };
  open.addEventListener("message", (event) => take(JSON.parse(event.data), about));
  open.addEventListener("close", (event) => {
    stop?.();
    if (event.code !== 1000 && !byId("live-status").classList.contains("problem"))
      say(byId("live-status"), "The connection to the server was lost.", true);
  });
}

/** @param {Row} row @param {{targets: Target[]}} about */
function take(row, about) {
  const status = byId("live-status");
  if (row.kind === "problem") say(status, row.detail, true);
  if (row.kind === "end") say(status, `Stopped after ${clock(row.heard_s)}${lost ? ": the microphone was disconnected or is no longer allowed" : ""}.`, lost);
  if (row.kind !== "scores") return;
  const { end_s, error } = row;
  rows.push({ end_s, error, ...Object.fromEntries(about.targets.map(({ key }) => [key, row[key]])) }); // an hour has 3,600
  if (row.error) say(status, `${clock(row.end_s)}: ${row.error}`);
  else {
    const notes = [...row.flags, ...(row.behind_s > 2 ? [`${row.behind_s.toFixed(0)} s behind`] : [])];
    const text = notes.length ? `Listening; note: ${notes.join(", ")}.` : "Listening.";
    if (status.textContent !== text) say(status, text); // announced once, not each second
    gauges.show(byId("live-gauges"), about.targets, row, "h2");
  }
  draw(about);
}

/** @param {{targets: Target[]}} about */
function draw(about) {
  const place = byId("live-lines");
  const targets = about.targets.filter((target) => target.high > 1 && !target.log);
  let canvas = place.querySelector("canvas.track");
  if (!canvas) {
    canvas = element("canvas", { className: "track", role: "img" });
    place.replaceChildren(element("div", { className: "lines" }, canvas), plots.legend(targets, {}));
  }
  const end = rows.at(-1)?.end_s ?? 0;
  const begin = Math.max(0, end - SHOWN_S);
  const last = rows.findLast((row) => !row.error);
  const found = segments.drops(/** @type {any} */ (rows));
  canvas.setAttribute("aria-label", last ? `Scores of the last two minutes; G-MOS is ${last.g_mos?.toFixed(2)} now; ${found.length} drops of quality so far` : "Scores of the last two minutes");
  const shown = rows.filter((row) => row.end_s >= begin);
  const series = targets.map((target) => ({ target, times: shown.map((row) => row.end_s), values: shown.map((row) => row[target.key]) }));
  const marks = found.filter(({ start_s }) => start_s >= begin).map(({ start_s }) => ({ at: start_s, text: `drop ${clock(start_s)}` }));
  plots.lines(canvas, series, { start: begin, end: Math.max(SHOWN_S, end), ticks: plots.MOS_TICKS, marks });
  const list = byId("live-drops");
  if (list.childElementCount !== found.length || found.some(({ end_s }) => end_s !== null))
    list.replaceChildren(...found.map((drop) => element("li", { textContent: `${clock(drop.start_s)}: G-MOS fell from ${drop.from.toFixed(2)} to ${drop.to.toFixed(2)}${drop.end_s === null ? "" : `, until ${clock(drop.end_s)}`}` })));
  byId("live-drops-title").hidden = !found.length;
}
