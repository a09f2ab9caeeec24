'use strict';
// Shuts every way out of this process but its own pipe, before any package is loaded.
//
// Requests go to Rowcast (fetch.js), which applies the address policy of the destination. What brings
// a client of its own along (database drivers, vendors' SDKs) meets an error here, never the network.

const MESSAGE =
  'this destination opens connections of its own, which the actions host does not permit';

function refuse() {
  const error = new Error(MESSAGE);
  error.code = 'ROWCAST_SEALED';
  throw error;
}

function close(object, names) {
  for (const name of names) {
    if (typeof object[name] === 'function') object[name] = refuse;
  }
}

function seal() {
  const net = require('net');
  close(net, ['connect', 'createConnection', 'createServer']);
  net.Socket.prototype.connect = refuse;
  net.Server.prototype.listen = refuse;
  close(require('tls'), ['connect', 'createServer']);
  for (const name of ['http', 'https']) close(require(name), ['request', 'get', 'createServer']);
  close(require('http2'), ['connect', 'createServer', 'createSecureServer']);
  close(require('dgram'), ['createSocket']);
  const dns = require('dns');
  for (const object of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
    const names = Object.getOwnPropertyNames(object);
    close(object, names.filter((name) => /^(lookup|resolve|reverse)/.test(name)));
  }
  close(require('child_process'), ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']);
  require('worker_threads').Worker = refuse;
  close(require('cluster'), ['fork']);
  for (const name of ['fetch', 'WebSocket', 'EventSource']) {
    if (name in globalThis) Object.defineProperty(globalThis, name, { value: refuse });
  }
  for (const name of ['binding', '_linkedBinding', 'dlopen']) process[name] = refuse;
  // What destinations print could hold rows or secrets, and standard output is the pipe.
  for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'dir', 'table']) {
    console[name] = () => {};
  }
}

module.exports = { seal, MESSAGE };
