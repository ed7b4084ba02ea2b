/** Comparison of two sets of results: differences with bootstrap intervals, as in the Python module `evaluation/compare.py`. */
import { definition } from "./definition.js";
import { TARGETS } from "./intervals.js";
import type { Scores, Target } from "./types.js";

const { resamples: RESAMPLES, level: LEVEL, same: SAME, same_mos: SAME_MOS } = definition.compare;

/** B minus A on one score; on a logarithmic scale, differences are those of log10. */
export interface Comparison {
  target: string;
  scale: string;
  a_mean: number;
  b_mean: number;
  difference: number;
  /** 95 % interval; null for too few recordings */
  low: number | null;
  high: number | null;
  items: number;
  /** null if no difference was found */
  better: "A" | "B" | null;
}

export interface ComparedSets {
  paired: boolean;
  comparisons: Comparison[];
  /** Sentences: which set is better and by how much */
  verdict: string[];
}

/** Compare B with A. Results with the same file name, without its suffix, are pairs; one result of each set is a pair. */
export function compare(a: readonly Scores[], b: readonly Scores[]): ComparedSets {
  const [first, second] = [a, b].map((rows) => rows.filter((row) => row.error === null));
  if (!first.length || !second.length) return { paired: false, comparisons: [], verdict: [`There is nothing to compare: ${first.length ? "B" : "A"} has no scored recording.`] };
  const alone = a.length === 1 && b.length === 1;
  const pairs = alone ? [[first[0], second[0]]] : first.flatMap((row) => {
    const other = second.find(({ file }) => file !== null && row.file !== null && stem(file) === stem(row.file));
    return other ? [[row, other]] : [];
  });
  const paired = pairs.length > 0;
  const targets = TARGETS.filter(({ key }) => [...first, ...second].every((row) => row[key] !== null));
  const comparisons = targets.map((target) => {
    const value = (row: Scores) => (target.log ? Math.log10(row[target.key] as number) : (row[target.key] as number));
    return paired ? pairedDifference(target, pairs.map(([one]) => value(one)), pairs.map(([, other]) => value(other)))
      : unpairedDifference(target, first.map(value), second.map(value));
  });
  return { paired, comparisons, verdict: alone ? ofOnePair(first[0], second[0], comparisons) : sentences(comparisons, paired) };
}

function pairedDifference(target: Target, a: number[], b: number[]): Comparison {
  const differences = b.map((value, place) => value - a[place]);
  return comparison(target, mean(a), mean(b), differences.length, 2 / 2 ** differences.length < 1 - LEVEL, () => resampledMeans(differences, 1));
}

function unpairedDifference(target: Target, a: number[], b: number[]): Comparison {
  let orders = 1;
  for (let place = 1; place <= a.length; place += 1) orders *= (b.length + place) / place;
  return comparison(target, mean(a), mean(b), a.length + b.length, Math.min(a.length, b.length) > 1 && 2 / orders < 1 - LEVEL, () => {
    const other = resampledMeans(a, 2);
    return resampledMeans(b, 1).map((value, place) => value - other[place]);
  });
}

function comparison(target: Target, aMean: number, bMean: number, items: number, enough: boolean, draw: () => number[]): Comparison {
  const difference = bMean - aMean;
  const draws = enough ? draw().sort((one, other) => one - other) : [];
  const [low, high] = enough ? [quantile(draws, (1 - LEVEL) / 2), quantile(draws, (1 + LEVEL) / 2)] : [null, null];
  const found = low !== null && high !== null && !(low <= 0 && high >= 0);
  return {
    target: target.key, scale: target.log ? "log10" : target.unit, a_mean: aMean, b_mean: bMean, difference, low, high, items,
    better: found ? ((difference > 0) === target.higher_is_better ? "B" : "A") : null,
  };
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Means of resamples with replacement, with a fixed seed: equal recordings have equal intervals. */
function resampledMeans(values: readonly number[], seed: number): number[] {
  let state = seed * 0x9e3779b9 + values.length;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return Array.from({ length: RESAMPLES }, () => mean(values.map(() => values[Math.floor(random() * values.length)])));
}

function quantile(sorted: readonly number[], part: number): number {
  const place = part * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

const stem = (file: string): string => file.replace(/\.[^.]*$/, "");
const nameOf = (target: Target): string => target.name.replace(" (estimate)", "");
const digits = (target: Target, value: number): string => (target.log ? String(Number(value.toPrecision(2))) : value.toFixed(2));
const targetOf = (one: Comparison): Target => TARGETS.find(({ key }) => key === one.target) as Target;

/** The verdict on two recordings. A small difference is not audible, so neither is better. */
function ofOnePair(a: Scores, b: Scores, comparisons: Comparison[]): string[] {
  const parts: Record<"B" | "A" | "same", string[]> = { B: [], A: [], same: [] };
  for (const one of comparisons) {
    const target = targetOf(one);
    const small = Math.abs(one.difference) < (SAME[target.key] ?? SAME_MOS);
    one.better = small ? null : (one.difference > 0) === target.higher_is_better ? "B" : "A";
    parts[one.better ?? "same"].push(small ? nameOf(target) : `${nameOf(target)} (${digits(target, a[target.key] as number)} to ${digits(target, b[target.key] as number)})`);
  }
  const texts = ([["B is better on", parts.B], ["A is better on", parts.A], ["about the same:", parts.same]] as const)
    .flatMap(([start, names]) => (names.length ? [`${start} ${names.join(", ")}`] : []));
  const text = texts.join("; ");
  return [`${text[0].toUpperCase()}${text.slice(1)}.`, "One recording per system does not allow a conclusion about the systems: compare ten or more."];
}

function sentences(comparisons: readonly Comparison[], paired: boolean): string[] {
  if (!comparisons.length) return [];
  const [{ items, low }] = comparisons;
  if (low === null) return [`${items} ${paired ? "pairs" : "recordings"} are too few to detect a difference between A and B.`];
  const size = (one: Comparison) => {
    const target = targetOf(one);
    const sign = one.difference < 0 ? -1 : 1;
    const ends = [sign * (one.low as number), sign * (one.high as number)].sort((x, y) => x - y);
    const factor = 10 ** Math.abs(one.difference);
    const decimals = factor < 2 ? 2 : factor < 10 ? 1 : 0;
    const show = (value: number) => (target.log ? (10 ** value).toFixed(decimals) : value.toFixed(target.high > 1 ? 2 : 3));
    return `${nameOf(target)} by ${target.log ? "a factor of " : ""}${show(Math.abs(one.difference))} [${ends.map(show).join(", ")}]`;
  };
  const parts = [
    ...(["B", "A"] as const).flatMap((side) => {
      const those = comparisons.filter(({ better }) => better === side);
      return those.length ? [`B is ${side === "B" ? "better" : "worse"} than A on ${those.map(size).join(", ")}`] : [];
    }),
  ];
  const same = comparisons.filter(({ better }) => better === null).map((one) => nameOf(targetOf(one)));
  if (same.length) parts.push(`no difference was found${parts.length ? "" : " between A and B"} on ${same.join(", ")}`);
  const text = parts.join("; ");
  return [`${text[0].toUpperCase()}${text.slice(1)}.`];
}
