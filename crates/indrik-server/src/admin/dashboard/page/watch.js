// What happens to the requests of this browser, which has a cookie for as long as it is watched.

import { Component, h } from './preact.js';
import htm from './htm.js';
import * as format from './format.js';
import { follow } from './stream.js';
import { token } from './actions.js';
import { Table } from './tables.js';

const html = htm.bind(h);
const ROWS_MAX = 200;

const time = (name) => [(row) => row[name], (row) => (row[name] == null ? '…' : format.seconds(row[name] / 1e6)), 'number'];
const columns = [
  ['at', 'When', (row) => row.at_ms, (row) => format.when(row.at_ms)],
  ['status', 'Status', (row) => row.status, (row) => row.status ?? 'runs', 'number'],
  ['method', 'Method', (row) => row.method],
  ['target', 'Target', (row) => row.target, undefined, 'long'],
  ['total', 'All', ...time('total_us')],
  ['body', 'Upload', ...time('body_us')],
  ['queue', 'Waiting', ...time('queue_us')],
  ['app', 'Application', ...time('app_us')],
  ['client', 'Answer', ...time('client_us')],
  ['pid', 'Worker', (row) => row.pid || '', undefined, 'number'],
  ['route', 'Route', (row) => row.route, undefined, 'long'],
  ['id', 'Request id', (row) => row.id, undefined, 'long'],
];

export class Mine extends Component {
  componentWillUnmount() {
    this.following?.abort();
  }

  start() {
    this.following = new AbortController();
    this.setState({ on: true, rows: [], error: '', cookie: '' });
    follow('api/watch', () => token.now, {
      begun: () => this.setState({ error: '' }),
      frame: (event) => this.take(event),
      lost: (why) => this.setState({ error: `No connection, trying again (${why}).` }),
      denied: (why) => this.setState({ on: false, error: why }),
    }, this.following.signal, { credentials: 'same-origin' });
  }

  stop() {
    this.following?.abort();
    this.setState({ on: false });
  }

  take({ watching, begun, over }) {
    this.setState(({ rows = [] }) => {
      if (watching) return { cookie: watching, watch: (this.state.watch || 0) + 1 };
      const key = `${this.state.watch} ${(begun || over).number}`;
      if (begun) return { rows: [{ ...begun, key }, ...rows].slice(0, ROWS_MAX) };
      return { rows: rows.map((row) => (row.key === key ? { ...row, ...over } : row)) };
    });
  }

  render({ view, go }, { on, rows = [], error, cookie }) {
    return html`<section aria-labelledby="mine"><h2 id="mine">My requests</h2>
      <p>What happens to the requests of this browser to this host, on any of its ports: it gets a cookie, for an hour at most.</p>
      <p class="buttons-left"><button type="button" aria-pressed=${Boolean(on)} onClick=${() => (on ? this.stop() : this.start())}>${on ? 'Stop' : 'Watch my requests'}</button></p>
      <p class="error" role="alert">${error}</p>
      ${cookie && html`<p class="empty">From elsewhere, under another name or with another program, send <code>Cookie: ${cookie}</code></p>`}
      ${(on || rows.length > 0) && html`<${Table} name="mine" caption="My requests, the newest first" columns=${columns} rows=${rows} view=${view} go=${go} empty="No request has come yet: use the application in another tab." rowKey=${(row) => row.key} />`}
    </section>`;
  }
}
