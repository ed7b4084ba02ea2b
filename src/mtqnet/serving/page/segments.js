// @ts-check
/** The segments of a recording with the lowest G-MOS over time. */

/** @typedef {{start_s: number, end_s: number, g_mos: number}} Segment */

/** Length of a segment in seconds, as in evaluation/plots.py. */
const SEGMENT_S = 2;
/** MOS by which a segment must be below the mean of the recording: smaller differences are not audible. */
const STANDS_OUT = 0.1;

/**
 * Up to `most` segments that do not overlap, the worst one first. The first one is `row.worst`, which may be longer.
 * Empty if no segment is clearly worse than the others.
 * @param {Record<string, any>} row an answer of /v1/score with a track @param {number} [most] @returns {Segment[]}
 */
export function worst(row, most = 5) {
  const track = row.track;
  const frames = /** @type {number[] | undefined} */ (track?.values.g_mos);
  if (!row.worst || !frames || frames.length < 2) return row.worst ? [row.worst] : [];
  const times = /** @type {number[]} */ (track.times_s);
  const step = (times[times.length - 1] - times[0]) / (times.length - 1);
  const count = Math.max(1, Math.round(SEGMENT_S / step));
  const mean = frames.reduce((sum, value) => sum + value, 0) / frames.length;
  const segments = [];
  for (let first = 0; first + count <= frames.length; first += 1) {
    const part = frames.slice(first, first + count);
    segments.push({
      start_s: Math.max(0, times[first] - step / 2),
      end_s: Math.min(row.duration_s, times[first + count - 1] + step / 2),
      g_mos: part.reduce((sum, value) => sum + value, 0) / count,
    });
  }
  const chosen = [/** @type {Segment} */ (row.worst)];
  for (const one of segments.sort((a, b) => a.g_mos - b.g_mos)) {
    if (chosen.length === most || one.g_mos > mean - STANDS_OUT) break;
    if (chosen.every((other) => one.end_s <= other.start_s || one.start_s >= other.end_s)) chosen.push(one);
  }
  return chosen;
}
