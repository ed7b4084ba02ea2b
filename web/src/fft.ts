/** Fast Fourier transform of real signals whose length has the prime factors 2, 3 and 5. */

const cache = new Map<number, RealFft>();

/** The transform of this length; its tables are computed once. */
export function realFft(length: number): RealFft {
  let made = cache.get(length);
  if (!made) cache.set(length, (made = new RealFft(length)));
  return made;
}

/** A transform between `length` real samples and `length / 2 + 1` bins. `re` and `im` change with each call. */
export class RealFft {
  readonly re: Float64Array;
  readonly im: Float64Array;
  private readonly half: number;
  private readonly plan: Complex;
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;
  private readonly inRe: Float64Array;
  private readonly inIm: Float64Array;

  constructor(readonly length: number) {
    if (length % 2) throw new RangeError(`a transform of ${length} samples: the length must be even`);
    const half = (this.half = length / 2);
    this.plan = new Complex(half);
    this.re = new Float64Array(half + 1);
    this.im = new Float64Array(half + 1);
    this.inRe = new Float64Array(half);
    this.inIm = new Float64Array(half);
    this.cos = Float64Array.from({ length: half + 1 }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.sin = Float64Array.from({ length: half + 1 }, (_, k) => Math.sin((2 * Math.PI * k) / length));
  }

  /** Transform samples[start] to samples[start + length - 1], multiplied by the window if there is one. */
  forward(samples: Float32Array | Float64Array, start: number, window?: Float32Array | Float64Array): void {
    const { half, inRe, inIm, re, im, cos, sin } = this;
    for (let at = 0; at < half; at += 1) {
      inRe[at] = samples[start + 2 * at] * (window ? window[2 * at] : 1);
      inIm[at] = samples[start + 2 * at + 1] * (window ? window[2 * at + 1] : 1);
    }
    const { outRe, outIm } = this.plan.run(inRe, inIm);
    for (let k = 0; k <= half; k += 1) {
      const one = k === half ? 0 : k;
      const other = k === 0 ? 0 : half - k;
      const evenRe = (outRe[one] + outRe[other]) / 2;
      const evenIm = (outIm[one] - outIm[other]) / 2;
      const oddRe = (outIm[one] + outIm[other]) / 2;
      const oddIm = (outRe[other] - outRe[one]) / 2;
      re[k] = evenRe + cos[k] * oddRe + sin[k] * oddIm;
      im[k] = evenIm + cos[k] * oddIm - sin[k] * oddRe;
    }
  }

  /** Transform the bins `re` and `im` back to real samples. */
  inverse(out: Float64Array): void {
    const { half, inRe, inIm, re, im, cos, sin } = this;
    for (let k = 0; k < half; k += 1) {
      const other = half - k;
      const evenRe = re[k] + re[other];
      const evenIm = im[k] - im[other];
      const difRe = re[k] - re[other];
      const difIm = im[k] + im[other];
      const oddRe = cos[k] * difRe - sin[k] * difIm;
      const oddIm = cos[k] * difIm + sin[k] * difRe;
      inRe[k] = evenRe - oddIm;
      inIm[k] = -evenIm - oddRe; // the conjugate: the inverse transform is computed by the forward one
    }
    const { outRe, outIm } = this.plan.run(inRe, inIm);
    for (let at = 0; at < half; at += 1) {
      out[2 * at] = outRe[at] / this.length;
      out[2 * at + 1] = -outIm[at] / this.length;
    }
  }
}

/** Complex transform by decimation in time, in stages of the factors 4, 2, 3 and others. */
class Complex {
  readonly outRe: Float64Array;
  readonly outIm: Float64Array;
  private readonly order: Uint32Array;
  private readonly factors: number[];
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;

  constructor(readonly length: number) {
    this.factors = factorise(length);
    this.order = permutation(length, this.factors);
    this.outRe = new Float64Array(length);
    this.outIm = new Float64Array(length);
    this.cos = Float64Array.from({ length }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.sin = Float64Array.from({ length }, (_, k) => -Math.sin((2 * Math.PI * k) / length));
  }

  run(re: Float64Array, im: Float64Array): this {
    const { outRe, outIm, order, length } = this;
    for (let at = 0; at < length; at += 1) {
      outRe[at] = re[order[at]];
      outIm[at] = im[order[at]];
    }
    let size = 1;
    for (const factor of this.factors) {
      if (factor === 2) this.two(size);
      else if (factor === 4) this.four(size);
      else if (factor === 3) this.three(size);
      else this.general(size, factor);
      size *= factor;
    }
    return this;
  }

  private two(size: number): void {
    const { outRe: re, outIm: im, cos, sin, length } = this;
    const stride = length / (2 * size);
    for (let k = 0; k < size; k += 1) {
      const c = cos[k * stride];
      const s = sin[k * stride];
      for (let a = k; a < length; a += 2 * size) {
        const b = a + size;
        const x = re[b] * c - im[b] * s;
        const y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }

  private three(size: number): void {
    const { outRe: re, outIm: im, cos, sin, length } = this;
    const stride = length / (3 * size);
    const third = Math.sqrt(3) / 2;
    for (let k = 0; k < size; k += 1) {
      const [c1, s1] = [cos[k * stride], sin[k * stride]];
      const [c2, s2] = [cos[2 * k * stride], sin[2 * k * stride]];
      for (let a = k; a < length; a += 3 * size) {
        const b = a + size;
        const c = b + size;
        const bRe = re[b] * c1 - im[b] * s1;
        const bIm = re[b] * s1 + im[b] * c1;
        const cRe = re[c] * c2 - im[c] * s2;
        const cIm = re[c] * s2 + im[c] * c2;
        const [sumRe, sumIm, difRe, difIm] = [bRe + cRe, bIm + cIm, third * (bRe - cRe), third * (bIm - cIm)];
        const restRe = re[a] - sumRe / 2;
        const restIm = im[a] - sumIm / 2;
        re[a] += sumRe;
        im[a] += sumIm;
        re[b] = restRe + difIm;
        im[b] = restIm - difRe;
        re[c] = restRe - difIm;
        im[c] = restIm + difRe;
      }
    }
  }

  private four(size: number): void {
    const { outRe: re, outIm: im, cos, sin, length } = this;
    const stride = length / (4 * size);
    for (let k = 0; k < size; k += 1) {
      const [c1, s1] = [cos[k * stride], sin[k * stride]];
      const [c2, s2] = [cos[2 * k * stride], sin[2 * k * stride]];
      const [c3, s3] = [cos[3 * k * stride], sin[3 * k * stride]];
      for (let a = k; a < length; a += 4 * size) {
        const b = a + size;
        const c = b + size;
        const d = c + size;
        const bRe = re[b] * c1 - im[b] * s1;
        const bIm = re[b] * s1 + im[b] * c1;
        const cRe = re[c] * c2 - im[c] * s2;
        const cIm = re[c] * s2 + im[c] * c2;
        const dRe = re[d] * c3 - im[d] * s3;
        const dIm = re[d] * s3 + im[d] * c3;
        const [sumRe, sumIm, difRe, difIm] = [re[a] + cRe, im[a] + cIm, re[a] - cRe, im[a] - cIm];
        const [oddRe, oddIm, gapRe, gapIm] = [bRe + dRe, bIm + dIm, bRe - dRe, bIm - dIm];
        re[a] = sumRe + oddRe;
        im[a] = sumIm + oddIm;
        re[b] = difRe + gapIm;
        im[b] = difIm - gapRe;
        re[c] = sumRe - oddRe;
        im[c] = sumIm - oddIm;
        re[d] = difRe - gapIm;
        im[d] = difIm + gapRe;
      }
    }
  }

  private general(size: number, factor: number): void {
    const { outRe: re, outIm: im, cos, sin, length } = this;
    const stride = length / (factor * size);
    const step = length / factor;
    const x = new Float64Array(factor);
    const y = new Float64Array(factor);
    for (let k = 0; k < size; k += 1)
      for (let a = k; a < length; a += factor * size) {
        for (let part = 0; part < factor; part += 1) {
          const at = a + part * size;
          const turn = (part * k * stride) % length;
          x[part] = re[at] * cos[turn] - im[at] * sin[turn];
          y[part] = re[at] * sin[turn] + im[at] * cos[turn];
        }
        for (let out = 0; out < factor; out += 1) {
          let sumRe = 0;
          let sumIm = 0;
          for (let part = 0; part < factor; part += 1) {
            const turn = (part * out * step) % length;
            sumRe += x[part] * cos[turn] - y[part] * sin[turn];
            sumIm += x[part] * sin[turn] + y[part] * cos[turn];
          }
          re[a + out * size] = sumRe;
          im[a + out * size] = sumIm;
        }
      }
  }
}

function factorise(length: number): number[] {
  const factors = [];
  let rest = length;
  for (const factor of [5, 3, 4, 2])
    while (rest % factor === 0) {
      factors.push(factor);
      rest /= factor;
    }
  if (rest !== 1) throw new RangeError(`a transform of ${length} values: only the prime factors 2, 3 and 5 are implemented`);
  return factors;
}

/** Order of the input for stages in this order: the digits of the index, reversed. */
function permutation(length: number, factors: number[]): Uint32Array {
  const order = new Uint32Array(length);
  for (let at = 0; at < length; at += 1) {
    let rest = at;
    let span = length;
    let index = 0;
    let stride = 1;
    // the last stage joins `factor` interleaved sequences
    for (let stage = factors.length - 1; stage >= 0; stage -= 1) {
      const factor = factors[stage];
      span /= factor;
      index += Math.floor(rest / span) * stride;
      rest %= span;
      stride *= factor;
    }
    order[at] = index;
  }
  return order;
}

/** Periodic Hann window of this length, rounded to float32 as in Python. */
export const hann = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / length));
