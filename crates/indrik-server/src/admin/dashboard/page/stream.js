// One frame a second from the server, for as long as somebody looks.
//
// Not by EventSource: that cannot send a token.

const PAUSES_MS = [300, 700, 1500, 3000, 5000];
// A frame comes every second: without one for so long the connection is dead, whatever TCP believes.
const SILENT_MS = 6000;

export class Denied extends Error {}

export const ask = async (path, token, options = {}) => {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: 'no-store', credentials: options.credentials || 'omit' });
  if (answer.status === 401 || answer.status === 403) {
    const said = await answer.json().catch(() => ({}));
    throw new Denied([said.error, said.hint].filter(Boolean).join(': ') || 'a token is needed');
  }
  return answer;
};

const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
});

// Calls `begun` before the first frame of each connection, `frame` with each, `lost` when there is none.
export const follow = async (path, token, { begun, frame, lost, denied }, signal, options = {}) => {
  let tries = 0;
  while (!signal.aborted) {
    const cut = new AbortController();
    const stop = () => cut.abort();
    signal.addEventListener('abort', stop, { once: true });
    let silent;
    const heard = () => { clearTimeout(silent); silent = setTimeout(stop, SILENT_MS); };
    try {
      heard();
      const answer = await ask(path, token(), { ...options, headers: { Accept: 'text/event-stream' }, signal: cut.signal });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      await begun();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard();
        text += value;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          const data = event.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n');
          if (data) { tries = 0; frame(JSON.parse(data)); }
        }
      }
      if (!signal.aborted) lost('the stream ended');
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof Denied) { denied(error.message); return; }
      lost(error.message);
    } finally {
      clearTimeout(silent);
      signal.removeEventListener('abort', stop);
    }
    await pause(PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)], signal);
    tries += 1;
  }
};
