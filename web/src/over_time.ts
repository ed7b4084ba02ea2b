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

/** Where G-MOS over time is lowest: the stretch with the largest sum of distances below the middle between good and bad frames. */
export function worstStretch(track: Track | null): Stretch | null {
  const column = track?.targets.indexOf("g_mos") ?? -1;
  if (!track || column < 0 || track.times_s.length < 2) return null;
  const { shortest_s: shortest, smooth_s: smoothing, good_percentile: percentile, stands_out: limit } = definition.worst;
  const times = track.times_s;
  const step = quantile(times.slice(1).map((time, place) => time - times[place]), 0.5);
  const frames = track.values.map((row) => row[column]);
  if (frames.length * step < shortest) return null;
  const half = Math.floor(Math.round(smoothing / step) / 2);
  const last = frames.length - 1;
  const smooth = frames.map((_, place) => {
    let sum = 0;
    for (let near = place - half; near <= place + half; near += 1) sum += frames[Math.min(last, Math.max(0, near))];
    return sum / (2 * half + 1);
  });
  const good = quantile(smooth, percentile / 100);
  const bad = smooth.reduce((least, value) => Math.min(least, value), Infinity);
  if (good - bad < limit) return null;
  let [sum, lowest, lowestAt] = [0, 0, 0];
  let best = { gain: -Infinity, first: 0, stop: 0 };
  smooth.forEach((value, place) => {
    sum += (good + bad) / 2 - value;
    if (sum < lowest) [lowest, lowestAt] = [sum, place + 1];
    if (sum - lowest > best.gain) best = { gain: sum - lowest, first: lowestAt, stop: place + 1 };
  });
  const part = frames.slice(best.first, best.stop);
  return {
    start_s: Math.max(0, times[best.first] - step / 2),
    end_s: times[best.stop - 1] + step / 2,
    g_mos: part.reduce((total, value) => total + value, 0) / part.length,
  };
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
