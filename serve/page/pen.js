/** What a plot is drawn with. */

/** Room about a plot for its ticks and titles. */
export const MARGIN = { left: 66, right: 14, top: 14, bottom: 40 };
export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif';

/** Draws a plot in places of x and values of y. */
export class Pen {
  constructor(context, plot) {
    this.context = context;
    this.plot = plot;
    this.colours = getComputedStyle(plot.frame);
  }

  colour(name) {
    return this.colours.getPropertyValue(`--${name}`).trim();
  }

  get view() {
    return this.plot.view;
  }

  x(place) {
    const [low, high] = this.plot.view;
    return MARGIN.left + ((place - low) / (high - low)) * this.plot.width;
  }

  y(value) {
    const [low, high] = this.plot.span;
    return MARGIN.top + ((high - value) / (high - low)) * this.plot.height;
  }

  /** A height, moved to the nearest edge where it lies outside. */
  inside(y) {
    return Math.min(Math.max(y, MARGIN.top), MARGIN.top + this.plot.height);
  }

  clipped(paint) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(MARGIN.left, 0, this.plot.width, MARGIN.top + this.plot.height);
    this.context.clip();
    paint();
    this.context.restore();
  }

  stroke(colour, corners, { width = 1, dash = [] } = {}) {
    this.context.beginPath();
    for (const [x, y] of corners) this.context.lineTo(x, y);
    this.context.strokeStyle = this.colour(colour);
    this.context.lineWidth = width;
    this.context.setLineDash(dash);
    this.context.stroke();
    this.context.setLineDash([]);
  }

  /** Small squares; what lies above or below the plot stands at its edge. keep: which of them. */
  points(places, values, colour, size, keep = null) {
    const [low, high] = this.view;
    this.context.fillStyle = this.colour(colour);
    const half = size / 2;
    for (let k = firstFrom(places, low); k < places.length && places[k] <= high; k++) {
      if (values[k] === null || (keep && !keep(k))) continue;
      this.context.fillRect(this.x(places[k]) - half, this.inside(this.y(values[k])) - half, size, size);
    }
  }

  /** A line, broken where values are missing. joins: whether the k-th is joined to the one before. */
  line(places, values, colour, { width = 1.5, joins = () => true } = {}) {
    const [low, high] = this.view;
    const { context } = this;
    context.beginPath();
    let joined = false;
    for (let k = Math.max(firstFrom(places, low) - 1, 0); k < places.length; k++) {
      if (values[k] === null) joined = false;
      else {
        if (joined && joins(k)) context.lineTo(this.x(places[k]), this.y(values[k]));
        else context.moveTo(this.x(places[k]), this.y(values[k]));
        joined = true;
      }
      if (places[k] > high) break;
    }
    context.strokeStyle = this.colour(colour);
    context.lineWidth = width;
    context.lineJoin = "round";
    context.stroke();
  }

  /** Whether there are more places in view than round points can stand side by side. */
  crowds(places) {
    const seen = firstFrom(places, this.view[1]) - firstFrom(places, this.view[0]);
    return this.plot.width < 5 * seen;
  }

  /** Round points with their errors. */
  bars(places, values, errors, colour, radius = 3) {
    const { context } = this;
    context.fillStyle = this.colour(colour);
    for (const [k, value] of values.entries()) {
      if (value === null || places[k] < this.view[0] || places[k] > this.view[1]) continue;
      const x = this.x(places[k]);
      if (errors?.[k]) this.stroke(colour, [[x, this.y(value - errors[k])], [x, this.y(value + errors[k])]], { width: 1.2 });
      context.beginPath();
      context.arc(x, this.y(value), radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** A mark along the lower edge with a faint band above it. half: of its width. */
  transit(place, half) {
    const { context } = this;
    const bottom = MARGIN.top + this.plot.height;
    const [left, right] = [this.x(place - half), this.x(place + half)];
    context.fillStyle = this.colour("mark");
    if (right - left > 3) {
      context.globalAlpha = 0.14;
      context.fillRect(left, MARGIN.top, right - left, this.plot.height);
      context.globalAlpha = 1;
    }
    const x = this.x(place);
    context.beginPath();
    context.moveTo(x, bottom - 9);
    context.lineTo(x - 4.5, bottom);
    context.lineTo(x + 4.5, bottom);
    context.fill();
  }

  /** A dashed line upright, with words at its head. */
  upright(place, words, colour, { strong = false } = {}) {
    if (place < this.view[0] || place > this.view[1]) return;
    const x = this.x(place);
    this.stroke(colour, [[x, MARGIN.top + 14], [x, MARGIN.top + this.plot.height]], { dash: strong ? [] : [3, 4], width: strong ? 1.5 : 1 });
    this.context.fillStyle = this.colour(colour);
    this.context.textAlign = "center";
    this.context.textBaseline = "top";
    this.context.font = strong ? FONT.replace("12px", "600 12px") : FONT;
    const half = this.context.measureText(words).width / 2;
    const [left, right] = [MARGIN.left + half, MARGIN.left + this.plot.width - half];
    this.context.fillText(words, Math.min(Math.max(x, left), right), MARGIN.top - 4);
  }
}

/** Index of the first place that is no less; places ascend. */
export function firstFrom(places, low) {
  let [begin, end] = [0, places.length];
  while (begin < end) {
    const middle = (begin + end) >> 1;
    if (places[middle] < low) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

/** Index of the nearest place; places ascend; -1 of none. */
export function nearestTo(places, place) {
  const after = firstFrom(places, place);
  if (after === places.length) return after - 1;
  return after > 0 && place - places[after - 1] < places[after] - place ? after - 1 : after;
}
