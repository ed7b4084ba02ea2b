// @ts-check
/** The view of what was scored before: filters, a trend, a table. */
import * as api from "./api.js";
import { byId, download, element, say } from "./dom.js";
import * as plots from "./plots.js";
import * as files from "./export.js";
import { digits, grade, short } from "./words.js";

/** @typedef {Record<string, any>} Row */

/** @type {Row[]} */
let rows = [];
/** @type {number | null} */
let next = null;

/** @param {{targets: api.Target[], flags: api.Flag[], limits: any}} about */
export function start(about) {
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
  await load(about, null);
}

/** @returns {Record<string, string>} */
function filters() {
  /** @type {Record<string, string>} */
  const asked = {};
  for (const [name, value] of new FormData(byId("filters")))
    if (value) asked[name] = name === "since" || name === "until" ? new Date(String(value)).toISOString() : String(value);
  return asked;
}

/** @param {any} about @param {number | null} before */
async function load(about, before) {
  try {
    const answer = await api.history({ ...filters(), limit: 200, ...(before ? { before } : {}) });
    rows = [...rows, ...answer.rows];
    next = answer.next;
    say(byId("history-status"), rows.length ? `${rows.length} row${rows.length === 1 ? "" : "s"}${next ? ", and more" : ""}.` : "No rows match these filters.");
  } catch (error) {
    say(byId("history-status"), error instanceof Error ? error.message : String(error), true);
  }
  byId("more").hidden = next === null;
  fill(about);
  trend(about);
}

/** @param {any} about */
function fill(about) {
  const heads = ["Time", "Recording", "Source", ...about.targets.map(short), "Flags"];
  const head = element("thead", {}, element("tr", {}, ...heads.map((text, place) =>
    element("th", { scope: "col", textContent: text, className: place > 2 && place < heads.length - 1 ? "number" : "" }))));
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {},
    element("td", { textContent: new Date(row.time).toLocaleString() }),
    element("td", { className: "file", textContent: row.kind === "stream" ? `${row.file} (live)` : row.file }),
    element("td", { textContent: row.source }),
    ...about.targets.map((/** @type {api.Target} */ target) => element("td", {
      className: `number ${row[target.key] == null ? "none" : grade(target, row[target.key])}`, textContent: digits(target, row[target.key]) })),
    element("td", { className: row.level === "ok" ? "" : "fair", textContent: row.flags.join(", ") }))));
  byId("rows").replaceChildren(head, body);
}

/** S-, N- and G-MOS in order of time. @param {any} about */
function trend(about) {
  const targets = about.targets.filter((/** @type {api.Target} */ target) => ["s_mos", "n_mos", "g_mos"].includes(target.key));
  const scored = rows.filter((row) => row.g_mos != null).reverse();
  const place = byId("trend");
  if (scored.length < 2) {
    place.replaceChildren();
    return;
  }
  const mean = scored.reduce((sum, row) => sum + row.g_mos, 0) / scored.length;
  const times = scored.map((row) => Date.parse(row.time));
  const canvas = element("canvas", { className: "trend", role: "img",
    "aria-label": `Trend of ${scored.length} scores; mean G-MOS ${mean.toFixed(2)}, first ${scored[0].g_mos.toFixed(2)}, last ${scored.at(-1)?.g_mos.toFixed(2)}` });
  const means = Object.fromEntries(targets.map((/** @type {api.Target} */ target) => [target.key, scored.reduce((sum, row) => sum + (row[target.key] ?? 0), 0) / scored.length]));
  place.replaceChildren(
    element("div", { className: "lines" }, canvas),
    element("p", { className: "hint", textContent: `${new Date(times[0]).toLocaleString()} to ${new Date(/** @type {number} */ (times.at(-1))).toLocaleString()}; means:` }),
    plots.legend(targets, means));
  plots.lines(canvas, targets.map((/** @type {api.Target} */ target) => ({ target, times, values: scored.map((row) => row[target.key]) })),
    { start: times[0], end: /** @type {number} */ (times.at(-1)), ticks: plots.MOS_TICKS });
}
