/** Targets and prediction intervals, as in the Python modules `targets.py` and `scoring/intervals.py`. */
import { definition } from "./definition.js";
import type { Interval, ModelRecord, ScoreKey, Target } from "./types.js";

export const TARGETS: readonly Target[] = definition.targets;
export const BY_KEY = new Map(TARGETS.map((target) => [target.key, target]));

/** Clip a value to the range of its target. */
export const clip = ({ low, high }: Target, value: number): number => Math.min(high, Math.max(low, value));

const toTraining = (target: Target, value: number): number => {
  const clipped = clip(target, value);
  return ((target.log ? Math.log10(clipped) : clipped) - target.offset) / target.slope;
};

const fromTraining = (target: Target, value: number): number => {
  const compressed = value * target.slope + target.offset;
  return clip(target, target.log ? 10 ** compressed : compressed);
};

/** The prediction interval of each score; empty for a model that was not calibrated. */
export function intervalsOf(record: ModelRecord, values: readonly number[], distance: number | null): Partial<Record<ScoreKey, Interval>> {
  if (!record.intervals) return {};
  const { bands } = record.intervals;
  const targets = record.targets.map((key) => BY_KEY.get(key) as Target);
  const scores = targets.map((target, place) => toTraining(target, values[place]));
  const terms = [1, ...scores];
  scores.forEach((one, place) => scores.slice(place).forEach((other) => terms.push(one * other)));
  if (distance !== null) terms.push(Math.log(Math.max(distance, definition.intervals.smallest_distance)));
  return Object.fromEntries(targets.map((target, place) => {
    const { weights, lowest, highest, factor } = bands[target.key];
    const exponent = weights.reduce((sum, weight, term) => sum + weight * terms[term], 0);
    const half = factor * Math.exp(Math.min(highest, Math.max(lowest, exponent)));
    return [target.key, { low: fromTraining(target, scores[place] - half), high: fromTraining(target, scores[place] + half) }];
  }));
}
