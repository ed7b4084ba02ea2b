// @ts-check
/** The view of live sound: gauges that follow the last ten seconds, and their lines. */
import * as api from "./api.js";
import { byId, clock, element, say } from "./dom.js";
import * as gauges from "./gauges.js";
import * as plots from "./plots.js";
import * as sound from "./sound.js";

const SHOWN_S = 120; // seconds of the lines
/** @typedef {Record<string, any>} Row */

/** @type {Row[]} */
let rows = [];
/** @type {(() => Promise<void>) | null} */
let stop = null;

/** @param {{targets: api.Target[]}} about @param {() => string} model */
export function start(about, model) {
  const button = byId("live-start");
  button.addEventListener("click", async () => {
    button.disabled = true;
    if (stop) await stop();
    else await listen(about, model(), button);
    button.disabled = false;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => rows.length && draw(about));
  addEventListener("hashchange", () => location.hash !== "#live" && stop?.());
}

/** @param {{targets: api.Target[]}} about @param {string} model @param {HTMLButtonElement} button */
async function listen(about, model, button) {
  rows = [];
  /** @type {WebSocket | null} */
  let socket = null;
  let microphone;
  try {
    microphone = await sound.microphone((chunk) => {
      if (socket?.readyState === WebSocket.OPEN) socket.send(chunk);
    });
  } catch (error) {
    say(byId("live-status"), sound.noMicrophone(error), true);
    return;
  }
  const heard = microphone;
  socket = api.stream({ rate: heard.rate, encoding: "f32le", model, source: byId("live-source").value, name: "microphone" });
  const open = socket;
  draw(about);
  button.textContent = "Stop listening";
  say(byId("live-status"), "Listening… the first score comes after a second.");
  stop = async () => {
    stop = null;
    button.textContent = "Start listening";
    await heard.stop();
    if (open.readyState === WebSocket.OPEN) open.send('{"type": "end"}');
  };
  open.addEventListener("message", (event) => take(JSON.parse(event.data), about));
  open.addEventListener("close", (event) => {
    stop?.();
    if (event.code !== 1000 && !byId("live-status").classList.contains("problem"))
      say(byId("live-status"), "The connection to the server was lost.", true);
  });
}

/** @param {Row} row @param {{targets: api.Target[]}} about */
function take(row, about) {
  const status = byId("live-status");
  if (row.kind === "problem") say(status, row.detail, true);
  if (row.kind === "end") say(status, `Stopped after ${clock(row.heard_s)}.`);
  if (row.kind !== "scores") return;
  rows = [...rows, row].filter((one) => one.end_s > row.end_s - SHOWN_S);
  if (row.error) say(status, `${clock(row.end_s)}: ${row.error}`);
  else {
    const notes = [...row.flags, ...(row.behind_s > 2 ? [`${row.behind_s.toFixed(0)} s behind`] : [])];
    const told = notes.length ? `Listening; note: ${notes.join(", ")}.` : "Listening.";
    if (status.textContent !== told) say(status, told); // said once, not each second
    gauges.show(byId("live-gauges"), about.targets, row);
  }
  draw(about);
}

/** @param {{targets: api.Target[]}} about */
function draw(about) {
  const place = byId("live-lines");
  const targets = about.targets.filter((target) => target.high > 1 && !target.log);
  let canvas = place.querySelector("canvas.track");
  if (!canvas) {
    canvas = element("canvas", { className: "track", role: "img" });
    place.replaceChildren(element("div", { className: "lines" }, canvas), plots.legend(targets, {}));
  }
  const end = rows.at(-1)?.end_s ?? 0;
  const last = rows.findLast((row) => !row.error);
  canvas.setAttribute("aria-label", last ? `Scores of the last two minutes; G-MOS is ${last.g_mos?.toFixed(2)} now` : "Scores of the last two minutes");
  const series = targets.map((target) => ({ target, times: rows.map((row) => row.end_s), values: rows.map((row) => row[target.key]) }));
  plots.lines(canvas, series, { start: Math.max(0, end - SHOWN_S), end: Math.max(SHOWN_S, end), ticks: plots.MOS_TICKS });
}
