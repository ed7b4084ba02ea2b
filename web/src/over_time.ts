/** Scores over time and the worst stretch, as in the Python modules `scoring/over_time.py` and `evaluation/plots.py`. */
import { definition } from "./definition.js";
import type { Scores, ScoreKey, Track } from "./types.js";

const RATE = definition.sample_rate;
const { stretch_s: STRETCH_S, hop_s: HOP_S, max_values: MAX_VALUES } = definition.over_time;

/** Where a recording is worst by G-MOS. */
export interface Stretch {
  start_s: number;
  end_s: number;
  g_mos: number;
}

/** Number of values over time of a recording of this duration. */
export const valuesOf = (seconds: number): number => Math.min(Math.ceil(seconds / HOP_S), MAX_VALUES);

/** Score stretches around each moment; null for a recording that is hardly longer than one, or almost silent. */
export async function stretches(
  score: (samples: Float32Array) => Promise<Scores>, samples: Float32Array, targets: ScoreKey[], progress?: (part: number) => void,
): Promise<Track | null> {
  const half = Math.round((STRETCH_S * RATE) / 2);
  if (samples.length <= 2 * half) return null;
  const count = valuesOf(samples.length / RATE);
  const track: Track = { times_s: [], values: [], targets, causes: null, cause_keys: [] };
  for (let number = 0; number < count; number += 1) {
    const centre = Math.floor(((number + 0.5) * samples.length) / count);
    const scores = await score(samples.subarray(Math.max(0, centre - half), centre + half));
    if (scores.error === null) {
      track.times_s.push(centre / RATE);
      track.values.push(targets.map((key) => scores[key] as number));
    }
    progress?.((number + 1) / count);
  }
  return track.times_s.length < 2 ? null : track;
}

/** Means over HOP_S, or over longer pieces of a long recording. */
export function averaged(track: Track, seconds: number): Track {
  const count = Math.max(1, valuesOf(seconds));
  const pieces = new Map<number, number[]>();
  track.times_s.forEach((time, place) => {
    const piece = Math.min(Math.floor((time / seconds) * count), count - 1);
    pieces.set(piece, [...(pieces.get(piece) ?? []), place]);
  });
  const means = (rows: number[][]) => [...pieces.values()].map((places) =>
    rows[places[0]].map((_, column) => places.reduce((sum, place) => sum + rows[place][column], 0) / places.length));
  return {
    ...track,
    times_s: means(track.times_s.map((time) => [time])).map(([time]) => time),
    values: means(track.values),
    causes: track.causes && means(track.causes),
  };
}

/** Where G-MOS over time is lowest: the worst stretch, and all around it that is as bad. Null if no stretch differs. */
export function worstStretch(track: Track | null): Stretch | null {
  const column = track?.targets.indexOf("g_mos") ?? -1;
  if (!track || column < 0 || track.times_s.length < 2) return null;
  const times = track.times_s;
  const steps = times.slice(1).map((time, place) => time - times[place]).sort((a, b) => a - b);
  const middle = steps.length / 2;
  const step = Number.isInteger(middle) ? (steps[middle - 1] + steps[middle]) / 2 : steps[Math.floor(middle)];
  const frames = track.values.map((row) => row[column]);
  const count = Math.round(definition.worst.stretch_s / step);
  if (frames.length < 2 * count) return null;
  const mean = (part: number[]) => part.reduce((sum, value) => sum + value, 0) / part.length;
  const means = Array.from({ length: frames.length - count + 1 }, (_, first) => mean(frames.slice(first, first + count)));
  const place = means.indexOf(Math.min(...means));
  const { stands_out: limit } = definition.worst;
  if (mean(frames) - means[place] < limit) return null;
  const better = (at: number) => means[at] > means[place] + limit;
  let first = place;
  while (first > 0 && !better(first - 1)) first -= 1;
  let last = place;
  while (last < means.length - 1 && !better(last + 1)) last += 1;
  last += count;
  return { start_s: times[first] - step / 2, end_s: times[last - 1] + step / 2, g_mos: mean(frames.slice(first, last)) };
}
