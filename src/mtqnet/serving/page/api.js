// @ts-check
/** The endpoints of this server: requests go nowhere else. */

/** @typedef {import("./words.js").Target} Target */
/** @typedef {import("./words.js").Flag} Flag */

const KEY = "mtqnet-key";

/** A request that was answered with a problem document (RFC 9457). */
export class Problem extends Error {
  /** @param {{status: number, detail: string}} answer */
  constructor(answer) {
    super(answer.detail);
    this.status = answer.status;
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
    throw new Problem({ status: 0, detail: "The server does not answer." });
  }
  if (answer.ok) return answer;
  throw new Problem(await answer.json().catch(() => ({ status: answer.status, detail: answer.statusText })));
}

/** @param {Record<string, string | number | boolean>} values */
const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "").map(([name, value]) => [name, String(value)]));

/** @param {Record<string, Blob[]>} fields */
function form(fields) {
  const made = new FormData();
  for (const [field, files] of Object.entries(fields)) for (const file of files) made.append(field, file, file instanceof File ? file.name : "recording");
  return made;
}

/** Try again while the server is busy. @template T @param {() => Promise<T>} act @param {AbortSignal} [signal] @returns {Promise<T>} */
async function patient(act, signal) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 429 || tries === 20 || signal?.aborted) throw error;
      await new Promise((done) => setTimeout(done, 1000 + 500 * tries));
    }
  }
}

/** @param {string} path @param {FormData} body */
const post = (path, body) => patient(() => ask(path, { method: "POST", body }));

export const models = async () => (await ask("v1/models")).json();

/** Record and graph of a model, for scoring in this browser. @param {string} name */
export async function model(name) {
  const path = `v1/models/${encodeURIComponent(name)}`;
  const [record, graph] = await Promise.all([ask(`${path}/record`), ask(`${path}/graph`)]);
  return { record: await record.json(), graph: new Uint8Array(await graph.arrayBuffer()) };
}

const UPLOAD_PART = 0.2; // of the progress of a recording

/**
 * Score a recording. The progress of the upload comes from the request, that of scoring from the lines of the answer.
 * @param {File} file @param {import("./score.js").How} how @returns {Promise<Record<string, any>>}
 */
export const score = (file, { model, channels, signal, progress }) => patient(() => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  request.open("POST", `v1/score?${query({ model, channels, track: true, windows: true, progress: true })}`);
  if (key()) request.setRequestHeader("Authorization", `Bearer ${key()}`);
  const abort = () => request.abort();
  signal.addEventListener("abort", abort);
  request.upload.onprogress = (event) => progress((UPLOAD_PART * event.loaded) / event.total, "Uploading");
  const lines = () => request.responseText.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  const streamed = () => request.status === 200 && request.getResponseHeader("Content-Type")?.startsWith("application/x-ndjson");
  request.onprogress = () => {
    const last = streamed() && lines().at(-1);
    if (last && last.kind === "progress") progress(UPLOAD_PART + (1 - UPLOAD_PART) * last.done, "Scoring");
  };
  request.onloadend = () => {
    signal.removeEventListener("abort", abort);
    if (signal.aborted) return reject(new Problem({ status: 0, detail: "Cancelled." }));
    if (streamed()) {
      const last = lines().at(-1);
      if (last?.kind === "result") return resolve(last.result);
      return reject(new Problem(last?.problem ?? { status: 0, detail: "The connection to the server was lost." }));
    }
    if (!request.status) return reject(new Problem({ status: 0, detail: "The server does not answer." }));
    try {
      const answer = JSON.parse(request.responseText);
      return request.status === 200 ? resolve(answer) : reject(new Problem(answer));
    } catch {
      return reject(new Problem({ status: request.status, detail: request.statusText }));
    }
  };
  request.send(form({ file: [file] }));
}), signal);

/** @param {File[]} a @param {File[]} b @param {string} model */
export const compare = async (a, b, model) => (await post(`v1/compare?${query({ model })}`, form({ a, b }))).json();

/** @param {Blob} file @param {string} model */
export const picture = async (file, model) => (await post(`v1/picture?${query({ model })}`, form({ file: [file] }))).blob();

/** A recording in a format that every browser decodes. @param {Blob} file */
export const playable = async (file) => (await post("v1/playable", form({ file: [file] }))).blob();

/** @param {Record<string, string | number>} filters */
export const history = async (filters) => (await ask(`v1/history?${query(filters)}`)).json();

/** Delete a row of the history. @param {number} id */
export const remove = async (id) => void (await ask(`v1/history/${id}`, { method: "DELETE" }));

/** The recording of a row of the history. @param {number} id */
export const audio = async (id) => (await ask(`v1/history/${id}/audio`)).blob();

/** @param {Record<string, unknown>} start */
export function stream(start) {
  const url = new URL("v1/stream", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => socket.send(JSON.stringify({ type: "start", ...start, ...(key() ? { key: key() } : {}) })));
  return socket;
}
