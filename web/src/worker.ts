/** Runs a model in a worker, so that the page stays responsive. */
import type { Answer, Request } from "./messages.js";
import { messageOf, ModelError } from "./errors.js";
import { LocalModel, type LocalStream } from "./model.js";
import { Runtime, start } from "./runtime.js";
import type { Scores } from "./types.js";

let model: LocalModel | null = null;
const streams = new Map<number, LocalStream>();
const running = new Map<number, AbortController>();

const send = (answer: Answer) => postMessage(answer);

async function perform(request: Request): Promise<Scores[]> {
  if (request.call === "start") {
    await start(request.threads);
    return [];
  }
  if (request.call === "load") {
    model = new LocalModel(await Runtime.load(request.record, request.graph, request.threads));
    return [];
  }
  if (request.call === "abort") {
    running.get(request.target)?.abort();
    return [];
  }
  if (!model) throw new ModelError("no model is loaded");
  if (request.call === "stream") {
    streams.set(request.stream, await model.stream(request.rate, request.options));
    return [];
  }
  if (request.call === "score") {
    const { id, channels, rate, channel, file, track } = request;
    const stop = new AbortController();
    running.set(id, stop);
    const options = { file, track, signal: stop.signal, progress: (part: number) => send({ id, kind: "progress", part }) };
    try {
      return channel === "each" ? await model.scoreChannels(channels, rate, options) : [await model.score(channels, rate, { ...options, channels: channel })];
    } finally {
      running.delete(id);
    }
  }
  const stream = streams.get(request.stream);
  if (!stream) throw new ModelError("this stream has ended");
  if (request.call === "feed") return stream.feed(request.channels, { latest: request.latest });
  streams.delete(request.stream);
  return stream.finish();
}

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    send({ id: data.id, kind: "done", rows: await perform(data) });
  } catch (error) {
    send({ id: data.id, kind: "failed", name: error instanceof Error ? error.name : "Error", message: messageOf(error) });
  }
});
