// What changes the server: a command in the words of `indrik`, a token, and the command typed once more.

import { Component, h } from './preact.js';
import htm from './htm.js';
import { Denied, ask } from './stream.js';

const html = htm.bind(h);
const KEPT = 'indrik-token';

// The token lives as long as the tab, and only if that is wanted.
export const token = {
  now: sessionStorage.getItem(KEPT) || '',
  kept: sessionStorage.getItem(KEPT) != null,
  set(text, keep) {
    this.now = text;
    this.kept = keep;
    if (keep && text) sessionStorage.setItem(KEPT, text);
    else sessionStorage.removeItem(KEPT);
  },
};

const WORKER = { label: 'Workers: all, or one (its number here, or pid:N)', pattern: 'all|(place:|pid:)?[0-9]{1,9}', value: () => 'all' };

// `words`: the command, to which what a question is answered is added.
export const ACTIONS = [
  { words: 'reload', title: 'Reload', what: 'The settings are read anew and a new generation of workers takes over. Requests that run are finished.' },
  { words: 'scale', title: 'Scale…', what: 'Another number of workers is wanted.', question: { label: 'Workers: a number, or +1, -1', pattern: '[+\\-]?[0-9]{1,4}', value: (frame) => String(frame.census.wanted) } },
  { words: 'recycle', title: 'Recycle…', what: 'Workers are replaced, one at a time; the new one is ready before the old one goes.', question: WORKER },
  { words: 'restart', title: 'Restart…', what: 'Workers that do not answer are ended at once, with what they do, and others are started.', question: WORKER },
  { words: 'pause', title: 'Pause…', what: 'New requests are held, at most so many seconds; none is refused while there is room in the queue.', question: { label: 'Seconds at most, up to 600', pattern: '[0-9]{1,3}', value: () => '30' } },
  { words: 'resume', title: 'Resume', what: 'Requests that are held go on.' },
  { words: 'maintenance on', title: 'Maintenance on', what: 'Clients get 503 and a page of maintenance.' },
  { words: 'maintenance off', title: 'Maintenance off', what: 'Clients are served as ever.' },
  { words: 'set', title: 'Set…', what: 'A setting has another value from the next generation on, which is started for it. It is gone with this process.', isSetting: true },
];

// What the server says of it, also where it is no JSON.
const told = async (answer) => {
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const problems = (said.problems || []).map((it) => [it.pointer, it.problem, it.hint].filter(Boolean).join(': '));
  const why = [said.error || `the server answered ${answer.status}`, said.hint, ...problems].filter(Boolean).join('. ');
  // A 503 says itself whether anything was done.
  throw Object.assign(new Error(answer.status === 503 ? why : `Nothing was done: ${why}`), { isAnswer: true });
};

// Whoever may not do it has not done it.
const refused = (error) => {
  throw error instanceof Denied ? Object.assign(new Error(`Nothing was done: ${error.message}`), { isAnswer: true }) : error;
};

const send = (method, path, body) =>
  ask(path, token.now, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }).catch(refused).then(told);

export class Dialog extends Component {
  componentDidMount() {
    this.box.showModal();
  }

  submit(event) {
    event.preventDefault();
    const fields = event.target.elements;
    const wanted = this.wanted();
    const confirm = fields.confirm.value.trim();
    if (confirm !== wanted) {
      this.setState({ error: `Type it as it stands: ${wanted}` });
      return;
    }
    this.keep(event.target);
    this.perform(async () => this.props.done(await this.act(wanted, confirm)));
  }

  keep({ elements }) {
    token.set(elements.token.value.trim(), elements.keep.checked);
  }

  async perform(what) {
    this.setState({ error: '', busy: true });
    try {
      await what();
      this.setState({ busy: false });
    } catch (error) {
      this.setState({ busy: false, error: error.isAnswer ? error.message : `It is not known whether it was done: ${error.message}` });
    }
  }

  async act(command, confirm) {
    const said = await send('POST', 'api/command', { command, confirm });
    return `${command}: ${said.status || said.result || 'accepted'}`;
  }

  // What is to be typed once more.
  wanted() {
    const { words, question } = this.props.action;
    return question ? `${words} ${this.answer()}` : words;
  }

  answer() {
    const { action: { question }, frame } = this.props;
    return (this.state.answer ?? question.value(frame)).trim();
  }

  questions() {
    const { question } = this.props.action;
    return question && html`<label>${question.label} <input name="answer" required pattern=${question.pattern} value=${this.answer()} onInput=${(event) => this.setState({ answer: event.target.value })} /></label>`;
  }

  render({ action: { title, what }, close }, { error, busy }) {
    const name = title.replace('…', '');
    return html`<dialog ref=${(box) => { this.box = box; }} aria-labelledby="dialog-title" onClose=${close}>
      <form onSubmit=${(event) => this.submit(event)} autocomplete="off">
        <h2 id="dialog-title">${name}</h2>
        <p>${what}</p>
        <label>Token of scope operate <input name="token" type="password" autocomplete="off" required defaultValue=${token.now} /></label>
        <label class="check"><input name="keep" type="checkbox" defaultChecked=${token.kept} /> keep it until this tab is closed</label>
        ${this.questions()}
        <label><span>Type <code>${this.wanted()}</code> to confirm</span> <input name="confirm" required spellcheck=${false} autocapitalize="off" /></label>
        <p class="error" role="alert">${error}</p>
        <p class="buttons"><button type="button" onClick=${() => this.box.close()}>Cancel</button> <button class="danger" disabled=${busy}>${name}</button></p>
      </form>
    </dialog>`;
  }
}

// A setting: what would change is shown before it is confirmed.
export class Setting extends Dialog {
  wanted() {
    return (this.state.name || '').trim().replaceAll('-', '_');
  }

  body() {
    return { changes: { [this.wanted()]: this.state.reset ? null : (this.state.value || '').trim() } };
  }

  dryRun(form) {
    this.keep(form);
    this.perform(async () => {
      const { changes } = await send('PATCH', 'api/settings', { ...this.body(), dry_run: true });
      this.setState({ would: changes.length ? changes.map((it) => `${it.name}: ${it.before} → ${it.after}`).join(', ') : 'Nothing changes.' });
    });
  }

  async act(wanted, confirm) {
    const said = await send('PATCH', 'api/settings', { ...this.body(), confirm });
    return said.reloading ? `${wanted} is set: generation ${said.generation} starts with it` : `${wanted} has this value already`;
  }

  questions() {
    const { name = '', value = '', reset = false, busy, would } = this.state;
    const typed = (change) => this.setState({ ...change, would: '' });
    return html`<label>Setting <input name="setting" required spellcheck=${false} autocapitalize="off" pattern="[a-z0-9_\\-]{1,64}" value=${name} onInput=${(event) => typed({ name: event.target.value })} /></label>
      <label>Value <input name="value" spellcheck=${false} required=${!reset} disabled=${reset} value=${value} onInput=${(event) => typed({ value: event.target.value })} /></label>
      <label class="check"><input name="reset" type="checkbox" checked=${reset} onChange=${(event) => typed({ reset: event.target.checked })} /> what the configuration says</label>
      <p><button type="button" disabled=${busy || !name} onClick=${(event) => this.dryRun(event.target.form)}>What would change?</button> <span role="status">${would}</span></p>`;
  }
}

// For looking, where that needs a token.
export class TokenForm extends Component {
  render({ why, done }) {
    const send = (event) => {
      event.preventDefault();
      const fields = event.target.elements;
      token.set(fields.token.value.trim(), fields.keep.checked);
      done();
    };
    return html`<form class="token" onSubmit=${send}>
      <h2>Who are you?</h2>
      <p role="alert">${why}</p>
      <label>Token <input name="token" type="password" autocomplete="off" required /></label>
      <label class="check"><input name="keep" type="checkbox" /> keep it until this tab is closed</label>
      <button>Look</button>
    </form>`;
  }
}
