// What the page shows of one frame. All text of others (paths, routes, messages) becomes text nodes, never markup.

import { h } from './preact.js';
import htm from './htm.js';
import * as format from './format.js';
import { Charts, glyph } from './charts.js';
import { ACTIONS } from './actions.js';
import { Profile } from './profile.js';
import { Table } from './tables.js';
import { Mine } from './watch.js';

const html = htm.bind(h);

export const VIEWS = [['overview', 'Overview'], ['requests', 'Requests'], ['routes', 'Routes'], ['failures', 'Failures'], ['events', 'Events'], ['mine', 'Mine'], ['profile', 'Profile'], ['server', 'Server']];

const LEVELS = { ok: ['✓', 'Well'], warn: ['▲', 'Look'], bad: ['✖', 'Wrong'] };

const Headline = ({ frame }) => {
  const { level, findings } = frame.headline;
  const [sign, word] = LEVELS[level];
  return html`<section class=${'headline ' + level} aria-label="What is wrong">
    <div role="status" aria-live="polite">
      ${findings.length === 0 && html`<p class="what"><span aria-hidden="true">${sign}</span> ${word}: ${frame.headline.text}</p>`}
      ${findings.map((finding) => html`<div class="finding" key=${finding.what}>
        <p class="what"><span aria-hidden="true">${sign}</span> ${finding.what}</p>
        <dl>
          ${finding.since_ms && html`<div><dt>since</dt><dd>${format.when(finding.since_ms)} (${format.span((frame.at_ms - finding.since_ms) / 1000)})</dd></div>`}
          ${finding.whose && html`<div><dt>whose</dt><dd>${finding.whose}</dd></div>`}
          ${finding.todo && html`<div><dt>do</dt><dd>${finding.todo}</dd></div>`}
        </dl>
      </div>`)}
    </div>
  </section>`;
};

const VITALS = [
  ['requests', 'Requests/s', format.count], ['p95', '95 % within', format.seconds], ['errors_5xx', 'Errors/s', format.count], ['waiting', 'Waiting', format.count],
  ['in_flight', 'Running', format.count], ['busy', 'Busy', format.share], ['cpu_workers', 'Processors', format.count], ['rss', 'Memory', format.bytes], ['connections', 'Connections', format.count], ['workers_ready', 'Workers', format.count],
];

// Current, peak of the last quarter of an hour, limit.
const Vitals = ({ frame }) => html`<section aria-labelledby="vitals"><h2 id="vitals">Now <small>current · peak of 15 min · limit</small></h2>
  <ul class="vitals">${VITALS.map(([name, title, of]) => {
    const [now, peak, limit] = [frame.now[name], frame.peak[name], frame.limit[name]];
    const share = limit && now != null ? Math.min(now / limit, 1) : null;
    return html`<li key=${name} class=${share == null ? '' : share > 0.95 && name !== 'workers_ready' ? 'full' : ''}>
      <span class="name">${title}</span><b>${of(now)}</b>
      <span class="rest"><span class="hidden">peak </span>${of(peak)}${limit ? html` · <span class="hidden">limit </span>${of(limit)}` : ''}</span>
      ${share != null && html`<meter min="0" max="1" value=${share} aria-label=${`${title}: share of its limit`}></meter>`}
    </li>`;
  })}</ul></section>`;

const TILES = { starting: ['◌', 'starts'], booting: ['◌', 'starts'], ready: ['●', 'ready'], running: ['●', 'ready'], draining: ['◐', 'finishes'], stopping: ['◐', 'ends'], killed: ['✖', 'killed'], stuck: ['✖', 'stuck'] };

const Tile = ({ worker }) => {
  const current = worker.current;
  // A WebSocket or a stream of events may stay for as long as it likes.
  const old = current && current.age_us > 5e6 && current.phase !== 'answer';
  const [sign, word] = current ? [old ? '◆' : '▶', old ? 'busy for long' : 'busy'] : TILES[worker.state] || ['●', worker.state];
  return html`<li class=${`tile ${current ? (old ? 'old' : 'busy') : worker.state}`}>
    <p class="top"><span class="glyph" aria-hidden="true">${sign}</span> <b>${worker.place}</b> <span>${word}</span> <small>pid ${worker.pid} · gen ${worker.generation}</small></p>
    <p class="current">${current ? html`${current.method} ${current.target} <b>${format.seconds(current.age_us / 1e6)}</b>${worker.in_flight > 1 ? ` +${worker.in_flight - 1}` : ''}` : worker.ends_for ? `ends: ${worker.ends_for}` : html`<span class="quiet">idle</span>`}</p>
    <p class="facts">${format.count(worker.rate)}/s · ${format.share(worker.busy)} busy · ${format.bytes(worker.rss_bytes)} · ${format.span(worker.uptime_s)}</p>
  </li>`;
};

const Workers = ({ frame }) => html`<section aria-labelledby="workers"><h2 id="workers">Workers <small>${frame.census.ready} of ${frame.census.wanted} ready · generation ${frame.census.generation}</small></h2>
  ${frame.workers.length ? html`<ul class="tiles">${frame.workers.map((worker) => html`<${Tile} key=${worker.id} worker=${worker} />`)}</ul>` : html`<p class="empty">There is no worker.</p>`}
</section>`;

// While one settles.
const Generations = ({ frame }) => frame.generations.length > 1 && html`<section aria-labelledby="generations"><h2 id="generations">Generations side by side</h2>
  <div class="scroll" tabindex="0" role="region" aria-label="Generations"><table><thead><tr><th scope="col">Generation</th>${frame.generations.map((one) => html`<th scope="col" class="number">${one.generation}</th>`)}</tr></thead>
  <tbody>${[['Workers', (one) => `${one.ready} of ${one.workers} ready`], ['Requests/s', (one) => format.count(one.rate)], ['Busy', (one) => format.share(one.busy)], ['Memory of a worker', (one) => format.bytes(one.rss_mean)], ['Processor time of a request', (one) => format.seconds(one.cpu_request)]]
    .map(([title, value]) => html`<tr><th scope="row">${title}</th>${frame.generations.map((one) => html`<td class="number">${value(one)}</td>`)}</tr>`)}</tbody></table></div></section>`;

const PHASES = { queue: 'waits for a worker', ahead: 'lies in the ring', app: 'application', answer: 'answer' };

const requestColumns = (frame) => {
  const places = Object.fromEntries(frame.workers.map((worker) => [worker.id, worker.place]));
  return [
    ['age', 'Age', (row) => row.age_us, (row) => format.seconds(row.age_us / 1e6), 'number'],
    ['phase', 'Where', (row) => PHASES[row.phase] || row.phase],
    ['worker', 'Worker', (row) => places[row.worker], undefined, 'number'],
    ['method', 'Method', (row) => row.method],
    ['target', 'Target', (row) => row.target, undefined, 'long'],
    ['route', 'Route', (row) => row.route, undefined, 'long'],
    ['client', 'Client', (row) => row.client],
  ];
};

const routeColumns = [
  ['route', 'Route', (row) => row.route || '(none)', undefined, 'long'],
  ['share', 'Share of time', (row) => row.share, (row) => html`<meter min="0" max="1" value=${row.share} aria-hidden="true"></meter> ${format.share(row.share)}`, 'number'],
  ['rate', 'Requests/s', (row) => row.rate, (row) => format.count(row.rate), 'number'],
  ['mean', 'Mean', (row) => row.mean_s, (row) => format.seconds(row.mean_s), 'number'],
  ['errors', 'Errors/s', (row) => row.errors, (row) => format.count(row.errors), 'number'],
];

const failureColumns = [
  ['name', 'Failure', (row) => row.name, undefined, 'long'],
  ['count', 'Count', (row) => row.count, (row) => format.count(row.count), 'number'],
  ['last', 'Last', (row) => row.last_ms, (row) => format.when(row.last_ms)],
  ['first', 'First', (row) => row.first_ms, (row) => format.when(row.first_ms)],
  ['generation', 'First seen in', (row) => row.first_generation, (row) => `generation ${row.first_generation}`],
];

// What a worker had when it ended, and before.
const Requested = ({ requests }) => html`<details><summary>its last requests</summary><ul>${requests.map((text, at) => html`<li key=${at}>${text}</li>`)}</ul></details>`;

const eventColumns = [
  ['at', 'When', (row) => row.at_ms, (row) => format.when(row.at_ms)],
  ['kind', 'Kind', (row) => row.kind, (row) => html`<span aria-hidden="true">${glyph(row.kind)}</span> ${row.kind.replace('_', ' ')}`],
  ['text', 'What', (row) => row.text, (row) => (row.requests ? html`${row.text} <${Requested} requests=${row.requests} />` : row.text), 'long'],
];

const Events = ({ frame, view, go, most }) => html`<${Table} name="events" caption="Events, the newest first" columns=${eventColumns} rows=${frame.events.slice(0, most)} filter=${!most} view=${view} go=${go} empty="Nothing has happened." rowKey=${(row) => `${row.at_ms} ${row.text}`} />`;
const Requests = ({ frame, view, go, most }) => html`<${Table} name="requests" caption="Requests in flight" columns=${requestColumns(frame)} rows=${most ? frame.requests.slice(0, most) : frame.requests} filter=${!most} view=${view} go=${go} empty="No request is in flight." />`;
const Routes = ({ frame, view, go, most }) => html`<${Table} name="routes" caption="Routes by share of time, last minutes" columns=${routeColumns} rows=${frame.routes.slice(0, most)} filter=${!most} view=${view} go=${go} empty="No route has been called." rowKey=${(row) => row.route} />`;
const Failures = ({ frame, view, go, most }) => html`<${Table} name="failures" caption="Failures in groups, the newest first" columns=${failureColumns} rows=${frame.failures.slice(0, most)} filter=${!most} view=${view} go=${go} empty="Nothing has failed." rowKey=${(row) => row.name} />`;

const Ends = ({ frame, view, go }) => html`<${Table} name="ends" caption="Workers that ended, the newest first" columns=${eventColumns.filter(([key]) => key !== 'kind')} rows=${frame.events.filter((event) => event.kind === 'crash')} filter=${false} view=${view} go=${go} empty="No worker has ended that should not have." rowKey=${(row) => row.number} />`;

const RangeChoice = ({ view, go }) => html`<div class="choice" role="group" aria-label="Span of the charts">${['hour', 'day'].map((range) => html`<button type="button" key=${range} aria-pressed=${view.range === range} onClick=${() => go({ range })}>${range === 'hour' ? 'Last hour' : 'Last day'}</button>`)}</div>`;

const More = ({ to, words, address }) => html`<p class="more"><a href=${address({ view: to })}>${words}</a></p>`;

const Overview = (props) => {
  const { frame, view, go, history, marks, turn, address } = props;
  return html`
    <${Vitals} frame=${frame} />
    <section aria-labelledby="charts"><div class="title"><h2 id="charts">Charts</h2><${RangeChoice} view=${view} go=${go} /></div>
      <${Charts} history=${history} marks=${marks} now=${frame.now} turn=${turn} range=${view.range} /></section>
    <${Workers} frame=${frame} />
    <${Generations} frame=${frame} />
    <div class="columns">
      <section aria-labelledby="oldest"><h2 id="oldest">Oldest requests <small>${frame.requests.length}${frame.is_cut ? '+' : ''} in flight</small></h2><${Requests} ...${props} most=${8} /><${More} to="requests" words="All requests in flight" address=${address} /></section>
      <section aria-labelledby="routes"><h2 id="routes">Routes by share of time</h2><${Routes} ...${props} most=${8} /><${More} to="routes" words="All routes" address=${address} /></section>
      <section aria-labelledby="failed"><h2 id="failed">Last failures</h2><${Failures} ...${props} most=${6} /><${More} to="failures" words="All failures" address=${address} /></section>
      <section aria-labelledby="happened"><h2 id="happened">What happened</h2><${Events} ...${props} most=${8} /><${More} to="events" words="All events" address=${address} /></section>
    </div>`;
};

const Server = ({ frame, act }) => html`
  <section aria-labelledby="actions"><h2 id="actions">Actions</h2>
    <p>Each needs a token of scope operate and the command typed once more.</p>
    <ul class="actions">${ACTIONS.map((action) => html`<li key=${action.words}><button type="button" onClick=${() => act(action)}>${action.title}</button> ${action.what}</li>`)}</ul></section>
  <section aria-labelledby="facts"><h2 id="facts">Server</h2><dl class="facts">
    ${[['Version', frame.server.version], ['Process', frame.server.pid], ['Application', frame.server.application], ['Directory', frame.server.directory], ['Addresses', frame.server.addresses.join(', ')], ['Since', format.when(frame.server.started_ms)],
      ['Reloads', frame.totals.reloads], ['Last reload', frame.last_reload ? (frame.last_reload.failed ? `failed: ${frame.last_reload.why}` : `generation ${frame.last_reload.generation} serves`) : 'none'],
      ['Workers started, ended', `${frame.totals.spawned}, ${frame.totals.ended}`], ['Ends by reason', Object.entries(frame.ends).map(([reason, number]) => `${reason} ${number}`).join(', ') || 'none']]
      .map(([title, value]) => html`<div key=${title}><dt>${title}</dt><dd>${value}</dd></div>`)}</dl></section>
  <section aria-labelledby="numbers"><h2 id="numbers">The same for programs</h2><p><a href="status">/status</a> · <a href="requests">/requests</a> · <a href="events?format=json">/events</a> · <a href="metrics">/metrics</a> · <a href="api/openapi.json">/api/openapi.json</a></p></section>`;

const PAGES = {
  overview: Overview,
  requests: (props) => html`<section aria-labelledby="requests"><h2 id="requests">Requests in flight <small>${props.frame.requests.length}${props.frame.is_cut ? '+' : ''}</small></h2><${Requests} ...${props} /></section>`,
  routes: (props) => html`<section aria-labelledby="routes"><h2 id="routes">Routes by share of time</h2><${Routes} ...${props} /></section>`,
  failures: (props) => html`<section aria-labelledby="failures"><h2 id="failures">Failures in groups</h2><${Failures} ...${props} /></section>
    <section aria-labelledby="ends"><h2 id="ends">Workers that ended</h2><${Ends} ...${props} /></section>`,
  events: (props) => html`<section aria-labelledby="events"><h2 id="events">What happened</h2><${Events} ...${props} /></section>`,
  mine: Mine,
  profile: Profile,
  server: Server,
};

export const Page = (props) => {
  const { frame, view, lost, notice, address } = props;
  const Shown = PAGES[view.view] || Overview;
  return html`
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById('content').focus(); }}>To the content</a>
    <header>
      <h1>Indrik <span>${frame ? frame.server.application : ''}</span></h1>
      <p class="pulse" role="status">${lost ? html`<span aria-hidden="true">○</span> ${lost}` : frame ? html`<span class="live"><span aria-hidden="true">●</span> live</span>` : ''}</p>
      <nav aria-label="Views">${VIEWS.map(([name, title]) => html`<a key=${name} href=${address({ view: name })} aria-current=${view.view === name ? 'page' : undefined}>${title}</a>`)}</nav>
    </header>
    <main id="content" tabindex="-1">
      ${notice && html`<p class="notice" role="status">${notice}</p>`}
      ${frame ? html`<${Headline} frame=${frame} /><${Shown} ...${props} />` : props.children || html`<p>Waiting for the server.</p>`}
      ${frame && props.children}
    </main>
    <footer>${frame ? `indrik ${frame.server.version} · pid ${frame.server.pid} · up ${format.span((frame.at_ms - frame.server.started_ms) / 1000)}` : ''}</footer>`;
};
