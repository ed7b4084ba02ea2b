/** A model that runs in a worker. */
import { AudioError, ModelError, UsageError } from "./errors.js";
import type { Answer, Request } from "./messages.js";
import type { Model, ScoreOptions, Stream, StreamOptions } from "./model.js";
import { type Audio, channelsOf, rateOf, type Channel } from "./reading.js";
import type { ModelRecord, Scores } from "./types.js";

interface Waiting {
  resolve: (rows: Scores[]) => void;
  reject: (error: unknown) => void;
  progress?: (part: number) => void;
}

type Call = Request extends infer Each ? (Each extends { id: number } ? Omit<Each, "id"> : never) : never;

export class WorkerModel implements Model {
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private closed = false;

  record!: ModelRecord;

  private constructor(private readonly worker: Worker) {
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.take(data);
    worker.onerror = (event) => this.fail(new ModelError(`the worker that scores cannot be started (${event.message || "blocked or not found"}): check that all files of the package are served`));
  }

  /** Start a worker while its model is loaded. Throws ModelError. */
  static async load(files: Promise<{ record: ModelRecord; graph: Uint8Array }>, threads: number): Promise<WorkerModel> {
    const made = new WorkerModel(new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "mtqnet" }));
    try {
      const [{ record, graph }] = await Promise.all([files, made.ask({ call: "start", threads })]);
      made.record = record;
      await made.ask({ call: "load", record, graph, threads });
    } catch (error) {
      made.worker.terminate();
      throw error;
    }
    return made;
  }

  async score(audio: Audio, rate?: number, options: ScoreOptions = {}): Promise<Scores> {
    return (await this.send(audio, rate, options.channels ?? "mix", options))[0];
  }

  scoreChannels(audio: Audio, rate?: number, options: Omit<ScoreOptions, "channels"> = {}): Promise<Scores[]> {
    return this.send(audio, rate, "each", options);
  }

  async stream(rate: number, options: StreamOptions = {}): Promise<Stream> {
    const stream = (this.next += 1);
    await this.ask({ call: "stream", stream, rate, options });
    return {
      feed: (samples, { latest = false } = {}) => {
        const channels = (samples instanceof Float32Array ? [samples] : samples).map((one) => one.slice());
        return this.ask({ call: "feed", stream, channels, latest }, channels.map(({ buffer }) => buffer));
      },
      finish: () => this.ask({ call: "finish", stream }),
    };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.worker.terminate();
    this.fail(new ModelError("the model was closed"));
  }

  private async send(audio: Audio, rate: number | undefined, channel: Channel | "each", options: ScoreOptions): Promise<Scores[]> {
    const own = rateOf(audio, rate);
    const channels = channelsOf(audio).map((one) => one.slice()); // the samples of the caller stay where they are
    const { file, track, progress, signal } = options;
    signal?.throwIfAborted();
    const call = this.ask({ call: "score", channels, rate: own, channel, file, track }, channels.map(({ buffer }) => buffer), progress);
    const id = this.next;
    const abort = () => this.ask({ call: "abort", target: id }).catch(() => undefined);
    signal?.addEventListener("abort", abort);
    try {
      return await call;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  private ask(call: Call, transfer: Transferable[] = [], progress?: (part: number) => void): Promise<Scores[]> {
    if (this.closed) return Promise.reject(new ModelError("the model was closed"));
    const id = (this.next += 1);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      this.worker.postMessage({ id, ...call }, transfer);
    });
  }

  private take(answer: Answer): void {
    const waiting = this.waiting.get(answer.id);
    if (answer.kind === "progress") {
      waiting?.progress?.(answer.part);
      return;
    }
    this.waiting.delete(answer.id);
    if (answer.kind === "done") waiting?.resolve(answer.rows);
    else waiting?.reject(errorOf(answer.name, answer.message));
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

function errorOf(name: string, message: string): Error {
  if (name === "UsageError") return new UsageError(message);
  if (name === "AudioError") return new AudioError("", message);
  return new ModelError(message);
}
