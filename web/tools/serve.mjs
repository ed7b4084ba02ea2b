/** A static server without any special header, as a static host has it; and Chromium. */
import { execFileSync } from "node:child_process";
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml", ".wav": "audio/wav" };

/** Serve a folder, and others below paths. @param {string} folder @param {Record<string, string>} [mounts] @returns {Promise<{url: string, close: () => Promise<void>}>} */
export function serve(folder, mounts = {}) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://host").pathname));
    const mount = Object.keys(mounts).find((name) => path.startsWith(name));
    let file = mount ? join(mounts[mount], path.slice(mount.length)) : join(folder, path);
    try {
      if (statSync(file).isDirectory()) file = join(file, "index.html");
      const { size } = statSync(file);
      response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream", "Content-Length": size });
      createReadStream(file).pipe(response);
    } catch {
      response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({
    url: `http://localhost:${server.address().port}/`,
    close: () => new Promise((done) => {
      server.closeAllConnections();
      server.close(() => done());
    }),
  })));
}

/** The installed Chromium: the program of MTQNET_CHROMIUM, or one on the path. */
export function chromiumPath() {
  if (process.env.MTQNET_CHROMIUM) return process.env.MTQNET_CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"])
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // the next name
    }
  throw new Error("no Chromium: install it, or set MTQNET_CHROMIUM to its path");
}

/** @param {string[]} [args] */
export const launch = (args = []) => chromium.launch({ executablePath: chromiumPath(), args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required", ...args] });
