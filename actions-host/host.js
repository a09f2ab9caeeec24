'use strict';
// Runs one destination of Segment's package for Rowcast, which starts this program with a pipe on
// standard input and output and nothing else. README.md has the protocol.

if (Number(process.versions.node.split('.')[0]) < 20) {
  process.exit(72);
}

const { listen, send } = require('./pipe.js');
require('./seal.js').seal();
require('./fetch.js').replace();
const { Opened, describe, load } = require('./actions.js');

// A promise that a destination forgot is no reason to end; the answer to the request is.
process.on('unhandledRejection', () => {});

let opened;

const methods = {
  open: (params) => {
    opened = new Opened(params);
  },
  check: () => opened.check(),
  choices: (params) => opened.choices(params),
  write: (params) => opened.write(params),
  refresh: () => opened.refresh(),
  describe: ({ slug }) => describe(slug, load(slug)),
  list: () => Object.keys(require('@segment/action-destinations').destinations)
};

listen((method, params) => {
  if (!Object.hasOwn(methods, method)) throw new Error(`there is no method ${method}`);
  return methods[method](params);
});
send({ ready: process.versions.node });
