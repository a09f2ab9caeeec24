'use strict';
// Writes the catalogue that Rowcast lists without Node: `npm run generate`. One destination a line,
// ordered by name, compressed. `npm run generate -- --check` compares instead.

const fs = require('fs');
const path = require('path');
const zlib = require('zlib');

for (const name of ['log', 'warn', 'error']) console[name] = () => {};
const { describe } = require('./catalogue.js');
const { manifest } = require('@segment/action-destinations');

const file = path.join(__dirname, 'catalogue.jsonl.gz');
const lines = Object.entries(manifest)
  .map(([id, { definition, directory }]) => describe(directory, definition, id))
  .sort((a, b) => (a.slug < b.slug ? -1 : 1))
  .map((entry) => JSON.stringify(entry) + '\n')
  .join('');

if (process.argv.includes('--check')) {
  const stored = zlib.gunzipSync(fs.readFileSync(file)).toString('utf8');
  if (stored !== lines) {
    process.stderr.write('the catalogue is not that of the installed package: npm run generate\n');
    process.exit(1);
  }
} else {
  fs.writeFileSync(file, zlib.gzipSync(lines, { level: 9 }));
}
