// @ts-check
/** What was scored as files to keep: the columns of `mtqnet score`. */

const KEYS = ["s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est"];
const COLUMNS = ["file", ...KEYS, ...KEYS.flatMap((key) => [`${key}_low`, `${key}_high`]), "duration_s", "model", "model_sha256", "version", "flags", "error"];

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

/** A text that begins as a formula does is told to a spreadsheet as text. @param {any} value */
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
