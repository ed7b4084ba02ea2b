// @ts-check
/** Results of a comparison of A with B: differences on one axis, a row per sentence, listening with matched levels, a blind test. */
import { byId, element, say } from "./dom.js";
import { Player } from "./player.js";
import * as sound from "./sound.js";
import { digits, grade, short } from "./words.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {{target: string, a_mean: number | null, b_mean: number | null, difference: number, low: number | null, high: number | null, better: string | null}} Difference SDI: of log10 */
/** @typedef {{name: string, a: Record<string, any>, b: Record<string, any>, files: [Blob | null, Blob | null]}} Pair */

const RANGE = 4; // of a MOS scale, 1 to 5
const HALVES = [0.5, 1, 1.5, 2, 3, 4]; // of the axis, in MOS

/** @param {string} name */
const stem = (name) => name.replace(/\.[^.]*$/, "");

/**
 * Recordings that belong together: the same name without suffix, or the only one of each side.
 * @param {{a: Record<string, any>[], b: Record<string, any>[]}} answer rows of each side @param {{a: File[], b: File[]}} files in the order of the rows
 * @returns {Pair[]} the pair with the largest decrease of G-MOS first
 */
export function pairs(answer, files) {
  const others = new Map(answer.b.map((row, place) => [stem(row.file), place]));
  const alone = answer.a.length === 1 && answer.b.length === 1;
  const found = answer.a.flatMap((row, place) => {
    const other = alone ? 0 : others.get(stem(row.file));
    if (other === undefined) return [];
    /** @type {Pair} */
    const pair = { name: stem(row.file), a: row, b: answer.b[other], files: [files.a[place] ?? null, files.b[other] ?? null] };
    return [pair];
  });
  const change = (/** @type {Pair} */ pair) => (pair.b.g_mos ?? Infinity) - (pair.a.g_mos ?? 0);
  return found.sort((one, other) => change(one) - change(other));
}

/** Width of a target's range, on the logarithm of a ratio. @param {Target} target */
const range = (target) => (target.log ? Math.log10(target.high / target.low) : target.high > 1 ? RANGE : target.high - target.low);

/** A difference in words. @param {Target} target @param {number} value */
export const signed = (target, value) => (target.log ? `× ${(10 ** value).toPrecision(2)}` : `${value > 0 ? "+" : ""}${value.toFixed(2)}`);

/**
 * Differences with their intervals. All scores on a MOS scale share one axis; STOI and SDI are drawn as the same fraction of their range.
 * @param {Target[]} targets @param {Difference[]} comparisons
 */
export function intervalPlot(targets, comparisons) {
  const known = comparisons.map((one) => ({ one, target: /** @type {Target} */ (targets.find((target) => target.key === one.target)) }));
  const mos = (/** @type {Target} */ target, /** @type {number} */ value) => (RANGE * value) / range(target);
  const most = Math.max(0, ...known.flatMap(({ one, target }) => [one.difference, one.low ?? 0, one.high ?? 0].map((value) => Math.abs(mos(target, value)))));
  const half = HALVES.find((limit) => limit >= most) ?? RANGE;
  const percent = (/** @type {number} */ value) => Math.min(100, Math.max(0, 50 + (50 * value) / half));
  const rows = known.map(({ one, target }) => {
    const state = one.better === null ? "same" : one.better === "B" ? "good" : "poor";
    const track = element("div", { className: "difference-track", "aria-hidden": "true" }, element("div", { className: "zero" }));
    if (one.low !== null && one.high !== null) {
      const span = element("div", { className: `reach ${state}` });
      span.style.left = `${percent(mos(target, one.low))}%`;
      span.style.right = `${100 - percent(mos(target, one.high))}%`;
      track.append(span);
    }
    const dot = element("div", { className: `dot ${state}${one.low === null ? " hollow" : ""}` });
    dot.style.left = `${percent(mos(target, one.difference))}%`;
    track.append(dot);
    const ends = one.low === null || one.high === null ? "" : ` [${signed(target, one.low)}, ${signed(target, one.high)}]`;
    return element("li", {}, element("span", { textContent: short(target) }), track,
      element("span", { className: `number ${state}` }, signed(target, one.difference), element("span", { className: "ends-of", textContent: ends })));
  });
  const ticks = element("div", { className: "difference-track ticks" }, ...[-half, -half / 2, 0, half / 2, half].map((value) => {
    const tick = element("span", { textContent: value > 0 ? `+${value}` : String(value) });
    tick.style.left = `${percent(value)}%`;
    return tick;
  }));
  const axis = element("li", { "aria-hidden": "true" }, element("span", {}), ticks, element("span", { className: "number", textContent: "MOS" }));
  return element("figure", { className: "differences" },
    element("ul", { "aria-label": "Differences, B minus A" }, ...rows, axis),
    element("figcaption", { className: "hint", textContent: "B minus A with 95 % intervals. Scores on a MOS scale share one axis; STOI and SDI are drawn as the same fraction of their range. Green: B is better. Red: A is better. Grey: no difference was found. Hollow: too few recordings for an interval." }));
}

/** Means, differences and intervals in numbers. @param {Target[]} targets @param {Difference[]} comparisons */
export function numbers(targets, comparisons) {
  const head = element("tr", {}, ...["Score", "A", "B", "B minus A", "95 % interval", "Better"].map((text, place) =>
    element("th", { textContent: text, scope: "col", className: place && place < 5 ? "number" : "" })));
  const rows = comparisons.map((one) => {
    const target = /** @type {Target} */ (targets.find((known) => known.key === one.target));
    const plain = (/** @type {number | null} */ value) => (value === null ? null : target.log ? 10 ** value : value);
    const cells = [digits(target, plain(one.a_mean)), digits(target, plain(one.b_mean)), signed(target, one.difference),
      one.low === null || one.high === null ? "too few" : `${signed(target, one.low)} to ${signed(target, one.high)}`];
    return element("tr", {}, element("th", { scope: "row", textContent: short(target) + (target.higher_is_better ? "" : " (lower is better)") }),
      ...cells.map((text) => element("td", { className: "number", textContent: text })),
      element("td", { textContent: one.better ?? "–" }));
  });
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Comparison" },
    element("table", { id: "numbers" }, element("thead", {}, head), element("tbody", {}, ...rows)));
}

/** A row per sentence, which is played by A or B. @param {Target} target of G-MOS @param {Pair[]} some @param {(pair: Pair, side: number) => void} play */
export function sentences(target, some, play) {
  const head = element("tr", {}, ...["Sentence", "A", "B", "B − A", "Listen"].map((text, place) =>
    element("th", { textContent: text, scope: "col", className: place && place < 4 ? "number" : "" })));
  const rows = some.map((pair) => {
    const [a, b] = [pair.a.g_mos, pair.b.g_mos];
    const change = a == null || b == null ? "–" : signed(target, b - a);
    const score = (/** @type {number | null} */ value) => element("td", { className: `number ${value == null ? "none" : grade(target, value)}`, textContent: digits(target, value) });
    const buttons = ["A", "B"].map((side, place) => {
      const button = element("button", { type: "button", textContent: `▶ ${side}`, "aria-label": `Play ${side} of ${pair.name}`, disabled: !pair.files[place] });
      button.addEventListener("click", () => play(pair, place));
      return button;
    });
    return element("tr", {}, element("th", { scope: "row", className: "file", textContent: pair.name }), score(a), score(b),
      element("td", { className: "number", textContent: change }), element("td", { className: "listen" }, ...buttons));
  });
  return element("div", { className: "scroll tall", tabIndex: 0, role: "region", "aria-label": "Sentences" },
    element("table", { id: "sentences" }, element("caption", { textContent: `${target.name} of each sentence, largest decrease first` }), element("thead", {}, head), element("tbody", {}, ...rows)));
}

/**
 * The gains that give two recordings the same active level; the louder one is attenuated.
 * @param {number[]} levels in dB @returns {number[]} factors, at most 1
 */
export function matchedGains(levels) {
  const lowest = Math.min(...levels);
  return levels.map((level) => 10 ** ((lowest - level) / 20));
}

/** Two recordings of which one is audible; a switch keeps the position. */
export class Switch {
  /** @param {HTMLElement} place @param {(file: Blob) => Promise<Blob>} [convert] */
  constructor(place, convert) {
    this.place = place;
    this.convert = convert;
    /** @type {Player[]} */
    this.players = [];
    this.pair = /** @type {Pair | null} */ (null);
    this.now = 0;
    this.match = element("input", { type: "checkbox", checked: true, id: "match-levels" });
    this.match.addEventListener("change", () => this.level());
    this.levels = element("span", { className: "hint" });
  }

  /** Load a pair; true if both can be played. @param {Pair} pair */
  async load(pair) {
    if (this.pair === pair) return true;
    this.close();
    this.pair = pair;
    try {
      const opened = await Promise.all(pair.files.map((file, side) => sound.open(/** @type {Blob} */ (file), pair[/** @type {"a" | "b"} */ ("ab"[side])].duration_s, this.convert)));
      if (this.pair !== pair) return false;
      this.players = opened.map((one, side) => new Player(one, "AB"[side], null));
      this.active = opened.map((one) => (one.samples ? sound.activeLevel(one.samples) : 0));
    } catch (error) {
      this.pair = null;
      this.place.replaceChildren(element("p", { className: "problem", textContent: `Playback is not available: ${error instanceof Error ? error.message : error}` }));
      return false;
    }
    this.level();
    return true;
  }

  /** Play both at the same level, or as they are. */
  level() {
    const gains = this.match.checked && this.active ? matchedGains(this.active) : [1, 1];
    this.players.forEach((player, side) => player.setGain(gains[side]));
    const quieter = gains.findIndex((gain) => gain < 0.994); // 0.05 dB
    this.levels.textContent = quieter < 0 ? "Both are played unchanged."
      : `${"AB"[quieter]} is played ${Math.abs(20 * Math.log10(gains[quieter])).toFixed(1)} dB quieter.`;
  }

  /** Show the pair with its switch. @param {number} side */
  show(side) {
    const pair = /** @type {Pair} */ (this.pair);
    const choice = element("fieldset", {}, element("legend", { textContent: "Listen to (keys A and B)" }));
    this.players.forEach((player, place) => {
      const radio = element("input", { type: "radio", name: "heard", id: `heard-${"AB"[place]}`, checked: place === side });
      radio.addEventListener("change", () => this.change(place));
      choice.append(element("label", {}, radio, ` ${"AB"[place]}`));
      player.root.hidden = place !== side;
    });
    this.now = side;
    this.place.replaceChildren(element("h2", { textContent: pair.name }),
      element("div", { className: "player" }, choice, element("label", {}, this.match, " Match levels"), this.levels), ...this.players.map((player) => player.root));
    this.players.forEach((player) => player.draw());
  }

  /** Switch to A (0) or B (1). @param {number} side */
  change(side) {
    if (side === this.now || this.players.length < 2) return;
    const [from, to] = [this.players[this.now], this.players[side]];
    const playing = !from.audio.paused;
    to.seek(from.audio.currentTime);
    to.span = { ...from.span, end: Math.min(from.span.end, to.sound.seconds) };
    from.audio.pause();
    from.root.hidden = true;
    to.root.hidden = false;
    this.now = side;
    to.draw();
    if (playing) to.play();
  }

  close() {
    this.players.forEach((player) => player.close());
    this.players = [];
    this.pair = null;
    this.place.replaceChildren();
  }
}

/** Probability of at least this many wins of a fair coin, for both directions. @param {number} wins @param {number} votes */
export function signTest(wins, votes) {
  let [term, tail] = [0.5 ** votes, 0];
  const extreme = Math.max(wins, votes - wins);
  for (let count = 0; count <= votes; count += 1) {
    if (count >= extreme) tail += term;
    term *= (votes - count) / (count + 1);
  }
  return Math.min(1, 2 * tail);
}

/** A blind preference test: each sentence in random order, A and B as 1 and 2 in random order, with matched levels. */
export class Blind {
  /** @param {HTMLElement} place @param {Pair[]} some @param {Switch} heard @param {() => void} close called at the end */
  constructor(place, some, heard, close) {
    this.place = place;
    this.heard = heard;
    this.close = close;
    this.order = shuffled(some);
    this.at = 0;
    /** @type {{pair: Pair, vote: string}[]} */
    this.votes = [];
    this.status = element("p", { role: "status" });
    this.next();
  }

  async next() {
    if (this.at === this.order.length) return this.finish();
    const pair = this.order[this.at];
    this.sides = shuffled([0, 1]);
    if (!(await this.heard.load(pair))) {
      this.at += 1;
      return this.next();
    }
    const stop = () => this.heard.players.forEach((player) => player.audio.pause());
    const button = (/** @type {string} */ text, /** @type {() => void} */ act, className = "") => {
      const made = element("button", { type: "button", textContent: text, className });
      made.addEventListener("click", act);
      return made;
    };
    const play = (/** @type {number} */ number) => {
      const before = this.heard.players.find((player) => !player.audio.paused);
      stop();
      const side = /** @type {number[]} */ (this.sides)[number];
      this.heard.players[side].play(before && before.audio.currentTime < before.sound.seconds - 0.1 ? before.audio.currentTime : 0);
      say(this.status, `Sentence ${this.at + 1} of ${this.order.length}: ${number + 1} is playing.`);
    };
    const vote = (/** @type {number | null} */ number) => {
      stop();
      this.votes.push({ pair, vote: number === null ? "none" : "AB"[/** @type {number[]} */ (this.sides)[number]] });
      this.at += 1;
      this.next();
    };
    say(this.status, `Sentence ${this.at + 1} of ${this.order.length}.`);
    this.place.replaceChildren(element("section", { className: "blind", "aria-label": "Blind test" },
      element("h2", { textContent: "Blind test: which one is better?" }), this.status,
      element("p", { className: "player" }, button("▶ 1", () => play(0), "main"), button("▶ 2", () => play(1), "main")),
      element("p", { className: "player" }, button("1 is better", () => vote(0)), button("2 is better", () => vote(1)), button("No difference", () => vote(null))),
      element("p", { className: "player" }, button("End the test", () => {
        stop();
        this.finish();
      }))));
    this.place.querySelector("button")?.focus({ preventScroll: true });
  }

  finish() {
    this.heard.close();
    const count = (/** @type {string} */ side) => this.votes.filter((one) => one.vote === side).length;
    const [a, b, none] = ["A", "B", "none"].map(count);
    const result = a + b === 0 ? "No preference was given."
      : `You preferred A ${a} times and B ${b} times; ${none} without a preference. Probability of such a result without a difference: ${signTest(b, a + b).toFixed(2)} (sign test).`;
    const done = element("button", { type: "button", textContent: "Show the scores" });
    done.addEventListener("click", this.close);
    this.place.replaceChildren(element("section", { className: "blind", "aria-label": "Result of the blind test" },
      element("h2", { textContent: "Result of the blind test" }), element("p", { id: "blind-result", role: "status", textContent: result }),
      element("ul", {}, ...this.votes.map(({ pair, vote }) => element("li", { textContent: `${pair.name}: ${vote === "none" ? "no difference" : `${vote} preferred`}` }))),
      element("p", {}, done)));
    done.focus({ preventScroll: true });
  }
}

/** @template T @param {T[]} items @returns {T[]} */
function shuffled(items) {
  const made = [...items];
  for (let last = made.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [made[last], made[other]] = [made[other], made[last]];
  }
  return made;
}

/** Keys A and B, while the view is visible and nothing is typed. @param {string} view @param {() => Switch | null} heard */
export function keys(view, heard) {
  document.addEventListener("keydown", (event) => {
    const side = ["a", "b"].indexOf(event.key.toLowerCase());
    const typing = event.target instanceof HTMLElement && event.target.matches("input:not([type=range], [type=radio], [type=checkbox]), select, textarea");
    if (side < 0 || typing || event.ctrlKey || event.metaKey || event.altKey || byId(view).hidden || !heard()) return;
    const radio = byId(`heard-${"AB"[side]}`);
    if (radio && !radio.checked) radio.click();
  });
}
