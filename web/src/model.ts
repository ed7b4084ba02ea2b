/** A loaded model: scores of recordings and of live audio; the Python modules `scoring/predictor.py` and `stream.py`. */
import { type Analysis, analyse } from "./analysis.js";
import { calibrated, causesOf, describe } from "./causes.js";
import { definition } from "./definition.js";
import { AudioError, UsageError, messageOf } from "./errors.js";
import { levelOf } from "./flags.js";
import { BY_KEY, TARGETS, clip, intervalsOf } from "./intervals.js";
import { averaged, stretches, worstStretch, type Stretch } from "./over_time.js";
import { type Audio, type Channel, type Mono, channelsOf, mono, rateOf } from "./reading.js";
import { Resampler, checkRate } from "./resample.js";
import type { Runtime } from "./runtime.js";
import type { ModelRecord, Scores, Target, Track, Values } from "./types.js";
import { activeSeconds, cut, weightsOf } from "./windows.js";

const RATE = definition.sample_rate;

/** Options of `score`. */
export interface ScoreOptions {
  /** "mix" (default) scores the mean of all channels, a number this channel, from 1. */
  channels?: Channel;
  /** Name of the recording in the result */
  file?: string;
  /** "frames": frame scores of the model; "local": scores of stretches of 3 s around each moment, which takes longer */
  track?: "none" | "frames" | "local";
  /** Called with the fraction that is scored, 0 to 1 */
  progress?: (part: number) => void;
  /** Ends the computation; the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** Options of `stream`. */
export interface StreamOptions {
  channels?: number;
  /** Length of the window in seconds */
  window_s?: number;
  /** Seconds from one row to the next */
  hop_s?: number;
}

/** Scores of a source that is still running: samples in, a row per second out. */
export interface Stream {
  /** Add the next samples (of each channel); the rows that are due. With `latest`, only the last of them is computed. */
  feed(samples: Float32Array | Float32Array[], options?: { latest?: boolean }): Promise<Scores[]>;
  /** End the stream; the rows of what remained. */
  finish(): Promise<Scores[]>;
}

/** A loaded model. */
export interface Model {
  readonly record: ModelRecord;
  /** Score one recording. The result has an `error` if it cannot be scored. `rate` is not needed for an AudioBuffer. */
  score(audio: Audio, rate?: number, options?: ScoreOptions): Promise<Scores>;
  /** Score every channel of a recording. */
  scoreChannels(audio: Audio, rate?: number, options?: Omit<ScoreOptions, "channels">): Promise<Scores[]>;
  /** Scores of live samples at this rate in Hz. */
  stream(rate: number, options?: StreamOptions): Promise<Stream>;
  /** Release the memory of the model. */
  close(): Promise<void>;
}

/** A model in this thread. */
export class LocalModel implements Model {
  constructor(private readonly runtime: Runtime) {}

  get record(): ModelRecord {
    return this.runtime.record;
  }

  async score(audio: Audio, rate?: number, options: ScoreOptions = {}): Promise<Scores> {
    const own = rateOf(audio, rate);
    const channels = channelsOf(audio);
    return this.scoreOne(channels, own, options.channels ?? "mix", options);
  }

  async scoreChannels(audio: Audio, rate?: number, options: Omit<ScoreOptions, "channels"> = {}): Promise<Scores[]> {
    const own = rateOf(audio, rate);
    const channels = channelsOf(audio);
    const rows: Scores[] = [];
    for (let channel = 1; channel <= channels.length; channel += 1) {
      const progress = options.progress && ((part: number) => options.progress?.((channel - 1 + part) / channels.length));
      rows.push(await this.scoreOne(channels, own, channel, { ...options, progress }));
    }
    return rows;
  }

  async stream(rate: number, options: StreamOptions = {}): Promise<LocalStream> {
    return new LocalStream(this, rate, options);
  }

  close(): Promise<void> {
    return this.runtime.close();
  }

  private async scoreOne(channels: Float32Array[], rate: number, channel: Channel, options: ScoreOptions): Promise<Scores> {
    const chosen = channel === "mix" ? null : channel;
    const seconds = channels[0].length ? channels[0].length / rate : null;
    let signal: Mono;
    try {
      signal = mono(channels, rate, channel);
    } catch (error) {
      return this.failed(error, options.file, seconds, chosen);
    }
    const local = options.track === "local" && !this.record.local && this.record.track !== false;
    const frames = options.track === "frames" || (options.track === "local" && !local);
    const length = signal.samples.length / RATE;
    const first = local ? length / (length + Math.min(Math.ceil(length / definition.over_time.hop_s), definition.over_time.max_values) * definition.over_time.stretch_s) : 1;
    const report = (from: number, share: number) => options.progress && ((part: number) => options.progress?.(from + share * part));
    const scores = await this.scoreMono(signal, { ...options, progress: report(0, first) }, frames, seconds, chosen);
    if (scores.error !== null) return scores;
    if (options.track === "local" && this.record.local && scores.track && length > definition.over_time.stretch_s)
      return withCause({ ...scores, track: averaged(scores.track, length) });
    if (!local) return scores;
    const score = (samples: Float32Array) => {
      options.signal?.throwIfAborted();
      return this.scoreMono({ samples, channel: null, source: { rate: RATE, channelsCancel: false, channelCorrelation: 1 } }, {}, false, samples.length / RATE, null, false);
    };
    return { ...scores, track: await stretches(score, signal.samples, this.record.targets, report(first, 1 - first)) };
  }

  private async scoreMono(signal: Mono, options: ScoreOptions, keepFrames: boolean, seconds: number | null, channel: number | null, flags = true): Promise<Scores> {
    let analysis: Analysis;
    try {
      analysis = analyse(signal.samples, signal.source, flags);
    } catch (error) {
      return this.failed(error, options.file, seconds, channel);
    }
    const trimmed = signal.samples.subarray(analysis.start, analysis.stop);
    const windows = cut(trimmed.length);
    const keep = keepFrames && this.record.track !== false;
    const track: Track = { times_s: [], values: [], targets: this.record.targets, causes: this.record.causes ? [] : null, cause_keys: Object.keys(this.record.causes ?? {}) };
    const values: number[][] = [];
    const spoken: number[] = [];
    const causes: number[][] = [];
    const distances: number[] = [];
    for (const window of windows) {
      options.signal?.throwIfAborted();
      spoken.push(activeSeconds(window, trimmed, analysis.activePower));
      const output = await this.runtime.run(trimmed.subarray(window.start, window.stop));
      values.push(this.clipped(output.values));
      causes.push(...output.causes);
      if (output.distance !== null) distances.push(output.distance);
      if (keep)
        output.frames.forEach((frame, place) => {
          track.times_s.push((analysis.start + window.start) / RATE + (place + 0.5) / this.record.frame_rate_hz);
          track.values.push(this.clipped(frame));
          if (output.causes.length) track.causes?.push(calibrated(this.record, output.causes[place]));
        });
      options.progress?.(values.length / windows.length);
    }
    const weights = weightsOf(windows, spoken);
    const means = this.clipped(this.record.targets.map((_, place) => values.reduce((sum, row, window) => sum + row[place] * weights[window], 0)));
    const distance = distances.length ? distances.reduce((sum, one, window) => sum + one * weights[window], 0) : null;
    const empty = this.failed(null, options.file, analysis.samples / RATE, channel);
    const found = causesOf(this.record, causes);
    return withCause({
      ...empty,
      ...this.named(means),
      intervals: intervalsOf(this.record, means, distance),
      flags: analysis.flags,
      level: levelOf(analysis.flags),
      error: null,
      causes: found,
      distance,
      windows: windows.map((window, place) => ({
        start_s: (analysis.start + window.start) / RATE,
        end_s: (analysis.start + window.stop) / RATE,
        weight: weights[place],
        values: values[place],
        targets: this.record.targets,
        intervals: intervalsOf(this.record, values[place], distances[place] ?? null),
      })),
      track: keep ? track : null,
    });
  }

  /** The result of a recording that was not scored. Other errors than those of recordings are thrown. */
  private failed(error: unknown, file: string | undefined, duration: number | null, channel: number | null): Scores {
    if (error !== null && !(error instanceof AudioError)) throw error;
    return {
      ...this.named([]),
      intervals: {},
      file: file ?? null,
      channel,
      duration_s: duration,
      model: this.record.name,
      model_sha256: this.record.sha256,
      version: definition.version,
      flags: error instanceof AudioError ? [error.flag] : [],
      level: "refused",
      error: error === null ? "" : messageOf(error),
      causes: {},
      distance: null,
      cause: "",
      windows: [],
      track: null,
    };
  }

  private clipped(values: readonly number[]): number[] {
    return values.map((value, place) => clip(BY_KEY.get(this.record.targets[place]) as Target, value));
  }

  private named(values: readonly number[]): Values {
    return Object.fromEntries(TARGETS.map(({ key }) => [key, values[this.record.targets.indexOf(key)] ?? null])) as Values;
  }
}

const withCause = (scores: Scores): Scores => ({ ...scores, cause: describe(scores.causes, scores.track) });

/** The worst stretch of a result with a track. */
export const worst = (scores: Scores): Stretch | null => worstStretch(scores.track);

/** A stream in this thread. It stores a window and a hop of samples, however long it runs. */
export class LocalStream implements Stream {
  private readonly resamplers: Resampler[];
  private readonly window: number;
  private readonly hop: number;
  private stored: Float32Array[];
  private received = 0;
  private due: number;
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly model: LocalModel, rate: number, { channels = 1, window_s = definition.windows.max_s, hop_s = definition.stream.hop_s }: StreamOptions) {
    checkRate(rate);
    const { min_duration_s: least, max_channels: most } = definition.limits;
    if (!(channels >= 1 && channels <= most)) throw new UsageError(`${channels} channels: expected 1 to ${most}`);
    if (!(window_s >= least && window_s <= definition.windows.max_s)) throw new UsageError(`a window of ${window_s} s: expected ${least} to ${definition.windows.max_s} s`);
    if (!(hop_s > 0 && hop_s <= window_s)) throw new UsageError(`a hop of ${hop_s} s: expected more than 0 s, and not more than the window`);
    this.window = Math.round(window_s * RATE);
    this.hop = Math.max(1, Math.round(hop_s * RATE));
    this.due = this.hop;
    this.resamplers = Array.from({ length: channels }, () => new Resampler(rate));
    this.stored = this.resamplers.map(() => new Float32Array(0));
  }

  feed(samples: Float32Array | Float32Array[], { latest = false } = {}): Promise<Scores[]> {
    const channels = samples instanceof Float32Array ? [samples] : samples;
    if (channels.length !== this.resamplers.length) throw new UsageError(`${channels.length} channels: expected ${this.resamplers.length}`);
    return this.queue(() => this.add(channels.map((one, place) => this.resamplers[place].add(one)), latest));
  }

  finish(): Promise<Scores[]> {
    return this.queue(async () => {
      const rows = await this.add(this.resamplers.map((one) => one.finish()), false);
      if (this.received > this.due - this.hop) rows.push(await this.row());
      return rows;
    });
  }

  private queue<T>(act: () => Promise<T>): Promise<T> {
    const made = this.last.then(act);
    this.last = made.catch(() => undefined);
    return made;
  }

  private async add(channels: Float32Array[], latest: boolean): Promise<Scores[]> {
    const rows: Scores[] = [];
    let at = 0;
    const length = channels[0].length;
    while (length - at >= this.due - this.received) {
      const stop = at + this.due - this.received;
      this.store(channels, at, stop);
      at = stop;
      this.due += this.hop;
      if (!latest || length - at < this.due - this.received) rows.push(await this.row());
    }
    this.store(channels, at, length);
    return rows;
  }

  private store(channels: Float32Array[], from: number, to: number): void {
    this.stored = this.stored.map((before, place) => {
      const all = new Float32Array(Math.min(before.length + to - from, this.window + this.hop));
      const added = channels[place].subarray(Math.max(from, to - all.length), to);
      all.set(before.subarray(before.length - (all.length - added.length)));
      all.set(added, all.length - added.length);
      return all;
    });
    this.received += to - from;
  }

  private async row(): Promise<Scores> {
    const part = this.stored.map((one) => one.slice(Math.max(0, one.length - this.window)));
    const start = (this.received - part[0].length) / RATE;
    const scores = await this.model.score(part, RATE);
    const targets = scores.error === null ? this.model.record.targets : [];
    const window = { start_s: start, end_s: this.received / RATE, weight: 1, values: targets.map((key) => scores[key] as number), targets, intervals: {} };
    return { ...scores, windows: [window] };
  }
}
