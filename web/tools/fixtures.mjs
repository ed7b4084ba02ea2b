/**
 * Results of the Python package to test against, computed by research/browser_parity.py. `npm test` runs this file first and
 * sets MTQNET_FIXTURES, so that the test files share one computation; a test file that runs alone computes them itself.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const COUNT = "18";
let made = null;

/** @returns {any} the content of expected.json, and the folder of the recordings */
export function fixtures() {
  if (made) return made;
  const folder = join(root, "build", "browser-fixtures");
  const file = join(folder, "expected.json");
  if (process.env.MTQNET_FIXTURES) return (made = { folder, ...JSON.parse(readFileSync(file, "utf8")) });
  const own = join(root, ".venv", "bin", "python");
  const python = process.env.MTQNET_PYTHON ?? (existsSync(own) ? own : "python3");
  execFileSync(python, ["-m", "research.browser_parity", folder, "--count", COUNT], { cwd: root, stdio: "inherit", env: { ...process.env, PYTHONPATH: [join(root, "src"), root].join(":") } });
  return (made = { folder, ...JSON.parse(readFileSync(file, "utf8")) });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) fixtures();
