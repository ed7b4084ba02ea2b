// @ts-check
/** Documentation of the endpoints from the OpenAPI document of this server, with a form to try each of them. */
import { byId, element } from "./dom.js";

/** @typedef {Record<string, any>} Schema */

/** @param {string} reference */
const nameOf = (reference) => reference.split("/").at(-1) ?? "";

/** The type of a schema, with links to named types. @param {Schema | undefined} schema @returns {Node[]} */
function type(schema) {
  if (!schema) return [document.createTextNode("any")];
  if (schema.$ref) return [element("a", { href: `#type-${nameOf(schema.$ref)}`, textContent: nameOf(schema.$ref) })];
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.flatMap((/** @type {Schema} */ one, /** @type {number} */ place) => [...(place ? [document.createTextNode(" or ")] : []), ...type(one)]);
  if (schema.type === "array") return [document.createTextNode("list of "), ...type(schema.items)];
  if (schema.enum) return [document.createTextNode(schema.enum.map((/** @type {unknown} */ one) => JSON.stringify(one)).join(" | "))];
  if (schema.additionalProperties && schema.additionalProperties !== true) return [document.createTextNode("object of "), ...type(schema.additionalProperties)];
  return [document.createTextNode(schema.format === "binary" ? "file" : (schema.type ?? "any"))];
}

/** Limits and default of a schema in words. @param {Schema} schema */
function limits(schema) {
  const parts = [schema, ...(schema.anyOf ?? [])];
  const value = (/** @type {string} */ name) => parts.find((part) => part[name] !== undefined)?.[name];
  const words = [];
  if (value("minimum") !== undefined) words.push(`at least ${value("minimum")}`);
  if (value("maximum") !== undefined) words.push(`at most ${value("maximum")}`);
  if (value("pattern")) words.push(`pattern ${value("pattern")}`);
  const standard = schema.default;
  if (standard !== undefined && standard !== null && standard !== "") words.push(`default ${JSON.stringify(standard)}`);
  return words.join("; ");
}

/** Text with `code` as elements. @param {string} text @returns {(Node | string)[]} */
const prose = (text) => (text ?? "").split("`").map((part, place) => (place % 2 ? element("code", { textContent: part }) : part));

/** @param {string} label @param {string[]} heads @param {(Node | string)[][][]} rows */
function table(label, heads, rows) {
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label },
    element("table", { className: "reference" }, element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })))),
      element("tbody", {}, ...rows.map(([first, ...others]) => element("tr", {}, element("th", { scope: "row" }, ...first), ...others.map((cell) => element("td", {}, ...cell)))))));
}

/** @param {string} path @param {string} method @param {Schema} about */
function endpoint(path, method, about) {
  const id = `${method}${path.replaceAll(/[^a-z]+/g, "-")}`;
  const parameters = about.parameters ?? [];
  const shown = [element("h2", { id }, element("span", { className: `method ${method}`, textContent: method.toUpperCase() }), " ", element("code", { textContent: path })),
    ...(about.description ?? about.summary ?? "").split("\n\n").map((/** @type {string} */ part) => element("p", {}, ...prose(part)))];
  if (parameters.length)
    shown.push(table(`Parameters of ${method} ${path}`, ["Parameter", "Type", "Meaning"], parameters.map((/** @type {Schema} */ one) => [
      [element("code", { textContent: one.name })], type(one.schema), [...prose(one.description ?? one.schema?.description ?? ""), limits(one.schema) ? ` (${limits(one.schema)})` : ""]])));
  const body = about.requestBody?.content ?? {};
  if (Object.keys(body).length) shown.push(element("p", {}, `Body: ${Object.keys(body).join(", ")}.`));
  shown.push(table(`Answers of ${method} ${path}`, ["Status", "Meaning", "Content"], Object.entries(about.responses).map(([status, answer]) => [
    [status], prose(answer.description), Object.entries(answer.content ?? {}).flatMap(([media, { schema }], place) => [place ? ", " : "", `${media}: `, ...type(schema)])])));
  return element("section", { "aria-labelledby": id }, ...shown, attempt(path, method, parameters, body["multipart/form-data"]?.schema?.properties ?? {}));
}

/** A form that sends a request and shows the answer. @param {string} path @param {string} method @param {Schema[]} parameters @param {Schema} parts */
function attempt(path, method, parameters, parts) {
  const form = element("form", { className: "filters" });
  const field = (/** @type {string} */ name, /** @type {Schema} */ options) => {
    const input = element("input", options);
    form.append(element("label", {}, name, input));
    return input;
  };
  const values = parameters.map((one) => ({ one, input: field(one.name, { type: "text", autocomplete: "off", required: Boolean(one.required) }) }));
  const files = Object.entries(parts).map(([name, schema]) => ({ name, input: field(name, { type: "file", className: "shown", multiple: schema.type === "array", required: true }) }));
  const output = element("pre", { tabIndex: 0, role: "region", "aria-label": `Answer of ${method} ${path}`, hidden: true });
  form.append(element("button", { textContent: "Send" }));
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    for (const { one, input } of values) {
      if (one.in === "path") target = target.replace(`{${one.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(one.name, input.value);
    }
    const body = files.length ? new FormData() : null;
    for (const { name, input } of files) for (const file of input.files) body?.append(name, file, file.name);
    const key = byId("key").value;
    output.hidden = false;
    output.textContent = "Waiting…";
    try {
      const answer = await fetch(`..${target}${query.size ? `?${query}` : ""}`, { method, body, headers: key ? { Authorization: `Bearer ${key}` } : {} });
      const media = answer.headers.get("Content-Type") ?? "";
      const text = /json|text/.test(media) ? await answer.text() : `${(await answer.blob()).size} bytes of ${media || "nothing"}`;
      output.textContent = `${answer.status} ${answer.statusText}\n${media.includes("json") && !media.includes("ndjson") ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
    } catch (error) {
      output.textContent = String(error);
    }
  });
  return element("details", {}, element("summary", { textContent: `Try ${method.toUpperCase()} ${path}` }), form, output);
}

/** @param {string} name @param {Schema} schema */
function named(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([key, one]) => [[element("code", { textContent: key })], type(one), [...prose(one.description ?? ""), limits(one) ? ` (${limits(one)})` : ""]]);
  return element("section", {}, element("h3", { id: `type-${name}`, textContent: name }), element("p", {}, ...prose(schema.description ?? "")),
    ...(rows.length ? [table(`Fields of ${name}`, ["Field", "Type", "Meaning"], rows)] : []));
}

const document_ = await (await fetch("openapi.json")).json();
byId("version").textContent = document_.info.version;
byId("about").replaceChildren(...prose(document_.info.description));
byId("endpoints").replaceChildren(...Object.entries(document_.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => endpoint(path, method, about))));
byId("types").replaceChildren(...Object.entries(document_.components?.schemas ?? {}).map(([name, schema]) => named(name, schema)));
if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
