// @ts-check
/** The view of stored scores: filters, a trend for each source, a table whose rows open and can be deleted. */
import { byId, download, element, say } from "./dom.js";
import * as files from "./export.js";
import * as gauges from "./gauges.js";
import * as plots from "./plots.js";
import { flags } from "./score.js";
import * as verdict from "./verdict.js";
import { digits, grade, short } from "./words.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./words.js").Flag} Flag */
/** @typedef {Record<string, any>} Row */
/**
 * @typedef {object} Service
 * @property {(filters: Record<string, string | number>) => Promise<{rows: Row[], next: number | null}>} history
 * @property {(id: number) => Promise<void>} remove
 * @property {(id: number) => Promise<Blob>} audio the stored recording of a row
 */

const MOST_SOURCES = 6; // lines of the trend; further sources share the last one
const MAIN = ["s_mos", "n_mos", "g_mos"];

/** @type {Row[]} */
let rows = [];
/** @type {number | null} */
let next = null;
/** @type {number | null} id of the open row */
let opened = null;
/** @type {Service} */
let service;

/** @param {{targets: Target[], flags: Flag[], limits: any}} about @param {Service} stored */
export function start(about, stored) {
  service = stored;
  const form = byId("filters");
  form.elements.flag.append(...about.flags.map((flag) => element("option", { textContent: flag.key })));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    refresh(about);
  });
  byId("more").addEventListener("click", () => load(about, next));
  const csv = element("button", { type: "button", textContent: "Download CSV" });
  csv.addEventListener("click", () => download("history.csv", files.csv(rows, ["id", "time", "kind", "source", "level"])));
  byId("history-actions").append(csv);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => trend(about));
  addEventListener("resize", () => byId("history").hidden || trend(about));
}

/** @param {any} about */
export async function refresh(about) {
  if (!about.limits.history) {
    say(byId("history-status"), "This server keeps no history.");
    return;
  }
  rows = [];
  opened = null;
  await load(about, null);
}

/** @returns {Record<string, string>} */
function filters() {
  /** @type {Record<string, string>} */
  const chosen = {};
  for (const [name, value] of new FormData(byId("filters")))
    if (value) chosen[name] = name === "since" || name === "until" ? new Date(String(value)).toISOString() : String(value);
  return chosen;
}

const count = () => (rows.length ? `${rows.length} row${rows.length === 1 ? "" : "s"}${next ? ", and more" : ""}.` : "No rows match these filters.");

/** @param {any} about @param {number | null} before */
async function load(about, before) {
  try {
    const answer = await service.history({ ...filters(), limit: 200, ...(before ? { before } : {}) });
    rows = [...rows, ...answer.rows];
    next = answer.next;
    say(byId("history-status"), count());
  } catch (error) {
    say(byId("history-status"), error instanceof Error ? error.message : String(error), true);
  }
  byId("more").hidden = next === null;
  fill(about);
  trend(about);
}

/** @param {any} about */
function fill(about) {
  const minor = (/** @type {Target} */ target) => (MAIN.includes(target.key) ? "" : " wide");
  const head = element("thead", {}, element("tr", {},
    element("th", { scope: "col", textContent: "Time" }), element("th", { scope: "col", textContent: "Recording" }),
    element("th", { scope: "col", textContent: "Source", className: "wide" }),
    ...about.targets.map((/** @type {Target} */ target) => element("th", { scope: "col", textContent: short(target), className: `number${minor(target)}` })),
    element("th", { scope: "col", textContent: "Flags", className: "wide" })));
  const body = element("tbody", {}, ...rows.flatMap((row) => {
    const open = row.id === opened;
    const button = element("button", { type: "button", className: "plain", textContent: row.kind === "stream" ? `${row.file} (live)` : row.file, "aria-expanded": String(open) });
    button.addEventListener("click", () => {
      opened = open ? null : row.id;
      fill(about);
      byId("rows").querySelector(`[data-id="${row.id}"] button`)?.focus({ preventScroll: true });
    });
    const line = element("tr", { "data-id": row.id },
      element("td", { className: "when", textContent: new Date(row.time).toLocaleString() }),
      element("th", { scope: "row", className: "file" }, button),
      element("td", { className: "wide", textContent: row.source }),
      ...about.targets.map((/** @type {Target} */ target) => element("td", {
        className: `number ${row[target.key] == null ? "none" : grade(target, row[target.key])}${minor(target)}`, textContent: digits(target, row[target.key]) })),
      element("td", { className: `wide ${row.level === "ok" ? "" : "fair"}`, textContent: row.flags.join(", ") }));
    return open ? [line, element("tr", {}, element("td", { colSpan: about.targets.length + 4, className: "opened" }, details(row, about)))] : [line];
  }));
  byId("rows").replaceChildren(head, body);
}

/** All about a row, its recording if it is stored, and its deletion. @param {Row} row @param {any} about */
function details(row, about) {
  const overall = about.targets.find((/** @type {Target} */ target) => target.key === "g_mos");
  const notes = row.error ? element("p", { className: "problem", textContent: row.error }) : flags(row, about.flags);
  const place = element("div", { className: "gauges" });
  gauges.show(place, about.targets.filter((/** @type {Target} */ target) => target.key !== "g_mos"), row, "h2");
  const facts = [row.source && `source ${row.source}`, row.duration_s != null && `${row.duration_s.toFixed(1)} s`, `model ${row.model}`, `row ${row.id}`].filter(Boolean).join(", ");
  const remove = element("button", { type: "button", textContent: "Delete this row" });
  remove.addEventListener("click", async () => {
    if (remove.textContent !== "Delete now") {
      remove.textContent = "Delete now"; // the second press deletes
      return;
    }
    try {
      await service.remove(row.id);
      rows = rows.filter((one) => one.id !== row.id);
      opened = null;
      say(byId("history-status"), `Row ${row.id} was deleted. ${count()}`);
      fill(about);
      trend(about);
    } catch (error) {
      say(byId("history-status"), error instanceof Error ? error.message : String(error), true);
    }
  });
  const actions = element("p", { className: "player" }, remove);
  if (row.has_audio) {
    const play = element("button", { type: "button", textContent: "Play the recording" });
    play.addEventListener("click", async () => {
      const audio = element("audio", { controls: true, src: URL.createObjectURL(await service.audio(row.id)), "aria-label": row.file });
      play.replaceWith(audio);
      await audio.play();
    });
    actions.prepend(play);
  }
  return element("div", {}, row.g_mos == null ? notes : verdict.show(overall, row, notes), place,
    element("p", { className: "hint", textContent: `${facts}.` }), actions);
}

/** Scores in order of time: S-, N- and G-MOS of one source, or G-MOS of each of several sources. @param {any} about */
function trend(about) {
  const scored = rows.filter((row) => row.g_mos != null).reverse();
  const place = byId("trend");
  if (scored.length < 2) {
    place.replaceChildren();
    return;
  }
  const mean = (/** @type {Row[]} */ some, key = "g_mos") => some.reduce((sum, row) => sum + (row[key] ?? 0), 0) / some.length;
  const times = scored.map((row) => Date.parse(row.time));
  const canvas = element("canvas", { className: "trend", role: "img",
    "aria-label": `Trend of ${scored.length} scores; mean G-MOS ${mean(scored).toFixed(2)}, first ${scored[0].g_mos.toFixed(2)}, last ${scored.at(-1)?.g_mos.toFixed(2)}` });
  const { series, legend } = separated(scored, about, mean);
  place.replaceChildren(
    element("div", { className: "lines" }, canvas),
    element("p", { className: "hint", textContent: `${new Date(times[0]).toLocaleString()} to ${new Date(/** @type {number} */ (times.at(-1))).toLocaleString()}; means:` }),
    legend);
  plots.lines(canvas, series, { start: times[0], end: /** @type {number} */ (times.at(-1)), ticks: plots.MOS_TICKS });
}

/** @param {Row[]} scored @param {any} about @param {(some: Row[], key?: string) => number} mean */
function separated(scored, about, mean) {
  const targets = about.targets.filter((/** @type {Target} */ target) => MAIN.includes(target.key));
  const names = [...new Set(scored.map((row) => row.source))];
  if (names.length < 2) {
    const means = Object.fromEntries(targets.map((/** @type {Target} */ target) => [target.key, mean(scored, target.key)]));
    return { legend: plots.legend(targets, means), series: targets.map((/** @type {Target} */ target) => ({
      target, times: scored.map((row) => Date.parse(row.time)), values: scored.map((row) => row[target.key]) })) };
  }
  const overall = targets.find((/** @type {Target} */ target) => target.key === "g_mos");
  const own = names.length > MOST_SOURCES ? names.slice(0, MOST_SOURCES - 1) : names;
  const groups = own.map((name) => ({ name: name || "no source", some: scored.filter((row) => row.source === name) }));
  const others = scored.filter((row) => !own.includes(row.source));
  if (others.length) groups.push({ name: `${names.length - own.length} other sources`, some: others });
  const series = groups.map(({ some }, style) => ({ target: overall, style, times: some.map((row) => Date.parse(row.time)), values: some.map((row) => row.g_mos) }));
  return { series, legend: plots.sourceLegend(groups.map(({ name, some }) => `${name}: G-MOS ${mean(some).toFixed(2)} (${some.length})`)) };
}
