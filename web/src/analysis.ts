/** Analysis of a mono signal: what part of it is scored, and the measurements behind the flags; `audio/analysis.py`. */
import { definition } from "./definition.js";
import { SpeechDetector } from "./detection.js";
import { AudioError } from "./errors.js";
import { raised } from "./flags.js";
import { type Activity, ActivityMeter, FRAME, activePower, toDb } from "./level.js";
import type { Measurements } from "./types.js";

const RATE = definition.sample_rate;
const { trim_s: TRIM_S, block: BLOCK } = definition.analysis;
const { min_duration_s: MIN_S, silent_dbov: SILENT_DBOV } = definition.limits;

/** Result for a signal that can be scored. Positions are samples at the models' rate. */
export interface Analysis {
  samples: number;
  start: number;
  stop: number;
  activePower: number;
  measurements: Measurements;
  flags: string[];
}

/** What is known about the source of a signal. */
export interface Source {
  rate: number;
  channelsCancel: boolean;
  channelCorrelation: number;
}

/** Analyse a signal. Throws AudioError if it cannot be scored. Without `flags`, only what scoring needs is measured. */
export function analyse(samples: Float32Array, source: Source, flags = true): Analysis {
  const analyser = new Analyser(flags);
  for (let at = 0; at < samples.length; at += BLOCK) analyser.add(samples.subarray(at, at + BLOCK));
  return analyser.finish(source);
}

/** Analyses blocks in order, with constant memory. */
export class Analyser {
  private samples = 0;
  private frames = 0;
  private waiting = new Float32Array(0);
  private peak = 0;
  private loudest = 0;
  private sum = 0;
  private first: number | null = null;
  private last = 0;
  private readonly all = new ActivityMeter();
  private readonly trimmed = new ActivityMeter();
  private toLast: Activity = this.trimmed.activity;
  private readonly ceilings = new FlatTop();
  private readonly detector = new SpeechDetector();

  constructor(private readonly flags = true) {}

  add(samples: Float32Array): void {
    this.samples += samples.length;
    const waiting = new Float32Array(this.waiting.length + samples.length);
    waiting.set(this.waiting);
    waiting.set(samples, this.waiting.length);
    this.waiting = waiting;
    if (waiting.length >= BLOCK) {
      // The last frame stays: it may be the last of the recording, which is not evaluated.
      const end = (Math.floor(waiting.length / FRAME) - 1) * FRAME;
      this.take(waiting.subarray(0, end));
      this.waiting = waiting.slice(end);
    }
  }

  finish({ rate, channelsCancel, channelCorrelation }: Source): Analysis {
    const seconds = this.samples / RATE;
    if (seconds < MIN_S) throw new AudioError("too_short", `${seconds.toFixed(2)} s long: at least ${MIN_S} s are needed`);
    const { waiting } = this;
    const end = (Math.floor(waiting.length / FRAME) - 1) * FRAME;
    this.take(waiting.subarray(0, Math.max(0, end)));
    const rest = waiting.subarray(Math.max(0, end));
    this.measure(rest);
    this.trimmed.add(rest);
    const loudest = toDb(this.loudest);
    if (loudest < SILENT_DBOV || this.first === null)
      throw new AudioError("silent", `silent: its loudest 20 ms have ${loudest.toFixed(0)} dBov, at least ${SILENT_DBOV} are needed`);
    const [start, stop] = this.trim(this.first, this.last);
    const active = stop === this.samples ? this.trimmed.activity : this.toLast;
    const whole = this.all.activity.settled;
    const sound = this.detector.finish();
    const trimmed = (stop - start) / RATE;
    const measurements: Measurements = {
      duration_s: seconds,
      peak: this.peak,
      loudest_dbov: loudest,
      active_dbov: whole.level,
      clipped_fraction: this.ceilings.count() / this.samples,
      trimmed_s: trimmed,
      active_fraction: Math.min(1, whole.seconds / trimmed),
      dc_offset: Math.abs(this.sum / this.samples),
      bandwidth_fraction: sound.bandwidthHz / (Math.min(rate, RATE) / 2),
      spectral_change: sound.spectralChange,
      tonal_persistence: sound.tonalPersistence,
      source_rate: rate,
      channels_cancel: channelsCancel,
      channel_correlation: channelCorrelation,
      truncated: false,
    };
    return { samples: this.samples, start, stop, activePower: activePower(active.level), measurements, flags: this.flags ? raised(measurements) : [] };
  }

  /** Analyse whole frames, of which none is the last of the recording. */
  private take(samples: Float32Array): void {
    if (!samples.length) return;
    this.measure(samples);
    const count = samples.length / FRAME;
    let firstAudible = -1;
    let lastAudible = -1;
    for (let frame = 0; frame < count; frame += 1) {
      // A change of the sample rate turns a constant offset into a click at the beginning.
      const power = this.frames + frame === 0 ? 0 : variance(samples, frame * FRAME);
      this.loudest = Math.max(this.loudest, power);
      if (10 * Math.log10(Math.max(power, 1e-12)) < SILENT_DBOV) continue;
      if (firstAudible < 0) firstAudible = frame;
      lastAudible = frame;
    }
    this.measureActivity(samples, firstAudible, lastAudible);
    this.frames += count;
  }

  private measure(samples: Float32Array): void {
    if (!this.flags) return;
    let sum = 0;
    for (let at = 0; at < samples.length; at += 1) {
      sum += samples[at];
      this.peak = Math.max(this.peak, Math.abs(samples[at]));
    }
    if (samples.length) this.all.add(samples, Math.fround(sum / samples.length));
    this.ceilings.add(samples);
    this.sum += sum;
    this.detector.add(samples);
  }

  /** Measure activity from the trimmed start, and remember it as of the last audible frame. */
  private measureActivity(samples: Float32Array, firstAudible: number, lastAudible: number): void {
    let skipped = 0;
    if (this.first === null && firstAudible >= 0) {
      this.first = this.frames + firstAudible;
      skipped = this.first * FRAME >= TRIM_S * RATE ? firstAudible : 0;
    }
    if (this.first === null) return;
    const split = lastAudible < 0 ? 0 : (lastAudible + 1) * FRAME;
    this.trimmed.add(samples.subarray(skipped * FRAME, split));
    if (lastAudible >= 0) {
      this.last = this.frames + lastAudible;
      this.toLast = this.trimmed.activity;
    }
    this.trimmed.add(samples.subarray(split));
  }

  /** Silence of TRIM_S or more at either end is removed. */
  private trim(first: number, last: number): [number, number] {
    const from = first * FRAME;
    const to = (last + 1) * FRAME;
    const start = from >= TRIM_S * RATE ? from : 0;
    const stop = this.samples - to >= TRIM_S * RATE ? to : this.samples;
    if (stop - start < MIN_S * RATE)
      throw new AudioError("too_short", `${((stop - start) / RATE).toFixed(2)} s of sound, the rest is silent: ${MIN_S} s are needed`);
    return [start, stop];
  }
}

/** Counts samples at the ceiling of each half wave with histograms over the upper 16 bits of float32. */
class FlatTop {
  private readonly bins = [new Float64Array(0x8000), new Float64Array(0x8000)];

  add(samples: Float32Array): void {
    const bits = new Uint32Array(samples.slice().buffer);
    for (const number of bits) this.bins[number >>> 31][(number >>> 16) & 0x7fff] += 1;
  }

  /** Number of samples within the tolerance of the quantile of their sign; bin 0 contains zeros. */
  count(): number {
    return this.bins.reduce((sum, bins) => sum + this.ofSign(bins.subarray(1)), 0);
  }

  private ofSign(bins: Float64Array): number {
    const total = bins.reduce((sum, count) => sum + count, 0);
    if (!total) return 0;
    const rank = definition.analysis.flat_top_quantile * (total - 1);
    let ceiling = 0;
    for (let seen = bins[0]; seen <= rank && ceiling < bins.length - 1; ) seen += bins[(ceiling += 1)];
    const number = new Float32Array(1);
    const bits = new Uint32Array(number.buffer);
    bits[0] = ((ceiling + 1) << 16) + 0x8000;
    number[0] = (1 - definition.analysis.flat_top_tolerance) * number[0];
    let count = 0;
    for (let bin = Math.max(0, (bits[0] >>> 16) - 1); bin < bins.length; bin += 1) count += bins[bin];
    return count;
  }
}

/** Power of a frame without its mean. */
function variance(samples: Float32Array, start: number): number {
  let sum = 0;
  for (let at = start; at < start + FRAME; at += 1) sum += samples[at];
  const mean = sum / FRAME;
  let power = 0;
  for (let at = start; at < start + FRAME; at += 1) power += (samples[at] - mean) ** 2;
  return power / FRAME;
}
