/** Bandwidth, and detection of recordings without speech, as in the Python module `audio/detection.py`. */
import { definition } from "./definition.js";
import { hann, realFft } from "./fft.js";
import { FLOOR_DB, toDb } from "./level.js";

const RATE = definition.sample_rate;
const D = definition.detection;
const EDGES = D.mel_edges;
const COSINES = D.cosines.map((row) => Float64Array.from(row));
const CEPSTRA = COSINES[0].length;
const [FINE_START, FINE_STOP] = D.fine;
const FLOOR = 10 ** (-D.range_db / 10);
const PAUSE = 10 ** (-D.pause_db / 10);

/** A matrix of non-negative values, row by row. */
interface Matrix {
  rows: number;
  columns: number;
  data: Float64Array;
}

interface Segment {
  level: number;
  newSamples: number;
  change: number;
  persistence: number;
}

/** Measurements of a recording; NaN where no segment was complete. */
export interface SoundType {
  bandwidthHz: number;
  spectralChange: number;
  tonalPersistence: number;
}

/** Measures blocks of any size in order. */
export class SpeechDetector {
  private waiting = new Float32Array(0);
  private before = new Float32Array(0);
  private group: { level: number; centred: Float32Array }[] = [];
  private inGroup = 0;
  private readonly segments: Segment[] = [];
  private readonly spectrum = new Float64Array(D.short_window / 2 + 1);

  add(samples: Float32Array): void {
    const waiting = join(this.waiting, samples);
    let at = 0;
    for (; at + D.segment <= waiting.length; at += D.segment) {
      const segment = waiting.slice(at, at + D.segment);
      if (this.inGroup === D.group) this.measureGroup();
      this.weigh(segment);
      this.before = segment;
    }
    this.waiting = waiting.slice(at);
  }

  finish(): SoundType {
    this.measureGroup();
    if (this.before.length && this.waiting.length >= D.rest) {
      const joined = join(this.before, this.waiting);
      this.weigh(joined.slice(joined.length - D.segment));
      this.measureGroup(this.waiting.length);
    }
    if (!this.segments.length) return { bandwidthHz: NaN, spectralChange: NaN, tonalPersistence: NaN };
    const loudest = Math.max(...this.segments.map(({ level }) => level));
    const active = this.segments.filter(({ level }) => level > loudest - D.faint_db);
    const mean = (of: (one: Segment) => number) => active.reduce((sum, one) => sum + of(one), 0) / active.length;
    const enough = active.reduce((sum, one) => sum + one.newSamples, 0) >= D.min_tonal_s * RATE;
    return {
      bandwidthHz: bandwidthHz(this.spectrum),
      spectralChange: mean(({ change }) => change),
      tonalPersistence: enough ? mean(({ persistence }) => persistence) : NaN,
    };
  }

  private weigh(segment: Float32Array): void {
    this.inGroup += 1;
    const one = centre(segment);
    if (one.level <= FLOOR_DB) return;
    this.group.push(one);
    this.group.sort((a, b) => b.level - a.level);
    this.group.length = Math.min(this.group.length, D.measured);
  }

  private measureGroup(newSamples: number = D.segment): void {
    for (const { level, centred } of this.group) {
      const power = powers(centred, D.short_window, D.short_hop, D.short_window / 2 + 1);
      for (let row = 0; row < power.rows; row += 1)
        for (let bin = 0; bin < power.columns; bin += 1) this.spectrum[bin] += power.data[row * power.columns + bin];
      this.segments.push({ level, newSamples, change: spectralChange(power), persistence: tonalPersistence(centred) });
    }
    this.group = [];
    this.inGroup = 0;
  }
}

/** Level in dBov, and the segment without its mean, scaled to full scale if it was not. */
function centre(segment: Float32Array): { level: number; centred: Float32Array } {
  let sum = 0;
  for (const sample of segment) sum += sample;
  const mean = sum / segment.length;
  const centred = segment.map((sample) => sample - mean);
  let energy = 0;
  for (const sample of centred) energy += sample * sample;
  const level = toDb(energy / D.segment);
  if (level <= D.unscaled_dbov) return { level, centred };
  let peak = 0;
  for (const sample of segment) peak = Math.max(peak, Math.abs(sample));
  const scaled = centre(segment.map((sample) => sample / peak));
  return { level: scaled.level + 20 * Math.log10(peak), centred: scaled.centred };
}

function bandwidthHz(spectrum: Float64Array): number {
  const wide = Math.round((D.band_hz * D.short_window) / RATE);
  const bands = Array.from({ length: Math.floor((spectrum.length - 1) / wide) }, (_, band) =>
    spectrum.subarray(band * wide, (band + 1) * wide).reduce((sum, power) => sum + power, 0));
  const loudest = Math.max(...bands.slice(Math.round(D.lowest_hz / D.band_hz)));
  return (bands.findLastIndex((power) => power >= loudest * 10 ** (-D.reach_db / 10)) + 1) * D.band_hz;
}

function spectralChange(power: Matrix): number {
  const bands = EDGES.length - 1;
  const mel: Matrix = { rows: power.rows, columns: bands, data: new Float64Array(power.rows * bands) };
  for (let row = 0; row < power.rows; row += 1)
    for (let band = 0; band < bands; band += 1) {
      let sum = 0;
      for (let bin = EDGES[band]; bin < EDGES[band + 1]; bin += 1) sum += power.data[row * power.columns + bin];
      mel.data[row * bands + band] = sum;
    }
  const active = activeRows(mel);
  const log = logarithm(mel);
  const envelope: Float64Array[] = [];
  for (let row = 0; row < mel.rows; row += 1) {
    const one = new Float64Array(CEPSTRA);
    for (let band = 0; band < bands; band += 1)
      for (let place = 0; place < CEPSTRA; place += 1) one[place] += log.data[row * bands + band] * COSINES[band][place];
    envelope.push(one);
  }
  const smooth: Float64Array[] = [];
  for (let row = 0; row + D.smooth <= envelope.length; row += 1) {
    const one = new Float64Array(CEPSTRA);
    for (let next = 0; next < D.smooth; next += 1) for (let place = 0; place < CEPSTRA; place += 1) one[place] += envelope[row + next][place] / D.smooth;
    smooth.push(one);
  }
  const change = (rows: Float64Array[], lag: number) => Array.from({ length: Math.max(0, rows.length - lag) }, (_, row) => {
    let sum = 0;
    for (let place = 0; place < CEPSTRA; place += 1) sum += Math.abs(rows[row + lag][place] - rows[row][place]);
    return sum / CEPSTRA;
  });
  const first = Math.floor((D.slow + D.smooth) / 2);
  const slow = meanOf(change(smooth, D.slow), (row) => active[first + row]);
  const fast = meanOf(change(envelope, 1), (row) => active[row + 1]);
  return Math.log10((slow + D.least) / (fast + D.least));
}

function tonalPersistence(segment: Float32Array): number {
  const bins = FINE_STOP + D.around;
  const power = powers(segment, D.long_window, D.long_hop, bins);
  const active = activeRows(power);
  const log = logarithm(power);
  const width = 2 * D.around + 1;
  const fine: Float64Array[] = [];
  for (let row = 0; row < log.rows; row += 1) {
    const one = new Float64Array(FINE_STOP - FINE_START);
    let mean = 0;
    for (let bin = FINE_START; bin < FINE_STOP; bin += 1) {
      let around = 0;
      for (let near = bin - D.around; near <= bin + D.around; near += 1) around += log.data[row * bins + near];
      one[bin - FINE_START] = log.data[row * bins + bin] - around / width;
      mean += one[bin - FINE_START] / one.length;
    }
    let norm = 0;
    for (let bin = 0; bin < one.length; bin += 1) {
      one[bin] -= mean;
      norm += one[bin] ** 2;
    }
    const scale = 1 / (Math.sqrt(norm) + D.least);
    fine.push(one.map((value) => value * scale));
  }
  const correlation = Array.from({ length: Math.max(0, fine.length - D.lag) }, (_, row) => {
    let sum = 0;
    for (let bin = 0; bin < fine[row].length; bin += 1) sum += fine[row][bin] * fine[row + D.lag][bin];
    return sum;
  });
  return meanOf(correlation, (row) => active[row] && active[row + D.lag]);
}

function logarithm(power: Matrix): Matrix {
  let most = 0;
  for (const value of power.data) most = Math.max(most, value);
  const floor = most * FLOOR;
  return { ...power, data: power.data.map((value) => Math.log10(Math.max(value, floor))) };
}

/** Which rows are not pauses. */
function activeRows(power: Matrix): boolean[] {
  const sums = Array.from({ length: power.rows }, (_, row) =>
    power.data.subarray(row * power.columns, (row + 1) * power.columns).reduce((sum, value) => sum + value, 0));
  const limit = Math.max(...sums) * PAUSE;
  return sums.map((sum) => sum >= limit);
}

/** Mean of the selected values; 0 if none is selected. */
function meanOf(values: number[], selected: (row: number) => boolean): number {
  const chosen = values.filter((_, row) => selected(row));
  return chosen.length ? chosen.reduce((sum, value) => sum + value, 0) / chosen.length : 0;
}

function powers(samples: Float32Array, window: number, hop: number, bins: number): Matrix {
  const rows = Math.floor((samples.length - window) / hop) + 1;
  const data = new Float64Array(rows * bins);
  const transform = realFft(window);
  const weights = hann(window);
  for (let row = 0; row < rows; row += 1) {
    transform.forward(samples, row * hop, weights);
    for (let bin = 0; bin < bins; bin += 1) data[row * bins + bin] = transform.re[bin] ** 2 + transform.im[bin] ** 2;
  }
  return { rows, columns: bins, data };
}

function join(one: Float32Array, other: Float32Array): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(one.length + other.length);
  joined.set(one);
  joined.set(other, one.length);
  return joined;
}
