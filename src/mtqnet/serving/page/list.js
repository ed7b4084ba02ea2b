// @ts-check
/** A table of recordings: sorted, filtered by name, flag and score, with the mean and a histogram of G-MOS. */
import { element } from "./dom.js";
import { digits, grade } from "./words.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./words.js").Flag} Flag */
/** @typedef {{name: string, row: Record<string, any> | null, problem: string}} Item what is listed */

const BIN = 0.25; // MOS, width of a bar of the histogram
const COLUMNS = ["g_mos", "s_mos", "n_mos"];
const SVG = "http://www.w3.org/2000/svg";

/** @param {Item} item @param {string} key */
const value = (item, key) => (key === "name" ? item.name : item.row?.[key] ?? null);

/**
 * Sort by a column; recordings without a value come last.
 * @template {Item} T @param {T[]} items @param {string} key @param {1 | -1} direction @returns {T[]}
 */
export function sorted(items, key, direction) {
  return [...items].sort((one, other) => {
    const [a, b] = [value(one, key), value(other, key)];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return direction * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  });
}

/** @typedef {{name: string, flag: string, most: number | null}} Filter `flag`: a key, or "any", "some", "none", "unscored" */

/** @param {Item} item @param {Filter} filter */
export function matches(item, { name, flag, most }) {
  if (!item.name.toLowerCase().includes(name.trim().toLowerCase())) return false;
  if (most !== null && !(item.row?.g_mos != null && item.row.g_mos <= most)) return false;
  const flags = /** @type {string[]} */ (item.row?.flags ?? []);
  if (flag === "any") return true;
  if (flag === "unscored") return !item.row;
  if (flag === "some") return flags.length > 0;
  if (flag === "none") return item.row !== null && flags.length === 0;
  return flags.includes(flag);
}

/** Number, mean and histogram of the G-MOS of recordings. @param {Item[]} items */
export function summary(items) {
  const scores = items.map((item) => item.row?.g_mos).filter((score) => score != null);
  const bins = new Array(Math.round(4 / BIN)).fill(0);
  for (const score of scores) bins[Math.min(bins.length - 1, Math.max(0, Math.floor((score - 1) / BIN)))] += 1;
  const mean = scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : null;
  return { count: scores.length, mean, bins };
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {...Node} children */
function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, setting] of Object.entries(attributes)) made.setAttribute(key, String(setting));
  made.append(...children);
  return made;
}

/** A histogram of G-MOS with its mean; null without scores. @param {Item[]} items */
export function histogram(items) {
  const { count, mean, bins } = summary(items);
  if (mean === null) return null;
  const [width, height, base] = [320, 90, 72];
  const highest = Math.max(...bins);
  const each = width / bins.length;
  const steps = [1, 2, 3, 4].map((from) => {
    const inside = bins.slice((from - 1) / BIN, from / BIN).reduce((sum, one) => sum + one, 0);
    return `${inside} from ${from} to ${from + 1}`;
  });
  const drawn = svg("svg", {
    viewBox: `-4 0 ${width + 8} ${height}`, class: "histogram", role: "img",
    "aria-label": `Histogram of G-MOS of ${count} recordings: ${steps.join(", ")}; mean ${mean.toFixed(2)}`,
  });
  bins.forEach((inside, place) => {
    const bar = inside && Math.max(2, ((base - 14) * inside) / highest);
    drawn.append(svg("rect", { x: place * each + 1, y: base - bar, width: each - 2, height: bar, class: "bin" }));
  });
  const at = ((mean - 1) / 4) * width;
  drawn.append(svg("line", { x1: 0, x2: width, y1: base, y2: base, class: "base" }));
  drawn.append(svg("line", { x1: at, x2: at, y1: 12, y2: base, class: "mean" }));
  const text = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ words, anchor = "middle") => {
    const made = svg("text", { x, y, "text-anchor": anchor });
    made.textContent = words;
    drawn.append(made);
  };
  for (const mos of [1, 2, 3, 4, 5]) text(((mos - 1) / 4) * width, height - 4, String(mos));
  text(Math.min(width - 40, Math.max(40, at)), 9, `mean ${mean.toFixed(2)}`);
  return drawn;
}

/**
 * The table with its filters.
 * @template {Item} T
 */
export class List {
  /**
   * @param {HTMLElement} place @param {{targets: Target[], flags: Flag[]}} about
   * @param {(item: T) => void} open shows a recording @param {(item: T) => void} remove
   */
  constructor(place, about, open, remove) {
    this.about = about;
    this.open = open;
    this.remove = remove;
    /** @type {T[]} */
    this.items = [];
    this.key = "g_mos";
    this.direction = /** @type {1 | -1} */ (1);
    this.current = /** @type {T | null} */ (null);
    this.name = element("input", { type: "search", autocomplete: "off" });
    this.flag = element("select", {});
    this.most = element("input", { type: "number", min: 1, max: 5, step: 0.1, inputMode: "decimal" });
    this.mean = element("p", { className: "mean", role: "status" });
    this.bars = element("div", {});
    this.head = element("thead", {});
    this.body = element("tbody", {});
    for (const control of [this.name, this.flag, this.most]) control.addEventListener("input", () => this.arrange());
    const labelled = (/** @type {string} */ text, /** @type {HTMLElement} */ control) => element("label", { textContent: text }, control);
    place.replaceChildren(
      element("div", { className: "filters" }, labelled("Name contains", this.name), labelled("Flag", this.flag), labelled("G-MOS at most", this.most)),
      this.mean, this.bars,
      element("div", { className: "scroll tall", tabIndex: 0, role: "region", "aria-label": "Recordings" }, element("table", { id: "recordings" }, this.head, this.body)));
  }

  get filter() {
    const most = this.most.value === "" ? null : Number(this.most.value);
    return { name: this.name.value, flag: this.flag.value || "any", most };
  }

  /** Recordings that match the filters, in the order of the table. */
  get listed() {
    return sorted(this.items.filter((item) => matches(item, this.filter)), this.key, this.direction);
  }

  /** Show all again, in order. */
  arrange() {
    const focused = document.activeElement?.closest?.("#recordings [data-name]");
    const at = focused instanceof HTMLElement ? focused.dataset.name : undefined;
    this.fillFlags();
    this.head.replaceChildren(element("tr", {}, this.heading("name", "Recording"),
      ...COLUMNS.map((key) => this.heading(key, key.charAt(0).toUpperCase())), element("td", {})));
    const { listed } = this;
    const rows = listed.map((item) => this.line(item));
    this.body.replaceChildren(...rows);
    if (at !== undefined) // replacing an element takes its focus away
      [...this.head.querySelectorAll("th"), ...rows].find((one) => one.dataset.name === at)?.querySelector("button")?.focus({ preventScroll: true });
    const { count, mean } = summary(listed);
    this.mean.textContent = mean === null ? "No scored recording in this list."
      : `Mean G-MOS ${mean.toFixed(2)} of ${count} recording${count === 1 ? "" : "s"}`;
    const drawn = count > 1 ? histogram(listed) : null;
    this.bars.replaceChildren(...(drawn ? [drawn] : []));
  }

  /** @param {string} key @param {string} text */
  heading(key, text) {
    const chosen = this.key === key;
    const target = this.about.targets.find((one) => one.key === key);
    const arrow = chosen ? (this.direction > 0 ? " ▲" : " ▼") : "";
    const button = element("button", { type: "button", className: "plain", textContent: text + arrow, title: target?.name ?? text, "aria-label": `Sort by ${target?.name ?? text.toLowerCase()}` });
    button.addEventListener("click", () => {
      this.direction = chosen ? (this.direction === 1 ? -1 : 1) : 1;
      this.key = key;
      this.arrange();
    });
    const cell = element("th", { scope: "col", className: key === "name" ? "" : "number" }, button);
    cell.dataset.name = `sort ${key}`;
    if (chosen) cell.setAttribute("aria-sort", this.direction > 0 ? "ascending" : "descending");
    return cell;
  }

  /** @param {T} item */
  line(item) {
    const button = element("button", { type: "button", className: "plain", textContent: item.name });
    button.addEventListener("click", () => this.open(item));
    if (item === this.current) button.setAttribute("aria-current", "true");
    const flags = item.row?.flags ?? [];
    const note = item.row ? flags.join(", ") : item.problem || "waiting";
    const cells = COLUMNS.map((key) => {
      const target = this.about.targets.find((one) => one.key === key);
      const score = item.row?.[key];
      return element("td", { className: `number ${!target || score == null ? "none" : grade(target, score)}`, textContent: target ? digits(target, score) : "" });
    });
    const away = element("button", { type: "button", className: "plain", textContent: "×", "aria-label": `Remove ${item.name} from the list`, title: "Remove from the list" });
    away.addEventListener("click", () => this.remove(item));
    const line = element("tr", {}, element("th", { scope: "row", className: "file" }, button, ...(note ? [element("div", { className: item.problem ? "note poor" : "note", textContent: note })] : [])),
      ...cells, element("td", {}, away));
    line.dataset.name = item.name;
    if (item === this.current) line.className = "current";
    return line;
  }

  /** Offer the flags that occur. */
  fillFlags() {
    const there = [...new Set(this.items.flatMap((item) => item.row?.flags ?? []))].sort();
    const options = [["any", "any"], ["some", "with flags"], ["none", "without flags"], ["unscored", "not scored"], ...there.map((key) => [key, key])];
    if (options.length === this.flag.options.length) return;
    const before = this.flag.value;
    this.flag.replaceChildren(...options.map(([key, text]) => element("option", { value: key, textContent: text })));
    this.flag.value = options.some(([key]) => key === before) ? before : "any";
  }
}
