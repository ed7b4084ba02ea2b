// @ts-check
/** Results as files: CSV with the columns of `mtqnet score`, JSON, and a report in HTML. */
import { element } from "./dom.js";
import { histogram, sorted, summary } from "./list.js";
import { verdict } from "./verdict.js";
import { digits, short } from "./words.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./words.js").Flag} Flag */

const KEYS = ["s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est"];
const COLUMNS = ["file", "channel", ...KEYS, ...KEYS.flatMap((key) => [`${key}_low`, `${key}_high`]), "duration_s", "model", "model_sha256", "version", "flags", "error"];

/** @param {Record<string, any>} row */
function cells(row) {
  /** @type {Record<string, any>} */
  const made = { ...row, flags: (row.flags ?? []).join(" ") };
  for (const [key, interval] of Object.entries(row.intervals ?? {})) {
    made[`${key}_low`] = interval.low;
    made[`${key}_high`] = interval.high;
  }
  return made;
}

/** A text that begins like a formula is marked as text for spreadsheets. @param {any} value */
function quoted(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {Record<string, any>[]} rows @param {string[]} [more] */
export function csv(rows, more = []) {
  const columns = [...more, ...COLUMNS];
  const lines = [columns.join(","), ...rows.map(cells).map((row) => columns.map((name) => quoted(row[name])).join(","))];
  return new Blob([lines.join("\n") + "\n"], { type: "text/csv" });
}

/** @param {unknown} value */
export const json = (value) => new Blob([JSON.stringify(value, null, 2)], { type: "application/json" });

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #c3cad2;vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}th[scope=row]{font-weight:400;overflow-wrap:anywhere}
svg{max-width:26rem}.bin{fill:#0b5c8f}.base{stroke:#4c5560}.mean{stroke:#a8321a;stroke-width:2}text{font-size:11px;fill:#4c5560}
@media(prefers-color-scheme:dark){body{color:#e8ebee;background:#14181d}.bin{fill:#7cc0ee}text{fill:#b3bcc6}.mean{stroke:#ff9a80}}`;

/**
 * One HTML file about recordings: mean, histogram, a table with the worst first, and the flags. It has no audio and needs no network.
 * @param {import("./list.js").Item[]} items @param {{targets: Target[], flags: Flag[]}} about @param {string} model
 */
export function report(items, about, model) {
  const { count, mean } = summary(items);
  const targets = about.targets.filter((target) => items.some((item) => item.row?.[target.key] != null));
  const cell = (/** @type {string} */ text, /** @type {string} */ name = "td", className = "") => element(name, { textContent: text, className });
  const head = element("tr", {}, ...["Recording", ...targets.map(short), "Verdict", "Flags or reason"].map((text, place) => {
    const made = cell(text, "th", place > 0 && place <= targets.length ? "number" : "");
    made.setAttribute("scope", "col");
    return made;
  }));
  const lines = sorted(items, "g_mos", 1).map((item) => {
    const name = cell(item.name, "th");
    name.setAttribute("scope", "row");
    return element("tr", {}, name, ...targets.map((target) => cell(digits(target, item.row?.[target.key]), "td", "number")),
      cell(item.row ? verdict(item.row).join(" ") : ""), cell(item.row ? item.row.flags.join(", ") : item.problem));
  });
  const raised = about.flags.filter((flag) => items.some((item) => item.row?.flags.includes(flag.key)));
  const drawn = histogram(items);
  const body = element("body", {},
    element("h1", { textContent: "Speech quality of recordings" }),
    element("p", { textContent: `${items.length} recordings, ${count} scored by the model ${model}. ${mean === null ? "" : `Mean G-MOS ${mean.toFixed(2)}.`}` }),
    ...(drawn ? [element("h2", { textContent: "Distribution of G-MOS" }), drawn] : []),
    element("h2", { textContent: "Recordings, worst first" }),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)),
    ...(raised.length ? [element("h2", { textContent: "Flags" }), element("ul", {}, ...raised.map((flag) =>
      element("li", {}, element("strong", { textContent: flag.key }), `: ${flag.summary}. ${flag.advice}`)))] : []),
    element("p", { textContent: "S-, N- and G-MOS are 3QUEST-style, anchored on public P.835 ratings; they are not scores of the licensed instrument. PESQ, STOI and SDI are estimates." }));
  const start = `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Speech quality of recordings</title><style>${STYLE}</style></head>\n`;
  return new Blob([start, body.outerHTML, "</html>\n"], { type: "text/html" });
}
