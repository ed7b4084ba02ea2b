// @ts-check
/** What scores mean, in words. The facts come from the server; the words for steps from ITU-T P.835 and P.800. */

/** @typedef {{key: string, name: string, low: number, high: number, higher_is_better: boolean, log: boolean, says: string}} Target */
/** @typedef {{key: string, level: string, summary: string, advice: string}} Flag */

/** @type {Record<string, {start: string, steps: string[]}>} */
const STEPS = {
  s_mos: {
    start: "The speech sounds",
    steps: ["very distorted", "fairly distorted", "somewhat distorted", "slightly distorted", "not distorted"],
  },
  n_mos: {
    start: "The background is",
    steps: ["very intrusive", "somewhat intrusive", "noticeable but not intrusive", "slightly noticeable", "not noticeable"],
  },
  g_mos: { start: "The overall quality is", steps: ["bad", "poor", "fair", "good", "excellent"] },
  pesq_est: { start: "Estimated quality compared with the clean reference:", steps: ["bad", "poor", "fair", "good", "excellent"] },
};

/** The word of ITU-T P.835 or P.800 for a score of five steps. @param {string} key @param {number} value */
export const step = (key, value) => STEPS[key].steps[Math.min(5, Math.max(1, Math.round(value))) - 1];

/** A sentence for a score. @param {Target} target @param {number} value */
export function sentence(target, value) {
  const words = STEPS[target.key];
  if (words) return `${words.start} ${step(target.key, value)}.`;
  if (target.key === "stoi_est") return `Intelligibility ${Math.round(100 * value)} of 100: ${value >= 0.9 ? "words are understood with ease" : value >= 0.75 ? "most words are understood" : "words are lost"}.`;
  return `Energy of distortion and noise: ${percent(value)} of the clean speech; lower is better.`;
}

/** @param {number} share */
const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;

/** Two decimals, or two figures on a ratio scale: as on the command line. @param {Target} target @param {number | null} value */
export function digits(target, value) {
  if (value === null || value === undefined) return "–";
  return target.log ? String(Number(value.toPrecision(2))) : value.toFixed(2);
}

/** @param {Target} target */
export const short = (target) => target.name.replace(" (estimate)", "");

/** Where a value lies in its range, 0 to 1 (on a ratio scale by the logarithm). @param {Target} target @param {number} value */
export function share(target, value) {
  const [low, high, at] = target.log ? [target.low, target.high, value].map(Math.log10) : [target.low, target.high, value];
  return Math.min(1, Math.max(0, (at - low) / (high - low)));
}

/** Poor, fair or good, for the eye. @param {Target} target @param {number} value */
export function grade(target, value) {
  /** @type {Record<string, [number, number]>} as in screen.py */
  const ends = { pesq_est: [2, 3], stoi_est: [0.75, 0.9], sdi_est: [0.3, 0.05] };
  const [poor, good] = ends[target.key] ?? [2.5, 3.5];
  const up = target.higher_is_better ? 1 : -1;
  return up * value >= up * good ? "good" : up * value < up * poor ? "poor" : "fair";
}
