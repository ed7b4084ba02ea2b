/** The static page and the package in headless Chromium. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { differences, KEYS } from "../tools/compare.mjs";
import { fixtures } from "../tools/fixtures.mjs";
import { launch, serve } from "../tools/serve.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SHOTS = process.env.MTQNET_SCREENSHOTS;
const PHONE = { width: 375, height: 740 };
const WIDE = { width: 1180, height: 900 };
const LONG = { timeout: 400_000 }; // a busy machine needs minutes for the checks of a view

let browser, site, folder;
before(async () => {
  ({ folder } = fixtures());
  site = await serve(join(web, "dist", "page"), { "/web/": join(web, "examples"), "/dist/": join(web, "dist"), "/tools/": join(web, "tools"), "/recordings/": folder });
  browser = await launch();
});
after(async () => {
  await browser.close();
  await site.close();
});

/** A tab that must not ask another origin and must not complain. */
async function visit(act, { path = "", options = {}, complaints = [], prepare = async () => undefined } = {}) {
  const context = await browser.newContext({ viewport: WIDE, acceptDownloads: true, ...options });
  const asked = [];
  const told = [];
  context.on("request", (request) => asked.push(request.url()));
  const page = await context.newPage();
  page.setDefaultTimeout(LONG.timeout);
  page.on("websocket", (socket) => asked.push(socket.url()));
  page.on("pageerror", (error) => told.push(String(error)));
  page.on("console", (line) => line.type() === "error" && told.push(line.text()));
  await prepare(context, page);
  await page.goto(site.url + path);
  await act(page, context);
  const other = asked.filter((url) => !url.startsWith(site.url) && !url.startsWith("blob:") && !url.startsWith("data:"));
  assert.deepEqual(other, [], "requests to another origin");
  assert.deepEqual(told.filter((text) => !complaints.some((expected) => text.includes(expected))), []);
  await context.close();
}

/** Choose files for a drop zone. */
const drop = (page, zone, ...files) => page.locator(`${zone} input[type=file]`).setInputFiles(files.map(({ name, bytes }) => ({ name, mimeType: "audio/wav", buffer: Buffer.from(bytes) })));

const recording = (file) => ({ name: file, bytes: readFileSync(join(folder, file)) });
const status = (page, text) => page.locator("#score-status").getByText(text).waitFor();

/** No finding of axe, in light and dark mode and on a phone; nothing is wider than the screen. */
async function accessible(page, name) {
  await page.evaluate(axe).catch(() => undefined);
  for (const [scheme, viewport] of [["light", WIDE], ["dark", WIDE], ["light", PHONE], ["dark", PHONE]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize(viewport);
    const found = await page.evaluate(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]));
    assert.deepEqual(found, [], `${name}, ${scheme}, ${viewport.width}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is too wide`);
    if (SHOTS) {
      mkdirSync(SHOTS, { recursive: true });
      await page.screenshot({ path: join(SHOTS, `web-${name}-${scheme}-${viewport.width}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
}

/** axe needs to be evaluated in the page; its policy is kept otherwise. */
const withAxe = (context) => context.addInitScript(axe);

test("the package in Chromium agrees with the Python package, in a worker", LONG, async () => {
  const { rows } = fixtures();
  await visit(async (page) => {
    for (const row of rows.slice(0, 12)) {
      const got = await page.evaluate(async (file) => {
        globalThis.mtqnet ??= await import("/dist/index.js");
        globalThis.model ??= await globalThis.mtqnet.load("small");
        const { channels, rate } = await globalThis.mtqnet.decode(await (await fetch(`/recordings/${file}`)).blob());
        return globalThis.model.score(channels, rate, { file });
      }, row.file);
      const found = differences(row, got);
      for (const key of KEYS) assert.ok(found.scores[key] <= 0.01, `${row.file} ${key}: ${found.scores[key]}`);
      assert.deepEqual([got.flags, got.error], [row.flags, row.error], row.file);
    }
  }, { path: "tools/blank.html" });
});

test("page: scores, plots, export, list, and no other origin", LONG, async () => {
  const row = fixtures().rows.find(({ error, seconds }) => error === null && seconds > 1.5);
  const other = fixtures().rows.find(({ error, file }) => error === null && file !== row.file);
  await visit(async (page) => {
    await drop(page, "#score-drop", recording(row.file), recording(other.file));
    await status(page, "Scored 2 of 2.");
    await page.getByRole("button", { name: row.file, exact: true }).click();
    await page.locator(".plots .wave").waitFor();
    await page.getByText("Estimates: PESQ, STOI, SDI").click();
    for (const key of KEYS) {
      const shown = Number(await page.locator(`[data-score=${key}]`).getAttribute("data-value"));
      assert.ok(Math.abs(shown - row[key]) < 0.011, `${key}: ${shown} instead of ${row[key]}`);
    }
    const colours = await page.evaluate(() => [...document.querySelectorAll(".plots canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }));
    assert.ok(colours.length === 4 && Math.min(...colours) > 2, `${colours}`);
    const [table] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
    const lines = readFileSync(await table.path(), "utf8").trim().split("\n");
    assert.equal(lines.length, 3);
    assert.ok(lines[0].startsWith("file,channel,s_mos,n_mos,g_mos"));
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "JSON" }).click()]);
    assert.equal(JSON.parse(readFileSync(await file.path(), "utf8")).file, row.file);
    await accessible(page, "score");
    await page.reload();
    await page.getByRole("button", { name: row.file, exact: true }).waitFor(); // the list survives a reload
  }, { prepare: withAxe });
});

test("page: A/B comparison and the keyboard", LONG, async () => {
  const [a, b] = fixtures().rows.filter(({ error, seconds }) => error === null && seconds > 2);
  await visit(async (page) => {
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(new URL(page.url()).hash, "#compare");
    await drop(page, "#drop-a", recording(a.file));
    await drop(page, "#drop-b", recording(b.file));
    await page.locator("#compare-status").getByText("One recording per system").waitFor();
    await page.locator("#heard-A").waitFor();
    await page.keyboard.press("b");
    assert.ok(await page.locator("#heard-B").isChecked());
    await accessible(page, "compare");
  }, { prepare: withAxe });
});

test("page: a recording is scored and examined with the keyboard alone", LONG, async () => {
  await visit(async (page) => {
    /** Press Tab until an element matches. */
    const tabTo = async (selector, text = "") => {
      for (let press = 0; press < 60; press += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate(([wanted, name]) => document.activeElement.matches(wanted) && document.activeElement.textContent.includes(name), [selector, text])) return;
      }
      assert.fail(`the Tab key does not reach ${selector} ${text}`);
    };
    await tabTo("button", "clean speech");
    await page.keyboard.press("Enter");
    await status(page, "Scored 1 of 1.");
    await tabTo("summary", "Estimates");
    await page.keyboard.press("Enter");
    await page.locator("[data-score=pesq_est]").waitFor();
    await tabTo("input[type=range]");
    await page.keyboard.press("ArrowRight");
    assert.ok(Number(await page.getByRole("slider", { name: "Position in" }).inputValue()) > 0);
    assert.match(await page.getByRole("slider", { name: "Position in" }).getAttribute("aria-valuetext"), /G-MOS/);
  });
});

test("page: live microphone through a worklet and a worker", LONG, async () => {
  await visit(async (page) => {
    await page.getByRole("button", { name: "Start listening" }).click();
    await page.locator("#live-gauges [data-score=g_mos]").waitFor();
    await accessible(page, "live");
    await page.getByRole("button", { name: "Stop listening" }).click();
    await page.getByText("Stopped after").waitFor();
    await page.getByRole("button", { name: "Start listening" }).click();
    await page.getByText(/^Listening/).waitFor();
    await page.evaluate(() => {
      globalThis.microphone.stop();
      globalThis.microphone.dispatchEvent(new Event("ended")); // as when it is unplugged
    });
    await page.getByText("the microphone was disconnected").waitFor();
    await page.getByRole("button", { name: "Start listening" }).waitFor();
  }, {
    path: "#live",
    prepare: (context) => Promise.all([withAxe(context), context.addInitScript(() => {
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const media = await open(wanted);
        [globalThis.microphone] = media.getAudioTracks();
        return media;
      };
    })]),
  });
});

test("page: works without a network after the first visit", LONG, async () => {
  const row = fixtures().rows.find(({ error, seconds }) => error === null && seconds > 1);
  await visit(async (page, context) => {
    await page.getByText("This page now also works offline.").waitFor();
    await context.setOffline(true);
    await page.reload();
    await drop(page, "#score-drop", recording(row.file));
    await status(page, "Scored 1 of 1.");
    await page.getByRole("button", { name: "clean speech" }).click();
    await status(page, "Scored 1 of 1.");
  });
});

test("a request to another origin is blocked by the policy of the page", LONG, async () => {
  await visit(async (page) => {
    const blocked = await page.evaluate(() => fetch("https://example.com/").then(() => false, () => true));
    assert.ok(blocked);
  }, { complaints: ["Content Security Policy", "violates", "Refused to connect"] });
});

test("page: invalid input gives a reason, and the page remains usable", LONG, async () => {
  const wav = (samples, bits = 32) => {
    const view = new DataView(new ArrayBuffer(44 + 4 * samples.length));
    [..."RIFF____WAVEfmt "].forEach((letter, at) => view.setUint8(at, letter.charCodeAt(0)));
    [[16, 16], [24, 16000], [28, 64000], [40, 4 * samples.length]].forEach(([at, value]) => view.setUint32(at, value, true));
    [[20, 3], [22, 1], [32, 4], [34, bits]].forEach(([at, value]) => view.setUint16(at, value, true));
    [..."data"].forEach((letter, at) => view.setUint8(36 + at, letter.charCodeAt(0)));
    samples.forEach((sample, at) => view.setFloat32(44 + 4 * at, sample, true));
    return new Uint8Array(view.buffer);
  };
  const tone = Array.from({ length: 16000 }, (_, at) => 0.1 * Math.sin(at / 5));
  const inputs = [
    ["text.wav", new TextEncoder().encode("this is not audio"), "not a readable audio file"],
    ["nothing.wav", wav([]), "the recording has no samples"],
    ["empty.wav", new Uint8Array(0), "the file is empty"],
    ["nan.wav", wav(tone.map((value, at) => (at === 9 ? NaN : value))), "1 samples are NaN or infinite"],
    ["short.wav", wav(tone.slice(0, 1600)), "0.10 s long: at least 0.5 s are needed"],
    ["silent.wav", wav(tone.map(() => 0)), "silent"],
  ];
  const row = fixtures().rows.find(({ error, seconds }) => error === null && seconds > 1);
  await visit(async (page) => {
    for (const [name, bytes, reason] of inputs) {
      await drop(page, "#score-drop", { name, bytes });
      await status(page, "Scored 0 of 1; 1 could not be scored.");
      const shown = page.locator("#recordings .note, #report .problem").getByText(reason);
      await shown.first().waitFor({ state: "attached" });
      await page.getByRole("button", { name: "Remove all" }).click();
      await status(page, "The list is empty.");
    }
    await drop(page, "#score-drop", recording(row.file));
    await status(page, "Scored 1 of 1.");
  });
});

test("page: a refused microphone, and a browser without WebAssembly", LONG, async () => {
  await visit(async (page) => {
    await page.getByRole("button", { name: "Start listening" }).click();
    await page.getByText("The browser did not allow the microphone").waitFor();
    assert.ok(await page.getByRole("button", { name: "Start listening" }).isEnabled());
  }, {
    path: "#live",
    prepare: (context) => context.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
    }),
  });
  const row = fixtures().rows.find(({ error }) => error === null);
  await visit(async (page) => {
    await page.getByText("This browser has no WebAssembly, which scoring needs").waitFor();
    await drop(page, "#score-drop", recording(row.file));
    await status(page, "Scored 0 of 1; 1 could not be scored.");
    await page.locator("#report .problem").getByText("has no WebAssembly").waitFor();
  }, { prepare: (context) => context.addInitScript(() => delete globalThis.WebAssembly) });
});

test("examples: the module of ten lines, and the call whose remote track is monitored until it ends", LONG, async () => {
  await visit(async (page) => {
    await page.getByText(/G-MOS \d\.\d\d/).waitFor();
  }, { path: "web/module.html" });
  await visit(async (page) => {
    await page.getByRole("button", { name: "Call" }).click();
    await page.getByText(/G-MOS|not scored/).first().waitFor();
    await page.getByRole("button", { name: "Hang up" }).click();
    await page.getByText("The call has ended.").waitFor();
  }, { path: "web/call.html" });
});

test("a monitor ends with its track, and refuses one that has ended", LONG, async () => {
  await visit(async (page) => {
    const told = await page.evaluate(async () => {
      const { load } = await import("/dist/index.js");
      const model = await load("small");
      const context = new AudioContext();
      const destination = context.createMediaStreamDestination();
      const [track] = destination.stream.getAudioTracks();
      const ended = new Promise((resolve) => {
        model.monitor(track, () => undefined, { onend: resolve }).then(() => {
          track.stop();
          track.dispatchEvent(new Event("ended")); // browsers do not tell about `stop` of the page itself
        });
      });
      const error = await ended;
      const refused = await model.monitor(track, () => undefined).catch((reason) => reason.message);
      return [error, refused];
    });
    assert.deepEqual(told, [null, "the track has ended: request the microphone or the call again"]);
  }, { path: "tools/blank.html" });
});
