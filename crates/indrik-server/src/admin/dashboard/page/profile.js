// Where the workers' time goes: a profile of some seconds, as a flame graph and as a list.

import { Component, h } from './preact.js';
import htm from './htm.js';
import * as format from './format.js';
import { ask } from './stream.js';
import { token } from './actions.js';

const html = htm.bind(h);
const ROW_PX = 20;
// Narrower frames are not drawn: nobody could see them.
const NARROW = 0.002;
const TOP_MAX = 15;

// The stacks of all workers as one tree. A frame is told by its text.
const treeOf = (workers) => {
  const root = { name: 'all', time: 0, own: 0, children: new Map() };
  for (const worker of workers) {
    for (const line of (worker.collapsed || '').split('\n')) {
      const at = line.lastIndexOf(' ');
      const time = Number(line.slice(at + 1)) / 1e6;
      if (at < 1 || !(time > 0)) continue;
      root.time += time;
      let frame = root;
      for (const name of line.slice(0, at).split(';')) {
        if (!frame.children.has(name)) frame.children.set(name, { name, time: 0, own: 0, children: new Map() });
        frame = frame.children.get(name);
        frame.time += time;
      }
      frame.own += time;
    }
  }
  return root;
};

const topOf = (root) => {
  const own = new Map();
  const visit = (frame) => {
    if (frame.own > 0) own.set(frame.name, (own.get(frame.name) || 0) + frame.own);
    frame.children.forEach(visit);
  };
  visit(root);
  return [...own].sort((a, b) => b[1] - a[1]).slice(0, TOP_MAX);
};

// Rows of frames, the outermost first, each with its place and width from 0 to 1.
const layout = (root) => {
  const rows = [];
  const place = (frame, depth, left) => {
    const width = frame.time / root.time;
    if (!(width >= NARROW)) return;
    (rows[depth] ||= []).push({ frame, left, width });
    let inside = left;
    for (const child of [...frame.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      place(child, depth + 1, inside);
      inside += child.time / root.time;
    }
  };
  place({ ...root }, 0, 0);
  return rows;
};

const place = ({ left, width }, depth) => ({ left: `${left * 100}%`, width: `${width * 100}%`, top: `${depth * ROW_PX}px` });
// One of five colours, the same for the same module.
const tone = (name) => {
  const module = (name.match(/\(([^()]*):\d+\)$/) || [name, name])[1];
  let sum = 0;
  for (let at = 0; at < module.length; at += 1) sum = (sum * 31 + module.charCodeAt(at)) % 9973;
  return `frame tone-${sum % 5}`;
};

class Flames extends Component {
  render({ root }, { zoom }) {
    const shown = zoom || root;
    const rows = layout(shown);
    const say = (frame) => `${frame.name}: ${format.seconds(frame.time)}, ${format.share(frame.time / root.time)}`;
    return html`<div>
      <p class="flames-head">${say(shown)} ${zoom && html`<button type="button" onClick=${() => this.setState({ zoom: null })}>All again</button>`}</p>
      <div class="flames" role="group" aria-label="Flame graph: the outermost frame on top, as wide as its share of the time" style=${{ height: `${rows.length * ROW_PX}px` }}>
        ${rows.map((row, depth) => row.map((it) => html`<button type="button" key=${`${depth} ${it.left} ${it.frame.name}`} class=${tone(it.frame.name)} style=${place(it, depth)} title=${say(it.frame)} aria-label=${say(it.frame)} tabindex=${it.width > 0.05 ? 0 : -1} onClick=${() => this.setState({ zoom: depth === 0 ? null : it.frame })}>${it.width > 0.03 ? it.frame.name : ''}</button>`))}
      </div></div>`;
  }
}

export class Profile extends Component {
  // Nobody would see it.
  componentWillUnmount() {
    this.cut?.abort();
  }

  send(event) {
    event.preventDefault();
    const fields = event.target.elements;
    token.set(fields.token.value.trim(), token.kept);
    const wanted = { seconds: fields.seconds.value, of: fields.of.value };
    if (fields.worker.value) wanted.worker = fields.worker.value;
    if (fields.route.value) wanted.route = fields.route.value;
    this.setState({ error: '', busy: true, root: null });
    this.make(new URLSearchParams(wanted));
  }

  async make(wanted) {
    try {
      this.cut = new AbortController();
      const answer = await ask(`api/profile?${wanted}`, token.now, { signal: this.cut.signal });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error([said.error || `the server answered ${answer.status}`, said.hint].filter(Boolean).join(': '));
      const root = treeOf(said.workers);
      const whys = [...new Set(said.workers.map((worker) => worker.why).filter(Boolean))];
      const error = root.time > 0 ? whys.join('; ') : whys.join('; ') || 'Nothing ran in this time.';
      this.setState({ busy: false, root: root.time > 0 ? root : null, error });
    } catch (error) {
      this.setState({ busy: false, error: error.message });
    }
  }

  render({ frame }, { busy, error, root }) {
    return html`<section aria-labelledby="profile"><h2 id="profile">Profile</h2>
      <form class="row" onSubmit=${(event) => this.send(event)}>
        <label>Workers <select name="worker"><option value="">all</option>${frame.workers.map((worker) => html`<option key=${worker.pid} value=${worker.pid}>${worker.place} (pid ${worker.pid})</option>`)}</select></label>
        <label>Seconds <select name="seconds">${[2, 5, 10, 30].map((seconds) => html`<option key=${seconds} value=${seconds}>${seconds}</option>`)}</select></label>
        <label>Of <select name="of"><option value="cpu">processor time</option><option value="wall">all time, waiting too</option></select></label>
        <label>Route <select name="route"><option value="">all</option>${frame.routes.filter((it) => it.route).map((it) => html`<option key=${it.route} value=${it.route}>${it.route}</option>`)}</select></label>
        <label>Token <input name="token" type="password" autocomplete="off" required defaultValue=${token.now} /></label>
        <button disabled=${busy}>${busy ? 'Looking…' : 'Make it'}</button>
      </form>
      <p class="error" role="alert">${error}</p>
      ${root && html`<${Flames} root=${root} />
        <h3>Functions with the most time of their own</h3>
        <div class="scroll" tabindex="0" role="region" aria-label="Functions with the most time of their own"><table><thead><tr><th scope="col" class="number">Time</th><th scope="col" class="number">Share</th><th scope="col">Function</th></tr></thead>
        <tbody>${topOf(root).map(([name, time]) => html`<tr key=${name}><td class="number">${format.seconds(time)}</td><td class="number">${format.share(time / root.time)}</td><td class="long">${name}</td></tr>`)}</tbody></table></div>`}
      <p class="empty">Longer ones, flame graphs as files, and differences of two: <code>indrik profile</code>.</p>
    </section>`;
  }
}
