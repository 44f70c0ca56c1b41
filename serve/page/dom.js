/** Elements. What comes from a server or a file name becomes text here and never markup. */

export const byId = (id) => document.getElementById(id);

/**
 * An element; children are elements or text. Attributes that are null or false are left out, functions listen.
 * @param {string} tag
 * @param {Object<string, unknown>} attributes
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, setting] of Object.entries(attributes)) {
    if (typeof setting === "function") element.addEventListener(name, setting);
    else if (setting !== null && setting !== undefined && setting !== false) element.setAttribute(name, String(setting));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/**
 * A table; the first cell of a row is its head.
 * @param {string} caption
 * @param {{title: string, class?: string}[]} columns
 * @param {Array<Array<string | Node>>} rows
 */
export function makeTable(caption, columns, rows, attributes = {}) {
  const heads = columns.map((column) => make("th", { scope: "col", class: column.class }, column.title));
  const lines = rows.map((cells) =>
    make("tr", {}, ...cells.map((cell, k) => make(k ? "td" : "th", { scope: k ? null : "row", class: columns[k].class, "data-label": columns[k].title }, cell))),
  );
  return make("table", attributes, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
}

/** Pairs of a name and a value, as a list of terms; pairs without a value are left out. */
export function makeFacts(pairs, attributes = {}) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", attributes, ...told.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

/** A button. */
export const makeButton = (words, click, attributes = {}) => make("button", { type: "button", click, ...attributes }, words);

/** Writes text to the clipboard, and says on the button that it did. */
export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy";
  }
  setTimeout(() => (button.textContent = before), 1600);
}

/** Hands a file to the browser's downloads. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
