// @ts-check
/** Gauges of scores: value, interval, and what it means. */
import { element } from "./dom.js";
import { digits, grade, sentence, share, short } from "./words.js";

/** @typedef {import("./words.js").Target} Target */

/** @param {HTMLElement} place @param {Target[]} targets @param {Record<string, any>} row @param {string} heading the level of the headings */
export function show(place, targets, row, heading = "h3") {
  place.replaceChildren(...targets.filter((target) => row[target.key] != null).map((target) => gauge(target, row, heading)));
}

/** @param {Target} target @param {Record<string, any>} row */
export function range(target, row) {
  const interval = row.intervals?.[target.key];
  return interval ? `90 % interval ${digits(target, interval.low)} to ${digits(target, interval.high)}` : "";
}

/** A bar for a score and its interval. @param {Target} target @param {Record<string, any>} row */
export function meter(target, row) {
  const value = row[target.key];
  const interval = row.intervals?.[target.key];
  const told = `${digits(target, value)}, on a scale of ${target.low} to ${target.high}`;
  const between = range(target, row);
  const fill = element("div", { className: "fill" });
  fill.style.width = `${100 * share(target, value)}%`;
  const bar = element("div", {
    className: `bar ${grade(target, value)}`, role: "meter", "aria-label": target.name, "aria-valuemin": target.low,
    "aria-valuemax": target.high, "aria-valuenow": value, "aria-valuetext": between ? `${told}; ${between}` : told,
  }, fill);
  if (interval) {
    const span = element("div", { className: "span" });
    span.style.left = `${100 * share(target, interval.low)}%`;
    span.style.right = `${100 * (1 - share(target, interval.high))}%`;
    bar.append(span);
  }
  return bar;
}

/** @param {Target} target @param {Record<string, any>} row @param {string} heading */
function gauge(target, row, heading) {
  const value = row[target.key];
  const between = range(target, row);
  return element("section", { className: "gauge", "data-score": target.key, "data-value": value, "aria-label": target.name },
    element("div", { className: "head" },
      element(heading, { className: "title", textContent: target.name }),
      element("span", { className: `value ${grade(target, value)}`, textContent: digits(target, value) })),
    meter(target, row),
    element("div", { className: "ends", "aria-hidden": "true" },
      element("span", { textContent: String(target.low) }),
      element("span", { textContent: target.higher_is_better ? "more is better" : "less is better" }),
      element("span", { textContent: String(target.high) })),
    element("p", { textContent: sentence(target, value) }),
    element("p", { className: "hint", textContent: between ? `${between}.` : `${short(target)}: ${target.says}.` }));
}
