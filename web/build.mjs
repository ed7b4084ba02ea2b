/** Builds dist: the package, the runtime and the model next to it, and the static page in dist/page. */
import { execFileSync } from "node:child_process";
import { cpSync, copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL(".", import.meta.url));
const root = join(web, "..");
const python = join(root, "src", "mtqnet");
const dist = join(web, "dist");
const page = join(dist, "page");
const ort = join(web, "node_modules", "onnxruntime-web");

rmSync(dist, { recursive: true, force: true });
const definition = readFileSync(join(web, "definition.json"), "utf8");
const head = "// Written by build.mjs from definition.json.\n";
writeFileSync(join(web, "src", "definition.ts"), `${head}import type { Definition } from "./types.js";\n\nexport const definition: Definition = JSON.parse(${JSON.stringify(JSON.stringify(JSON.parse(definition)))}) as Definition;\n`);
execFileSync(process.execPath, [join(web, "node_modules", "typescript", "bin", "tsc"), "--project", web], { stdio: "inherit" });

for (const name of ["LICENSE", "NOTICE"]) copyFileSync(join(root, name), join(web, name));
mkdirSync(join(dist, "runtime"));
for (const name of ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) copyFileSync(join(ort, "dist", name), join(dist, "runtime", name));
copyFileSync(join(web, "onnxruntime-LICENSE.txt"), join(dist, "runtime", "LICENSE.txt"));
mkdirSync(join(dist, "models"));
copyFileSync(join(python, "weights", "small.onnx"), join(dist, "models", "small.onnx"));
copyFileSync(join(python, "serving", "page", "capture.js"), join(dist, "capture.js"));

/** The static page: its own files, the modules of the page of the service, and the package. */
const SERVICE_ONLY = ["api.js", "main.js", "history.js", "index.html", "docs.html", "docs.js"];
const source = join(python, "serving", "page");
mkdirSync(page);
for (const name of readdirSync(source)) if (!SERVICE_ONLY.includes(name)) cpSync(join(source, name), join(page, name), { recursive: true });
cpSync(join(web, "page"), page, { recursive: true });
writeFileSync(join(page, "index.html"), staticPage(readFileSync(join(source, "index.html"), "utf8")));
copyPackage(join(page, "mtqnet"), ["runtime", "models"]);
/** The service offers the package, too; it serves models itself. `mtqnet serve` and the wheel find it here. */
const served = join(python, "serving", "browser");
rmSync(served, { recursive: true, force: true });
copyPackage(served, ["runtime"]);

/** The scripts of the package with some of its folders. */
function copyPackage(folder, more) {
  mkdirSync(folder);
  for (const name of readdirSync(dist)) if (/\.js$/.test(name) || more.includes(name)) cpSync(join(dist, name), join(folder, name), { recursive: true });
}

/** The page of the service without what needs a server. Each change must find its place. */
function staticPage(html) {
  const policy = ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "img-src 'self' blob:", "media-src 'self' blob:", "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'"].join("; ");
  const changes = [
    [/<meta name="color-scheme"/, `<meta http-equiv="Content-Security-Policy" content="${policy}">\n$&`],
    [/ *<a href="#history">History<\/a>\n/, ""],
    [/ *<form id="key"[^]*?<\/form>\n/, ""],
    [/ *<section id="history"[^]*?<\/section>\n/, ""],
    [/<label class="model">/, '<label class="model" hidden>'],
    [/<label>Source label/, "<label hidden>Source label"],
    [/<p class="hint" id="live-hint">The microphone signal[^]*?<\/p>/, '<p class="hint">The microphone signal stays in this browser, which scores the last ten seconds once per second.</p>'],
    [/ *<label class="inline where" hidden>[^]*?<\/label>/, ""],
    [/ *<label class="where" hidden>[^]*?<\/label>/, ""],
    [/<a href="v1\/docs">[^]*?<\/a>/, ""],
    [/<p class="hint" id="score-limits"><\/p>/, '$&\n      <p class="hint">Recordings are scored in this browser and are not sent anywhere. <span id="offline"></span></p>'],
  ];
  return changes.reduce((text, [from, to]) => {
    if (!from.test(text)) throw new Error(`the page of the service has changed: ${from} is not found`);
    return text.replace(from, to);
  }, html);
}

/** The service worker knows every file and a digest of all of them, so that a new version replaces the old one as a whole. */
const files = (folder) => readdirSync(folder, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? files(join(folder, one.name)) : [join(folder, one.name)]));
const names = files(page).map((file) => relative(page, file).replaceAll("\\", "/")).filter((name) => name !== "sw.js").sort();
const digest = createHash("sha256");
for (const name of names) digest.update(name).update(readFileSync(join(page, name)));
const worker = readFileSync(join(page, "sw.js"), "utf8").replace('"VERSION"', JSON.stringify(digest.digest("hex").slice(0, 16))).replace('["FILES"]', JSON.stringify(["./", ...names]));
writeFileSync(join(page, "sw.js"), worker);
