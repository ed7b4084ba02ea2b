/** Runs a model with onnxruntime-web (WebAssembly), as in the Python module `scoring/runtime.py`. */
import { ModelError, messageOf } from "./errors.js";
import { FEATURES, peakNormalised } from "./features.js";
import type { ModelRecord } from "./types.js";

type Ort = typeof import("onnxruntime-web/wasm");
type Session = import("onnxruntime-web/wasm").InferenceSession;

/** Output for one window, in the unit of each target, not clipped. */
export interface Output {
  values: number[];
  frames: number[][];
  /** Probabilities of the causes of each frame, not calibrated; empty for a model without causes */
  causes: number[][];
  /** Distance from the training clips; null for a model that does not measure it */
  distance: number | null;
}

/** A graph of one Identity node: the runtime starts with its first session, and has no other call for that. */
const SMALLEST = "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0=";

let started: Promise<Ort> | null = null;

/** Start onnxruntime-web, so that its WebAssembly file is loaded and compiled while the model is loaded. Throws ModelError. */
export function start(threads: number): Promise<Ort> {
  started ??= load(threads);
  started.catch(() => (started = null));
  return started;
}

async function load(threads: number): Promise<Ort> {
  if (typeof WebAssembly !== "object")
    throw new ModelError("this browser has no WebAssembly (some browsers disable it in a restricted mode): use another browser, or `mtqnet score`");
  const folder = new URL("./runtime/", import.meta.url);
  try {
    const loaded: Ort = await import(/* @vite-ignore */ new URL("ort.wasm.min.mjs", folder).href);
    loaded.env.wasm.numThreads = threads;
    const [mjs, wasm] = ["mjs", "wasm"].map((suffix) => new URL(`ort-wasm-simd-threaded.${suffix}`, folder));
    loaded.env.wasm.wasmPaths = { mjs: mjs.href, wasm: wasm.href };
    if (wasm.protocol === "file:") loaded.env.wasm.wasmBinary = (await bytesOf(wasm)).buffer;
    loaded.env.logLevel = "error";
    await (await loaded.InferenceSession.create(Uint8Array.from(atob(SMALLEST), (letter) => letter.charCodeAt(0)))).release();
    return loaded;
  } catch (error) {
    throw new ModelError(`the WebAssembly runtime cannot be started (${messageOf(error).split("\n")[0]}): check that all files of the package are served`);
  }
}

/** The content of a file of this package, from disk in Node. Throws ModelError. */
export async function bytesOf(url: URL | string): Promise<Uint8Array<ArrayBuffer>> {
  const address = new URL(url);
  try {
    if (address.protocol === "file:") {
      const { readFile } = await import(/* @vite-ignore */ "node:fs/promises" as string);
      return new Uint8Array(await readFile(address));
    }
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  } catch (error) {
    throw new ModelError(`cannot load ${address.pathname.split("/").pop()} (${messageOf(error)}): check that all files of the package are served`);
  }
}

/** A loaded model. Runs are queued: a session runs one window at a time. */
export class Runtime {
  private last: Promise<unknown> = Promise.resolve();

  private constructor(readonly record: ModelRecord, private readonly ort: Ort, private readonly session: Session) {}

  /** Load a model. Throws ModelError. */
  static async load(record: ModelRecord, graph: Uint8Array, threads: number): Promise<Runtime> {
    const loaded = await start(threads);
    if (globalThis.crypto?.subtle) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", graph as Uint8Array<ArrayBuffer>));
      const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      if (hex !== record.sha256)
        throw new ModelError(`the model file is not the one that its record describes (sha256 ${hex.slice(0, 12)}..., expected ${record.sha256.slice(0, 12)}...): load both again`);
    }
    let session: Session;
    try {
      // Optimising the graph takes 0.8 s of processor time in a browser that has just loaded the runtime, and saves 5 ms of a score.
      session = await loaded.InferenceSession.create(graph, { executionProviders: ["wasm"], graphOptimizationLevel: "disabled" });
    } catch (error) {
      throw new ModelError(`the model "${record.name}" cannot be loaded (${messageOf(error).split("\n")[0]})`);
    }
    const expected = new Set([...record.features, "samples"]);
    const different = [...session.inputNames.filter((name) => !expected.has(name)), ...[...expected].filter((name) => !session.inputNames.includes(name)),
      ...outputs(record).filter((name) => !session.outputNames.includes(name)), ...record.features.filter((name) => !FEATURES[name])];
    if (different.length) throw new ModelError(`the model "${record.name}" and its record do not agree on ${different.join(", ")}: export the model again`);
    return new Runtime(record, loaded, session);
  }

  /** Compute the features of a window at the models' rate and run the graph. Throws ModelError for a score that is not finite. */
  run(samples: Float32Array): Promise<Output> {
    const made = this.last.then(() => this.runNow(samples));
    this.last = made.catch(() => undefined);
    return made;
  }

  private async runNow(samples: Float32Array): Promise<Output> {
    const { record, ort: { Tensor } } = this;
    const scaled = record.peak_normalise ? peakNormalised(samples) : samples;
    const inputs: Record<string, InstanceType<Ort["Tensor"]>> = { samples: new Tensor("int64", BigInt64Array.of(BigInt(samples.length)), [1]) };
    for (const name of record.features) {
      const { data, rows, width } = FEATURES[name](scaled);
      inputs[name] = new Tensor("float32", data, [1, rows, width]);
    }
    const answer = await this.session.run(inputs, outputs(record));
    const values = Array.from(answer.values.data as Float32Array);
    if (!values.every(Number.isFinite)) throw new ModelError(`the model "${record.name}" returned a score that is not finite: check that full scale of the samples is 1`);
    const count = Number((answer.frame_counts.data as BigInt64Array)[0]);
    const made = { values, frames: rowsOf(answer.frames, count), causes: answer.causes ? rowsOf(answer.causes, count) : [], distance: answer.distance ? (answer.distance.data as Float32Array)[0] : null };
    for (const tensor of [...Object.values(inputs), ...Object.values(answer)]) tensor.dispose();
    return made;
  }

  /** Release the memory of the model. */
  async close(): Promise<void> {
    await this.last;
    await this.session.release();
  }
}

const outputs = (record: ModelRecord): string[] =>
  ["values", "frames", "frame_counts", ...(Object.keys(record.causes ?? {}).length ? ["causes"] : []), ...(record.distance ? ["distance"] : [])];

function rowsOf(tensor: { data: unknown; dims: readonly number[] }, count: number): number[][] {
  const width = tensor.dims[2];
  const data = tensor.data as Float32Array;
  return Array.from({ length: count }, (_, row) => Array.from(data.subarray(row * width, (row + 1) * width)));
}
