/** Inputs of the models, as in the Python module `audio/features.py`. */
import { definition } from "./definition.js";
import { hann, realFft } from "./fft.js";

/** Rows of a feature, row by row. */
export interface Rows {
  data: Float32Array;
  rows: number;
  width: number;
}

const { logmel: LOGMEL, spectrum: SPECTRUM, wave: WAVE } = definition.features;
const BANDS = LOGMEL.bands.map(({ first, weights }) => ({ first, weights: Float64Array.from(weights) }));

/** log10 of mel power: (samples / hop) rows. */
function logMel(samples: Float32Array): Rows {
  const { window, hop, floor, width } = LOGMEL;
  const padded = reflected(samples, window / 2);
  const rows = Math.floor(samples.length / hop);
  const data = new Float32Array(rows * width);
  const transform = realFft(window);
  const weights = hann(window);
  const power = new Float64Array(window / 2 + 1);
  for (let row = 0; row < rows; row += 1) {
    transform.forward(padded, row * hop, weights);
    for (let bin = 0; bin < power.length; bin += 1) power[bin] = transform.re[bin] ** 2 + transform.im[bin] ** 2;
    for (let band = 0; band < width; band += 1) {
      const { first, weights: triangle } = BANDS[band];
      let sum = 0;
      for (let at = 0; at < triangle.length; at += 1) sum += triangle[at] * power[first + at];
      data[row * width + band] = Math.log10(Math.max(sum, floor));
    }
  }
  return { data, rows, width };
}

/** Magnitude of the short-time Fourier transform with a symmetric Hamming window. */
function magnitude(samples: Float32Array): Rows {
  const { window, hop, width } = SPECTRUM;
  const padded = reflected(samples, window / 2);
  const rows = 1 + Math.floor(samples.length / hop);
  const data = new Float32Array(rows * width);
  const transform = realFft(window);
  const weights = Float64Array.from({ length: window }, (_, at) => 0.54 - 0.46 * Math.cos((2 * Math.PI * at) / (window - 1)));
  for (let row = 0; row < rows; row += 1) {
    transform.forward(padded, row * hop, weights);
    for (let bin = 0; bin < width; bin += 1) data[row * width + bin] = Math.hypot(transform.re[bin], transform.im[bin]);
  }
  return { data, rows, width };
}

/** Representations of samples by the names that records use. */
export const FEATURES: Record<string, (samples: Float32Array) => Rows> = {
  logmel: logMel,
  spectrum: magnitude,
  wave: (samples) => ({ data: samples, rows: samples.length, width: WAVE.width }),
};

/** Samples divided by their peak; silence is unchanged. */
export function peakNormalised(samples: Float32Array): Float32Array {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak > 0 ? samples.map((sample) => sample / peak) : samples;
}

function reflected(samples: Float32Array, count: number): Float32Array {
  const padded = new Float32Array(samples.length + 2 * count);
  padded.set(samples, count);
  const last = samples.length - 1;
  for (let at = 1; at <= count; at += 1) {
    padded[count - at] = samples[at];
    padded[count + last + at] = samples[last - at];
  }
  return padded;
}
