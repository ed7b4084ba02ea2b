// @ts-check
/** The endpoints of this server: requests go nowhere else. */

/** @typedef {{key: string, name: string, low: number, high: number, higher_is_better: boolean, log: boolean, says: string}} Target */
/** @typedef {{key: string, level: string, summary: string, advice: string}} Flag */

const KEY = "mtqnet-key";

/** A request that was answered with a reason (RFC 9457). */
export class Problem extends Error {
  /** @param {{status: number, detail: string}} told */
  constructor(told) {
    super(told.detail);
    this.status = told.status;
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";
/** @param {string} value */
export const useKey = (value) => sessionStorage.setItem(KEY, value);

/** @param {string} path @param {RequestInit} [options] */
async function ask(path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem({ status: 0, detail: "the server does not answer" });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ status: answer.status, detail: answer.statusText }));
  throw new Problem(told);
}

/** @param {Record<string, string | number | boolean>} query */
const asked = (query) =>
  new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "").map(([name, value]) => [name, String(value)]));

/** @param {Record<string, File[]>} fields */
function form(fields) {
  const made = new FormData();
  for (const [field, files] of Object.entries(fields)) for (const file of files) made.append(field, file, file.name);
  return made;
}

/** Post again while the server is busy, as it says. @param {string} path @param {FormData} body */
async function post(path, body) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask(path, { method: "POST", body });
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 429 || tries === 20) throw error;
      await new Promise((done) => setTimeout(done, 1000 + 500 * tries));
    }
  }
}

export const models = async () => (await ask("v1/models")).json();

/** @param {File} file @param {string} model */
export const score = async (file, model) =>
  (await post(`v1/score?${asked({ model, track: true, windows: true })}`, form({ file: [file] }))).json();

/** @param {File[]} a @param {File[]} b @param {string} model */
export const compare = async (a, b, model) => (await post(`v1/compare?${asked({ model })}`, form({ a, b }))).json();

/** @param {File} file @param {string} model */
export const picture = async (file, model) => (await post(`v1/picture?${asked({ model })}`, form({ file: [file] }))).blob();

/** What every browser plays. @param {File} file */
export const playable = async (file) => (await post("v1/playable", form({ file: [file] }))).blob();

/** @param {Record<string, string | number>} query */
export const history = async (query) => (await ask(`v1/history?${asked(query)}`)).json();

/** @param {Record<string, unknown>} start */
export function stream(start) {
  const url = new URL("v1/stream", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => socket.send(JSON.stringify({ type: "start", ...start, ...(key() ? { key: key() } : {}) })));
  return socket;
}
