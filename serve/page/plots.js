/** Plots on a canvas: sharp, zoomable with mouse, touch and keyboard, and with a table for those who cannot see them. */

import { make, makeButton, makeTable } from "./dom.js";
import { FONT, MARGIN, Pen } from "./pen.js";
import { roundTicks } from "./scales.js";

const LEAST_DRAG = 6;
const ZOOM_STEP = 1.6;
/** Milliseconds after a scroll of the page during which a wheel over a plot goes on scrolling it. */
const STILL_SCROLLING = 350;

const plots = new Set();
let scrolled = -Infinity;

const redrawAll = () => {
  for (const plot of plots) plot.isConnected ? plot.draw() : plot.forget();
};
addEventListener("scroll", () => (scrolled = performance.now()), { passive: true });
for (const query of ["(prefers-color-scheme: dark)", "print", "(prefers-contrast: more)"]) matchMedia(query).addEventListener("change", redrawAll);
// Paper is white, whatever the screen is.
addEventListener("beforeprint", () => (document.documentElement.classList.add("printing"), redrawAll()));
addEventListener("afterprint", () => (document.documentElement.classList.remove("printing"), redrawAll()));

/**
 * What is drawn. Places along x are those of `scale`.
 * @typedef {object} Drawing
 * @property {string} label what it is, for those who cannot see it
 * @property {string} summary what it shows, in a sentence
 * @property {string} xTitle
 * @property {string} yTitle
 * @property {object} scale of x: see scales.js
 * @property {[number, number]} bounds of x, whole
 * @property {number} closest width of x that may be zoomed to
 * @property {(low: number, high: number) => [number, number]} range of y within a part of x
 * @property {((pen: Pen) => void)[]} layers from the back
 * @property {(place: number) => {x: number, y: number, words: string} | null} [nearest] what is read off there
 * @property {() => {columns: object[], rows: Array[]}} table
 */

export class Plot {
  /**
   * @param {HTMLElement} frame where it stands
   * @param {{title: string, kind?: string, tools?: (Node | string)[], note?: string}} about
   */
  constructor(frame, { title, kind = "", tools = [], note = "" }) {
    this.base = make("canvas", { "aria-hidden": "true" });
    this.cover = make("canvas", { class: "cover", tabindex: 0, role: "img" });
    this.readout = make("output", { class: "readout", "aria-live": "off" });
    this.spoken = make("span", { class: "hidden", "aria-live": "polite" });
    this.whole = makeButton("Reset", () => this.reset(), { class: "whole", "aria-label": `Reset the ${title.toLowerCase()}` });
    this.summary = make("p");
    this.rows = make("div", { class: "scroller" });
    this.words = make("details", { class: "alternative", toggle: () => this.tabulate() }, make("summary", {}, "In words and numbers"), this.summary, this.rows);
    const zoom = make(
      "span",
      { class: "zoom", role: "group", "aria-label": `Zoom of ${title.toLowerCase()}` },
      this.whole,
      makeButton("−", () => this.zoomBy(1 / ZOOM_STEP), { "aria-label": "Zoom out" }),
      makeButton("+", () => this.zoomBy(ZOOM_STEP), { "aria-label": "Zoom in" }),
    );
    frame.className = `plot ${kind}`;
    frame.replaceChildren(
      make("figcaption", {}, make("h3", {}, title), ...tools, zoom),
      make("div", { class: "canvas" }, this.base, this.cover),
      make("div", { class: "under" }, note ? make("span", { class: "note" }, note) : null, this.readout),
      this.spoken,
      this.words,
    );
    this.frame = frame;
    this.pointers = new Map();
    this.listen();
    plots.add(this);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.base.parentElement);
  }

  get isConnected() {
    return this.frame.isConnected;
  }

  forget() {
    this.observer.disconnect();
    plots.delete(this);
  }

  /** Shows a drawing; the part that was zoomed to stays where `keep` is set. @param {Drawing} drawing */
  show(drawing, { keep = false } = {}) {
    this.drawing = drawing;
    if (!keep || !this.view) this.view = [...drawing.bounds];
    this.cover.setAttribute("aria-label", `${drawing.label}. ${drawing.summary} Zoom with plus and minus, move with the arrow keys, 0 shows all.`);
    this.summary.textContent = drawing.summary;
    this.rows.replaceChildren();
    if (this.words.open) this.tabulate();
    this.see(...this.view);
  }

  tabulate() {
    if (!this.words.open || this.rows.childElementCount || !this.drawing) return;
    const { columns, rows } = this.drawing.table();
    this.rows.append(makeTable(this.drawing.label, columns, rows));
  }

  // What part of it is seen

  get isWhole() {
    const [low, high] = this.drawing.bounds;
    return this.view[1] - this.view[0] >= (high - low) * (1 - 1e-9);
  }

  /** Shows the part between two places, or as much of it as there is. */
  see(low, high) {
    const [least, most] = this.drawing.bounds;
    const width = Math.min(Math.max(high - low, this.drawing.closest), most - least);
    const begin = Math.min(Math.max((low + high - width) / 2, least), most - width);
    this.view = [begin, begin + width];
    this.whole.disabled = this.isWhole;
    this.frame.classList.toggle("zoomed", !this.isWhole);
    this.frame.dataset.view = this.view.map((place) => this.drawing.scale.from(place).toPrecision(9)).join(" ");
    this.readout.textContent = "";
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => this.draw());
  }

  reset() {
    this.see(...this.drawing.bounds);
    if (document.activeElement === this.whole || document.activeElement === document.body) this.cover.focus({ preventScroll: true });
  }

  zoomBy(factor, at = (this.view[0] + this.view[1]) / 2) {
    this.see(at - (at - this.view[0]) / factor, at + (this.view[1] - at) / factor);
  }

  moveBy(share) {
    const step = share * (this.view[1] - this.view[0]);
    this.see(this.view[0] + step, this.view[1] + step);
  }

  /** Shows a part by the values of its scale, with room about it. */
  zoomTo(begin, end) {
    const [low, high] = [this.drawing.scale.to(begin), this.drawing.scale.to(end)];
    const room = Math.max(2 * (high - low), 3 * this.drawing.closest);
    this.see(low - room, high + room);
  }

  // Mouse, touch and keyboard

  listen() {
    const on = (name, listener) => this.cover.addEventListener(name, listener, { passive: false });
    on("keydown", (event) => this.press(event));
    on("wheel", (event) => this.roll(event));
    on("dblclick", () => this.reset());
    on("pointerdown", (event) => this.grab(event));
    on("pointermove", (event) => this.drag(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", (event) => this.release(event, true));
    on("pointerleave", () => this.pointers.size || this.clearCover());
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const deeds = {
      "+": () => this.zoomBy(ZOOM_STEP),
      "=": () => this.zoomBy(ZOOM_STEP),
      "-": () => this.zoomBy(1 / ZOOM_STEP),
      _: () => this.zoomBy(1 / ZOOM_STEP),
      ArrowLeft: () => this.moveBy(-0.25),
      ArrowRight: () => this.moveBy(0.25),
      0: () => this.reset(),
      Home: () => this.reset(),
    };
    const deed = deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
    this.spoken.textContent = this.seen();
  }

  /** A wheel zooms, unless the page is just being scrolled past, or there is nothing left to zoom out of. */
  roll(event) {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const passing = performance.now() - scrolled < STILL_SCROLLING && this.isWhole && !event.ctrlKey;
    if (passing || (this.isWhole && (sideways || event.deltaY > 0) && !event.ctrlKey)) return;
    event.preventDefault();
    if (sideways) this.moveBy(event.deltaX / this.width);
    else this.zoomBy(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY) / 300, 0.5)), this.placeAt(this.left(event)));
  }

  left(event) {
    return event.clientX - this.cover.getBoundingClientRect().left;
  }

  grab(event) {
    if (event.button !== 0) return;
    this.cover.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.left(event));
    this.start = { at: this.left(event), view: [...this.view], pulls: event.pointerType !== "mouse" || event.shiftKey };
    this.pinch = this.pointers.size === 2 ? this.fingers() : null;
  }

  /** Where two fingers are: the places that each holds. */
  fingers() {
    const [a, b] = [...this.pointers.values()].sort((one, other) => one - other);
    return { a: this.placeAt(a), b: this.placeAt(b) };
  }

  drag(event) {
    const at = this.left(event);
    if (!this.pointers.has(event.pointerId)) return this.read(at);
    this.pointers.set(event.pointerId, at);
    if (this.pinch) return this.stretch();
    if (this.start.pulls) {
      if (this.isWhole) return this.read(at);
      const { view } = this.start;
      const step = ((this.start.at - at) / this.width) * (view[1] - view[0]);
      return this.see(view[0] + step, view[1] + step);
    }
    this.mark(this.start.at, at);
  }

  /** Keeps the places under two fingers where the fingers are. */
  stretch() {
    const [left, right] = [...this.pointers.values()].sort((one, other) => one - other).map((at) => (at - MARGIN.left) / this.width);
    if (right - left < 0.02) return;
    const width = (this.pinch.b - this.pinch.a) / (right - left);
    const begin = this.pinch.a - left * width;
    this.see(begin, begin + width);
  }

  release(event, cancelled = false) {
    const at = this.left(event);
    const held = this.pointers.delete(event.pointerId);
    if (this.pinch) {
      this.pinch = null;
      this.pointers.clear();
      return;
    }
    if (!held) return;
    this.clearCover();
    const [left, right] = [Math.min(at, this.start.at), Math.max(at, this.start.at)];
    if (right - left < LEAST_DRAG) this.read(at);
    else if (!cancelled && !this.start.pulls) this.see(this.placeAt(left), this.placeAt(right));
  }

  // Drawing

  placeAt(left) {
    const share = Math.min(Math.max((left - MARGIN.left) / this.width, 0), 1);
    return this.view[0] + share * (this.view[1] - this.view[0]);
  }

  /** Words of what is seen. */
  seen() {
    const [from, to] = this.view.map((place) => this.drawing.scale.from(place).toPrecision(7));
    return this.isWhole ? "All of it" : `${Number(from)} to ${Number(to)}`;
  }

  /** Fits a canvas to its frame, in the device's own dots. */
  fit(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas.parentElement;
    const dots = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
    const context = canvas.getContext("2d");
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.font = FONT;
    return context;
  }

  draw() {
    const { clientWidth, clientHeight } = this.base.parentElement;
    if (!this.drawing || clientWidth < 80) return;
    this.width = clientWidth - MARGIN.left - MARGIN.right;
    this.height = clientHeight - MARGIN.top - MARGIN.bottom;
    this.span = this.drawing.range(...this.view);
    const pen = new Pen(this.fit(this.base), this);
    this.fit(this.cover);
    this.drawAxes(pen);
    pen.clipped(() => this.drawing.layers.forEach((layer) => layer(pen)));
    this.drawBreaks(pen);
  }

  drawAxes(pen) {
    const { context } = pen;
    const { left, top } = MARGIN;
    const [right, bottom] = [left + this.width, top + this.height];
    context.lineWidth = 1;
    context.fillStyle = pen.colour("soft");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const { at, words } of roundTicks(...this.span, Math.max(this.height / 40, 2))) {
      pen.stroke("line", [[left, pen.y(at)], [right, pen.y(at)]]);
      context.fillText(words, left - 8, pen.y(at));
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const { at, words } of this.drawing.scale.ticks(...this.view, Math.max(this.width / (this.width < 400 ? 62 : 90), 2))) {
      const x = pen.x(at);
      pen.stroke("soft", [[x, bottom], [x, bottom + 5]]);
      const half = context.measureText(words).width / 2;
      if (x + half <= right + MARGIN.right) context.fillText(words, Math.max(x, half), bottom + 8);
    }
    pen.stroke("soft", [[left, bottom], [right, bottom]]);
    context.fillText(this.drawing.xTitle, left + this.width / 2, bottom + 24);
    context.save();
    context.translate(0, top + this.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(this.drawing.yTitle, 0, 0);
    context.restore();
  }

  /** Marks where holes were cut out of the time. */
  drawBreaks(pen) {
    const bottom = MARGIN.top + this.height;
    for (const place of this.drawing.scale.breaks) {
      if (place < this.view[0] || place > this.view[1]) continue;
      const x = pen.x(place);
      for (const side of [-3, 3]) pen.stroke("soft", [[x + side - 3, bottom + 5], [x + side + 3, bottom - 5]]);
    }
  }

  clearCover() {
    this.cover.getContext("2d").clearRect(0, 0, this.cover.clientWidth, this.cover.clientHeight);
    this.readout.textContent = "";
  }

  /** Says what is nearest to a place, and marks it. */
  read(left) {
    const found = this.drawing?.nearest?.(this.placeAt(left));
    this.clearCover();
    if (!found || found.x < this.view[0] || found.x > this.view[1]) return;
    this.readout.textContent = found.words;
    const pen = new Pen(this.cover.getContext("2d"), this);
    const [x, y] = [pen.x(found.x), pen.inside(pen.y(found.y))];
    pen.stroke("soft", [[x, MARGIN.top], [x, MARGIN.top + this.height]], { dash: [3, 3] });
    pen.context.beginPath();
    pen.context.arc(x, y, 4.5, 0, 2 * Math.PI);
    pen.context.lineWidth = 2;
    pen.context.strokeStyle = pen.colour("ink");
    pen.context.stroke();
  }

  /** The part that is being chosen. */
  mark(from, to) {
    this.clearCover();
    const pen = new Pen(this.cover.getContext("2d"), this);
    const [left, right] = [from, to].map((at) => Math.min(Math.max(at, MARGIN.left), MARGIN.left + this.width)).sort((a, b) => a - b);
    pen.context.fillStyle = pen.colour("hit");
    pen.context.globalAlpha = 0.18;
    pen.context.fillRect(left, MARGIN.top, right - left, this.height);
    pen.context.globalAlpha = 1;
  }
}
