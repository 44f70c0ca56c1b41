"use strict";
(() => {
  const store = JSON.parse(document.getElementById("rows").textContent);
  const table = document.getElementById("table");
  if (!table) return;

  const PRINTED_ROWS = 500;
  const byId = (id) => document.getElementById(id);
  const columns = store.columns;
  const column = Object.fromEntries(columns.map((one) => [one.name, one]));
  const shown = columns.filter((one) => one.wide);
  const filtered = columns.filter((one) => one.filtered);
  const count = store.candidate.length;
  const hasSmall = Object.keys(store.small).length > 0;
  const state = { which: "all", phrase: "", ranges: {}, choices: {}, sort: "rank", down: false, page: 0, size: 50 };
  let order = [];
  let focused = 0;

  // Words and numbers

  const flaws = new Map(Object.entries(store.flaws));
  const words = (name) => (flaws.has(name) ? flaws.get(name)[0] : String(name).replaceAll("_", " "));
  const whole = (number) => number.toLocaleString("en-US");

  function value(one, row) {
    const raw = one.values[row];
    if (raw === null || !one.words) return raw;
    return Array.isArray(raw) ? raw.map((k) => one.words[k]) : one.words[raw];
  }

  const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  /** Smaller chances than this mean nothing. */
  const LEAST_CHANCE = 1e-30;

  function formatted(one, number) {
    if (one.name === "fap" && number < LEAST_CHANCE) return "< 10⁻³⁰";
    if (one.name.endsWith("_probability") && (number === 0 || number === 1)) return number ? "> 0.999" : "< 0.001";
    if (one.decimals !== null) {
      const places = { minimumFractionDigits: one.decimals, maximumFractionDigits: one.decimals };
      return number.toLocaleString("en-US", { ...places, useGrouping: one.name !== "epoch_bjd" });
    }
    if (Math.abs(number) >= 1e-3 && Math.abs(number) < 1e9) {
      return number.toLocaleString("en-US", { maximumSignificantDigits: one.digits });
    }
    if (number === 0) return "0";
    const [mantissa, power] = number.toExponential(Math.max(0, one.digits - 1)).split("e");
    return `${mantissa}×10${[...power.replace("+", "")].map((sign) => SUPERSCRIPTS[sign]).join("")}`;
  }

  function spoken(one, row) {
    const found = value(one, row);
    if (one.name === "period" && found === null) return "single";
    if (found === null || found === undefined) return "";
    if (one.kind === "number") return formatted(one, found);
    return Array.isArray(found) ? found.map(words).join(", ") : one.words ? words(found) : found;
  }

  /** An element; children are elements or text, never markup. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, setting] of Object.entries(attributes)) {
      if (setting !== null && setting !== undefined && setting !== false) element.setAttribute(name, setting);
    }
    element.append(...children);
    return element;
  }

  // Which rows, in which order

  const haystacks = Array.from({ length: count }, (_, row) =>
    columns
      .filter((one) => one.kind !== "number" && one.name !== "observed")
      .map((one) => spoken(one, row))
      .join(" ")
      .toLowerCase(),
  );

  function passes(row) {
    if (state.which === "candidates" && !store.candidate[row]) return false;
    if (!haystacks[row].includes(state.phrase)) return false;
    for (const [name, [low, high]] of Object.entries(state.ranges)) {
      const found = column[name].values[row];
      if (found === null || found < low || found > high) return false;
    }
    for (const [name, choice] of Object.entries(state.choices)) {
      const found = value(column[name], row);
      if (Array.isArray(found) ? !found.includes(choice) : found !== choice) return false;
    }
    return true;
  }

  function key(one, row) {
    const found = value(one, row);
    if (Array.isArray(found)) return found.length ? found.join(" ") : null;
    return found;
  }

  function arrange() {
    const one = column[state.sort];
    const keys = new Map();
    order = [];
    for (let row = 0; row < count; row++) {
      if (passes(row)) {
        order.push(row);
        keys.set(row, key(one, row));
      }
    }
    const sign = state.down ? -1 : 1;
    order.sort((a, b) => {
      const [left, right] = [keys.get(a), keys.get(b)];
      // What was not measured stands at the end, whichever way the others are turned.
      if (left === null || right === null) return (left === null) - (right === null) || a - b;
      const turned = one.kind === "number" ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
      return sign * turned || a - b;
    });
    state.page = 0;
    focused = 0;
    render();
  }

  // The table

  function render(size = state.size) {
    const pages = Math.max(1, Math.ceil(order.length / size));
    state.page = Math.min(state.page, pages - 1);
    const begin = state.page * size;
    const rows = order.slice(begin, begin + size);
    table.tBodies[0].replaceChildren(...rows.map(tableRow));
    for (const head of table.tHead.querySelectorAll("th[data-name]")) {
      const sorted = head.dataset.name === state.sort;
      head.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      head.querySelector(".arrow").textContent = sorted ? (state.down ? "▾" : "▴") : "";
    }
    const [one, many] = state.which === "candidates" ? ["candidate", "candidates"] : ["signal", "signals"];
    const all = state.which === "candidates" ? store.candidate.reduce((sum, bit) => sum + bit, 0) : count;
    const noun = all === 1 ? one : many;
    byId("found").textContent =
      order.length === all ? `${whole(all)} ${noun}` : order.length ? `${whole(order.length)} of ${whole(all)} ${noun}` : `None of ${whole(all)} ${noun} fits these filters.`;
    byId("pager").hidden = order.length <= 25;
    byId("page-words").textContent = `${whole(begin + 1)} to ${whole(begin + rows.length)} of ${whole(order.length)}`;
    byId("first").disabled = byId("previous").disabled = state.page === 0;
    byId("last").disabled = byId("next").disabled = state.page === pages - 1;
    byId("sort").value = `${state.sort} ${state.down ? "down" : "up"}`;
  }

  function tableRow(row, place) {
    const line = make("tr", { "data-row": row, class: store.candidate[row] ? null : "rest" });
    if (hasSmall) {
      const small = store.small[row];
      const picture = small ? [make("img", { src: `data:image/png;base64,${small}`, alt: "", width: 116, height: 42 })] : [];
      line.append(make("td", { class: small ? "thumb" : "thumb blank" }, ...picture));
    }
    for (const one of shown) line.append(cell(one, row, place));
    return line;
  }

  function cell(one, row, place) {
    const text = spoken(one, row);
    const kind = one.kind === "number" ? "number" : one.name === "target_id" ? "target" : one.name;
    const label = one.unit ? `${one.label} (${one.unit})` : one.label;
    const made = make("td", { class: `${kind}${one.name === "rank" ? " rank" : ""}${text ? "" : " blank"}`, "data-label": label });
    if (one.name === "target_id") {
      const number = column.number ? column.number.values[row] : 1;
      const opener = make("button", { type: "button", class: "opener", tabindex: place === focused ? 0 : -1 }, text);
      made.append(opener);
      const known = column.known_name && column.known_name.values[row];
      const under = [number > 1 ? `signal ${number}` : "", known || ""].filter(Boolean).join(", ");
      if (under) made.append(make("small", {}, under));
    } else if (one.name === "novelty" && text) {
      const name = column.known_name && column.known_name.values[row];
      made.append(make("span", { class: "chip", title: name || null }, text));
    } else {
      made.append(text);
      const unlike = strange(one, row);
      if (text && unlike) {
        made.classList.add("guess");
        made.title = `unlike the training: ${unlike}`;
      }
    }
    return made;
  }

  /** What of a signal lies outside all that the model behind a probability has seen. */
  function strange(one, row) {
    if (!column.out_of_support || !one.name.endsWith("_probability")) return "";
    const model = `${one.name.replace("_probability", "")}: `;
    const said = value(column.out_of_support, row).filter((remark) => remark.startsWith(model));
    return said.map((remark) => words(remark.slice(model.length))).join(", ");
  }

  function head() {
    const line = make("tr");
    if (hasSmall) line.append(make("td", {}, make("span", { class: "hidden" }, "Fold")));
    for (const one of shown) {
      const parts = [one.label, make("span", { class: "arrow", "aria-hidden": "true" })];
      if (one.kind === "number") parts.reverse();
      const button = make("button", { type: "button", title: one.help }, ...parts, make("small", {}, one.unit));
      button.addEventListener("click", () => sortBy(one.name));
      line.append(make("th", { scope: "col", "data-name": one.name, class: one.kind === "number" ? "number" : null }, button));
    }
    table.tHead.replaceChildren(line);
  }

  /** Strengths begin with the largest, everything else with the smallest. */
  const LARGEST_FIRST = new Set(["mes", "depth_ppm", "planet_radius", "n_transits", "duration_h"]);

  function sortBy(name) {
    state.down = state.sort === name ? !state.down : LARGEST_FIRST.has(name);
    state.sort = name;
    arrange();
  }

  function moveFocus(step) {
    const openers = [...table.tBodies[0].querySelectorAll(".opener")];
    const here = openers.indexOf(document.activeElement);
    if (here < 0 || !openers[here + step]) return;
    openers[here].tabIndex = -1;
    focused = here + step;
    openers[focused].tabIndex = 0;
    openers[focused].focus();
  }

  // Filters

  function makeFilters() {
    const fields = byId("range-fields");
    for (const one of filtered) {
      const label = one.unit ? `${one.label} (${one.unit})` : one.label;
      const ends = ["least", "most"].map((end) =>
        make("input", { type: "text", inputmode: "decimal", id: `${end}-${one.name}`, "data-name": one.name, placeholder: end, "aria-label": `${label}, ${end}` }),
      );
      fields.append(make("fieldset", {}, make("legend", {}, label), ends[0], "–", ends[1]));
    }
    for (const name of ["star_class", "novelty", "match_kind", "flags"]) {
      const one = column[name];
      if (!one || !one.words.length) continue;
      const options = [make("option", { value: "" }, "any"), ...one.words.map((word) => make("option", { value: word }, words(word)))];
      fields.append(make("label", {}, one.label, make("select", { id: `choice-${name}`, "data-choice": name }, ...options)));
    }
    for (const one of shown) {
      for (const turn of ["up", "down"]) {
        byId("sort").append(make("option", { value: `${one.name} ${turn}` }, `${one.label}, ${one.kind === "number" ? (turn === "up" ? "smallest first" : "largest first") : turn === "up" ? "A to Z" : "Z to A"}`));
      }
    }
  }

  /** A number of a range field; null for an empty one, NaN for what is no number. */
  function bound(input) {
    const text = input.value.trim().replaceAll(",", "");
    const number = text === "" ? null : Number(text);
    input.setAttribute("aria-invalid", Number.isNaN(number));
    return number;
  }

  function readFilters() {
    state.which = document.querySelector("input[name=which]:checked").value;
    state.phrase = byId("search").value.toLowerCase().trim().replace(/\s+/g, " ");
    state.ranges = {};
    for (const one of filtered) {
      const [low, high] = [bound(byId(`least-${one.name}`)), bound(byId(`most-${one.name}`))];
      if ((low !== null && !Number.isNaN(low)) || (high !== null && !Number.isNaN(high))) {
        state.ranges[one.name] = [low === null || Number.isNaN(low) ? -Infinity : low, high === null || Number.isNaN(high) ? Infinity : high];
      }
    }
    state.choices = {};
    for (const select of document.querySelectorAll("[data-choice]")) {
      if (select.value) state.choices[select.dataset.choice] = select.value;
    }
    byId("reset").hidden = !(state.phrase || Object.keys(state.ranges).length || Object.keys(state.choices).length);
    arrange();
  }

  // One signal

  const panel = byId("panel");
  let open = null;

  /** What the head of the panel shows already. */
  const IN_HEAD = new Set(["rank", "target_id", "flags", "star_class", "novelty"]);

  /** A line of the panel: "1.405867 ± 3.6×10⁻⁷ d". */
  function figure(one, signal) {
    let text = spoken(one, signal);
    const error = column[one.error] && spoken(column[one.error], signal);
    if (error && text !== "single" && !/^[<>]/.test(text)) text += ` ± ${error}`;
    if (one.unit && text !== "single") text += ` ${one.unit}`;
    return make("tr", { title: one.help, class: one.kind === "number" ? null : "words" }, make("th", { scope: "row" }, one.label), make("td", {}, text));
  }

  function showSignal(signal) {
    open = signal;
    const place = order.indexOf(signal);
    const number = column.number ? column.number.values[signal] : 1;
    byId("panel-title").textContent = `${column.target_id.values[signal]}${number > 1 ? `, signal ${number}` : ""}`;
    byId("panel-words").replaceChildren(...chips(signal));
    byId("panel-place").textContent = place < 0 ? "" : `${whole(place + 1)} of ${whole(order.length)}`;
    byId("panel-previous").disabled = place <= 0;
    byId("panel-next").disabled = place < 0 || place === order.length - 1;
    byId("panel-sheet").replaceChildren(...sheet(signal));
    byId("panel-figures").replaceChildren(...figures(signal));
    byId("panel-sheet").scrollTop = byId("panel-figures").scrollTop = 0;
    if (!panel.open) panel.showModal();
    history.replaceState(null, "", `#signal-${column.rank.values[signal]}`);
  }

  function chips(signal) {
    const passed = store.candidate[signal];
    const made = [make("span", { class: `chip ${passed ? "yes" : "no"}` }, passed ? "candidate" : "not a candidate")];
    for (const name of ["star_class", "novelty", "known_name"]) {
      if (column[name] && spoken(column[name], signal)) made.push(make("span", { class: "chip" }, spoken(column[name], signal)));
    }
    for (const flag of value(column.flags, signal)) made.push(make("span", { class: "chip no" }, words(flag)));
    return made;
  }

  function sheet(signal) {
    const name = store.sheets[signal];
    const star = column.target_id.values[signal];
    if (name) {
      const base = `sheets/${encodeURIComponent(name)}`;
      const links = make("p", {}, "Sheet: ");
      store.formats.forEach((suffix, k) => links.append(k ? ", " : "", make("a", { href: `${base}.${suffix}`, target: "_blank", rel: "noopener" }, suffix.toUpperCase())));
      const image = make("img", { src: `${base}.png`, alt: `Sheet of evidence: light curve, folds and checks of ${star}` });
      image.addEventListener("error", () => image.replaceWith(make("p", {}, "The sheet is not beside this page: it lies in the folder sheets of the report.")));
      return [links, make("a", { class: "sheet", href: `${base}.png`, target: "_blank", rel: "noopener" }, image)];
    }
    const reason = store.undrawn[signal];
    const words_ = reason ? `The sheet could not be drawn: ${reason}` : "No sheet is drawn of this signal. This draws it:";
    const made = [make("p", {}, words_)];
    if (!reason) made.push(make("p", {}, make("code", {}, `survey report ${store.run} "${star}"`)));
    if (store.small[signal]) made.push(make("img", { class: "small", src: `data:image/png;base64,${store.small[signal]}`, alt: "Fold about the transit" }));
    return made;
  }

  function figures(signal) {
    const errors = new Set(columns.map((one) => one.error));
    const told = columns.filter((one) => !IN_HEAD.has(one.name) && !errors.has(one.name) && spoken(one, signal) !== "");
    const made = [];
    for (const [title, group] of [["Signal", told.filter((one) => !one.star)], ["Star", told.filter((one) => one.star)]]) {
      if (group.length) made.push(make("h3", {}, title), make("table", {}, make("tbody", {}, ...group.map((one) => figure(one, signal)))));
    }
    const checks = store.checks[signal];
    if (checks && checks.length) made.push(make("h3", {}, "Checks"), ...checks.map(check));
    return made;
  }

  function check([name, measured, error, unit, score, threshold, passed]) {
    const kind = passed === null ? "unknown" : passed ? "yes" : "no";
    const said = [];
    if (measured !== null) said.push(`${measured}${error === null ? "" : ` ± ${error}`}${unit ? ` ${unit}` : ""}`);
    if (score !== null && threshold !== null) said.push(`${score}, to pass ${flaws.get(name)[1]} ${threshold}`);
    if (passed === null) said.push("could not be measured");
    const mark = make("span", { class: "mark", "aria-label": { yes: "passed", no: "found", unknown: "not measured" }[kind] }, { yes: "✓", no: "✕", unknown: "–" }[kind]);
    return make("div", { class: `check ${kind}` }, mark, make("b", {}, words(name)), make("small", {}, said.join("; ")));
  }

  function step(by) {
    const place = order.indexOf(open) + by;
    if (place >= 0 && place < order.length) {
      state.page = Math.floor(place / state.size);
      focused = place % state.size;
      render();
      showSignal(order[place]);
    }
  }

  panel.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    const opener = table.querySelector(`tr[data-row="${open}"] .opener`);
    if (opener) opener.focus();
    open = null;
  });
  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close();
  });
  panel.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      step(by);
    }
  });
  byId("panel-previous").addEventListener("click", () => step(-1));
  byId("panel-next").addEventListener("click", () => step(1));
  byId("panel-close").addEventListener("click", () => panel.close());

  // The page

  table.tBodies[0].addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line && !String(getSelection())) showSignal(Number(line.dataset.row));
  });
  table.tBodies[0].addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      moveFocus(by);
    }
  });
  for (const point of document.querySelectorAll("svg [data-row]")) {
    point.addEventListener("click", () => showSignal(Number(point.dataset.row)));
  }
  const form = byId("filters");
  form.addEventListener("input", readFilters);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => {
    for (const input of form.querySelectorAll("input[type=search], input[type=text], [data-choice]")) input.value = "";
    readFilters();
    byId("search").focus();
  });
  byId("sort").addEventListener("change", (event) => {
    const [name, turn] = event.target.value.split(" ");
    Object.assign(state, { sort: name, down: turn === "down" });
    arrange();
  });
  const turn = (page) => () => {
    state.page = page();
    focused = 0;
    render();
    byId("candidates").scrollIntoView();
  };
  byId("first").addEventListener("click", turn(() => 0));
  byId("previous").addEventListener("click", turn(() => state.page - 1));
  byId("next").addEventListener("click", turn(() => state.page + 1));
  byId("last").addEventListener("click", turn(() => Infinity));
  byId("page-size").addEventListener("change", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    render();
  });
  addEventListener("beforeprint", () => {
    state.page = 0;
    render(PRINTED_ROWS);
  });
  addEventListener("afterprint", () => render());

  if (matchMedia("screen and (max-width: 760px)").matches) {
    byId("page-size").value = "25";
    state.size = 25;
  }
  form.hidden = false;
  head();
  makeFilters();
  readFilters();
  const linked = /^#signal-(\d+)$/.exec(location.hash);
  if (linked) {
    const signal = column.rank.values.indexOf(Number(linked[1]));
    if (signal >= 0) showSignal(signal);
  }
})();
