/**
 * Compares this package with the Python package on the recordings of research/browser_parity.py.
 *
 *     node tools/parity.mjs FOLDER node|chromium [folder with the model of expected.json]
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { differences, KEYS } from "./compare.mjs";
import { launch, serve } from "./serve.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const [folder, where, models] = process.argv.slice(2);
const { rows, model: name } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));

async function inNode() {
  const { load, decodeWav } = await import("../dist/index.js");
  const model = await load(name, models ? { models: new URL(`file://${resolve(models)}/`) } : {});
  return {
    score: async (file) => {
      const content = readFileSync(join(folder, file));
      const { channels, rate } = decodeWav(content.buffer.slice(content.byteOffset, content.byteOffset + content.length));
      return model.score(channels, rate, { file });
    },
    close: () => model.close(),
  };
}

async function inChromium() {
  const server = await serve(web, { "/recordings/": folder, ...(models ? { "/own/": models } : {}) });
  const browser = await launch();
  const page = await browser.newPage();
  await page.goto(`${server.url}tools/blank.html`);
  await page.evaluate(async ([wanted, own]) => {
    const mtqnet = await import("/dist/index.js");
    Object.assign(globalThis, { mtqnet, model: await mtqnet.load(wanted, own ? { models: "/own" } : {}) });
  }, [name, Boolean(models)]);
  return {
    score: (file) => page.evaluate(async (wanted) => {
      const answer = await fetch(`/recordings/${wanted}`);
      const { channels, rate } = await globalThis.mtqnet.decode(await answer.blob());
      return globalThis.model.score(channels, rate, { file: wanted });
    }, file),
    close: async () => {
      await browser.close();
      await server.close();
    },
  };
}

const scorer = where === "chromium" ? await inChromium() : await inNode();
const most = Object.fromEntries(KEYS.map((key) => [key, 0]));
const counts = { recordings: rows.length, scored: 0, refused: 0, "flags differ": 0, "reason differs": 0, seconds: 0 };
const fileOf = Object.fromEntries(KEYS.map((key) => [key, ""]));
let interval = 0;
for (const row of rows) {
  const got = await scorer.score(row.file);
  const found = differences(row, got);
  for (const key of KEYS)
    if (found.scores[key] > most[key]) {
      most[key] = found.scores[key];
      fileOf[key] = row.file;
    }
  interval = Math.max(interval, found.interval);
  counts[row.error === null ? "scored" : "refused"] += 1;
  counts.seconds += row.seconds;
  if (!found.flags) {
    counts["flags differ"] += 1;
    console.log(`${row.file}: flags ${got.flags} instead of ${row.flags}`);
  }
  if (!found.error) {
    counts["reason differs"] += 1;
    console.log(`${row.file}: "${got.error}" instead of "${row.error}"`);
  }
}
await scorer.close();
console.log(JSON.stringify({ where, model: name, ...counts, largest: Object.fromEntries(KEYS.map((key) => [key, Number(most[key].toFixed(5))])), files: fileOf, interval: Number(interval.toFixed(5)) }));
