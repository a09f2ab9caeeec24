'use strict';
// What the package says of a destination, cut down to what Rowcast validates, lists and documents.

const fs = require('fs');
const path = require('path');

/** Packages that open connections of their own, and what they are in words. */
const CLIENTS = [
  [/^@aws-sdk\//, 'the AWS SDK'],
  [/^kafkajs$/, 'a Kafka client'],
  [/^ssh2-sftp-client$/, 'an SFTP client']
];
/** Variables that mean nothing outside Segment. */
const NOT_NEEDED = ['NODE_ENV', 'AWS_REGION', 'SENDGRID_BYPASS_IP_BLOCK_HEADER_SECRET'];

function describe(slug, definition, id) {
  const authentication = definition.authentication ?? {};
  const source = sourceOf(slug);
  return prune({
    slug,
    id,
    segment: definition.slug,
    title: definition.name,
    help: plain(authentication.description ?? definition.description),
    scheme: authentication.scheme,
    tested: typeof authentication.testAuthentication === 'function',
    unsupported: source.clients.length ? `it brings ${source.clients.join(' and ')} along` : undefined,
    environment: source.environment,
    settings: Object.entries(authentication.fields ?? {}).map(([name, field]) => fieldOf(name, field)),
    actions: Object.entries(definition.actions).map(([name, action]) => actionOf(name, action))
  });
}

function actionOf(name, action) {
  const modes = action.syncMode?.choices.map((choice) => choice.value);
  return prune({
    name,
    title: action.title,
    help: plain(action.description),
    hidden: action.hidden,
    batch: typeof action.performBatch === 'function',
    modes,
    subscription: action.defaultSubscription,
    fields: Object.entries(action.fields).map(([key, field]) => fieldOf(key, field))
  });
}

function fieldOf(name, field) {
  const choices = (field.choices ?? []).map((choice) => (typeof choice === 'object' ? choice.value : choice));
  const number = (value) => (typeof value === 'number' ? value : undefined);
  return prune({
    name,
    label: field.label,
    help: plain(field.description),
    type: field.type,
    format: field.format,
    many: field.multiple,
    // Some are needed only beside others: those are the action's own business.
    required: field.required === true,
    default: field.default,
    maximum: number(field.maximum),
    hidden: field.unsafe_hidden,
    dynamic: Boolean(field.dynamic),
    any: field.additionalProperties === true || undefined,
    choices,
    members: Object.entries(field.properties ?? {}).map(([key, member]) => fieldOf(key, member))
  });
}

/** Without what is empty, so that the file is small and says only what is so. */
function prune(object) {
  return Object.fromEntries(
    Object.entries(object).filter(
      ([name, value]) => name === 'default' ? value !== undefined && value !== null : value !== undefined && value !== null && value !== false && value !== '' && !(Array.isArray(value) && value.length === 0)
    )
  );
}

function plain(text) {
  return typeof text === 'string' ? text.replace(/<[^>]+>/g, '').replace(/\s+/g, ' ').trim() : undefined;
}

/** What the files of a destination load and read, all that they load themselves included. */
function sourceOf(slug) {
  const root = path.dirname(require.resolve('@segment/action-destinations/package.json'));
  const seen = new Set();
  const clients = new Set();
  const environment = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = fs.readFileSync(file, 'utf8');
    for (const [, name] of text.matchAll(/process\.env(?:\.|\[['"])([A-Z][A-Z0-9_]+)/g)) {
      if (!NOT_NEEDED.includes(name)) environment.add(name);
    }
    for (const [, wanted] of text.matchAll(/require\(["']([^"']+)["']\)/g)) {
      if (wanted.startsWith('.')) {
        const next = require.resolve(path.resolve(path.dirname(file), wanted));
        if (next.endsWith('.js') && next.startsWith(root)) visit(next);
      } else {
        for (const [pattern, words] of CLIENTS) if (pattern.test(wanted)) clients.add(words);
      }
    }
  };
  visit(require.resolve(`@segment/action-destinations/dist/destinations/${slug}`));
  return { clients: [...clients].sort(), environment: [...environment].sort() };
}

module.exports = { describe };
