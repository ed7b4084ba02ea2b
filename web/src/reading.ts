/** Samples in memory to a mono signal at the models' rate, as in the Python module `audio/reading.py`. */
import type { Source } from "./analysis.js";
import { definition } from "./definition.js";
import { AudioError, UsageError } from "./errors.js";
import { checkRate, resample } from "./resample.js";

export type Samples = Float32Array | Float64Array | Int16Array | Int32Array | Uint8Array;
/** Samples of one channel, of each channel, or an AudioBuffer. */
export type Audio = Samples | readonly Samples[] | { numberOfChannels: number; sampleRate: number; getChannelData(channel: number): Float32Array };
/** "mix": the mean of all channels; a number: this channel, from 1. */
export type Channel = "mix" | number;

/** A mono signal. */
export interface Mono {
  samples: Float32Array;
  channel: number | null;
  source: Source;
}

/** The channels of audio as float32. Throws UsageError. */
export function channelsOf(audio: Audio): Float32Array[] {
  if (isBuffer(audio)) return Array.from({ length: audio.numberOfChannels }, (_, channel) => audio.getChannelData(channel));
  const channels = (Array.isArray(audio) ? audio : [audio]).map(toFloat32);
  if (!channels.length || channels.length > definition.limits.max_channels)
    throw new UsageError(`${channels.length} channels: expected 1 to ${definition.limits.max_channels}`);
  if (channels.some(({ length }) => length !== channels[0].length)) throw new UsageError("the channels have different lengths");
  return channels;
}

/** The sample rate of audio: its own, or the given one. Throws UsageError. */
export function rateOf(audio: Audio, rate: number | undefined): number {
  const own = isBuffer(audio) ? audio.sampleRate : rate;
  if (own === undefined) throw new UsageError("samples need their sample rate in Hz: score(samples, 16000)");
  checkRate(own);
  return own;
}

/** The mono signal of channels. Throws AudioError for samples that cannot be scored. */
export function mono(channels: Float32Array[], rate: number, channel: Channel): Mono {
  if (channel !== "mix" && !(Number.isInteger(channel) && channel >= 1 && channel <= channels.length))
    throw new UsageError(`there is no channel ${channel}: the recording has ${channels.length}`);
  if (!channels[0].length) throw new AudioError("empty", "the recording has no samples: record or copy it again");
  const bad = notFinite(channels);
  if (bad) throw new AudioError("not_finite", `${bad} samples are NaN or infinite: correct the program that wrote the recording`);
  if (channel !== "mix")
    return { samples: resample(channels[channel - 1], rate), channel, source: { rate, channelsCancel: false, channelCorrelation: 1 } };
  if (channels.length === 1) return { samples: resample(channels[0], rate), channel: null, source: { rate, channelsCancel: false, channelCorrelation: 1 } };
  const mixed = mix(channels);
  const { cancel, loudest, correlation } = compareChannels(channels, mixed);
  return {
    samples: resample(cancel ? channels[loudest] : mixed, rate),
    channel: null,
    source: { rate, channelsCancel: cancel, channelCorrelation: correlation },
  };
}

function isBuffer(audio: Audio): audio is Exclude<Audio, Samples | readonly Samples[]> {
  return typeof audio === "object" && audio !== null && "numberOfChannels" in audio;
}

function toFloat32(samples: Samples): Float32Array {
  if (samples instanceof Float32Array) return samples;
  if (samples instanceof Float64Array) return Float32Array.from(samples);
  if (samples instanceof Int16Array) return Float32Array.from(samples, (value) => value / 32768);
  if (samples instanceof Int32Array) return Float32Array.from(samples, (value) => value / 2147483648);
  if (samples instanceof Uint8Array) return Float32Array.from(samples, (value) => (value - 128) / 128);
  throw new UsageError("samples must be a typed array: Float32Array, Float64Array, Int16Array, Int32Array or Uint8Array");
}

function notFinite(channels: Float32Array[]): number {
  let count = 0;
  for (let at = 0; at < channels[0].length; at += 1) if (channels.some((one) => !Number.isFinite(one[at]))) count += 1;
  return count;
}

function mix(channels: Float32Array[]): Float32Array {
  const mixed = new Float32Array(channels[0].length);
  for (let at = 0; at < mixed.length; at += 1) {
    let sum = 0;
    for (const channel of channels) sum += channel[at];
    mixed[at] = sum / channels.length;
  }
  return mixed;
}

/** Whether the mean of the channels cancels, the loudest channel, and the smallest correlation with the mean. */
function compareChannels(channels: Float32Array[], mixed: Float32Array): { cancel: boolean; loudest: number; correlation: number } {
  const count = mixed.length;
  const moments = (signal: Float32Array) => {
    let [sum, power, product] = [0, 0, 0];
    for (let at = 0; at < count; at += 1) {
      sum += signal[at];
      power += signal[at] * signal[at];
      product += signal[at] * mixed[at];
    }
    return { sum, power, product, variance: Math.max(0, power - (sum * sum) / count) };
  };
  const all = channels.map(moments);
  const mean = moments(mixed);
  const most = Math.max(...all.map(({ power }) => power));
  const loudest = all.findIndex(({ power }) => power === most);
  const cancel = mean.power < definition.channels.cancel_power * most;
  const widest = Math.max(...all.map(({ variance }) => variance));
  const audible = all.filter(({ variance }) => variance > definition.channels.audible_power * widest);
  if (!audible.length || mean.variance <= 0) return { cancel, loudest, correlation: 1 };
  const correlations = audible.map((one) => (one.product - (one.sum * mean.sum) / count) / Math.sqrt(one.variance * mean.variance));
  return { cancel, loudest, correlation: Math.min(1, ...correlations) };
}
