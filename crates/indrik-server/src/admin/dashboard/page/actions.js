// What changes the server: a command in the words of `indrik`, a token, and the command typed once more.

import { Component, h } from './preact.js';
import htm from './htm.js';
import { ask } from './stream.js';

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

// [command, title, what it does, question?].
export const ACTIONS = [
  ['reload', 'Reload', 'The settings are read anew and a new generation of workers takes over. Requests that run are finished.'],
  ['scale', 'Scale…', 'Another number of workers is wanted.', { label: 'Workers: a number, or +1, -1', pattern: '[+\\-]?[0-9]{1,4}', value: (frame) => String(frame.census.wanted) }],
  ['recycle all', 'Recycle all', 'Every worker is replaced, one at a time; the new one is ready before the old one goes.'],
  ['pause', 'Pause…', 'New requests are held, at most so many seconds; none is refused while there is room in the queue.', { label: 'Seconds at most', pattern: '[0-9]{1,3}', value: () => '30', words: (text) => `max ${text}` }],
  ['resume', 'Resume', 'Requests that are held go on.'],
  ['maintenance on', 'Maintenance on', 'Clients get 503 and a page of maintenance.'],
  ['maintenance off', 'Maintenance off', 'Clients are served as ever.'],
];

export class Dialog extends Component {
  componentDidMount() {
    this.box.showModal();
  }

  send(event) {
    event.preventDefault();
    const fields = event.target.elements;
    const command = this.command();
    if (fields.confirm.value.trim() !== command) {
      this.setState({ error: `Type the command as it stands: ${command}` });
      return;
    }
    token.set(fields.token.value.trim(), fields.keep.checked);
    this.setState({ error: '', busy: true });
    this.post(command, fields.confirm.value.trim());
  }

  async post(command, confirm) {
    try {
      const answer = await ask('api/command', token.now, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ command, confirm }) });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error([said.error || `the server answered ${answer.status}`, said.hint].filter(Boolean).join(': '));
      this.setState({ busy: false });
      this.props.done(`${command}: ${said.status || said.result || 'accepted'}`);
    } catch (error) {
      this.setState({ busy: false, error: `Nothing was done: ${error.message}` });
    }
  }

  command() {
    const { action: [word, , , question], frame } = this.props;
    if (!question) return word;
    const text = (this.state.answer ?? question.value(frame)).trim();
    return `${word} ${question.words ? question.words(text) : text}`;
  }

  render({ action: [, title, what, question], frame, close }, { error, busy }) {
    const command = this.command();
    return html`<dialog ref=${(box) => { this.box = box; }} aria-labelledby="dialog-title" onClose=${close}>
      <form onSubmit=${(event) => this.send(event)} autocomplete="off">
        <h2 id="dialog-title">${title.replace('…', '')}</h2>
        <p>${what}</p>
        ${question && html`<label>${question.label} <input name="answer" required pattern=${question.pattern} value=${this.state.answer ?? question.value(frame)} onInput=${(event) => this.setState({ answer: event.target.value })} /></label>`}
        <label>Token of scope operate <input name="token" type="password" autocomplete="off" required defaultValue=${token.now} /></label>
        <label class="check"><input name="keep" type="checkbox" defaultChecked=${token.kept} /> keep it until this tab is closed</label>
        <label><span>Type <code>${command}</code> to confirm</span> <input name="confirm" required spellcheck=${false} autocapitalize="off" /></label>
        <p class="error" role="alert">${error}</p>
        <p class="buttons"><button type="button" onClick=${() => this.box.close()}>Cancel</button> <button class="danger" disabled=${busy}>${title.replace('…', '')}</button></p>
      </form>
    </dialog>`;
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
