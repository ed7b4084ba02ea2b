/** Flags of a recording, from the table of the Python module `audio/flags.py`. */
import { definition } from "./definition.js";
import type { Flag, Level, Measurements } from "./types.js";

export const FLAGS: readonly Flag[] = definition.flags;
const BY_KEY = new Map(FLAGS.map((flag) => [flag.key, flag]));

/** Keys of the flags that the measurements raise. An unknown measurement (NaN) raises none. */
export function raised(measurements: Measurements): string[] {
  return FLAGS.filter(({ measurement, threshold, below }) => {
    if (measurement === null) return false;
    const value = measurements[measurement as keyof Measurements];
    if (typeof value === "boolean") return value;
    return below ? value < (threshold as number) : value > (threshold as number);
  }).map(({ key }) => key);
}

/** The worst level among flags; a key that is not known counts as caution. */
export function levelOf(keys: readonly string[]): Level {
  const rank = (level: Level) => definition.levels.indexOf(level);
  return keys.map((key) => BY_KEY.get(key)?.level ?? "caution").reduce<Level>((worst, level) => (rank(level) > rank(worst) ? level : worst), "ok");
}
