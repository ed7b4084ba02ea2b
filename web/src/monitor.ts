/** Scores of a MediaStreamTrack while it plays: an AudioWorklet takes the samples, the model scores the last ten seconds. */
import { ModelError } from "./errors.js";
import type { Model, StreamOptions } from "./model.js";
import type { Scores } from "./types.js";

export interface MonitorOptions extends Omit<StreamOptions, "channels"> {
  /** Called once when the track ended, `stop` was called, or the model failed (with the error). */
  onend?: (error: Error | null) => void;
}

/** A running monitor. */
export interface Monitor {
  /** Sample rate of the audio in Hz */
  readonly rate: number;
  /** End the monitor; the track keeps running. */
  stop(): Promise<void>;
}

/**
 * Call back with a row per second of a track: the scores of its last ten seconds, or an `error` for a pause.
 * If the device is too slow for a row per second, rows are skipped, so that scores are never late by more than one row.
 */
export async function monitor(model: Model, track: MediaStreamTrack, callback: (scores: Scores) => void, options: MonitorOptions = {}): Promise<Monitor> {
  if (track.kind !== "audio") throw new ModelError(`a track of kind "${track.kind}": expected an audio track`);
  if (track.readyState === "ended") throw new ModelError("the track has ended: request the microphone or the call again");
  const media = new MediaStream([track]);
  const context = new AudioContext();
  // Chromium delivers the samples of a remote track only while an element plays it.
  const sink = new Audio();
  sink.muted = true;
  sink.srcObject = media;
  sink.play().catch(() => undefined);
  await context.audioWorklet.addModule(new URL("./capture.js", import.meta.url).href);
  const { window_s, hop_s, onend } = options;
  const stream = await model.stream(context.sampleRate, { window_s, hop_s });
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  let pending: Float32Array[] = [];
  let busy = false;
  let ended = false;

  const end = async (error: Error | null) => {
    if (ended) return;
    ended = true;
    node.port.onmessage = null;
    track.removeEventListener("ended", finished);
    sink.srcObject = null;
    await context.close();
    await stream.finish().catch(() => undefined);
    onend?.(error);
  };
  const finished = () => void end(null);
  const work = async () => {
    if (busy) return;
    busy = true;
    try {
      while (pending.length && !ended) {
        const samples = joined(pending);
        pending = [];
        for (const scores of await stream.feed(samples, { latest: true })) if (!ended) callback(scores);
      }
    } catch (error) {
      await end(error instanceof Error ? error : new ModelError(String(error)));
    }
    busy = false;
  };
  node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    pending.push(data);
    void work();
  };
  track.addEventListener("ended", finished);
  context.createMediaStreamSource(media).connect(node);
  if (context.state === "suspended") await context.resume();
  return { rate: context.sampleRate, stop: () => end(null) };
}

function joined(parts: Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
