/** Files to samples: WAV by this module, everything else by the browser. */
import { definition } from "./definition.js";
import { AudioError, messageOf } from "./errors.js";

/** Samples of each channel at the sample rate of the file. */
export interface Decoded {
  channels: Float32Array[];
  rate: number;
}

const UNREADABLE = "not a readable audio file: convert it to WAV, FLAC or MP3";
const FULL_RATE = 48_000;
const SEARCHED = 1 << 20;
/** Bytes of a WAV header's formats: PCM and float, and the number that refers to an extension */
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * Decode a file. The sample rate of the file is kept where its header states it; the browser would convert it otherwise.
 * Throws AudioError for a file that cannot be decoded.
 */
export async function decode(file: Blob | ArrayBuffer): Promise<Decoded> {
  const bytes = file instanceof ArrayBuffer ? file : await file.arrayBuffer();
  if (!bytes.byteLength) throw new AudioError("empty", "the file is empty: record or copy it again");
  const wav = decodeWav(bytes);
  if (wav) return wav;
  const rate = rateInHeader(new Uint8Array(bytes)) ?? FULL_RATE;
  try {
    const context = new OfflineAudioContext(1, 1, rate);
    const buffer = await context.decodeAudioData(bytes.slice(0));
    return { channels: Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel)), rate };
  } catch (error) {
    if (typeof OfflineAudioContext === "undefined") throw new AudioError("unreadable", `only WAV files are decoded here: convert the file to WAV (${messageOf(error)})`);
    throw new AudioError("unreadable", UNREADABLE);
  }
}

/** Decode a WAV file with PCM or float samples; null for any other file. Works without a browser. */
export function decodeWav(bytes: ArrayBuffer): Decoded | null {
  const view = new DataView(bytes);
  const text = (at: number) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 12 || text(0) !== "RIFF" || text(8) !== "WAVE") return null;
  let format: { kind: number; channels: number; rate: number; bits: number } | null = null;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const [name, stated] = [text(at), view.getUint32(at + 4, true)];
    const size = Math.min(stated, bytes.byteLength - at - 8);
    if (name === "fmt " && size >= 16) {
      const kind = view.getUint16(at + 8, true);
      format = {
        kind: kind === EXTENSIBLE && size >= 26 ? view.getUint16(at + 32, true) : kind,
        channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), bits: view.getUint16(at + 22, true),
      };
    } else if (name === "data" && format) {
      const read = reader(format.kind, format.bits, view);
      const [low, high] = definition.rates;
      if (!read || !format.channels || format.channels > definition.limits.max_channels || !(format.rate >= low && format.rate <= high)) return null;
      const width = format.bits / 8;
      const { channels: count, rate } = format;
      const frames = Math.floor(size / (width * count));
      const channels = Array.from({ length: count }, () => new Float32Array(frames));
      for (let frame = 0, from = at + 8; frame < frames; frame += 1) for (let channel = 0; channel < count; channel += 1, from += width) channels[channel][frame] = read(from);
      return { channels, rate };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

function reader(kind: number, bits: number, view: DataView): ((at: number) => number) | null {
  if (kind === FLOAT && bits === 32) return (at) => view.getFloat32(at, true);
  if (kind === FLOAT && bits === 64) return (at) => view.getFloat64(at, true);
  if (kind !== PCM) return null;
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (bits === 16) return (at) => view.getInt16(at, true) / 32768;
  if (bits === 24) return (at) => (view.getUint16(at, true) + (view.getInt8(at + 2) << 16)) / 8388608;
  if (bits === 32) return (at) => view.getInt32(at, true) / 2147483648;
  return null;
}

/** The sample rate that the header of a file states; null if it is not found. */
export function rateInHeader(bytes: Uint8Array): number | null {
  const text = (at: number, length: number) => String.fromCharCode(...bytes.subarray(at, at + length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const find = (word: string, from = 0) => {
    const end = Math.min(bytes.length, SEARCHED) - word.length;
    for (let at = from; at < end; at += 1) if (bytes[at] === word.charCodeAt(0) && text(at, word.length) === word) return at;
    return -1;
  };
  let rate: number | null = null;
  const id3 = text(0, 3) === "ID3" && bytes.length > 10 ? 10 + ((bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9]) : 0;
  if (text(0, 4) === "fLaC" && bytes.length > 21) rate = (bytes[18] << 12) | (bytes[19] << 4) | (bytes[20] >> 4);
  else if (text(0, 4) === "OggS") {
    const vorbis = find("\x01vorbis");
    if (vorbis >= 0 && vorbis + 16 <= bytes.length) rate = view.getUint32(vorbis + 12, true);
  } else if (text(4, 4) === "ftyp") {
    const entry = find("mp4a", find("stsd"));
    if (entry >= 0 && entry + 30 <= bytes.length) rate = view.getUint16(entry + 28);
  } else if (bytes[0] === 0x1a && bytes[1] === 0x45) {
    const frequency = find("\xb5");
    if (frequency >= 0 && frequency + 10 <= bytes.length) rate = bytes[frequency + 1] === 0x84 ? view.getFloat32(frequency + 2) : bytes[frequency + 1] === 0x88 ? view.getFloat64(frequency + 2) : null;
  } else if (text(0, 4) === "FORM") {
    const common = find("COMM");
    if (common >= 0 && common + 26 <= bytes.length) rate = view.getUint32(common + 18) / 2 ** (31 - (view.getUint16(common + 16) - 16383));
  } else if (bytes[id3] === 0xff && (bytes[id3 + 1] & 0xe0) === 0xe0) {
    const version = (bytes[id3 + 1] >> 3) & 3;
    const layer = (bytes[id3 + 1] >> 1) & 3;
    const place = (bytes[id3 + 2] >> 2) & (layer === 0 ? 15 : 3);
    if (layer === 0) rate = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350][place] ?? null; // ADTS
    else rate = ([44100, 48000, 32000][place] ?? 0) / ([4, 0, 2, 1][version] || 1) || null;
  }
  const [low, high] = definition.rates;
  return rate !== null && rate >= low && rate <= high ? Math.round(rate) : null;
}
