/** Levels of speech: ITU-T P.56 method B, as in the Python module `audio/level.py`. */
import { definition } from "./definition.js";

const RATE = definition.sample_rate;
const { step: STEP, hangover: HANGOVER, margin_db: MARGIN_DB, thresholds: THRESHOLDS, frame: FRAME, floor_db: FLOOR_DB } = definition.level;
const SMOOTHER = Float64Array.from(definition.level.smoother);

export { FRAME, FLOOR_DB };

/** Power relative to full scale to dBov, at least the floor. */
export const toDb = (power: number): number => (power > 0 ? Math.max(FLOOR_DB, 10 * Math.log10(power)) : FLOOR_DB);

/** Power from which a frame is active in a recording with this active level in dBov. */
export const activePower = (levelDb: number): number => Math.max(10 ** ((levelDb - MARGIN_DB) / 10), 10 ** (FLOOR_DB / 10));

/** Measurements of ITU-T P.56, from which the active level follows. */
export class Activity {
  constructor(readonly samples: number, readonly energy: number, readonly active: readonly number[]) {}

  /** Active speech level in dBov. */
  get level(): number {
    if (this.energy <= 0 || this.samples < STEP) return FLOOR_DB;
    const margins: number[] = [];
    const levels: number[] = [];
    this.active.forEach((steps, place) => {
      if (steps <= 0) return;
      const level = 10 * Math.log10(this.energy / (steps * STEP));
      levels.push(level);
      margins.push(level - 20 * Math.log10(THRESHOLDS[place]));
    });
    if (!levels.length) return toDb(this.energy / this.samples);
    return Math.max(FLOOR_DB, interpolate(MARGIN_DB, margins, levels));
  }

  /** Without thresholds that were first reached within the hangover of the end. */
  get settled(): Activity {
    return new Activity(this.samples, this.energy, this.active.map((steps) => (steps >= HANGOVER ? steps : 0)));
  }

  /** Active time in seconds. */
  get seconds(): number {
    return this.energy <= 0 ? 0 : Math.min(this.samples, this.energy / 10 ** (this.level / 10)) / RATE;
  }
}

/** Measures activity in blocks of any length. */
export class ActivityMeter {
  activity = new Activity(0, 0, THRESHOLDS.map(() => 0));
  private rest = new Float32Array(0);
  private readonly magnitudes = new Float64Array(SMOOTHER.length);
  private at = 0;
  private readonly held = new SlidingMaximum(HANGOVER + 1);

  /** Measure the next samples. `offset` is subtracted from each. */
  add(samples: Float32Array, offset = 0): void {
    const before = this.activity;
    const active = [...before.active];
    let energy = before.energy;
    const joined = new Float32Array(this.rest.length + samples.length);
    joined.set(this.rest);
    for (let at = 0; at < samples.length; at += 1) {
      const value = Math.fround(samples[at] - offset);
      energy += value * value;
      joined[this.rest.length + at] = value;
    }
    const steps = Math.floor(joined.length / STEP);
    for (let step = 0; step < steps; step += 1) {
      let sum = 0;
      for (let at = step * STEP; at < (step + 1) * STEP; at += 1) sum += Math.abs(joined[at]);
      const held = this.held.add(this.smoothed(sum / STEP));
      for (let place = 0; place < THRESHOLDS.length; place += 1) if (held >= THRESHOLDS[place]) active[place] += 1;
    }
    this.rest = joined.slice(steps * STEP);
    this.activity = new Activity(before.samples + samples.length, energy, active);
  }

  private smoothed(magnitude: number): number {
    const { magnitudes } = this;
    const length = magnitudes.length;
    this.at = (this.at + length - 1) % length;
    magnitudes[this.at] = magnitude; // the newest first
    const ahead = length - this.at;
    return products(SMOOTHER, 0, magnitudes, this.at, ahead) + products(SMOOTHER, ahead, magnitudes, 0, this.at);
  }
}

/** Sum of `count` products. */
function products(a: Float64Array, fromA: number, b: Float64Array, fromB: number, count: number): number {
  let sum = 0;
  for (let at = 0; at < count; at += 1) sum += a[fromA + at] * b[fromB + at];
  return sum;
}

/** The largest of the last `length` values. */
class SlidingMaximum {
  private readonly values: Float64Array;
  private readonly places: Float64Array;
  private head = 0;
  private tail = 0;
  private count = 0;

  constructor(private readonly length: number) {
    this.values = new Float64Array(length + 1);
    this.places = new Float64Array(length + 1);
  }

  add(value: number): number {
    const size = this.values.length;
    while (this.head !== this.tail && this.values[(this.tail + size - 1) % size] <= value) this.tail = (this.tail + size - 1) % size;
    this.values[this.tail] = value;
    this.places[this.tail] = this.count;
    this.tail = (this.tail + 1) % size;
    if (this.places[this.head] <= this.count - this.length) this.head = (this.head + 1) % size;
    this.count += 1;
    return Math.max(0, this.values[this.head]);
  }
}

/** Linear interpolation in ascending x; constant beyond the ends. */
function interpolate(at: number, x: number[], y: number[]): number {
  if (at <= x[0]) return y[0];
  for (let place = 1; place < x.length; place += 1)
    if (at <= x[place]) return y[place - 1] + ((at - x[place - 1]) / (x[place] - x[place - 1])) * (y[place] - y[place - 1]);
  return y[y.length - 1];
}
