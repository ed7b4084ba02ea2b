/** Causes of low quality, as in the Python module `causes.py`. */
import { definition } from "./definition.js";
import type { ModelRecord, Track } from "./types.js";

const { kinds: KINDS, present: PRESENT, shortest_s: SHORTEST_S, whole: WHOLE } = definition.causes;
export const CAUSES = KINDS;

/** Calibrated probability of each cause of a recording from the probabilities of its frames. */
export function causesOf(record: ModelRecord, frames: readonly number[][]): Record<string, number> {
  return Object.fromEntries(Object.entries(record.causes ?? {}).map(([key, calibration], place) => {
    let [sum, squares] = [0, 0];
    for (const frame of frames) {
      sum += frame[place];
      squares += frame[place] ** 2;
    }
    return [key, calibrate(calibration, squares / Math.max(sum, 1e-6))];
  }));
}

/** Calibrated probabilities of one frame. */
export const calibrated = (record: ModelRecord, frame: readonly number[]): number[] =>
  Object.values(record.causes ?? {}).map((calibration, place) => calibrate(calibration, frame[place]));

function calibrate({ slope, offset }: { slope: number; offset: number }, probability: number): number {
  const p = Math.min(1 - 1e-6, Math.max(1e-6, probability));
  return 1 / (1 + Math.exp(-(slope * Math.log(p / (1 - p)) + offset)));
}

/** Stretches in which a cause is present, in seconds, the longest first. */
function stretches(times: readonly number[], probabilities: readonly number[]): [number, number][] {
  if (times.length < 2) return [];
  const steps = times.slice(1).map((time, place) => time - times[place]).sort((a, b) => a - b);
  const middle = steps.length / 2;
  const half = (Number.isInteger(middle) ? (steps[middle - 1] + steps[middle]) / 2 : steps[Math.floor(middle)]) / 2;
  const found: [number, number][] = [];
  for (let start = 0; start < times.length; start += 1) {
    if (probabilities[start] < PRESENT) continue;
    let stop = start;
    while (stop + 1 < times.length && probabilities[stop + 1] >= PRESENT) stop += 1;
    found.push([times[start] - half, times[stop] + half]);
    start = stop;
  }
  return found.filter(([start, stop]) => stop - start >= SHORTEST_S).sort((a, b) => a[0] - a[1] - (b[0] - b[1]));
}

/** A time as minutes and seconds, such as "1:02.5". */
function clock(seconds: number): string {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

/** The causes of a recording in a sentence with a suggestion; empty if none is present. */
export function describe(causes: Record<string, number>, track: Track | null): string {
  const present = Object.keys(causes).filter((key) => causes[key] >= PRESENT).sort((a, b) => causes[b] - causes[a]);
  if (!present.length) return "";
  const texts = present.map((key) => {
    const name = KINDS.find((kind) => kind.key === key)?.name ?? key;
    if (!track?.causes || track.times_s.length < 2) return name;
    const place = track.cause_keys.indexOf(key);
    const found = stretches(track.times_s, track.causes.map((frame) => frame[place]));
    const total = track.times_s[track.times_s.length - 1] - track.times_s[0];
    if (!found.length || found.reduce((sum, [start, stop]) => sum + stop - start, 0) >= WHOLE * total) return name;
    return `${name} between ${clock(Math.max(0, found[0][0]))} and ${clock(found[0][1])}`;
  });
  const sentence = texts.join(", ");
  return `${sentence[0].toUpperCase()}${sentence.slice(1)}. ${KINDS.find((kind) => kind.key === present[0])?.advice ?? ""}`;
}
