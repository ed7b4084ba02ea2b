/** The port against the Python package: results of tools/fixtures, and numerical properties. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { differences } from "../tools/compare.mjs";
import { fixtures } from "../tools/fixtures.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const TOLERANCE = 0.01; // of a score

const mtqnet = await import("../dist/index.js");
const { realFft, hann } = await import("../dist/fft.js");
const { Resampler, resample } = await import("../dist/resample.js");
const { cut, weightsOf } = await import("../dist/windows.js");
const { worstStretch, averaged } = await import("../dist/over_time.js");
const { describe } = await import("../dist/causes.js");
const { rateInHeader } = await import("../dist/decode.js");

let model;
before(async () => {
  model = await mtqnet.load("small");
});
after(() => model.close());

const bytesOf = (file) => {
  const content = readFileSync(file);
  return content.buffer.slice(content.byteOffset, content.byteOffset + content.length);
};
const sine = (hz, seconds, rate, amplitude = 0.1) => Float32Array.from({ length: seconds * rate }, (_, at) => amplitude * Math.sin((2 * Math.PI * hz * at) / rate));

test("results agree with the Python package", async () => {
  const { folder, rows } = fixtures();
  assert.ok(rows.length >= 12);
  for (const row of rows) {
    const { channels, rate } = mtqnet.decodeWav(bytesOf(join(folder, row.file)));
    const got = await model.score(channels, rate, { file: row.file, track: "frames" });
    const found = differences(row, got);
    for (const [key, difference] of Object.entries(found.scores)) assert.ok(difference <= TOLERANCE, `${row.file} ${key}: ${difference}`);
    assert.deepEqual(got.flags, row.flags, row.file);
    assert.equal(got.level, row.level, row.file);
    assert.equal(got.error, row.error, row.file);
    assert.equal(got.cause, row.cause, row.file);
    assert.ok(found.duration < 1e-4 && found.window < 1e-2 && found.interval < 0.03 && found.causes < 0.01, JSON.stringify(found));
    assert.equal(got.track?.times_s.length ?? 0, row.frames, row.file);
  }
});

test("a result has the fields of Scores in Python", async () => {
  const { fields } = fixtures();
  const got = await model.score(sine(300, 3, 16000), 16000);
  assert.deepEqual(Object.keys(got).sort(), [...new Set([...fields, "cause", "level"])].filter((name) => name !== "exception").sort());
});

test("the transform agrees with its definition", () => {
  for (const length of [8, 18, 30, 400, 512, 1024]) {
    const samples = Float32Array.from({ length }, (_, at) => Math.sin(at * at));
    const transform = realFft(length);
    transform.forward(samples, 0, new Float32Array(length).fill(1));
    for (const bin of [0, 1, 3, length / 4, length / 2].map(Math.floor)) {
      let [re, im] = [0, 0];
      for (let at = 0; at < length; at += 1) {
        re += samples[at] * Math.cos((2 * Math.PI * bin * at) / length);
        im -= samples[at] * Math.sin((2 * Math.PI * bin * at) / length);
      }
      assert.ok(Math.hypot(transform.re[bin] - re, transform.im[bin] - im) < 1e-9 * length, `${length}, bin ${bin}`);
    }
    const back = new Float64Array(length);
    transform.inverse(back);
    back.forEach((value, at) => assert.ok(Math.abs(value - samples[at]) < 1e-12, `${length}, sample ${at}`));
  }
  assert.throws(() => realFft(14), RangeError);
  assert.equal(hann(400)[200], 1);
});

test("resampling agrees with soxr, which the Python package uses", (t) => {
  for (const { rate, common, samples, resampled } of fixtures().resampled) {
    const got = resample(Float32Array.from(samples), rate);
    assert.equal(got.length, resampled.length, `${rate}`);
    const [first, most] = [got.subarray(0, 20), got.subarray(20)].map((part, second) =>
      part.reduce((largest, value, at) => Math.max(largest, Math.abs(value - resampled[at + 20 * second])), 0));
    t.diagnostic(`${rate} Hz: largest difference ${first.toExponential(1)} in the first 20 samples, then ${most.toExponential(1)}`);
    assert.ok(Math.max(first, most) < (common ? 2e-5 : 0.01), `${rate}: ${first} ${most}`);
  }
});

test("resampling keeps tones in place, removes images, and does not depend on blocks", () => {
  for (const rate of [8000, 11025, 22050, 44100, 48000, 44099, 16000]) {
    const whole = resample(sine(1000, 1, rate), rate);
    const wanted = sine(1000, 1, 16000);
    assert.equal(whole.length, wanted.length);
    let most = 0;
    for (let at = 2000; at < 14000; at += 1) most = Math.max(most, Math.abs(whole[at] - wanted[at]));
    assert.ok(most < 1e-6, `${rate}: ${most}`);
    const blocks = new Resampler(rate);
    const input = sine(1000, 1, rate);
    const parts = [];
    for (let at = 0; at < input.length; at += 777) parts.push(...blocks.add(input.subarray(at, at + 777)));
    parts.push(...blocks.finish());
    assert.deepEqual(Float32Array.from(parts), whole, `${rate}`);
  }
  const image = resample(sine(9500, 1, 48000), 48000).subarray(2000, 14000);
  assert.ok(Math.max(...image.map(Math.abs)) < 1e-6);
});

test("windows cover the recording; weights are fractions", () => {
  for (const samples of [9600, 160000, 160001, 1234567]) {
    const windows = cut(samples);
    assert.equal(windows[0].start, 0);
    assert.equal(windows.at(-1).stop, samples);
    windows.slice(1).forEach((window, place) => assert.equal(window.start, windows[place].stop));
    assert.ok(windows.every(({ start, stop }) => stop - start <= 160000));
  }
  const two = [{ start: 0, stop: 10 }, { start: 10, stop: 40 }];
  assert.deepEqual(weightsOf(two, [3, 1]), [0.75, 0.25]);
  assert.deepEqual(weightsOf(two, [0, 0]), [0.25, 0.75]);
});

test("a stream gives the scores of its window, whatever the blocks", async () => {
  const rate = 48000;
  const samples = Float32Array.from(sine(200, 4, rate), (value, at) => value * (1 + Math.sin(at / 4000)) + 0.002 * Math.sin(at * at));
  const rows = [];
  const stream = await model.stream(rate);
  for (let at = 0; at < samples.length; at += 960) rows.push(...(await stream.feed(samples.subarray(at, at + 960))));
  rows.push(...(await stream.finish()));
  assert.ok(rows.length === 4 || rows.length === 5);
  assert.deepEqual(rows.slice(0, 4).map(({ windows: [{ end_s }] }) => end_s), [1, 2, 3, 4]);
  const whole = await model.score(resample(samples, rate).slice(0, 3 * 16000), 16000);
  assert.ok(Math.abs(rows[2].g_mos - whole.g_mos) < 1e-3);
  const other = await model.stream(rate);
  const latest = await other.feed(samples, { latest: true });
  assert.equal(latest.length, 1);
});

test("what cannot be scored has a reason", async () => {
  const reason = async (samples, rate = 16000) => {
    const { error, flags, level, g_mos } = await model.score(samples, rate);
    assert.equal(level, "refused");
    assert.equal(g_mos, null);
    return [flags.join(), error];
  };
  assert.deepEqual(await reason(new Float32Array(0)), ["empty", "the recording has no samples: record or copy it again"]);
  assert.deepEqual(await reason(sine(300, 1, 16000).map((value, at) => (at === 7 ? NaN : value))), ["not_finite", "1 samples are NaN or infinite: correct the program that wrote the recording"]);
  assert.deepEqual(await reason(sine(300, 0.1, 16000)), ["too_short", "0.10 s long: at least 0.5 s are needed"]);
  assert.deepEqual(await reason(new Float32Array(32000)), ["silent", "silent: its loudest 20 ms have -100 dBov, at least -70 are needed"]);
  await assert.rejects(model.score(sine(300, 1, 16000)), mtqnet.UsageError);
  await assert.rejects(model.score(sine(300, 1, 16000), 100), mtqnet.UsageError);
  await assert.rejects(model.score("text", 16000), mtqnet.UsageError);
  await assert.rejects(model.score(sine(300, 1, 16000), 16000, { channels: 2 }), mtqnet.UsageError);
  await assert.rejects(mtqnet.load("no_such_model"), /no model named/);
  await assert.rejects(mtqnet.load("base", { models: new URL("./", import.meta.url) }), mtqnet.ModelError);
  await assert.rejects(mtqnet.load("small", { files: { record: model.record, graph: new Uint8Array(10) } }), /not the one that its record describes/);
  await assert.rejects(mtqnet.decode(new TextEncoder().encode("a text file").buffer), mtqnet.AudioError);
});

test("integer samples have their full scale; channels are planar", async () => {
  const { channels: [floats] } = mtqnet.decodeWav(bytesOf(join(fixtures().folder, fixtures().rows.find(({ file, error }) => error === null && file.includes("_16000_")).file)));
  const integers = Int16Array.from(floats, (value) => Math.round(value * 32768));
  const [one, other] = [await model.score(floats, 16000), await model.score(integers, 16000)];
  assert.ok(Math.abs(one.g_mos - other.g_mos) < 0.05);
  const rows = await model.scoreChannels([floats, new Float32Array(floats.length)], 16000);
  assert.deepEqual(rows.map(({ channel, error }) => [channel, error === null]), [[1, true], [2, false]]);
});

test("A/B: differences, intervals and a verdict", async () => {
  const row = (file, g) => ({ file, error: null, s_mos: g, n_mos: g, g_mos: g, pesq_est: g, stoi_est: 0.9, sdi_est: 0.1 });
  const names = ["1", "2", "3", "4", "5", "6", "7"];
  const { paired, comparisons, verdict } = mtqnet.compare(names.map((name, at) => row(`${name}.wav`, 2 + at / 10)), names.map((name, at) => row(`${name}.flac`, 3 + at / 10 + (at % 2) / 20)));
  assert.ok(paired);
  const g = comparisons.find(({ target }) => target === "g_mos");
  assert.ok(Math.abs(g.difference - 1.0214) < 1e-3 && g.low > 0.99 && g.high < 1.05 && g.better === "B");
  assert.match(verdict[0], /^B is better than A on S-MOS by 1.02 \[/);
  const one = mtqnet.compare([row("a", 3)], [row("b", 2)]);
  assert.match(one.verdict[0], /^A is better on S-MOS \(3.00 to 2.00\)/);
});

test("worst stretch, means over time and causes agree with the Python package", () => {
  const { worst, mean, sentences } = fixtures();
  for (const { track, stretch } of worst) {
    const got = worstStretch({ times_s: track.times_s, values: track.g_mos.map((value) => [value]), targets: ["g_mos"], causes: track.causes, cause_keys: ["noise", "coding"] });
    if (stretch === null) assert.equal(got, null);
    else for (const key of ["start_s", "end_s", "g_mos"]) assert.ok(Math.abs(got[key] - stretch[key]) < 1e-6, `${key}: ${got[key]} ${stretch[key]}`);
  }
  const got = averaged({ times_s: mean.times_s, values: mean.g_mos.map((value) => [value]), targets: ["g_mos"], causes: null, cause_keys: [] }, mean.seconds);
  assert.equal(got.times_s.length, mean.averaged_times.length);
  got.times_s.forEach((time, at) => assert.ok(Math.abs(time - mean.averaged_times[at]) < 1e-6));
  for (const { causes, track, sentence } of sentences) assert.equal(describe(causes, track), sentence);
});

test("headers of files tell their sample rate", () => {
  const flac = new Uint8Array(readFileSync(join(web, "..", "examples", "recordings", "1_clean.flac")));
  assert.equal(rateInHeader(flac), 16000);
  assert.equal(rateInHeader(Uint8Array.of(0xff, 0xfb, 0x94, 0)), 48000);
  assert.equal(rateInHeader(Uint8Array.of(0xff, 0xf3, 0x88, 0)), 16000);
  assert.equal(rateInHeader(new TextEncoder().encode("a text file")), null);
});

test("a fresh project installs the package and scores with it", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "mtqnet-"));
  // no request to the registry: the package has no dependencies
  const options = { cwd: folder, encoding: "utf8", env: { ...process.env, npm_config_offline: "true", npm_config_update_notifier: "false", npm_config_audit: "false", npm_config_fund: "false" } };
  const [{ filename, size, unpackedSize }] = JSON.parse(execFileSync("npm", ["pack", web, "--json", "--ignore-scripts"], { ...options, stdio: ["ignore", "pipe", "ignore"] }));
  assert.ok(unpackedSize <= 15e6, `${unpackedSize} bytes unpacked`);
  console.log(`package: ${(size / 1e6).toFixed(2)} MB, unpacked ${(unpackedSize / 1e6).toFixed(2)} MB`);
  writeFileSync(join(folder, "package.json"), "{}");
  execFileSync("npm", ["install", join(folder, filename)], options);
  for (const name of ["README.md", "LICENSE", "NOTICE", "dist/index.d.ts", "dist/runtime/LICENSE.txt"]) assert.ok(existsSync(join(folder, "node_modules", "mtqnet", name)), name);
  const script = 'import { load } from "mtqnet"; const m = await load("small"); const s = await m.score(Float32Array.from({ length: 48000 }, (_, t) => 0.1 * Math.sin(t / 9) * Math.sin(t / 2000)), 16000); console.log(JSON.stringify([s.g_mos, s.model]));';
  const [score, name] = JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], options));
  assert.ok(score >= 1 && score <= 5);
  assert.equal(name, "small");
});
