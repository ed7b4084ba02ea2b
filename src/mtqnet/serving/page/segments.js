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

/** MOS by which G-MOS falls below its mean before, for a drop. */
export const DROP = 0.5;
const BACK = 0.25; // MOS below the mean before, at which a drop has ended
const BEFORE = 20; // values of the mean before a drop
const FEWEST = 3; // values that the mean needs
const NORMAL_S = 60; // seconds after which the lower quality is the new normal

/**
 * Where quality dropped in a live stream.
 * @param {{end_s: number, g_mos: number | null}[]} rows in order of time
 * @returns {{start_s: number, end_s: number | null, from: number, to: number}[]} `end_s` is null while it lasts; `to` is the lowest G-MOS
 */
export function drops(rows) {
  const found = [];
  /** @type {number[]} */
  let before = [];
  /** @type {{start_s: number, end_s: number | null, from: number, to: number} | null} */
  let now = null;
  for (const { end_s, g_mos } of rows) {
    if (g_mos == null) continue;
    if (now) {
      now.to = Math.min(now.to, g_mos);
      if (g_mos <= now.from - BACK && end_s - now.start_s <= NORMAL_S) continue;
      now.end_s = end_s;
      now = null;
      before = [g_mos];
      continue;
    }
    const mean = before.reduce((sum, value) => sum + value, 0) / before.length;
    if (before.length >= FEWEST && g_mos <= mean - DROP) {
      now = { start_s: end_s, end_s: null, from: mean, to: g_mos };
      found.push(now);
    } else before = [...before, g_mos].slice(-BEFORE);
  }
  return found;
}
