/** Windows of a recording and the combination of their scores, as in the Python module `audio/windows.py`. */
import { definition } from "./definition.js";
import { FRAME } from "./level.js";

const RATE = definition.sample_rate;

/** Samples start (inclusive) to stop (exclusive) of the part that is scored. */
export interface Window {
  start: number;
  stop: number;
}

/** Divide a recording into windows of equal length, without gap or overlap. */
export function cut(samples: number): Window[] {
  const count = Math.max(1, Math.ceil(samples / Math.round(definition.windows.max_s * RATE)));
  const edge = (piece: number) => Math.floor((samples * piece) / count);
  return Array.from({ length: count }, (_, piece) => ({ start: edge(piece), stop: edge(piece + 1) }));
}

/** Seconds of active sound in a window: frames of 20 ms with at least this power. */
export function activeSeconds({ start, stop }: Window, samples: Float32Array, power: number): number {
  let active = 0;
  for (let frame = Math.floor(start / FRAME); frame < Math.floor(stop / FRAME); frame += 1) {
    let sum = 0;
    for (let at = frame * FRAME; at < (frame + 1) * FRAME; at += 1) sum += samples[at] * samples[at];
    if (sum / FRAME >= power) active += 1;
  }
  return (active * FRAME) / RATE;
}

/** Weight of each window, of sum 1: its active time; its length if there is no active time. */
export function weightsOf(windows: readonly Window[], spoken: readonly number[]): number[] {
  const weights = windows.length === 1 ? [1] : spoken.some((seconds) => seconds > 0) ? [...spoken] : windows.map(({ start, stop }) => stop - start);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}
