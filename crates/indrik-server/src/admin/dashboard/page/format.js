// Numbers as people read them.

const round = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

export const count = (value) => {
  if (value == null) return '–';
  if (value >= 1e6) return round(value / 1e6) + ' M';
  if (value >= 1e4) return round(value / 1e3) + ' k';
  return round(value);
};

export const bytes = (value) => {
  if (value == null) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${round(value)} ${units[at]}`;
};

export const seconds = (value) => {
  if (value == null) return '–';
  if (value === 0) return '0';
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${round(value * 1e3)} ms`;
  if (value < 120) return `${round(value)} s`;
  return span(value);
};

// A longer time, in two units at most.
export const span = (value) => {
  if (value == null) return '–';
  const whole = Math.max(0, Math.floor(value));
  const parts = [[Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'], [Math.floor(whole / 60) % 60, 'm'], [whole % 60, 's']];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).filter(([number]) => number > 0).map(([number, unit]) => `${number} ${unit}`).join(' ');
};

export const share = (value) => (value == null ? '–' : `${value >= 0.1 ? Math.round(value * 100) : round(value * 100)} %`);

export const time = (ms) => new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

// The day too, where it is not today.
export const when = (ms) => {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  return (today ? '' : date.toLocaleDateString([], { month: 'short', day: 'numeric' }) + ' ') + time(ms);
};
