// The columns of numbers that charts are drawn from: what the server remembers, and what came in since.

const MISSING = 65535;
const LARGEST = 65534;
export const SPANS = { hour: 3600, day: 86400 };

const unpack = (column, length) => {
  if (!column) return new Array(length).fill(null);
  const text = atob(column.data);
  const numbers = new Array(length);
  for (let at = 0; at < length; at += 1) {
    const short = text.charCodeAt(2 * at) | (text.charCodeAt(2 * at + 1) << 8);
    numbers[at] = short === MISSING || 2 * at + 1 >= text.length ? null : (short / LARGEST) * column.max;
  }
  return numbers;
};

export class History {
  constructor() {
    this.times = [];
    this.columns = {};
  }

  // Takes what the server remembers. Older numbers of ours stay: a server that was started anew does not know them.
  load(page, seriesNames, spanSeconds) {
    const times = [];
    const columns = Object.fromEntries(seriesNames.map((name) => [name, []]));
    for (const part of page.parts) {
      for (let at = 0; at < part.count; at += 1) times.push((part.from_ms + at * part.step_ms) / 1000);
      for (const name of seriesNames) columns[name].push(...unpack(part.columns[name], part.count));
    }
    const last = times.length ? times[times.length - 1] : Date.now() / 1000;
    const known = times.findIndex((_, at) => seriesNames.some((name) => columns[name][at] != null));
    const from = known < 0 ? times.length : known;
    const begin = from < times.length ? times[from] : Infinity;
    const ours = this.times.findIndex((time) => time >= last - spanSeconds);
    const end = this.times.findIndex((time) => time >= begin);
    const kept = ours < 0 ? [0, 0] : [ours, end < 0 ? this.times.length : end];
    if (kept[1] > kept[0]) {
      this.times = this.times.slice(...kept).concat(times.slice(from));
      for (const name of seriesNames) this.columns[name] = (this.columns[name] || []).slice(...kept).concat(columns[name].slice(from));
    } else {
      // Of a young server only what there is.
      this.times = times.slice(from);
      for (const name of seriesNames) this.columns[name] = columns[name].slice(from);
    }
  }

  // Takes one second's numbers.
  push(atMs, row, seriesNames, spanSeconds) {
    const time = Math.floor(atMs / 1000);
    const at = this.times.length - 1;
    if (at >= 0 && time < this.times[at]) return;
    if (at >= 0 && time === this.times[at]) {
      for (const name of seriesNames) this.columns[name][at] = row[name] ?? null;
      return;
    }
    this.times.push(time);
    for (const name of seriesNames) (this.columns[name] ||= []).push(row[name] ?? null);
    const old = this.times.findIndex((then) => then >= time - spanSeconds);
    if (old > 30) {
      this.times.splice(0, old);
      for (const name of seriesNames) this.columns[name].splice(0, old);
    }
  }
}
