/** Scores WAV files in Node: node score.mjs call.wav ... */
import { readFile } from "node:fs/promises";
import { decodeWav, load } from "../dist/index.js"; // in a project: from "mtqnet"

const model = await load("small");
for (const file of process.argv.slice(2)) {
  const content = await readFile(file);
  const audio = decodeWav(content.buffer.slice(content.byteOffset, content.byteOffset + content.length));
  const scores = audio ? await model.score(audio.channels, audio.rate, { file }) : { error: "not a WAV file" };
  console.log(file, scores.error ?? `G-MOS ${scores.g_mos.toFixed(2)} ${scores.flags.join(" ")}`);
}
await model.close();
