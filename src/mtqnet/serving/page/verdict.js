// @ts-check
/** The verdict on one recording: overall quality, its main cause, and the position of the worst segment. */
import { meter, range } from "./gauges.js";
import { clock, element } from "./dom.js";
import { digits, grade, step } from "./words.js";

/** @typedef {import("./words.js").Target} Target */

/** S-MOS or N-MOS is the main problem if it is lower than the other by at least this, in MOS. */
export const MAIN_DIFFERENCE = 0.5;
/** S-MOS or N-MOS from this value on is no problem: P.835 "slightly distorted" or "slightly noticeable", or better. */
export const NO_PROBLEM = 3.5;

/**
 * The sentences about the main problem, with the words of ITU-T P.835; empty if S-MOS or N-MOS is unknown. A model with
 * causes names them (`row.cause`); for other models the problem is derived from S-MOS and N-MOS alone.
 * @param {Record<string, any>} row
 */
export function cause({ s_mos: s, n_mos: n, cause: named }) {
  if (s == null || n == null) return named ?? "";
  const speech = `the speech is ${step("s_mos", s)}`;
  const background = `the background is ${step("n_mos", n)}`;
  if (named) return `${named} ${capital(speech)} and ${background}.`;
  if (Math.min(s, n) >= NO_PROBLEM) return `No main problem: ${speech} and ${background}.`;
  if (n <= s - MAIN_DIFFERENCE) return `Background noise is the main problem; ${speech}.`;
  if (s <= n - MAIN_DIFFERENCE) return `Distortion of the speech is the main problem; ${background}.`;
  return `Speech and background are similarly degraded: ${speech} and ${background}.`;
}

/** Quality, cause and position in sentences. @param {Record<string, any>} row an answer of /v1/score */
export function verdict(row) {
  const { g_mos: g, worst } = row;
  const quality = g == null ? "" : `${capital(step("g_mos", g))}.`;
  const position = worst ? `Worst from ${clock(worst.start_s)} to ${clock(worst.end_s)}.` : "";
  return [quality, cause(row), position].filter(Boolean).join(" ");
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The verdict as an element; `notes` are shown next to it. @param {Target} target of g_mos @param {Record<string, any>} row @param {HTMLElement} notes */
export function show(target, row, notes) {
  const value = row.g_mos;
  const number = element("div", { className: "overall" },
    element("p", { className: "head" },
      element("span", { className: `value ${grade(target, value)}`, textContent: digits(target, value) }),
      element("span", { className: `word ${grade(target, value)}`, textContent: step("g_mos", value) })),
    element("p", { className: "name", textContent: `${target.name} on a scale of ${target.low} to ${target.high}` }),
    meter(target, row),
    element("p", { className: "hint", textContent: range(target, row) }));
  return element("section", { className: "verdict", "data-score": "g_mos", "data-value": value, "aria-label": "Verdict" },
    number, element("div", { className: "cause" }, element("p", { id: "verdict", textContent: verdict(row) }), notes));
}
