/**
 * Speech quality of recordings and calls, in the browser and in Node: the audio never leaves the device.
 *
 *     import { load } from "mtqnet";
 *     const model = await load("small");
 *     const scores = await model.score(samples, 48000);
 */
import { WorkerModel } from "./client.js";
import { definition } from "./definition.js";
import { ModelError } from "./errors.js";
import { LocalModel, type Model as BaseModel } from "./model.js";
import { type Monitor, type MonitorOptions, monitor } from "./monitor.js";
import { Runtime, bytesOf, start } from "./runtime.js";
import type { ModelRecord, Scores } from "./types.js";

export { decode, decodeWav } from "./decode.js";
export { AudioError, ModelError, UsageError } from "./errors.js";
export { FLAGS, levelOf } from "./flags.js";
export { TARGETS } from "./intervals.js";
export { CAUSES } from "./causes.js";
export { worst } from "./model.js";
export { compare } from "./compare.js";
export { definition } from "./definition.js";
export type { Audio, Channel, Samples } from "./reading.js";
export type { ScoreOptions, Stream, StreamOptions } from "./model.js";
export type { Monitor, MonitorOptions } from "./monitor.js";
export type { Stretch } from "./over_time.js";
export type { Comparison, ComparedSets } from "./compare.js";
export type { Decoded } from "./decode.js";
export type { Cause, Definition, Flag, Interval, Level, ModelRecord, ScoreKey, Scores, Target, Track, Values, WindowScores } from "./types.js";

/** A loaded model. */
export interface Model extends BaseModel {
  /** Call back with a row per second of an audio track: a microphone or a call. Browsers only. */
  monitor(track: MediaStreamTrack, callback: (scores: Scores) => void, options?: MonitorOptions): Promise<Monitor>;
}

/** Options of `load`. */
export interface LoadOptions {
  /** Folder with NAME.onnx and NAME.json, for models that are not part of this package. Default: the folder of the package. */
  models?: string | URL;
  /** Record and graph of a model that the page has loaded itself, instead of `models` */
  files?: { record: ModelRecord; graph: Uint8Array };
  /** Whether the model runs in a worker. Default: true in browsers, false in Node. */
  worker?: boolean;
  /** Threads. More than one needs a cross-origin isolated page. Default: 1, on such a page up to 4. */
  threads?: number;
}

/** In a page or a worker of a browser. In Node, onnxruntime-web defines `Worker`, too, so that its existence does not tell. */
const IN_BROWSER = typeof document === "object" || typeof (globalThis as { WorkerGlobalScope?: unknown }).WorkerGlobalScope === "function";

/** Version of the package, which is that of the Python package with the same results. */
export const version: string = definition.version;

/**
 * Load a model.
 * @param name "small", or the name of a model in `options.models`
 * @throws ModelError if the model cannot be loaded, or WebAssembly is not available
 */
export async function load(name = "small", options: LoadOptions = {}): Promise<Model> {
  if (typeof WebAssembly !== "object")
    throw new ModelError("this browser has no WebAssembly (some browsers disable it in a restricted mode): use another browser, or `mtqnet score`");
  const files = options.files ? Promise.resolve(options.files) : filesOf(name, options.models);
  const threads = options.threads ?? (globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1);
  const inWorker = options.worker ?? (IN_BROWSER && typeof Worker === "function");
  const model: BaseModel = inWorker ? await WorkerModel.load(files, threads) : await local(files, threads);
  return {
    record: model.record,
    score: (audio, rate, scoring) => model.score(audio, rate, scoring),
    scoreChannels: (audio, rate, scoring) => model.scoreChannels(audio, rate, scoring),
    stream: (rate, streaming) => model.stream(rate, streaming),
    close: () => model.close(),
    monitor: (track, callback, monitoring) => monitor(model, track, callback, monitoring),
  };
}

async function local(files: Promise<{ record: ModelRecord; graph: Uint8Array }>, threads: number): Promise<BaseModel> {
  const [{ record, graph }] = await Promise.all([files, start(threads)]);
  return new LocalModel(await Runtime.load(record, graph, threads));
}

async function filesOf(name: string, models: string | URL | undefined): Promise<{ record: ModelRecord; graph: Uint8Array }> {
  if (models === undefined && !PACKAGED.includes(name))
    throw new ModelError(`no model named "${name}" in this package: it has ${PACKAGED.join(", ")}. For another model, give its folder: load("${name}", { models: "/models" })`);
  const base = typeof document === "object" ? document.baseURI : import.meta.url;
  const folder = models === undefined ? new URL("./models/", import.meta.url) : new URL(String(models).replace(/\/?$/, "/"), base);
  const [record, graph] = await Promise.all([
    models === undefined ? definition.models[name] : readRecord(new URL(`${name}.json`, folder)),
    bytesOf(new URL(`${name}.onnx`, folder)),
  ]);
  return { record, graph };
}

/** Models in the folder of the package. */
const PACKAGED = ["small"];

async function readRecord(url: URL): Promise<ModelRecord> {
  const text = new TextDecoder().decode(await bytesOf(url));
  try {
    const record = JSON.parse(text) as ModelRecord;
    const known = new Set(definition.targets.map(({ key }) => key));
    if (!Array.isArray(record.targets) || !record.targets.length || record.targets.some((key) => !known.has(key))) throw new Error("unknown targets");
    if (!Array.isArray(record.features) || !(record.frame_rate_hz > 0) || typeof record.sha256 !== "string") throw new Error("a field is missing");
    return record;
  } catch (error) {
    throw new ModelError(`${url.pathname.split("/").pop()} is not a record of a model (${error instanceof Error ? error.message : error}): export the model again`);
  }
}
