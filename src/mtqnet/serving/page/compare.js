// @ts-check
/** The view that compares A with B. */
import * as comparison from "./comparison.js";
import { byId, element, say, takesFiles } from "./dom.js";

/** @typedef {import("./words.js").Target} Target */
/**
 * @typedef {object} Service
 * @property {(a: File[], b: File[], model: string) => Promise<any>} compare the answer of POST /v1/compare
 * @property {((file: Blob) => Promise<Blob>)} [playable] a format that every browser decodes
 */

/** @type {{a: File[], b: File[]}} */
const sides = { a: [], b: [] };
/** @type {comparison.Switch | null} */
let heard = null;

/** @param {{targets: Target[]}} about @param {() => string} model @param {Service} service */
export function start(about, model, service) {
  for (const side of /** @type {("a" | "b")[]} */ (["a", "b"]))
    takesFiles(byId(`drop-${side}`), byId(`files-${side}`), async (files) => {
      sides[side] = files;
      byId(`names-${side}`).textContent = files.length > 3 ? `${files.length} files` : files.map((file) => file.name).join(", ");
      if (sides.a.length && sides.b.length) await compare(about, model(), service);
    });
  comparison.keys("compare", () => heard);
}

/** @param {{targets: Target[]}} about @param {string} model @param {Service} service */
async function compare(about, model, service) {
  heard?.close();
  heard = null;
  const place = byId("compared");
  place.replaceChildren();
  say(byId("compare-status"), "Comparing…");
  let answer;
  try {
    answer = await service.compare(sides.a, sides.b, model);
  } catch (error) {
    say(byId("compare-status"), error instanceof Error ? error.message : String(error), true);
    return;
  }
  const failed = [...answer.a, ...answer.b].filter((row) => row.error);
  const pairs = comparison.pairs(answer, sides);
  const scored = pairs.filter((pair) => !pair.a.error && !pair.b.error);
  const stage = element("div", {});
  heard = new comparison.Switch(stage, service.playable);
  const current = heard;
  const listen = async (/** @type {comparison.Pair} */ pair, /** @type {number} */ side, play = true) => {
    if (!(await current.load(pair))) return;
    current.players.forEach((player) => player.audio.pause());
    current.show(side);
    if (play) await current.players[side].play();
  };
  const overall = /** @type {Target} */ (about.targets.find((target) => target.key === "g_mos"));
  const results = element("div", {},
    ...failed.map((row) => element("p", { className: "problem", textContent: `${row.file}: ${row.error}` })),
    ...(answer.comparisons.length ? [comparison.intervalPlot(about.targets, answer.comparisons), comparison.numbers(about.targets, answer.comparisons)] : []),
    ...(pairs.length ? [comparison.sentences(overall, pairs, listen)] : []));
  const show = () => {
    say(byId("compare-status"), answer.verdict.join(" "));
    const blind = element("button", { type: "button", textContent: "Blind test" });
    blind.addEventListener("click", () => {
      say(byId("compare-status"), "The scores are hidden until the end of the test.");
      current.close();
      new comparison.Blind(place, scored, current, show);
    });
    const offer = scored.length ? [element("p", { className: "player" }, blind, element("span", { className: "hint", textContent: "Listen without knowing which one is A, and vote." }))] : [];
    place.replaceChildren(...offer, results, stage);
  };
  show();
  if (scored.length === 1) await listen(scored[0], 0, false);
}
