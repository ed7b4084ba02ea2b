/**
 * Conversion of the sample rate to that of the models, with the filters of soxr's quality HQ, which the Python package uses.
 *
 * Simple ratios take one filter, which is applied by fast convolution. Other ratios take two: the same kind of filter
 * removes what cannot be represented, and a short one interpolates its result at any position. Like that of soxr, the second
 * filter starts with silence instead of the first one's response before the beginning. The lengths follow soxr's formulas;
 * `beta` and the second filter were fitted to its impulse responses. The difference of the results is rounding noise.
 */
import { definition } from "./definition.js";
import { UsageError } from "./errors.js";
import { RealFft, realFft } from "./fft.js";

const TARGET = definition.sample_rate;
/** End of the passband as a fraction of the lower Nyquist frequency. Half the amplitude is reached in the middle between it and 1. */
const PASSBAND = 0.913743653267622;
/** Kaiser windows of the first filter, alone (21 bits) and before a second one (22 bits) */
const [BETA_ALONE, BETA_BEFORE] = [13.039, 13.7114];
/** The second filter: Kaiser window, and for lower and for higher rates half its length in samples and its cut-off relative to Nyquist */
const BETA_SECOND = 14.067;
const [DOWN, UP] = [{ half: 6.0019, cutoff: 0.89435 }, { half: 7.502, cutoff: 0.90888 }];
/** Largest factors by which the first filter alone raises and lowers the rate */
const [MOST_UP, MOST_DOWN] = [4, 64];
/** Length of the transform relative to the filter, at least */
const BLOCK_FACTOR = 6;
/** Samples from which the second filter computes one */
const TAPS = 16;
const HALF = TAPS / 2;
/** Phases that are computed exactly; rates with more phases are interpolated between MOST_PHASES of them. */
const MOST_PHASES = 4096;

/** Whether a sample rate in Hz is accepted. Throws UsageError. */
export function checkRate(rate: number): void {
  const [low, high] = definition.rates;
  if (!(rate >= low && rate <= high)) throw new UsageError(`sample rate ${rate} Hz is outside ${low} to ${high} Hz`);
}

/** Streaming conversion to the models' rate: any division into blocks gives the same samples. */
export class Resampler {
  private readonly first: Convolver | null = null;
  private readonly second: Interpolator | null = null;
  private received = 0;
  private made = 0;

  constructor(readonly rate: number) {
    checkRate(rate);
    if (rate === TARGET) return;
    const divisor = Number.isInteger(rate) ? gcd(TARGET, rate) : 1;
    const [up, down] = [TARGET / divisor, rate / divisor];
    const nyquist = Math.min(1, TARGET / rate); // of the lower rate, relative to that of the input
    if (Number.isInteger(rate) && up <= MOST_UP && down <= MOST_DOWN && smooth(down)) {
      this.first = new Convolver(up, down, nyquist, BETA_ALONE);
      return;
    }
    const raised = rate < 2 * TARGET ? 2 : 1;
    let lowered = 1;
    while (rate / lowered >= 4 * TARGET) lowered *= 2;
    this.first = new Convolver(raised, lowered, nyquist, BETA_BEFORE);
    this.second = new Interpolator((rate * raised) / lowered, rate < TARGET ? UP : DOWN);
  }

  /** Convert the next block; up to half a second is returned by later calls. */
  add(samples: Float32Array): Float32Array {
    if (!this.first) return samples;
    this.received += samples.length;
    const out = this.first.add(samples);
    const made = this.second ? this.second.add(out) : out;
    this.made += made.length;
    return made;
  }

  /** Return the samples that remain after the last block. */
  finish(): Float32Array {
    if (!this.first) return new Float32Array(0);
    const remaining = Math.round((this.received * TARGET) / this.rate) - this.made;
    const silence = new Float32Array(this.first.delay + HALF * Math.ceil(this.rate / TARGET));
    const out = this.first.add(silence);
    return (this.second ? this.second.add(out) : out).slice(0, remaining);
  }
}

/** A low-pass filter by overlap-save convolution that raises the rate by one factor and lowers it by another. */
class Convolver {
  /** Samples of silence that complete everything that was added before */
  readonly delay: number;
  private readonly response: Float64Array;
  /** Input samples of a block before the first and after the last one with a result */
  private readonly margin: number;
  private readonly step: number;
  private readonly forward: RealFft;
  private readonly inverse: RealFft;
  private readonly out: Float64Array;
  private readonly buffer: Float32Array;
  private filled: number;

  constructor(private readonly up: number, private readonly down: number, nyquist: number, beta: number) {
    const width = ((1 - PASSBAND) / 2) * (nyquist / up);
    const taps = Math.ceil((((7.528358e-4 - 1.577737e-5 * beta) * beta + 0.6248022) * beta + 0.06186902) / width + 1);
    const half = 2 * Math.ceil((taps - 1) / 4);
    let length = 2 * up * down;
    while (length < BLOCK_FACTOR * (2 * half + 1)) length *= 2;
    this.forward = realFft(length / up);
    this.inverse = realFft(length / down);
    this.response = responseOf(length, half, ((1 + PASSBAND) / 2) * nyquist, up, down, beta);
    this.out = new Float64Array(length / down);
    this.buffer = new Float32Array(length / up);
    this.margin = Math.ceil(half / (up * down)) * down;
    this.step = Math.floor((length / up - 2 * this.margin) / down) * down;
    this.filled = this.margin; // the signal is preceded by silence
    this.delay = 2 * this.buffer.length;
  }

  add(samples: Float32Array): Float32Array {
    const { up, down, step, margin, buffer, out } = this;
    const full = step + 2 * margin;
    const size = (step / down) * up;
    const first = (margin / down) * up;
    const blocks = Math.max(0, Math.floor((this.filled + samples.length - 2 * margin) / step));
    const results = new Float32Array(blocks * size);
    for (let used = 0, block = 0; used < samples.length; ) {
      const count = Math.min(samples.length - used, full - this.filled);
      buffer.set(samples.subarray(used, used + count), this.filled);
      used += count;
      this.filled += count;
      if (this.filled < full) break;
      this.filter();
      for (let at = 0; at < size; at += 1) results[block * size + at] = out[first + at];
      block += 1;
      buffer.copyWithin(0, step, full);
      this.filled -= step;
    }
    return results;
  }

  /** Filter the buffer. Its spectrum, repeated, is that at the raised rate; its part below the new Nyquist frequency remains. */
  private filter(): void {
    const { forward, inverse, response, buffer: { length: period } } = this;
    forward.forward(this.buffer, 0);
    for (let bin = 0; bin < response.length; bin += 1) {
      const place = bin % period;
      const mirrored = 2 * place > period;
      const source = mirrored ? period - place : place;
      inverse.re[bin] = forward.re[source] * response[bin];
      inverse.im[bin] = (mirrored ? -1 : 1) * forward.im[source] * response[bin];
    }
    inverse.inverse(this.out);
  }
}

/** Interpolates a band-limited signal at the models' rate. */
class Interpolator {
  private readonly phases: number;
  private readonly exact: boolean;
  private readonly table: Float32Array;
  private readonly up: number;
  private readonly down: number;
  private buffer = new Float32Array(HALF); // the signal is preceded by silence
  /** Index of buffer[0] in the input */
  private base = -HALF;
  private made = 0;

  constructor(rate: number, { half, cutoff }: { half: number; cutoff: number }) {
    const divisor = Number.isInteger(rate) ? gcd(TARGET, rate) : 1;
    this.up = TARGET / divisor;
    this.down = rate / divisor;
    this.exact = Number.isInteger(rate) && this.up <= MOST_PHASES;
    this.phases = this.exact ? this.up : MOST_PHASES;
    this.table = new Float32Array(TAPS * (this.phases + 1)); // one more phase, for interpolation
    for (let phase = 0; phase <= this.phases; phase += 1)
      for (let tap = 0; tap < TAPS; tap += 1) this.table[phase * TAPS + tap] = kernel(tap - HALF + 1 - phase / this.phases, half, cutoff, BETA_SECOND);
  }

  add(samples: Float32Array): Float32Array {
    const { table, phases, exact, up, down } = this;
    const buffer = new Float32Array(this.buffer.length + samples.length);
    buffer.set(this.buffer);
    buffer.set(samples, this.buffer.length);
    const end = this.base + buffer.length; // input samples up to here are known
    const out = new Float32Array(Math.max(0, Math.ceil((end - HALF) * (up / down)) + 1 - this.made));
    let count = 0;
    for (; count < out.length; count += 1) {
      const position = (this.made + count) * down;
      const whole = Math.floor(position / up);
      if (whole + HALF >= end) break;
      const fine = exact ? position - whole * up : (position / up - whole) * phases;
      const phase = Math.floor(fine);
      const first = whole - HALF + 1 - this.base;
      let sum = 0;
      if (exact) for (let tap = 0; tap < TAPS; tap += 1) sum += buffer[first + tap] * table[phase * TAPS + tap];
      else
        for (let tap = 0; tap < TAPS; tap += 1) {
          const weight = table[phase * TAPS + tap];
          sum += buffer[first + tap] * (weight + (fine - phase) * (table[(phase + 1) * TAPS + tap] - weight));
        }
      out[count] = sum;
    }
    this.made += count;
    const used = Math.min(Math.max(0, Math.floor((this.made * down) / up) - HALF + 1 - this.base), buffer.length);
    this.buffer = buffer.slice(used);
    this.base += used;
    return out.slice(0, count);
  }
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

/** Response of the filter below the new Nyquist frequency, for `length` samples at the raised rate. It is real: there is no delay. */
function responseOf(length: number, half: number, cutoff: number, up: number, down: number, beta: number): Float64Array {
  const impulse = new Float64Array(length);
  for (let at = -half; at <= half; at += 1) impulse[(at + length) % length] = kernel(at / up, (half + 0.5) / up, cutoff, beta) / down;
  const transform = realFft(length);
  transform.forward(impulse, 0);
  return transform.re.slice(0, length / down / 2 + 1);
}

/** Low-pass impulse response in a Kaiser window of this half length in samples; `cutoff` is relative to the Nyquist frequency. */
function kernel(time: number, half: number, cutoff: number, beta: number): number {
  const place = time / half;
  if (Math.abs(place) >= 1) return 0;
  const angle = Math.PI * cutoff * time;
  const sinc = Math.abs(angle) < 1e-12 ? 1 : Math.sin(angle) / angle;
  return (cutoff * sinc * bessel(beta * Math.sqrt(1 - place * place))) / bessel(beta);
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

/** Whether a transform of this length is implemented. */
function smooth(length: number): boolean {
  for (const factor of [2, 3, 5]) while (length % factor === 0) length /= factor;
  return length === 1;
}

function gcd(a: number, b: number): number {
  return b ? gcd(b, a % b) : a;
}
