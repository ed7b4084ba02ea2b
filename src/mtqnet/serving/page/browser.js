// @ts-check
/** Scoring in this browser: the package mtqnet (web/) in the place of the service, so that no recording is sent anywhere. */

/** @typedef {import("./score.js").How} How */
/** @typedef {{record: any, graph: Uint8Array}} ModelFiles */

const DECIMALS = 3; // of seconds
const OPEN = 1;
const CLOSED = 3;

/**
 * What score.js, compare.js and live.js need of a service.
 * @param {string | URL} folder address of the package @param {(model: string) => Promise<ModelFiles | undefined>} [files] of models that are not in the package
 */
export function create(folder, files = async () => undefined) {
  /** @type {Promise<any> | null} */
  let loading = null;
  /** @type {Map<string, Promise<any>>} */
  const models = new Map();

  const library = () => (loading ??= import(new URL("index.js", new URL(folder, document.baseURI)).href).catch(() => {
    loading = null;
    throw new Error("The files for scoring in the browser could not be loaded.");
  }));

  /** @param {string} name */
  const model = (name) => {
    let made = models.get(name);
    if (!made) {
      made = library().then(async ({ load }) => load(name, { files: await files(name) }));
      made.catch(() => models.delete(name)); // so that it is tried again
      models.set(name, made);
    }
    return made;
  };

  /** @param {File} file @param {How} how @param {"local" | "none"} track @returns {Promise<Record<string, any>[]>} */
  const rows = async (file, { model: name, channels, signal, progress }, track) => {
    const { decode, AudioError } = await library();
    progress(0, models.has(name) ? "Scoring" : "Loading the model for");
    const loaded = await model(name);
    signal.throwIfAborted();
    let decoded;
    try {
      decoded = await decode(file);
    } catch (error) {
      if (error instanceof AudioError) throw new Error(`${file.name}: ${/** @type {Error} */ (error).message}.`);
      throw error;
    }
    const options = { file: file.name, track, signal, progress: (/** @type {number} */ part) => progress(part, "Scoring") };
    if (channels === "each") return loaded.scoreChannels(decoded.channels, decoded.rate, options);
    return [await loaded.score(decoded.channels, decoded.rate, { ...options, channels: channels === "mix" ? "mix" : Number(channels) })];
  };

  return {
    /** Start to load the model before the first recording. @param {string} name */
    prepare: async (name) => void (await model(name)),

    /** @param {File} file @param {How} how @returns {Promise<Record<string, any>>} */
    score: async (file, how) => {
      const { definition, worst } = await library();
      const scored = await rows(file, how, "local");
      const answers = scored.map((one) => answer(one, definition, worst));
      if (how.channels === "each") return { file: file.name, rows: answers };
      if (scored[0].error !== null) throw new Error(scored[0].error);
      return answers[0];
    },

    /** @param {File[]} a @param {File[]} b @param {string} name */
    compare: async (a, b, name) => {
      const { definition, worst, compare } = await library();
      const how = { model: name, channels: "mix", signal: new AbortController().signal, progress: () => undefined };
      const failed = (/** @type {File} */ file, /** @type {unknown} */ error) => ({ file: file.name, flags: [], windows: [], intervals: {}, causes: {}, error: error instanceof Error ? error.message : String(error) });
      /** @param {File[]} some */
      const side = async (some) => {
        const made = [];
        for (const file of some) made.push(await rows(file, how, "none").then(([row]) => row, (error) => failed(file, error)));
        return made;
      };
      const [first, second] = [await side(a), await side(b)];
      const { record } = await model(name);
      const both = [first, second].map((some) => some.map((row) => answer(row, definition, worst)));
      return { model: record.name, model_sha256: record.sha256, a: both[0], b: both[1], ...compare(first, second) };
    },

    /** What speaks the protocol of /v1/stream. @param {Record<string, unknown>} start @returns {WebSocket} */
    stream: (start) => /** @type {any} */ (new LocalSocket(start, model, library)),
  };
}

/** The package in the place of the WebSocket. */
class LocalSocket extends EventTarget {
  /** @param {Record<string, any>} start @param {(name: string) => Promise<any>} model @param {() => Promise<any>} library */
  constructor(start, model, library) {
    super();
    this.readyState = OPEN;
    this.rate = start.rate;
    this.received = 0;
    this.rows = 0;
    /** @type {Float32Array[]} */
    this.waiting = [];
    this.busy = false;
    this.ending = false;
    this.stream = Promise.all([library(), model(start.model)]).then(async ([{ definition }, loaded]) => {
      this.definition = definition;
      return loaded.stream(start.rate);
    });
    this.stream.catch((error) => this.fail(error));
  }

  /** Samples, or the message that ends the stream. @param {Float32Array | string} data */
  send(data) {
    if (typeof data === "string") this.ending = true;
    else {
      this.received += data.length;
      this.waiting.push(data);
    }
    this.work();
  }

  async work() {
    if (this.busy || this.readyState !== OPEN) return;
    this.busy = true;
    try {
      const stream = await this.stream;
      while (this.waiting.length) {
        const some = this.waiting;
        this.waiting = [];
        const samples = new Float32Array(some.reduce((sum, { length }) => sum + length, 0));
        some.reduce((at, one) => (samples.set(one, at), at + one.length), 0);
        for (const row of await stream.feed(samples, { latest: true })) this.tell(row); // a slow device skips rows
      }
      if (this.ending) {
        for (const row of await stream.finish()) this.tell(row);
        this.message({ kind: "end", heard_s: this.received / this.rate, rows: this.rows });
        this.close(1000);
      }
    } catch (error) {
      this.fail(error);
    }
    this.busy = false;
  }

  /** @param {any} row */
  tell(row) {
    const [{ start_s, end_s }] = row.windows;
    this.rows += 1;
    this.message({ kind: "scores", ...scored(row, this.definition), start_s: round(start_s, DECIMALS), end_s: round(end_s, DECIMALS), flags: row.flags, level: row.level, error: row.error, behind_s: Math.max(0, this.received / this.rate - end_s) });
  }

  /** @param {Record<string, any>} content */
  message(content) {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(content) }));
  }

  /** @param {unknown} error */
  fail(error) {
    this.message({ kind: "problem", detail: error instanceof Error ? error.message : String(error) });
    this.close(1011);
  }

  /** @param {number} code */
  close(code = 1000) {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.dispatchEvent(new CloseEvent("close", { code }));
  }
}

/** @param {number} value @param {number} decimals */
const round = (value, decimals) => Number(value.toFixed(decimals));

/** Scores and intervals, rounded as in the answers of the service. @param {any} row @param {any} definition */
function scored(row, definition) {
  const written = (/** @type {any} */ target, /** @type {number | null | undefined} */ value) =>
    value == null ? null : target.log ? Number(value.toPrecision(definition.significant_digits)) : round(value, definition.decimals);
  const targets = /** @type {any[]} */ (definition.targets);
  return {
    ...Object.fromEntries(targets.map((target) => [target.key, written(target, row[target.key])])),
    intervals: Object.fromEntries(targets.filter(({ key }) => row.intervals[key]).map((target) => {
      const { low, high } = row.intervals[target.key];
      return [target.key, { low: written(target, low), high: written(target, high) }];
    })),
  };
}

/** A result with the fields of an answer of POST /v1/score. @param {any} row @param {any} definition @param {(row: any) => any} worst */
function answer(row, definition, worst) {
  const { track } = row;
  const columns = track && Object.fromEntries(track.targets.map((/** @type {string} */ key, /** @type {number} */ place) =>
    [key, track.values.map((/** @type {number[]} */ frame) => round(frame[place], definition.decimals))]));
  return {
    ...row,
    ...scored(row, definition),
    windows: row.windows.map((/** @type {any} */ window) => ({
      ...scored({ ...Object.fromEntries(window.targets.map((/** @type {string} */ key, /** @type {number} */ place) => [key, window.values[place]])), intervals: window.intervals }, definition),
      start_s: window.start_s, end_s: window.end_s, weight: window.weight,
    })),
    track: track ? { times_s: track.times_s, values: columns } : null,
    worst: track ? worst(row) : null,
  };
}
