'use strict';
// The seam: in place of the module `cross-fetch`, through which destinations speak HTTP, stands one
// that has Rowcast make the request. Must be set before the packages load.

const { STATUS_CODES } = require('http');
const { ask } = require('./pipe.js');

function replace() {
  const path = require.resolve('cross-fetch');
  const real = require(path);
  const { Headers, Request, Response } = real;

  async function fetch(input, init) {
    const request = new Request(input, init);
    if (request.signal?.aborted) throw aborted();
    const body = request.body == null ? null : await request.buffer();
    const headers = [];
    request.headers.forEach((value, name) => headers.push([name, value]));
    const asking = ask({ method: request.method, url: request.url, headers, ...encoded(body) });
    const answer = await (request.signal ? untilAborted(asking, request.signal) : asking);
    const bytes = answer.base64 === undefined ? answer.text ?? '' : Buffer.from(answer.base64, 'base64');
    return new Response(answer.status === 204 || answer.status === 304 ? null : bytes, {
      status: answer.status,
      statusText: STATUS_CODES[answer.status] ?? '',
      headers: new Headers(answer.headers),
      url: request.url
    });
  }

  const replaced = (input, init) => fetch(input, init);
  Object.assign(replaced, { fetch: replaced, Headers, Request, Response, default: replaced, ponyfill: true });
  require.cache[path].exports = replaced;
}

/** A body as text where it is text, so that most of them are readable and short. */
function encoded(body) {
  if (body === null) return {};
  const text = body.toString('utf8');
  return Buffer.from(text, 'utf8').equals(body) ? { text } : { base64: body.toString('base64') };
}

function aborted() {
  const error = new Error('The operation was aborted.');
  error.name = 'AbortError';
  return error;
}

function untilAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted());
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

module.exports = { replace };
