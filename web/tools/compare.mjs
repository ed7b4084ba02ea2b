/** Differences between results of this package and of the Python package. */

const KEYS = ["s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est"];

/** @param {any} wanted a row of expected.json @param {any} got Scores */
export function differences(wanted, got) {
  const scores = Object.fromEntries(KEYS.map((key) => [key, wanted[key] === null || got[key] === null ? (wanted[key] === got[key] ? 0 : Infinity) : Math.abs(wanted[key] - got[key])]));
  const ends = Object.entries(wanted.intervals).flatMap(([key, [low, high]]) => {
    const interval = got.intervals[key];
    return interval ? [Math.abs(interval.low - low), Math.abs(interval.high - high)] : [Infinity];
  });
  const windows = wanted.windows.length === got.windows.length
    ? wanted.windows.flatMap(([start, end, weight], place) => [Math.abs(got.windows[place].start_s - start), Math.abs(got.windows[place].end_s - end), Math.abs(got.windows[place].weight - weight)]) : [Infinity];
  const causes = Object.entries(wanted.causes).map(([key, p]) => Math.abs((got.causes[key] ?? Infinity) - p));
  return {
    scores,
    flags: wanted.flags.join(" ") === got.flags.join(" "),
    level: wanted.level === got.level,
    refused: (wanted.error === null) === (got.error === null),
    error: wanted.error === got.error,
    duration: Math.abs((wanted.duration_s ?? 0) - (got.duration_s ?? 0)),
    interval: Math.max(0, ...ends),
    window: Math.max(0, ...windows),
    causes: Math.max(0, ...causes),
  };
}

export { KEYS };
