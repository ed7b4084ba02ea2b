// @ts-check
/** The list of recordings in this browser, so that it survives a reload. Nothing is sent anywhere. */

const DATABASE = "mtqnet";
const STORE = "recordings";
/** Bytes of a recording that is kept with its scores; of a larger one only the scores are kept. */
export const MAX_BYTES = 50_000_000;

/** @typedef {{id?: number, name: string, file: Blob | null, row: Record<string, any> | null, problem: string}} Kept */

/** @type {Promise<IDBDatabase | null> | null} */
let opened = null;

/** The database; null where the browser has none, for example in some private windows. */
function database() {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

/**
 * @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T | null>} null if it failed
 */
async function run(mode, act) {
  const db = await database();
  if (!db) return null;
  return new Promise((resolve) => {
    const request = act(db.transaction(STORE, mode).objectStore(STORE));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null); // no room, for example
  });
}

/** All recordings, in the order in which they were added. @returns {Promise<Kept[]>} */
export const all = async () => (await run("readonly", (store) => store.getAll())) ?? [];

/** Add or replace a recording, and return its id. @param {Kept} kept @returns {Promise<number | undefined>} */
export async function put(kept) {
  const { id, ...rest } = kept;
  const record = { ...rest, ...(id === undefined ? {} : { id }), file: kept.file && kept.file.size <= MAX_BYTES ? kept.file : null };
  return /** @type {number | undefined} */ ((await run("readwrite", (store) => store.put(record))) ?? undefined);
}

/** @param {number | undefined} id */
export const remove = async (id) => (id === undefined ? null : run("readwrite", (store) => store.delete(id)));

export const clear = () => run("readwrite", (store) => store.clear());
