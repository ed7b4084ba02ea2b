// @ts-check
/** Waveform, spectrogram and lines over time, on canvases. All share the same width, so that one playhead fits all. */
import { colour, element } from "./dom.js";
import { RATE } from "./sound.js";
import { digits, share, short } from "./words.js";

/** Position of a value on the axis from 1 to 5 that MOS_TICKS belong to. @param {number} value */
const mosShare = (value) => Math.min(1, Math.max(0, (value - 1) / 4));

/** Position of a value on its axis, 0 to 1: scores that exceed 1 share one axis, so that PESQ meets the same ticks. @param {import("./words.js").Target} target @param {number} value */
export const position = (target, value) => (target.high > 1 && !target.log ? mosShare(value) : share(target, value));

/** @typedef {import("./words.js").Target} Target */

const WINDOW = 512; // samples, 32 ms
const RANGE_DB = 75; // below the loudest point; less is drawn as silence
/** Dashes tell lines apart without their colour. @type {Record<string, number[]>} */
const DASHES = { s_mos: [], n_mos: [8, 4], g_mos: [], pesq_est: [2, 3], stoi_est: [], sdi_est: [8, 4] };
/** @type {Record<string, number>} */
const WIDTHS = { g_mos: 3 };

/** A context whose units are CSS pixels. @param {HTMLCanvasElement} canvas */
function paper(canvas) {
  const scale = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** The largest absolute sample, the scale of a waveform. @param {Float32Array} samples */
export function peak(samples) {
  let largest = 1e-4;
  for (const sample of samples) largest = Math.max(largest, Math.abs(sample));
  return largest;
}

/** @typedef {{start: number, end: number}} Span seconds that a plot shows */

/**
 * Lowest and highest sample of each column.
 * @param {HTMLCanvasElement} canvas @param {Float32Array} samples @param {Span} span @param {number} peak of the whole recording
 */
export function waveform(canvas, samples, span, peak) {
  const { context, width, height } = paper(canvas);
  context.fillStyle = colour("wave");
  const columns = Math.max(1, Math.floor(width));
  const at0 = span.start * RATE;
  const each = ((span.end - span.start) * RATE) / columns;
  for (let column = 0; column < columns; column += 1) {
    const start = Math.floor(at0 + column * each);
    const stop = Math.max(start + 1, Math.floor(at0 + (column + 1) * each));
    let low = Infinity;
    let high = -Infinity;
    for (let at = start; at < stop && at < samples.length; at += 1) {
      low = Math.min(low, samples[at]);
      high = Math.max(high, samples[at]);
    }
    const y = (/** @type {number} */ sample) => (height / 2) * (1 - (0.95 * sample) / peak);
    context.fillRect(column, y(high), 1, Math.max(1, y(low) - y(high)));
  }
}

/** In place, radix 2. @param {Float32Array} re @param {Float32Array} im */
function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i += 1) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const angle = (-2 * Math.PI) / size;
    for (let half = 0; half < size / 2; half += 1) {
      const c = Math.cos(angle * half);
      const s = Math.sin(angle * half);
      for (let a = half; a < n; a += size) {
        const b = a + size / 2;
        const x = re[b] * c - im[b] * s;
        const y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

/**
 * Power in dB below the loudest point, up to 8 kHz.
 * @param {HTMLCanvasElement} canvas @param {Float32Array} samples @param {Span} span @param {number} [loudest] in dB; without it, of this span
 * @returns {number} the loudest point in dB
 */
export function spectrogram(canvas, samples, span, loudest) {
  const { context, width, height } = paper(canvas);
  const columns = Math.max(1, Math.min(1200, Math.floor(width)));
  const bins = WINDOW / 2;
  const hann = Float32Array.from({ length: WINDOW }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / (WINDOW - 1)));
  const levels = new Float32Array(columns * bins);
  let top = -Infinity;
  for (let column = 0; column < columns; column += 1) {
    const start = Math.floor((span.start + ((column + 0.5) * (span.end - span.start)) / columns) * RATE) - WINDOW / 2;
    const re = Float32Array.from(hann, (weight, at) => weight * (samples[start + at] ?? 0));
    const im = new Float32Array(WINDOW);
    fft(re, im);
    for (let bin = 0; bin < bins; bin += 1) {
      const level = 10 * Math.log10(Math.max(1e-12, re[bin] ** 2 + im[bin] ** 2));
      levels[column * bins + bin] = level;
      top = Math.max(top, level);
    }
  }
  top = loudest ?? top;
  const image = new ImageData(columns, bins);
  for (let column = 0; column < columns; column += 1)
    for (let bin = 0; bin < bins; bin += 1) {
      const [r, g, b] = magma(1 + (levels[column * bins + bin] - top) / RANGE_DB);
      image.data.set([r, g, b, 255], 4 * ((bins - 1 - bin) * columns + column));
    }
  const hidden = element("canvas", { width: columns, height: bins });
  hidden.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(hidden, 0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  for (const kilohertz of [2, 4, 6]) {
    const y = height * (1 - kilohertz / (RATE / 2000));
    context.fillStyle = "rgb(255 255 255 / 0.35)";
    context.fillRect(0, y, width, 1);
    context.fillStyle = "rgb(0 0 0 / 0.65)";
    context.fillRect(2, y - 14, 38, 13);
    context.fillStyle = "white";
    context.fillText(`${kilohertz} kHz`, 4, y - 4);
  }
  return top;
}

/** Points of the colour map magma (Smith and van der Walt), between which is interpolated. */
const MAGMA = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191]];

/** @param {number} share 0 to 1 */
function magma(share) {
  const at = Math.min(1, Math.max(0, share)) * (MAGMA.length - 1);
  const low = Math.min(MAGMA.length - 2, Math.floor(at));
  return MAGMA[low].map((from, part) => from + (at - low) * (MAGMA[low + 1][part] - from));
}

/** Colour and dashes of the lines of several sources. */
const SOURCES = ["s_mos", "n_mos", "g_mos", "pesq_est", "sdi_est", "soft"];
const SOURCE_DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 4]];

/**
 * Lines of scores. Times of the first axis from `start` to `end`; null breaks a line.
 * @param {HTMLCanvasElement} canvas
 * @param {{target: Target, times: number[], values: (number | null)[], style?: number}[]} series `style`: number of a source
 * @param {{start: number, end: number, ticks: {share: number, text: string}[], marks?: {at: number, text: string}[]}} axes
 */
export function lines(canvas, series, axes) {
  const { context, width, height } = paper(canvas);
  const y = (/** @type {number} */ part) => 4 + (height - 8) * (1 - part);
  context.font = "11px system-ui, sans-serif";
  for (const tick of axes.ticks) {
    context.fillStyle = colour("rule");
    context.fillRect(0, y(tick.share), width, 1);
  }
  const span = axes.end - axes.start || 1;
  for (const { target, times, values, style } of series) {
    context.strokeStyle = colour(style === undefined ? target.key : SOURCES[style]);
    context.lineWidth = style === undefined ? (WIDTHS[target.key] ?? 2) : 2;
    context.setLineDash(style === undefined ? (DASHES[target.key] ?? []) : SOURCE_DASHES[style]);
    context.beginPath();
    let drawing = false;
    values.forEach((value, place) => {
      if (value !== null && value !== undefined) {
        const x = (width * (times[place] - axes.start)) / span;
        if (drawing) context.lineTo(x, y(position(target, value)));
        else context.moveTo(x, y(position(target, value)));
        if (!drawing && (values[place + 1] ?? null) === null) context.lineTo(x + 1.5, y(position(target, value)));
      }
      drawing = value !== null && value !== undefined;
    });
    context.stroke();
  }
  context.setLineDash([]);
  for (const mark of axes.marks ?? []) {
    const x = (width * (mark.at - axes.start)) / span;
    context.fillStyle = colour("poor");
    context.fillRect(x - 1, 0, 2, height);
    const left = Math.min(x + 4, width - context.measureText(mark.text).width - 2);
    context.fillText(mark.text, left, height - 6);
  }
  for (const tick of axes.ticks) { // above the lines, on a plate, so that none strikes them out
    const base = y(tick.share) + (tick.share > 0.9 ? 12 : -3);
    context.fillStyle = colour("paper");
    context.fillRect(2, base - 10, context.measureText(tick.text).width + 3, 12);
    context.fillStyle = colour("soft");
    context.fillText(tick.text, 3, base);
  }
}

/** Of a scale of five steps. */
export const MOS_TICKS = [2, 3, 4].map((value) => ({ share: (value - 1) / 4, text: String(value) }));

/** A piece of a line; its colour follows the style sheet. @param {string} key @param {number[]} [dash] */
function sample(key, dash = DASHES[key] ?? []) {
  const space = "http://www.w3.org/2000/svg";
  const made = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  for (const [name, value] of Object.entries({ width: 28, height: 12, "aria-hidden": "true" })) made.setAttribute(name, String(value));
  const dashes = dash.join(" ");
  for (const [name, value] of Object.entries({ x1: 0, y1: 6, x2: 28, y2: 6, class: key, "stroke-width": WIDTHS[key] ?? 2, "stroke-dasharray": dashes }))
    line.setAttribute(name, String(value));
  made.append(line);
  return made;
}

/** Which line belongs to which source. @param {string[]} texts */
export const sourceLegend = (texts) => {
  const made = element("ul", { className: "legend" });
  texts.forEach((text, style) => made.append(element("li", {}, sample(`source${style}`, SOURCE_DASHES[style]), text)));
  return made;
};

/** Which line belongs to which score, with the score of the whole recording. @param {Target[]} targets @param {Record<string, any>} row */
export function legend(targets, row) {
  const made = element("ul", { className: "legend" });
  for (const target of targets) {
    made.append(element("li", {}, sample(target.key), `${short(target)} ${row[target.key] == null ? "" : digits(target, row[target.key])}`));
  }
  return made;
}
