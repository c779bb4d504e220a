// The charts. Each has its marks (deploys, scalings, crashes), a legend in words, and says in words what it shows.

import { Component, h } from './preact.js';
import htm from './htm.js';
import * as format from './format.js';

const html = htm.bind(h);
const HEIGHT = 150;
// Steps of an axis that counts bytes.
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);

// Lines differ in dash as well as in colour.
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

export const CHARTS = [
  { id: 'rate', title: 'Requests per second', of: format.count, lines: [['requests', 'all', 1], ['errors_4xx', '4xx', 3], ['errors_5xx', '5xx', 4], ['refused', 'refused', 5]] },
  { id: 'time', title: 'Time of requests', of: format.seconds, joined: true, lines: [['p50', 'half', 1], ['p95', '95 %', 2], ['p99', '99 %', 4]] },
  { id: 'phases', title: 'Where the time goes (mean)', of: format.seconds, joined: true, lines: [['phase_app', 'application', 1], ['phase_queue', 'queue', 4], ['phase_client', 'client sends', 3], ['phase_answer', 'client takes', 2]] },
  { id: 'queue', title: 'Waiting and running', of: format.count, lines: [['waiting', 'waiting', 4], ['in_flight', 'running', 1]] },
  { id: 'workers', title: 'Workers', of: format.count, lines: [['workers_ready', 'ready', 1], ['workers_wanted', 'wanted', 2]] },
  { id: 'busy', title: 'Busy and blocked', of: format.share, top: 1, lines: [['busy', 'workers busy', 1], ['loop_blocked', 'loop blocked', 4], ['gil_blocked', 'GIL kept', 2], ['throttled', 'held back by the group', 3]] },
  { id: 'cpu', title: 'Processors in use', of: format.count, lines: [['cpu_workers', 'workers', 1], ['cpu_front', 'front', 2]] },
  { id: 'memory', title: 'Memory', of: format.bytes, lines: [['rss', 'workers, resident', 1], ['pss', 'workers, shared parts divided', 2], ['front_memory', 'held for clients', 3]] },
  { id: 'connections', title: 'Connections', of: format.count, lines: [['connections', 'open', 1], ['websockets', 'WebSockets', 2]] },
  { id: 'bytes', title: 'Bytes per second', of: format.bytes, lines: [['bytes_in', 'from clients', 1], ['bytes_out', 'to clients', 2]] },
];

export const SERIES = [...new Set(CHARTS.flatMap((chart) => chart.lines.map(([name]) => name))), 'oldest', 'memory_share', 'crashes'];

// Glyph of each kind of mark, and the colour of its line.
export const MARKS = {
  start: ['▶', 1], deploy: ['▲', 1], reload_failed: ['✗', 4], scale: ['⇕', 2], recycle: ['↻', 3], crash: ['✖', 4], breaker: ['!', 4], health: ['♥', 3],
  pause: ['⏸', 2], maintenance: ['⚒', 2], setting: ['✎', 2], operator: ['☞', 2], alert: ['⚠', 4], upgrade: ['⇧', 1], shut_down: ['■', 4],
};
export const glyph = (kind) => (MARKS[kind] || ['•', 3])[0];

const style = () => getComputedStyle(document.documentElement);
const colour = (number) => style().getPropertyValue(`--line-${number}`).trim();
const ink = (name) => style().getPropertyValue(name).trim();

const drawMarks = (marks) => (plot) => {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = 'center';
  let lastX = -Infinity;
  for (const mark of marks()) {
    const x = Math.round(plot.valToPos(mark.at_ms / 1000, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const [sign, number] = MARKS[mark.kind] || ['•', 3];
    ctx.strokeStyle = ctx.fillStyle = colour(number);
    ctx.globalAlpha = 0.55;
    ctx.lineWidth = ratio;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    // Glyphs that would lie on each other are left out; their lines are there.
    if (x - lastX > 12 * ratio) {
      ctx.fillText(sign, x, bbox.top - 3 * ratio);
      lastX = x;
    }
  }
  ctx.restore();
};

const axes = (chart) => {
  const line = ink('--grid');
  const common = { stroke: ink('--quiet'), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: '11px system-ui, sans-serif' };
  return [
    { ...common, space: 70, size: 28, values: [[3600, '{HH}:{mm}', null, null, null, null, null, null, 1], [60, '{HH}:{mm}', null, null, null, null, null, null, 1], [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1]] },
    { ...common, size: 62, ...(chart.of === format.bytes ? { incrs: POWERS } : {}), values: (_, ticks) => ticks.map((tick) => (tick == null ? '' : chart.of(tick))) },
  ];
};

class Chart extends Component {
  componentDidMount() {
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.anew = () => { this.plot?.destroy(); this.make(); };
    this.scheme.addEventListener('change', this.anew);
    this.sizes = new ResizeObserver(() => this.plot && this.plot.setSize({ width: this.box.clientWidth || 280, height: HEIGHT }));
    this.make();
    this.sizes.observe(this.box);
  }

  componentWillUnmount() {
    this.scheme.removeEventListener('change', this.anew);
    this.sizes.disconnect();
    this.plot?.destroy();
  }

  make() {
    const { chart, marks } = this.props;
    const series = chart.lines.map(([, label, number], at) => ({ label, stroke: colour(number), width: 1.5, dash: DASHES[at], spanGaps: !!chart.joined, points: { show: false } }));
    this.plot = new uPlot({
      width: this.box.clientWidth || 280,
      height: HEIGHT,
      padding: [14, 10, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: 'all' }, drag: { x: false, y: false }, points: { size: 5 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(chart.top || 0, high > 0 ? high * 1.1 : 1)] } },
      axes: axes(chart),
      series: [{}, ...series],
      hooks: { draw: [drawMarks(marks)], setCursor: [(plot) => this.hover(plot.cursor.idx)] },
    }, this.data(), this.box);
  }

  data() {
    const { history, chart } = this.props;
    const columns = chart.lines.map(([name]) => history.columns[name] || new Array(history.times.length).fill(null));
    // A single second between two that are missing would be invisible.
    return [history.times, ...columns];
  }

  hover(at) {
    if (this.state.at !== at) this.setState({ at });
  }

  componentDidUpdate(before) {
    if (before.turn !== this.props.turn || before.range !== this.props.range) this.plot?.setData(this.data());
  }

  render({ chart, history, marks, now }, { at }) {
    const value = (name) => {
      const column = history.columns[name] || [];
      return at != null && at < column.length ? column[at] : now[name];
    };
    const time = at == null ? null : history.times[at];
    const near = time == null ? null : marks().find((mark) => Math.abs(mark.at_ms / 1000 - time) < this.reach());
    return html`<figure class="chart" id=${'chart-' + chart.id}>
      <figcaption>${chart.title}</figcaption>
      <div class="plot" role="img" aria-label=${this.words()} ref=${(box) => { this.box = box; }}></div>
      <ul class="legend">${chart.lines.map(([name, label, number], line) => html`<li key=${name}>
        <svg class=${'swatch line-' + number} viewBox="0 0 22 6" aria-hidden="true"><path d="M0 3H22" stroke-dasharray=${DASHES[line].join(' ')} /></svg>${label} <b>${chart.of(value(name))}</b></li>`)}
      </ul>
      <p class="near">${near ? `${glyph(near.kind)} ${format.when(near.at_ms)} ${near.text}` : time == null ? '' : format.when(time * 1000)}</p>
    </figure>`;
  }

  // How many seconds a few pixels are.
  reach() {
    if (!this.plot) return 0;
    return Math.abs(this.plot.posToVal(6, 'x') - this.plot.posToVal(0, 'x'));
  }

  // For those who do not see it. It is not said anew every second.
  words() {
    const { chart, history } = this.props;
    const said = chart.lines.map(([name, label]) => {
      const known = (history.columns[name] || []).filter((value) => value != null);
      if (!known.length) return `${label}: not known`;
      return `${label}: now ${chart.of(known[known.length - 1])}, highest ${chart.of(Math.max(...known))}`;
    });
    const tenth = Math.floor(this.props.turn / 10);
    if (this.tenth !== tenth || this.saidRange !== this.props.range) {
      [this.tenth, this.saidRange, this.said] = [tenth, this.props.range, `${chart.title}, last ${this.props.range}. ${said.join('; ')}`];
    }
    return this.said;
  }
}

export const Charts = (props) => html`<div class="charts">${CHARTS.map((chart) => html`<${Chart} key=${chart.id} chart=${chart} ...${props} />`)}</div>`;
