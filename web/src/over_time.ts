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

/** Where a recording is worst: the stretch whose mean of G-MOS and causes differs most from that of the rest. */
export function worstStretch(track: Track | null): Stretch | null {
  const column = track?.targets.indexOf("g_mos") ?? -1;
  if (!track || column < 0 || track.times_s.length < 2) return null;
  const rule = definition.worst;
  const times = track.times_s;
  const step = quantile(times.slice(1).map((time, place) => time - times[place]), 0.5);
  const g = track.values.map((row) => row[column]);
  if (g.length * step < rule.shortest_s) return null;
  const odds = (p: number) => Math.log(p / (1 - p));
  const limited = (p: number) => Math.min(1 - rule.least_odds, Math.max(rule.least_odds, p));
  const good = g.map((value, place) => track.causes === null
    ? value : value - rule.cause_weight * track.causes[place].reduce((total, p) => total + odds(limited(p)), 0));
  const group = Math.ceil(g.length / rule.most_frames);
  const edges: number[] = [];
  for (let place = 0; place < g.length; place += group) edges.push(place);
  edges.push(g.length);
  const total = [0];
  good.forEach((value) => total.push(total[total.length - 1] + value));
  const all = total[g.length];
  let best = { contrast: -Infinity, first: 0, last: 0 };
  const longest = Math.floor(rule.longest_share * (edges.length - 1));
  for (let length = Math.max(1, Math.floor(rule.shortest_stretch_s / (step * group))); length <= longest; length += 1) {
    for (let place = 0; place + length < edges.length; place += 1) {
      const [first, last] = [edges[place], edges[place + length]];
      const [inside, n, m] = [total[last] - total[first], last - first, g.length - (last - first)];
      const contrast = ((all - inside) / m - inside / n) * ((n * m) / g.length) ** rule.length_power;
      if (contrast > best.contrast) best = { contrast, first, last };
    }
  }
  const { first, last } = best;
  const inside = total[last] - total[first];
  const least = track.causes === null ? rule.stands_out : rule.stands_out_with_causes;
  if (last === first || (all - inside) / (g.length - (last - first)) - inside / (last - first) < least) return null;
  return {
    start_s: Math.max(0, times[first] - step / 2),
    end_s: times[last - 1] + step / 2,
    g_mos: g.slice(first, last).reduce((sum, value) => sum + value, 0) / (last - first),
  };
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
