'use strict';
// One destination of the package, opened with a user's settings, and what can be asked of it.

const path = require('path');
const { current, statusOf } = require('./pipe.js');
const { describe } = require('./catalogue.js');

const ROOT = '@segment/action-destinations/dist/destinations';
/** Longest text of a service's answer that is handed on. */
const WORDS_MAX = 1000;

function load(slug) {
  if (!/^[a-z0-9-]+$/.test(slug)) throw new Error(`${slug} is no destination`);
  return require(path.posix.join(ROOT, slug)).default;
}

class Opened {
  constructor({ slug, settings, oauth, environment }) {
    Object.assign(process.env, environment ?? {});
    const { Destination } = require('@segment/actions-core');
    this.definition = load(slug);
    this.destination = new Destination(this.definition);
    this.settings = { ...settings };
    for (const [name, field] of Object.entries(this.definition.authentication?.fields ?? {})) {
      const usual = field.default;
      if (this.settings[name] === undefined && usual !== undefined && typeof usual !== 'object') {
        this.settings[name] = usual;
      }
    }
    this.oauth = oauth ?? undefined;
  }

  get auth() {
    return { accessToken: this.oauth?.access_token, refreshToken: this.oauth?.refresh_token };
  }

  /** A request that the service takes for harmless; throws its refusal. */
  async check() {
    if (!this.destination.authentication?.testAuthentication) {
      this.destination.validateSettings(this.settings);
      return { called: false };
    }
    await this.destination.testAuthentication({ ...this.settings, oauth: this.oauth });
    return { called: true };
  }

  /** The values a field can take, as the service tells them. */
  async choices({ action, field, payload }) {
    const given = { settings: this.settings, auth: this.auth, payload: payload ?? {}, features: {} };
    const found = await this.destination.executeDynamicField(action, field, given);
    if (found?.error) throw Object.assign(new Error(found.error.message), { status: Number(found.error.code) || 500 });
    return { choices: (found?.choices ?? []).map(({ label, value }) => ({ label, value })) };
  }

  /** A new access token from the user's own client and refresh token. */
  async refresh() {
    const tokens = await this.destination.refreshAccessToken(this.settings, {
      accessToken: this.oauth?.access_token,
      refreshToken: this.oauth?.refresh_token,
      clientId: this.oauth?.client_id,
      clientSecret: this.oauth?.client_secret
    });
    if (!tokens?.accessToken) throw Object.assign(new Error('the service gave no access token'), { status: 401 });
    this.oauth = { ...this.oauth, access_token: tokens.accessToken };
    if (tokens.refreshToken) this.oauth.refresh_token = tokens.refreshToken;
    return { access_token: tokens.accessToken, refresh_token: tokens.refreshToken };
  }

  /** One result for each record, in order: `{status, message, whole}`. Never throws. */
  async write(request) {
    const action = this.destination.actions[request.action];
    if (!action) throw Object.assign(new Error(`there is no action ${request.action}`), { status: 501 });
    const results = new Array(request.records.length);
    const controls = controlsOf(action.definition.fields, request);
    for (const record of request.records) record.fields = { ...controls, ...record.fields };
    if (request.single || !action.hasBatchSupport) {
      for (const [at, record] of request.records.entries()) {
        results[at] = await this.one(request, record);
      }
      return { results };
    }
    const groups = grouped(action.definition.fields, request);
    for (const positions of groups) await this.group(request, positions, groups.length > 1, results);
    return { results };
  }

  async one(request, record) {
    try {
      const event = eventOf(request, record);
      await this.destination.executeAction(request.action, {
        ...this.bundle(request, [event]),
        event
      });
      return { status: 200 };
    } catch (error) {
      return { status: statusOf(error), message: wordsOf(error) };
    }
  }

  /** Sends records together. Halves them when the service refuses them whole, if others were sent
   *  before: then Rowcast can't have the whole batch halved without sending those twice. */
  async group(request, positions, halve, results) {
    const events = positions.map((at) => eventOf(request, request.records[at]));
    let found;
    try {
      found = await this.destination.executeBatch(request.action, {
        ...this.bundle(request, events),
        events
      });
    } catch (error) {
      const status = statusOf(error);
      const refused = status >= 400 && status < 500 && ![401, 408, 423, 429].includes(status);
      if (halve && refused && positions.length > 1) {
        const middle = positions.length >> 1;
        await this.group(request, positions.slice(0, middle), true, results);
        await this.group(request, positions.slice(middle), true, results);
        return;
      }
      const result = { status, message: wordsOf(error), whole: refused };
      for (const at of positions) results[at] = result;
      return;
    }
    positions.forEach((at, index) => (results[at] = resultOf(found[index])));
    refusedInBody(positions, found, results);
    const store = current.getStore();
    const sent = positions.filter((at) => !results[at].invalid);
    const status = sent.length > 1 ? results[sent[0]].status : 0;
    // An answer that refuses all of them alike, with the status of the exchange itself.
    if (status >= 400 && store?.status === status && sent.every((at) => results[at].status === status)) {
      for (const at of sent) results[at].whole = true;
    }
  }

  bundle(request, events) {
    const mapping = mappingOf(events);
    if (request.mode) mapping.__segment_internal_sync_mode = request.mode;
    if (request.matching_key) mapping.__segment_internal_matching_key = request.matching_key;
    return {
      mapping,
      settings: this.settings,
      auth: this.auth,
      features: {},
      subscriptionMetadata: {},
      // With a signal the package sets no time limit of its own: Rowcast's holds.
      signal: new AbortController().signal
    };
  }
}

/** What steers batches, as Segment stores it with a mapping: Rowcast takes it out of one. */
function controlsOf(fields, request) {
  const controls = {};
  for (const name of ['enable_batching', 'batch_size', 'batch_bytes', 'batch_keys']) {
    const usual = fields[name]?.default;
    if (usual !== undefined) controls[name] = usual;
  }
  if (fields.enable_batching) controls.enable_batching = !request.single;
  if (fields.batch_keys && request.batch_keys) controls.batch_keys = request.batch_keys;
  return controls;
}

/** The row event, with the mapped fields in place of columns: the mapping was done before. */
function eventOf(request, record) {
  const at = request.started_at;
  return {
    type: 'track',
    event: record.event,
    messageId: record.key,
    __segment_id: record.id,
    timestamp: at,
    receivedAt: at,
    properties: record.fields
  };
}

/** A mapping that gives every event's properties back. The members of objects are named, because
 *  some actions look there for the names of a service's fields. */
function mappingOf(events) {
  const names = new Set(events.flatMap((event) => Object.keys(event.properties)));
  const mapping = {};
  for (const name of names) {
    const values = events.map((event) => event.properties[name]);
    mapping[name] = values.every(isPlainObject)
      ? membersOf(name, values)
      : { '@path': `$.properties.${name}` };
  }
  return mapping;
}

function membersOf(name, values) {
  const members = new Set(values.flatMap((value) => Object.keys(value)));
  if (members.size === 0 || ![...members].every((member) => /^[A-Za-z_]\w*$/.test(member))) {
    return { '@path': `$.properties.${name}` };
  }
  return Object.fromEntries([...members].map((member) => [member, { '@path': `$.properties.${name}.${member}` }]));
}

function isPlainObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Positions of records that may share a request: those whose batch keys are the same. */
function grouped(fields, request) {
  const usual = fields.batch_keys?.default;
  const keys = request.batch_keys ?? (Array.isArray(usual) ? usual : []);
  const groups = new Map();
  request.records.forEach((record, at) => {
    const group = JSON.stringify(keys.map((key) => record.fields[key] ?? null));
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(at);
  });
  return [...groups.values()];
}

function resultOf(result) {
  const status = Number(result?.status ?? 500);
  if (status >= 200 && status < 300) return { status };
  return {
    status,
    message: limited(result?.errormessage ?? textOf(result?.body) ?? 'no result for this record'),
    invalid: result?.errorreporter === 'INTEGRATIONS' && status === 400
  };
}

/** Takes an answer 207 at its word: the package hands its status on for all records, and the body
 *  says which of them were refused. */
function refusedInBody(positions, found, results) {
  const sent = positions.filter((at) => !results[at].invalid);
  if (!sent.every((at) => results[at].status === 207)) return;
  const body = found[positions.indexOf(sent[0])]?.body;
  const errors = (typeof body === 'string' ? parsed(body) : body)?.errors;
  if (!Array.isArray(errors) || errors.length === 0) return;
  const at = (error) => sent[error?.batch_index];
  const named = errors.every((error) => at(error) !== undefined);
  for (const error of named ? errors : []) {
    results[at(error)] = { status: 400, message: limited(textOf(error)) };
  }
  if (!named) for (const position of sent) results[position] = { status: 400, message: limited(textOf(body)), whole: true };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function wordsOf(error) {
  const body = textOf(error?.response?.data ?? error?.response?.content);
  return limited([error?.message, body].filter(Boolean).join(': '));
}

function textOf(value) {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function limited(text) {
  return String(text).slice(0, WORDS_MAX);
}

module.exports = { Opened, describe, load };
