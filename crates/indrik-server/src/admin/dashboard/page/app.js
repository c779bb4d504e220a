// The page: what was last heard of the server, and what of it somebody looks at. That stands in the address.

import { h, render } from './preact.js';
import htm from './htm.js';
import { SERIES } from './charts.js';
import { History, SPANS } from './history.js';
import { Denied, ask, follow } from './stream.js';
import { Dialog, Setting, TokenForm, token } from './actions.js';
import { Page, VIEWS } from './view.js';

const html = htm.bind(h);
const root = document.getElementById('page');
const DAY_AGAIN_MS = 60000;

const state = { frame: null, lost: '', notice: '', denied: '', action: null, turn: 0, marks: [], history: new History() };

// --- the address

const read = () => {
  const view = { view: 'overview', range: 'hour', ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
  if (!VIEWS.some(([name]) => name === view.view)) view.view = 'overview';
  if (!(view.range in SPANS)) view.range = 'hour';
  return view;
};
let view = read();

const address = (change) => {
  const wanted = { ...view, ...change };
  if (change.view && change.view !== view.view) {
    for (const name of Object.keys(wanted)) if (name.includes('-')) delete wanted[name];
  }
  const said = Object.entries(wanted).filter(([name, value]) => value && !(name === 'view' && value === 'overview') && !(name === 'range' && value === 'hour'));
  return '#' + new URLSearchParams(said);
};

// Sorting, filtering and the span are no steps to go back over.
const go = (change) => {
  history.replaceState(null, '', address(change));
  moved();
};

const moved = () => {
  const before = view;
  view = read();
  document.title = `${VIEWS.find(([name]) => name === view.view)[1]} · Indrik`;
  if (before.range !== view.range) {
    state.history = new History();
    state.turn += 1;
    loadHistory().catch(() => {});
  }
  show();
};

// --- the server

const loadHistory = async () => {
  const range = view.range;
  const answer = await ask(`dashboard/history?span=${range}`, token.now);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const page = await answer.json();
  if (range !== view.range) return;
  state.history.load(page, SERIES, SPANS[range]);
  // What another process of this server had marked stays, unless the new one knows it.
  const known = new Set(page.marks.map((mark) => `${mark.at_ms} ${mark.text}`));
  const oldest = Date.now() - SPANS[range] * 1000;
  state.marks = [...state.marks.filter((mark) => mark.at_ms > oldest && !known.has(`${mark.at_ms} ${mark.text}`)), ...page.marks].sort((a, b) => a.at_ms - b.at_ms);
  state.loaded = Date.now();
  state.turn += 1;
};

const take = (frame) => {
  state.lost = '';
  state.frame = frame;
  state.turn += 1;
  const newest = state.marks.length ? state.marks[state.marks.length - 1].at_ms : 0;
  for (const event of [...frame.events].reverse()) if (event.at_ms > newest) state.marks.push(event);
  if (view.range === 'hour') state.history.push(frame.at_ms, frame.now, SERIES, SPANS.hour);
  else if (Date.now() - (state.loaded || 0) > DAY_AGAIN_MS) loadHistory().catch(() => {});
  show();
};

let following = null;
const start = () => {
  following?.abort();
  if (document.hidden) return;
  following = new AbortController();
  follow('dashboard/live', () => token.now, {
    begun: loadHistory,
    frame: take,
    lost: (why) => { state.lost = `no connection, trying again (${why})`; show(); },
    denied: (why) => { state.denied = why; show(); },
  }, following.signal);
};

// --- what is shown

const show = () => render(html`<${Page} frame=${state.frame} view=${view} go=${go} address=${address} lost=${state.lost} notice=${state.notice} history=${state.history} turn=${state.turn} marks=${() => state.marks} act=${(action) => { state.action = action; state.notice = ''; show(); }}>
  ${state.denied && html`<${TokenForm} why=${state.denied} done=${() => { state.denied = ''; show(); start(); }} />`}
  ${state.action && html`<${state.action.isSetting ? Setting : Dialog} key=${state.action.words} action=${state.action} frame=${state.frame} close=${() => { state.action = null; show(); }} done=${(notice) => { state.action = null; state.notice = notice; show(); }} />`}
</${Page}>`, root);

root.replaceChildren();
addEventListener('hashchange', moved);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) following?.abort();
  else start();
});
moved();
start();
