/** Errors. Each message states what is wrong, what was found, and what to do. */

/** A recording that cannot be scored. `flag` is the key of its flag. */
export class AudioError extends Error {
  constructor(readonly flag: string, message: string) {
    super(message);
    this.name = "AudioError";
  }
}

/** Invalid arguments. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A model that is missing, damaged or incompatible, or a browser that cannot run it. */
export class ModelError extends Error {
  override name = "ModelError";
}

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
