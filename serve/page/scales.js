/** Scales: what is measured to a place along an axis and back, and the ticks between. */

const GAP_DAYS = 8;

/** 1, 2 or 5 times a power of ten, near a step. */
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= step * 0.999);
}

/** Round values from low to high, about `count`, with as many decimals as they need. */
export function roundTicks(low, high, count) {
  const step = roundStep((high - low) / Math.max(count, 1));
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push({ at: k * step || 0, words: say(k * step || 0, places) });
  return ticks;
}

function say(value, places) {
  const options = { minimumFractionDigits: places, maximumFractionDigits: places, useGrouping: Math.abs(value) >= 1000 };
  return value.toLocaleString("en-US", options).replace("-", "−");
}

export const linear = { to: (value) => value, from: (place) => place, ticks: roundTicks, breaks: [] };

/** Powers of ten, with their parts where there is room. */
export const logarithmic = {
  to: Math.log10,
  from: (place) => 10 ** place,
  breaks: [],
  ticks(low, high, count) {
    if (high - low < 0.7) return roundTicks(10 ** low, 10 ** high, count).filter(({ at }) => at > 0).map(({ at, words }) => ({ at: Math.log10(at), words }));
    const parts = (high - low) * 3 <= count ? [1, 2, 5] : [1];
    const ticks = [];
    for (let power = Math.floor(low); power <= high; power++) {
      for (const part of parts) {
        const at = power + Math.log10(part);
        if (at >= low && at <= high) ticks.push({ at, words: String(Number((part * 10 ** power).toPrecision(2))) });
      }
    }
    return ticks;
  },
};

/** Time without its long holes, which shrink to 1% of what was observed and are marked. time: days, ascending. */
export function timeScale(time) {
  const edges = [];
  for (let k = 1; k < time.length; k++) if (time[k] - time[k - 1] > GAP_DAYS) edges.push(k);
  const starts = [0, ...edges].map((k) => time[k]);
  const stops = [...edges, time.length].map((k) => time[k - 1]);
  const pause = 0.01 * starts.reduce((sum, start, k) => sum + stops[k] - start, 0) || 1e-3;
  const offsets = [0];
  for (let k = 1; k < starts.length; k++) offsets.push(offsets[k - 1] + starts[k] - stops[k - 1] - pause);
  const firsts = starts.map((start, k) => start - offsets[k]);
  const block = (list, value) => Math.max(list.findLastIndex((first) => first <= value), 0);
  const to = (value) => value - offsets[block(starts, value)];
  return {
    to,
    from: (place) => place + offsets[block(firsts, place)],
    breaks: firsts.slice(1).map((first) => first - pause / 2),
    ticks(low, high, count) {
      const ticks = [];
      const step = (high - low) / count;
      for (const [k, first] of firsts.entries()) {
        const [begin, end] = [Math.max(low, first), Math.min(high, stops[k] - offsets[k])];
        if (end <= begin) continue;
        const most = Math.max((count * (end - begin)) / (high - low), 1);
        const inside = roundTicks(begin + offsets[k], end + offsets[k], most).map(({ at, words }) => ({ at: at - offsets[k], words }));
        ticks.push(...inside.filter(({ at }) => !ticks.length || at - ticks.at(-1).at >= 0.6 * step));
      }
      return ticks;
    },
  };
}
