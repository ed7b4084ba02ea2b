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
 * The main cause in a few words, and sentences with the rest; both are empty if nothing is known. A model with causes names
 * them (`row.cause`, the most probable first); for other models the cause is derived from S-MOS and N-MOS alone.
 * @param {Record<string, any>} row @returns {[string, string]}
 */
export function cause({ s_mos: s, n_mos: n, cause: named }) {
  const known = s != null && n != null;
  const words = known ? `The speech is ${step("s_mos", s)} and the background is ${step("n_mos", n)}.` : "";
  if (named) {
    const [found, ...advice] = named.split(/(?<=\.) /); // "Packet loss between 0:03.2 and 0:05.0, coding. Check the network."
    const first = `${found.split(",")[0].replace(/ between .*|\.$/, "")}.`;
    return [first, [...(first === found ? [] : [found]), ...advice, words].filter(Boolean).join(" ")];
  }
  if (!known) return ["", ""];
  if (Math.min(s, n) >= NO_PROBLEM) return ["No main problem.", words];
  if (n <= s - MAIN_DIFFERENCE) return ["Background noise.", words];
  if (s <= n - MAIN_DIFFERENCE) return ["Distorted speech.", words];
  return ["Distorted speech and background noise.", words];
}

/** Quality, main cause and worst position in one line, and sentences with the rest. @param {Record<string, any>} row an answer of /v1/score @returns {[string, string]} */
export function verdict(row) {
  const { g_mos: g, worst } = row;
  const [first, rest] = cause(row);
  const quality = g == null ? "" : `${capital(step("g_mos", g))}.`;
  const position = worst ? `Worst from ${clock(worst.start_s)} to ${clock(worst.end_s)}.` : "";
  return [[quality, first, position].filter(Boolean).join(" "), rest];
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
  const [line, rest] = verdict(row);
  return element("section", { className: "verdict", "data-score": "g_mos", "data-value": value, "aria-label": "Verdict" },
    number, element("div", { className: "cause" }, element("p", { id: "verdict", textContent: line }),
      ...(rest ? [element("p", { id: "details", textContent: rest })] : []), notes));
}
