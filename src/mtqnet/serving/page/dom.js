// @ts-check
/** Small helpers around the document. Text is always set as text, never as markup. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * An element with properties and children.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string)} children @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) /** @type {any} */ (made)[name] = value;
    else made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** The value of a colour (or other custom property) of the style sheet. @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Seconds as m:ss.t, or h:mm:ss.t from one hour on. @param {number} seconds */
export function clock(seconds) {
  const tenths = Math.round(Math.max(0, seconds) * 10);
  const [hours, minutes] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60];
  const rest = `${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Steps between labels of a time axis, in seconds. */
const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

/** Times of at most `most` labels in a span. @param {number} start @param {number} end in seconds @param {number} most */
export function timeTicks(start, end, most) {
  const step = TIME_STEPS.find((one) => (end - start) / one < most) ?? 14_400;
  const first = Math.ceil(start / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(end / step + 1e-9) - first + 1) }, (_, place) => {
    const at = (first + place) * step;
    return { at, text: step < 1 ? clock(at) : clock(at).slice(0, -2) };
  });
}

/**
 * Files from an input and from drops.
 * @param {HTMLElement} zone @param {HTMLInputElement} input @param {(files: File[]) => void} take
 */
export function takesFiles(zone, input, take) {
  const chosen = () => {
    const files = [...(input.files ?? [])];
    input.value = "";
    if (files.length) take(files);
  };
  input.addEventListener("change", chosen);
  chosen(); // while the page still asked what the server can do
  for (const name of ["dragenter", "dragover"])
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });
}

/** Show a message or a problem. @param {HTMLElement} place @param {string} text @param {boolean} [problem] */
export function say(place, text, problem = false) {
  place.textContent = text;
  place.classList.toggle("problem", problem);
}

/** @param {string} name @param {Blob} content */
export function download(name, content) {
  const link = element("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
