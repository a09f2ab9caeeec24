'use strict';
// JSON lines over standard input and output: requests of Rowcast with their answers, and the HTTP
// requests of destinations with theirs. Several of both are in flight together; ids pair them.

const { AsyncLocalStorage } = require('async_hooks');

/** Which request of Rowcast the running code belongs to. */
const current = new AsyncLocalStorage();

const waiting = new Map();
let asked = 0;
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = () => true;

function send(message) {
  write(JSON.stringify(message) + '\n');
}

/** Has Rowcast make an HTTP request; gives its answer or throws what became of the connection. */
function ask(request) {
  const store = current.getStore() ?? {};
  store.asked = (store.asked ?? 0) + 1;
  asked += 1;
  const number = asked;
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject, store });
    send({ fetch: number, for: store.id ?? 0, ...request });
  });
}

function answered(message) {
  const asker = waiting.get(message.fetch);
  if (!asker) return;
  waiting.delete(message.fetch);
  if (message.error === undefined) {
    asker.store.status = message.status;
    asker.resolve(message);
    return;
  }
  asker.store.failed = true;
  const error = new Error(message.error);
  error.name = 'FetchError';
  asker.reject(error);
}

/** Reads lines until the pipe ends, which ends the process: nobody is left to work for. */
function listen(handle) {
  let rest = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.fetch !== undefined) answered(message);
      else current.run({ id: message.id }, () => void answer(message, handle));
    }
  });
  process.stdin.on('end', () => process.exit(0));
}

async function answer(message, handle) {
  try {
    const result = await handle(message.method, message.params ?? {});
    send({ id: message.id, result: result ?? null });
  } catch (error) {
    send({ id: message.id, error: { message: String(error?.message ?? error), status: statusOf(error) } });
  }
}

/** The HTTP status that an error stands for; 0 for a broken connection. */
function statusOf(error) {
  const store = current.getStore() ?? {};
  if (error?.code === 'ROWCAST_SEALED') return 501;
  const status = Number(error?.response?.status ?? error?.status ?? error?.statusCode);
  if (status >= 100) return status;
  if (error?.name === 'AggregateAjvError' || error?.name === 'ValidationError') return 400;
  if (store.failed || error?.name === 'FetchError') return 0;
  if (error?.code === 'ETIMEDOUT') return 408;
  // Without a request it was the record that the action's own code did not like.
  return store.asked ? 500 : 400;
}

module.exports = { ask, current, listen, send, statusOf };
