/**
 * Conversion of the sample rate to that of the models.
 *
 * The filter has the passband, stopband and attenuation of soxr's quality HQ (20 bits), which the Python package uses:
 * a Kaiser-windowed sinc with linear phase and no delay of the result. The difference is rounding noise.
 */
import { definition } from "./definition.js";
import { UsageError } from "./errors.js";

const TARGET = definition.sample_rate;
/** dB: 20 bits, as soxr HQ */
const ATTENUATION = 20 * 20 * Math.log10(2);
/** End of the passband as a fraction of the lower Nyquist frequency, by soxr's formula for this attenuation */
const PASSBAND = 1 - 0.05 / ((1.6e-6 * ATTENUATION - 7.5e-4) * ATTENUATION + 0.646);
/** Phases that are computed exactly; rates with more phases are interpolated between MOST_PHASES of them. */
const MOST_PHASES = 4096;
/** Output samples that are computed between two looks at the input buffer */
const SLACK = 1 << 16;

/** Whether a sample rate in Hz is accepted. Throws UsageError. */
export function checkRate(rate: number): void {
  const [low, high] = definition.rates;
  if (!(rate >= low && rate <= high)) throw new UsageError(`sample rate ${rate} Hz is outside ${low} to ${high} Hz`);
}

/** Streaming conversion to the models' rate: any division into blocks gives the same samples. */
export class Resampler {
  private readonly taps: number;
  private readonly phases: number;
  private readonly exact: boolean;
  private readonly table: Float32Array;
  private readonly up: number;
  private readonly down: number;
  private buffer = new Float32Array(0);
  /** Index of buffer[0] in the input */
  private base: number;
  private received = 0;
  private made = 0;

  constructor(readonly rate: number) {
    checkRate(rate);
    const divisor = Number.isInteger(rate) ? gcd(TARGET, rate) : 1;
    this.up = TARGET / divisor;
    this.down = rate / divisor;
    this.exact = Number.isInteger(rate) && this.up <= MOST_PHASES;
    this.phases = this.exact ? this.up : MOST_PHASES;
    const nyquist = Math.min(1, TARGET / rate); // of the lower rate, relative to that of the input
    const width = (1 - PASSBAND) * nyquist;
    const half = 2 * Math.ceil((ATTENUATION - 7.95) / (2.285 * Math.PI * width) / 4);
    this.taps = 2 * half;
    this.table = kernel(half, this.phases, ((1 + PASSBAND) / 2) * nyquist);
    this.base = -half; // the signal is preceded by silence
    this.buffer = new Float32Array(half);
  }

  /** Convert the next block; the last half filter length is returned by later calls. */
  add(samples: Float32Array): Float32Array {
    if (this.rate === TARGET) return samples;
    this.received += samples.length;
    this.append(samples);
    return this.convert(Infinity);
  }

  /** Return the samples that remain after the last block. */
  finish(): Float32Array {
    if (this.rate === TARGET) return new Float32Array(0);
    const total = Math.round((this.received * TARGET) / this.rate);
    this.append(new Float32Array(this.taps + Math.ceil(this.rate / TARGET)));
    return this.convert(total);
  }

  private append(samples: Float32Array): void {
    const joined = new Float32Array(this.buffer.length + samples.length);
    joined.set(this.buffer);
    joined.set(samples, this.buffer.length);
    this.buffer = joined;
  }

  private convert(total: number): Float32Array {
    const { taps, table, phases, exact, up, down, buffer } = this;
    const half = taps / 2;
    const end = this.base + buffer.length; // input samples up to here are known
    const possible = Math.floor((end - half) * (up / down));
    const most = Math.max(0, Math.min(total, possible + 1) - this.made);
    const out = new Float32Array(Math.min(most, possible + SLACK));
    let count = 0;
    for (; count < out.length; count += 1) {
      const position = ((this.made + count) * down) / up;
      let whole = Math.floor(position);
      let phase: number;
      let part = 0;
      if (exact) {
        const scaled = (this.made + count) * down;
        whole = Math.floor(scaled / up);
        phase = scaled - whole * up;
      } else {
        const fine = (position - whole) * phases;
        phase = Math.floor(fine);
        part = fine - phase;
      }
      if (whole + half >= end) break;
      const first = whole - half + 1 - this.base;
      const sum = dot(buffer, first, table, phase * taps, taps);
      out[count] = part ? sum + part * (dot(buffer, first, table, (phase + 1) * taps, taps) - sum) : sum;
    }
    this.made += count;
    const needed = Math.floor((this.made * down) / up) - half + 1;
    const used = Math.min(Math.max(0, needed - this.base), buffer.length);
    this.buffer = buffer.slice(used);
    this.base += used;
    return count === out.length ? out : out.slice(0, count);
  }
}

/** Sum of `taps` products; `taps` is a multiple of 4. A function of its own, so that engines compile it early. */
function dot(samples: Float32Array, first: number, table: Float32Array, at: number, taps: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let tap = 0; tap < taps; tap += 4) {
    a += samples[first + tap] * table[at + tap];
    b += samples[first + tap + 1] * table[at + tap + 1];
    c += samples[first + tap + 2] * table[at + tap + 2];
    d += samples[first + tap + 3] * table[at + tap + 3];
  }
  return a + b + (c + d);
}

/** Convert a whole signal. */
export function resample(samples: Float32Array, rate: number): Float32Array {
  checkRate(rate);
  if (rate === TARGET) return samples;
  const resampler = new Resampler(rate);
  const [first, last] = [resampler.add(samples), resampler.finish()];
  const joined = new Float32Array(first.length + last.length);
  joined.set(first);
  joined.set(last, first.length);
  return joined;
}

/** Rows of `2 * half` taps for each phase, and one more row, for interpolation. */
function kernel(half: number, phases: number, cutoff: number): Float32Array {
  const beta = 0.1102 * (ATTENUATION - 8.7);
  const scale = cutoff / bessel(beta);
  const table = new Float32Array(2 * half * (phases + 1));
  for (let phase = 0; phase <= phases; phase += 1)
    for (let tap = 0; tap < 2 * half; tap += 1) {
      const time = tap - half + 1 - phase / phases; // of the input sample, relative to the output sample
      const place = time / half;
      if (Math.abs(place) >= 1) continue;
      const angle = Math.PI * cutoff * time;
      const sinc = Math.abs(angle) < 1e-12 ? 1 : Math.sin(angle) / angle;
      table[phase * 2 * half + tap] = scale * sinc * bessel(beta * Math.sqrt(1 - place * place));
    }
  return table;
}

/** Modified Bessel function of order 0. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-17 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a: number, b: number): number {
  return b ? gcd(b, a % b) : a;
}
