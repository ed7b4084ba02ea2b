// @ts-check
/** Files to samples and back, in the browser. */

export const RATE = 16_000;

/** @typedef {{samples: Float32Array | null, seconds: number, url: string}} Sound samples are null for a long recording */

/** Seconds of a recording whose samples are drawn: more would need hundreds of megabytes. */
export const MAX_DRAWN_S = 1800;

/**
 * Mono samples at 16 kHz, and an address to play from.
 * @param {Blob} file @param {number | null} seconds its duration, if it is known
 * @param {(file: Blob) => Promise<Blob>} [convert] into a format that the browser decodes, for other formats
 * @param {number | null} [channel] from 1; null: the mean of all channels
 * @returns {Promise<Sound>}
 */
export async function open(file, seconds, convert, channel = null) {
  if (seconds !== null && seconds > MAX_DRAWN_S) return { samples: null, seconds, url: URL.createObjectURL(file) };
  let source = file;
  let decoded;
  try {
    decoded = await decode(file);
  } catch (error) {
    if (!convert) throw error;
    source = await convert(file);
    decoded = await decode(source);
  }
  if (channel !== null && channel <= decoded.numberOfChannels) {
    const samples = decoded.getChannelData(channel - 1);
    return { samples, seconds: samples.length / RATE, url: URL.createObjectURL(wav([samples], RATE, "channel.wav")) };
  }
  const samples = mixed(decoded);
  return { samples, seconds: samples.length / RATE, url: URL.createObjectURL(source) };
}

/** @param {Blob} blob */
async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, RATE);
  return context.decodeAudioData(await blob.arrayBuffer());
}

/** The mean of all channels. @param {AudioBuffer} buffer */
function mixed(buffer) {
  const mono = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const one = buffer.getChannelData(channel);
    for (let at = 0; at < mono.length; at += 1) mono[at] += one[at] / buffer.numberOfChannels;
  }
  return mono;
}

const LEVEL_FRAME = 800; // samples, 50 ms
const GATE_DB = 10; // below the mean power: quieter frames are pauses

/** The level of the active parts of (samples) in dB: the mean power of frames within GATE_DB of the mean. @param {Float32Array} samples */
export function activeLevel(samples) {
  const powers = [];
  for (let start = 0; start + LEVEL_FRAME <= samples.length; start += LEVEL_FRAME) {
    let sum = 0;
    for (let at = start; at < start + LEVEL_FRAME; at += 1) sum += samples[at] ** 2;
    powers.push(sum / LEVEL_FRAME);
  }
  const mean = (/** @type {number[]} */ some) => some.reduce((sum, power) => sum + power, 0) / some.length;
  if (!powers.length) return -100;
  const gate = mean(powers) * 10 ** (-GATE_DB / 10);
  return 10 * Math.log10(Math.max(1e-10, mean(powers.filter((power) => power >= gate))));
}

/** A WAV file of 16 bit. @param {Float32Array[]} pieces @param {number} rate @param {string} name */
export function wav(pieces, rate, name) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  /** @param {number} at @param {string} text */
  const write = (at, text) => [...text].forEach((sign, place) => view.setUint8(at + place, sign.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true);
      at += 2;
    }
  }
  return new File([view], name, { type: "audio/wav" });
}

/** The signal of the microphone without processing by the browser. */
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Input devices; their names are known after the microphone was allowed once. @returns {Promise<{id: string, name: string}[]>} */
export async function inputs() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId)
    .map((device) => ({ id: device.deviceId, name: device.label || "input device" }));
}

/**
 * Take samples from an input device until `stop` is called.
 * @param {(chunk: Float32Array, rate: number) => void} take @param {() => void} ended called if the device ends, for example when it is unplugged
 * @param {string} [device] id of an input device; else the default one
 */
export async function microphone(take, ended, device) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: device ? { ...RAW, deviceId: { exact: device } } : RAW });
  for (const track of media.getTracks()) track.addEventListener("ended", ended);
  const context = new AudioContext();
  await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  node.port.onmessage = (event) => take(event.data, context.sampleRate);
  context.createMediaStreamSource(media).connect(node);
  return {
    rate: context.sampleRate,
    stop: async () => {
      media.getTracks().forEach((track) => track.stop());
      node.port.onmessage = null;
      await context.close();
    },
  };
}

/** The reason why there is no microphone. @param {unknown} error */
export function noMicrophone(error) {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") return "The browser did not allow the microphone: allow it for this page, then try again.";
  if (!navigator.mediaDevices) return "The browser provides no microphone to this page: open it at localhost or by https.";
  return "No microphone was found.";
}
