// @ts-check
/** A recording to look at and to listen to: playback, zoom with an overview, values at the pointer, worst segments. */
import { clock, element, timeTicks } from "./dom.js";
import * as plots from "./plots.js";
import { digits, short } from "./words.js";

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./sound.js").Sound} Sound */
/** @typedef {import("./segments.js").Segment} Segment */
/** @typedef {{targets: Target[], row: Record<string, any>, segments?: Segment[]}} Scored */

const LABEL_PX = 64; // width of a label of the time axis and its distance to the next
const SHORTEST_S = 0.5; // of a span at the largest zoom
const ZOOM = 2; // factor of a step
const OVERVIEW_S = 20; // recordings from this duration on have an overview, also if they are not zoomed

export class Player {
  /** @param {Sound} sound @param {string} name @param {Scored | null} scored to draw scores over time */
  constructor(sound, name, scored) {
    this.sound = sound;
    this.scored = scored;
    this.span = { start: 0, end: sound.seconds };
    this.peak = sound.samples ? plots.peak(sound.samples) : 1;
    this.loudest = /** @type {number | undefined} */ (undefined);
    this.audio = new Audio(sound.url);
    this.audio.preload = "auto";
    this.gain = 1;
    this.stopAt = Infinity;
    this.pointed = /** @type {number | null} */ (null); // seconds at the pointer
    this.button = element("button", { type: "button", className: "main", textContent: "Play" });
    this.slider = element("input", { type: "range", min: 0, max: sound.seconds.toFixed(2), step: 0.1, value: 0, "aria-label": `Position in ${name}` });
    this.time = element("span", { className: "time" });
    this.head = element("div", { className: "playhead" });
    this.wave = canvas("wave", `Waveform of ${name}`);
    this.spectrum = canvas("spectrum", `Spectrogram of ${name}, up to 8 kHz`);
    this.plots = element("div", { className: "plots" });
    if (sound.samples) this.plots.append(this.wave, this.spectrum);
    this.marks = (scored?.segments ?? []).map((segment, place) => {
      const mark = element("div", { className: place ? "stretch other" : "stretch" }, element("span", { textContent: String(place + 1) }));
      return { mark, segment };
    });
    if (scored) this.addLines(scored);
    this.axis = element("div", { className: "axis", "aria-hidden": "true" });
    this.cursor = element("div", { className: "cursor", hidden: true });
    this.tip = element("div", { className: "tip", hidden: true, "aria-hidden": "true" });
    this.plots.append(...this.marks.map(({ mark }) => mark), this.axis, this.head, this.cursor, this.tip);
    this.values = element("p", { className: "values" });
    this.root = element("div", {}, element("div", { className: "player" }, this.button, this.slider, this.time),
      this.zoomControls(name), this.plots, this.values);
    this.listen();
    this.show();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.plots);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
  }

  /** @param {Scored} scored */
  addLines({ targets, row }) {
    const names = (/** @type {Target[]} */ some) => some.map((target) => target.name).join(", ");
    const track = row.track;
    if (!track) return;
    const some = targets.filter((target) => track.values[target.key]);
    this.groups = [some.filter((target) => target.high > 1 && !target.log), some.filter((target) => target.high <= 1 || target.log)];
    this.track = canvas("track", `${names(this.groups[0])} over time, on a scale of 1 to 5`);
    this.ratio = canvas("ratio", `${names(this.groups[1])} over time, each on its own scale`);
    this.plots.append(this.track, this.ratio);
  }

  /** @param {string} name */
  zoomControls(name) {
    const step = (/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ act) => {
      const button = element("button", { type: "button", textContent: text, "aria-label": `${label} in ${name}`, title: label });
      button.addEventListener("click", act);
      return button;
    };
    this.zoomIn = step("+", "Zoom in", () => this.zoom(1 / ZOOM));
    this.zoomOut = step("−", "Zoom out", () => this.zoom(ZOOM));
    this.whole = step("Whole recording", "Show the whole recording", () => this.look(0, this.sound.seconds));
    this.shown = element("span", { className: "time", role: "status" });
    this.strip = canvas("strip", `Overview of ${name}`);
    this.windowMark = element("div", { className: "window" });
    this.scroll = element("input", { type: "range", min: 0, max: 1, step: 0.001, value: 0, "aria-label": `Visible part of ${name}` });
    this.scroll.addEventListener("input", () => {
      const length = this.span.end - this.span.start;
      const start = Number(this.scroll.value) * (this.sound.seconds - length);
      this.look(start, start + length);
    });
    this.overview = element("div", { className: "overview" }, this.strip, this.windowMark);
    const centre = (/** @type {PointerEvent} */ event) => {
      const box = this.overview.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * this.sound.seconds;
      const half = (this.span.end - this.span.start) / 2;
      this.look(at - half, at + half);
    };
    this.overview.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      this.overview.setPointerCapture(event.pointerId);
      centre(event);
    });
    this.overview.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (this.overview.hasPointerCapture(event.pointerId)) centre(event);
    });
    return element("div", {}, element("div", { className: "player zoom" }, element("span", { textContent: "Zoom" }), this.zoomIn, this.zoomOut,
      this.whole, this.shown), this.overview, this.scroll);
  }

  /** Zoom around the pointer, else around the position of playback. @param {number} factor @param {number} [at] seconds */
  zoom(factor, at = this.audio.currentTime) {
    const { start, end } = this.span;
    const centre = at >= start && at <= end ? at : (start + end) / 2;
    const length = Math.min(this.sound.seconds, Math.max(SHORTEST_S, (end - start) * factor));
    const begin = centre - ((centre - start) / (end - start)) * length;
    this.look(begin, begin + length);
  }

  /** Show a span of the recording. @param {number} start @param {number} end in seconds */
  look(start, end) {
    const length = Math.min(this.sound.seconds, Math.max(SHORTEST_S, end - start));
    const begin = Math.min(Math.max(0, start), this.sound.seconds - length);
    this.span = { start: begin, end: begin + length };
    this.draw();
    this.show();
  }

  get zoomed() {
    return this.span.end - this.span.start < this.sound.seconds - 1e-6;
  }

  draw() {
    const width = this.plots.clientWidth;
    if (!width) return;
    const { span } = this;
    const { samples, seconds } = this.sound;
    if (samples) {
      plots.waveform(this.wave, samples, span, this.peak);
      const loudest = plots.spectrogram(this.spectrum, samples, span, this.loudest);
      this.loudest ??= loudest;
    }
    const length = span.end - span.start;
    const ticks = timeTicks(span.start, span.end, width / LABEL_PX);
    const fits = (/** @type {{at: number}} */ tick) => (width * (span.end - tick.at)) / length > LABEL_PX / 2;
    this.axis.replaceChildren(...ticks.filter(fits).map(({ at, text }) => {
      const tick = element("span", { textContent: text });
      tick.style.left = `${this.percent(at)}%`;
      return tick;
    }));
    for (const { mark, segment } of this.marks) {
      const [left, right] = [segment.start_s, segment.end_s].map((at) => Math.min(100, Math.max(0, this.percent(at))));
      mark.hidden = right <= left;
      mark.style.left = `${left}%`;
      mark.style.width = `${right - left}%`;
    }
    this.drawOverview(seconds, length);
    const track = this.scored?.row.track;
    if (!track || !this.groups) return;
    const series = this.groups.map((group) => group.map((target) => ({ target, times: track.times_s, values: track.values[target.key] })));
    plots.lines(/** @type {any} */ (this.track), series[0], { ...span, ticks: plots.MOS_TICKS });
    plots.lines(/** @type {any} */ (this.ratio), series[1], { ...span, ticks: [{ share: 0.5, text: "STOI 0.5, SDI 0.03" }] });
  }

  /** @param {number} seconds of the recording @param {number} length of the span */
  drawOverview(seconds, length) {
    const { zoomed } = this;
    this.overview.hidden = !zoomed && seconds < OVERVIEW_S;
    this.scroll.hidden = !zoomed;
    this.whole.disabled = !zoomed;
    this.zoomOut.disabled = !zoomed;
    this.zoomIn.disabled = length <= SHORTEST_S * 1.001;
    this.shown.textContent = zoomed ? `${clock(this.span.start)} to ${clock(this.span.end)}` : "";
    if (this.overview.hidden) return;
    const all = { start: 0, end: seconds };
    const track = this.scored?.row.track;
    if (this.sound.samples) plots.waveform(this.strip, this.sound.samples, all, this.peak);
    else if (track && this.groups)
      plots.lines(this.strip, this.groups[0].filter((target) => target.key === "g_mos").map((target) =>
        ({ target, times: track.times_s, values: track.values.g_mos })), { ...all, ticks: [] });
    this.windowMark.style.left = `${(100 * this.span.start) / seconds}%`;
    this.windowMark.style.width = `${(100 * length) / seconds}%`;
    if (zoomed) this.scroll.value = String(this.span.start / (seconds - length));
    this.scroll.setAttribute("aria-valuetext", `${clock(this.span.start)} to ${clock(this.span.end)}`);
  }

  /** Horizontal position of a time in the plots, in percent. @param {number} at seconds */
  percent(at) {
    return (100 * (at - this.span.start)) / (this.span.end - this.span.start);
  }

  listen() {
    this.button.addEventListener("click", () => (this.audio.paused ? this.play() : this.audio.pause()));
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    const time = (/** @type {MouseEvent} */ event) => {
      const box = this.plots.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return this.span.start + part * (this.span.end - this.span.start);
    };
    this.plots.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      this.plots.setPointerCapture(event.pointerId);
      this.seek(time(event));
    });
    this.plots.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (this.plots.hasPointerCapture(event.pointerId)) this.seek(time(event));
      this.pointed = time(event);
      this.show();
    });
    this.plots.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.show();
    });
    this.plots.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1 / ZOOM : ZOOM, time(event));
    }, { passive: false });
    for (const name of ["play", "pause", "ended"])
      this.audio.addEventListener(name, () => {
        this.button.textContent = this.audio.paused ? "Play" : "Pause";
        if (!this.audio.paused) this.follow();
      });
    for (const name of ["timeupdate", "seeked"]) this.audio.addEventListener(name, () => this.show());
  }

  /** Volume relative to the file, at most 1. @param {number} gain */
  setGain(gain) {
    this.gain = Math.min(1, Math.max(0, gain));
    this.audio.volume = this.gain;
  }

  /** @param {number} [from] @param {number} [until] */
  async play(from, until = Infinity) {
    if (from !== undefined) this.seek(from);
    this.stopAt = until;
    await this.audio.play();
  }

  /** Play a segment, and show it if it is outside the visible span. @param {Segment} segment */
  async playSegment({ start_s, end_s }) {
    if (start_s < this.span.start || end_s > this.span.end) {
      const half = Math.max(this.span.end - this.span.start, end_s - start_s) / 2;
      const centre = (start_s + end_s) / 2;
      this.look(centre - half, centre + half);
    }
    await this.play(start_s, end_s);
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.stopAt = Infinity;
    this.audio.currentTime = Math.min(this.sound.seconds, Math.max(0, seconds));
    this.show();
  }

  follow() {
    const at = this.audio.currentTime;
    if (at >= this.stopAt) this.audio.pause();
    if (!this.audio.paused && at > this.span.end && this.zoomed) this.look(at, at + this.span.end - this.span.start);
    this.show();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  show() {
    const at = this.audio.currentTime;
    const place = this.percent(at);
    this.head.hidden = place < 0 || place > 100;
    this.head.style.left = `${place}%`;
    this.slider.value = String(at);
    const scores = this.scoresAt(at);
    this.slider.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.sound.seconds.toFixed(1)} seconds${scores.length ? `; ${scores.join(", ")}` : ""}`);
    this.time.textContent = `${clock(at)} / ${clock(this.sound.seconds)}`;
    const pointed = this.pointed;
    this.cursor.hidden = pointed === null;
    this.tip.hidden = pointed === null || !scores.length;
    const looked = pointed ?? at;
    const values = this.scoresAt(looked);
    this.values.textContent = values.length ? `At ${clock(looked)}: ${values.join(", ")}` : "";
    if (pointed === null) return;
    const left = this.percent(pointed);
    this.cursor.style.left = `${left}%`;
    this.tip.style.left = `${left}%`;
    this.tip.classList.toggle("left", left > 60); // the values are beside the pointer, within the plots
    this.tip.replaceChildren(...[clock(pointed), ...values].map((text) => element("div", { textContent: text })));
  }

  /** The scores over time at the value next to a time; empty without scores. @param {number} seconds @returns {string[]} */
  scoresAt(seconds) {
    const track = this.scored?.row.track;
    if (!track?.times_s.length) return [];
    const distance = (/** @type {number} */ place) => Math.abs(track.times_s[place] - seconds);
    let place = 0;
    for (let one = 1; one < track.times_s.length; one += 1) if (distance(one) < distance(place)) place = one;
    const targets = this.scored?.targets.filter((target) => track.values[target.key]) ?? [];
    return targets.map((target) => `${short(target)} ${digits(target, track.values[target.key][place])}`);
  }

  close() {
    this.audio.pause();
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
    URL.revokeObjectURL(this.sound.url);
  }
}

/** @param {string} kind @param {string} label */
const canvas = (kind, label) => element("canvas", { className: kind, role: "img", "aria-label": label });
