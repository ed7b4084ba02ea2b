/**
 * Measures scoring in headless Chromium: the first score from an empty cache, later ones, speed, and live monitoring.
 *
 *     node tools/timing.mjs [minutes of live audio, default 60]
 *
 * Times are those of the clock, which depend on what else the machine does. `processor_s` is the processor time of all
 * processes of Chromium from the request of the package to the first score (Linux only).
 */
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadavg } from "node:os";
import { launch, serve } from "./serve.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const minutes = Number(process.argv[2] ?? 60);
const server = await serve(web);
const browser = await launch(["--enable-precise-memory-info", "--js-flags=--expose-gc"]);
const load = () => loadavg()[0].toFixed(1);

/** Processor time in seconds of the processes that this one started, and of theirs. */
function processorTime() {
  const TICKS = 100; // per second
  const stats = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const fields = readFileSync(`/proc/${name}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      return [{ id: Number(name), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }];
    } catch {
      return []; // the process has ended
    }
  });
  const own = new Set([process.pid]);
  for (let before = 0; before !== own.size; ) {
    before = own.size;
    for (const { id, parent } of stats) if (own.has(parent)) own.add(id);
  }
  return stats.filter(({ id }) => own.has(id) && id !== process.pid).reduce((sum, { ticks }) => sum + ticks, 0) / TICKS;
}

const page = await (await browser.newContext()).newPage();
await page.goto(`${server.url}tools/blank.html`);
const before = load();
const used = processorTime();
let processor = 0;
await page.exposeFunction("scored", () => void (processor = processorTime() - used));
const timing = await page.evaluate(async () => {
  const RATE = 48000;
  const SECONDS = 10;
  const samples = Float32Array.from({ length: SECONDS * RATE }, (_, at) => 0.1 * Math.sin(at * 0.02) * Math.sin(at / 9000) + 0.01 * (Math.random() - 0.5));
  const began = performance.now();
  const { load } = await import("/dist/index.js");
  const model = await load("small");
  const loaded = performance.now() - began;
  await model.score(samples, RATE);
  const first = performance.now() - began;
  await globalThis.scored();
  const later = [];
  for (let run = 0; run < 10; run += 1) {
    const start = performance.now();
    await model.score(samples, RATE);
    later.push(performance.now() - start);
  }
  await model.close();
  later.sort((a, b) => a - b);
  return { loaded_ms: loaded, first_ms: first, later_median_ms: later[5], later_min_ms: later[0], times_real_time_median: (1000 * SECONDS) / later[5], times_real_time_best: (1000 * SECONDS) / later[0] };
});
console.log(JSON.stringify({ load_average: [before, load()], processor_s: Number(processor.toFixed(2)), ...Object.fromEntries(Object.entries(timing).map(([key, value]) => [key, Number(value.toFixed(1))])) }));

if (minutes) {
  const live = await (await browser.newContext()).newPage();
  await live.goto(`${server.url}tools/blank.html`);
  await live.evaluate(async () => {
    const { load } = await import("/dist/index.js");
    const model = await load("small", { worker: false }); // so that the memory of this page is all that there is
    const stream = await model.stream(48000);
    let at = 0;
    let rows = 0;
    globalThis.feed = async (seconds) => {
      for (let second = 0; second < seconds; second += 1)
        for (let chunk = 0; chunk < 50; chunk += 1) {
          const samples = new Float32Array(960);
          for (let place = 0; place < 960; place += 1, at += 1) samples[place] = 0.1 * Math.sin(at * 0.02) * Math.sin(at / 9000) + 0.01 * (Math.random() - 0.5);
          rows += (await stream.feed(samples)).length;
        }
      globalThis.gc?.();
      return { minutes: at / 48000 / 60, rows, heap_mb: performance.memory.usedJSHeapSize / 1e6 };
    };
  });
  const client = await live.context().newCDPSession(live);
  for (let minute = 0; minute < minutes; minute += 5) {
    const began = Date.now();
    const state = await live.evaluate((seconds) => globalThis.feed(seconds), 60 * Math.min(5, minutes - minute));
    await client.send("HeapProfiler.collectGarbage");
    const { usedSize, embedderHeapUsedSize, backingStorageSize } = await client.send("Runtime.getHeapUsage");
    console.log(JSON.stringify({ minutes: state.minutes, rows: state.rows, heap_mb: Number((usedSize / 1e6).toFixed(2)), embedder_mb: Number(((embedderHeapUsedSize ?? 0) / 1e6).toFixed(2)), buffers_mb: Number(((backingStorageSize ?? 0) / 1e6).toFixed(2)), wall_s: (Date.now() - began) / 1000, load_average: load() }));
  }
}
await browser.close();
await server.close();
