// @ts-check
/** A recording to see and hear: play, scrub, and a playhead over the pictures. */
import { clock, element, timeTicks } from "./dom.js";
import * as plots from "./plots.js";
import { digits, short } from "./words.js";

/** @typedef {import("./api.js").Target} Target */
/** @typedef {import("./sound.js").Sound} Sound */

const LABEL_PX = 64; // width of a label of the time axis and its distance to the next

export class Player {
  /**
   * @param {Sound} sound @param {string} name
   * @param {{targets: Target[], row: Record<string, any>} | null} scored to draw lines of
   */
  constructor(sound, name, scored) {
    this.sound = sound;
    this.scored = scored;
    this.audio = new Audio(sound.url);
    this.audio.preload = "auto";
    this.stopAt = Infinity;
    this.pointed = /** @type {number | null} */ (null); // seconds at the pointer
    this.button = element("button", { type: "button", className: "main", textContent: "Play" });
    this.slider = element("input", { type: "range", min: 0, max: sound.seconds.toFixed(2), step: 0.1, value: 0, "aria-label": `Position in ${name}` });
    this.time = element("span", { className: "time" });
    this.head = element("div", { className: "playhead" });
    this.wave = canvas("wave", `Waveform of ${name}`);
    this.spectrum = canvas("spectrum", `Spectrogram of ${name}, up to 8 kHz`);
    this.plots = element("div", { className: "plots" }, this.wave, this.spectrum);
    if (scored) this.addLines(scored);
    this.axis = element("div", { className: "axis", "aria-hidden": "true" });
    this.cursor = element("div", { className: "cursor", hidden: true });
    this.plots.append(this.axis, this.head, this.cursor);
    this.values = element("p", { className: "values" });
    this.root = element("div", {}, element("div", { className: "player" }, this.button, this.slider, this.time), this.plots, this.values);
    this.listen();
    this.show();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.plots);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** @param {{targets: Target[], row: Record<string, any>}} scored */
  addLines({ targets, row }) {
    const told = (/** @type {Target[]} */ some) => some.map((target) => target.name).join(", ");
    const track = row.track;
    if (!track) return;
    const some = targets.filter((target) => track.values[target.key]);
    this.groups = [some.filter((target) => target.high > 1 && !target.log), some.filter((target) => target.high <= 1 || target.log)];
    this.track = canvas("track", `${told(this.groups[0])} over time, on a scale of 1 to 5`);
    this.ratio = canvas("ratio", `${told(this.groups[1])} over time, each on its own scale`);
    this.plots.append(this.track, this.ratio);
    if (row.worst) {
      const stretch = element("div", { className: "stretch" });
      stretch.style.left = `${(100 * row.worst.start_s) / this.sound.seconds}%`;
      stretch.style.width = `${(100 * (row.worst.end_s - row.worst.start_s)) / this.sound.seconds}%`;
      this.plots.append(stretch);
    }
  }

  draw() {
    if (!this.plots.clientWidth) return;
    plots.waveform(this.wave, this.sound.samples);
    plots.spectrogram(this.spectrum, this.sound.samples);
    const width = this.plots.clientWidth;
    const fits = (/** @type {{at: number}} */ tick) => width * (1 - tick.at / this.sound.seconds) > LABEL_PX / 2;
    this.axis.replaceChildren(...timeTicks(this.sound.seconds, width / LABEL_PX).filter(fits).map(({ at, text }) => {
      const tick = element("span", { textContent: text });
      tick.style.left = `${(100 * at) / this.sound.seconds}%`;
      return tick;
    }));
    const track = this.scored?.row.track;
    if (!track || !this.groups) return;
    const series = this.groups.map((group) => group.map((target) => ({ target, times: track.times_s, values: track.values[target.key] })));
    const axes = { start: 0, end: this.sound.seconds };
    plots.lines(/** @type {any} */ (this.track), series[0], { ...axes, ticks: plots.MOS_TICKS });
    plots.lines(/** @type {any} */ (this.ratio), series[1], { ...axes, ticks: [{ share: 0.5, text: "STOI 0.5, SDI 0.03" }] });
  }

  listen() {
    this.button.addEventListener("click", () => (this.audio.paused ? this.play() : this.audio.pause()));
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    const time = (/** @type {PointerEvent} */ event) => {
      const box = this.plots.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * this.sound.seconds;
    };
    const scrub = (/** @type {PointerEvent} */ event) => this.seek(time(event));
    this.plots.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      this.plots.setPointerCapture(event.pointerId);
      scrub(event);
    });
    this.plots.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (this.plots.hasPointerCapture(event.pointerId)) scrub(event);
      this.pointed = time(event);
      this.show();
    });
    this.plots.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.show();
    });
    for (const name of ["play", "pause", "ended"])
      this.audio.addEventListener(name, () => {
        this.button.textContent = this.audio.paused ? "Play" : "Pause";
        if (!this.audio.paused) this.follow();
      });
    for (const name of ["timeupdate", "seeked"]) this.audio.addEventListener(name, () => this.show());
  }

  /** @param {number} [from] @param {number} [until] */
  async play(from, until = Infinity) {
    if (from !== undefined) this.seek(from);
    this.stopAt = until;
    await this.audio.play();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.stopAt = Infinity;
    this.audio.currentTime = Math.min(this.sound.seconds, Math.max(0, seconds));
    this.show();
  }

  follow() {
    if (this.audio.currentTime >= this.stopAt) this.audio.pause();
    this.show();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  show() {
    const at = this.audio.currentTime;
    this.head.style.left = `${(100 * at) / this.sound.seconds}%`;
    this.slider.value = String(at);
    const scores = this.scoresAt(at);
    this.slider.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.sound.seconds.toFixed(1)} seconds${scores && `; ${scores}`}`);
    this.time.textContent = `${clock(at)} / ${clock(this.sound.seconds)}`;
    this.cursor.hidden = this.pointed === null;
    this.cursor.style.left = `${(100 * (this.pointed ?? 0)) / this.sound.seconds}%`;
    const looked = this.pointed ?? at;
    const values = this.scoresAt(looked);
    this.values.textContent = values && `At ${clock(looked)}: ${values}`;
  }

  /** The scores over time at the value next to a time; empty without scores. @param {number} seconds */
  scoresAt(seconds) {
    const track = this.scored?.row.track;
    if (!track?.times_s.length) return "";
    const distance = (/** @type {number} */ place) => Math.abs(track.times_s[place] - seconds);
    let place = 0;
    for (let one = 1; one < track.times_s.length; one += 1) if (distance(one) < distance(place)) place = one;
    const targets = this.scored?.targets.filter((target) => track.values[target.key]) ?? [];
    return targets.map((target) => `${short(target)} ${digits(target, track.values[target.key][place])}`).join(", ");
  }

  close() {
    this.audio.pause();
    this.observer.disconnect();
  }
}

/** @param {string} kind @param {string} told */
const canvas = (kind, told) => element("canvas", { className: kind, role: "img", "aria-label": told });
