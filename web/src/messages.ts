/** Messages between a page and the worker that scores. */
import type { Channel } from "./reading.js";
import type { StreamOptions } from "./model.js";
import type { ModelRecord, Scores } from "./types.js";

/** What the page sends. `id` is that of the call, to which the answer refers. */
export type Request = { id: number } & (
  | { call: "start"; threads: number }
  | { call: "load"; record: ModelRecord; graph: Uint8Array; threads: number }
  | { call: "score"; channels: Float32Array[]; rate: number; channel: Channel | "each"; file: string | undefined; track: "none" | "frames" | "local" | undefined }
  | { call: "abort"; target: number }
  | { call: "stream"; stream: number; rate: number; options: StreamOptions }
  | { call: "feed"; stream: number; channels: Float32Array[]; latest: boolean }
  | { call: "finish"; stream: number }
);

/** What the worker sends. */
export type Answer =
  | { id: number; kind: "done"; rows: Scores[] }
  | { id: number; kind: "progress"; part: number }
  | { id: number; kind: "failed"; name: string; message: string };
