// Decoder of Opus packets with libopus 1.5 and its neural parts; one process serves many clips (generative.py).
// Argument: folder of the npm package @wasm-audio-decoders/opus-ml.
// Request on standard input: uint32 size, then uint8 enhancement (0 none, 1 LACE, 2 NoLACE) and for each frame of
// 20 ms a uint16 length with the packet; a lost frame is the first byte of its packet alone.
// Answer on standard output: uint32 size, then float32 samples at 16 kHz. All numbers are little-endian.
import fs from 'fs';
import path from 'path';
import { pathToFileURL } from 'url';

const { OpusMLDecoder } = await import(pathToFileURL(path.join(process.argv[2], 'index.js')).href);
const ENHANCEMENTS = ['none', 'lace', 'nolace'];

function readExactly(size) {
  const buffer = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    let count;
    try {
      count = fs.readSync(0, buffer, filled, size - filled, null);
    } catch (error) {
      if (error.code === 'EAGAIN') continue;
      if (error.code === 'EOF') return null;
      throw error;
    }
    if (count === 0) return null;
    filled += count;
  }
  return buffer;
}

function writeAll(buffer) {
  let written = 0;
  while (written < buffer.length) {
    try {
      written += fs.writeSync(1, buffer, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

for (;;) {
  const header = readExactly(4);
  if (header === null) break;
  const request = readExactly(header.readUInt32LE(0));
  if (request === null) break;
  const decoder = new OpusMLDecoder({
    sampleRate: 16000,
    channels: 1,
    speechQualityEnhancement: ENHANCEMENTS[request[0]],
  });
  await decoder.ready;
  const parts = [];
  for (let place = 1; place < request.length; ) {
    const size = request.readUInt16LE(place);
    place += 2;
    const frame = decoder.decodeFrame(new Uint8Array(request.subarray(place, place + size)));
    place += size;
    parts.push(Buffer.from(frame.channelData[0].slice().buffer));
  }
  decoder.free();
  const samples = Buffer.concat(parts);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(samples.length, 0);
  writeAll(Buffer.concat([size, samples]));
}
