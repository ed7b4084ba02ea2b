// @ts-check
/** Runs beside the sound: gathers what the microphone gives, 20 blocks of 128 samples at a time. */
const BLOCKS = 20;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {Float32Array[]} */
    this.blocks = [];
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channels = inputs[0];
    if (channels.length === 0) return true;
    const mono = new Float32Array(channels[0].length);
    for (const channel of channels) for (let at = 0; at < mono.length; at += 1) mono[at] += channel[at] / channels.length;
    this.blocks.push(mono);
    if (this.blocks.length === BLOCKS) {
      const chunk = new Float32Array(BLOCKS * mono.length);
      this.blocks.forEach((block, place) => chunk.set(block, place * mono.length));
      this.port.postMessage(chunk, [chunk.buffer]);
      this.blocks = [];
    }
    return true;
  }
}
registerProcessor("capture", Capture);
