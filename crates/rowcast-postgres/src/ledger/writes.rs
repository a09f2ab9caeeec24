//! What one step writes, as statements: each stands for itself, so that all travel together.
//!
//! Whatever changes the number of rows in state changes their count in the same statement
//! (semantics 4).

use rowcast_core::ledger::Intent;
use tokio_postgres::types::Type;

use super::commit::Writer;
use super::effects::{DoubtSet, Effects, PutSet, RejectSet};
use super::flight::Flight;
use super::shape::{KeyArrays, Shape};

/// An intent, ready to be written.
#[derive(Debug)]
pub(super) struct Announced {
    epoch: i64,
    id: i64,
    keys: KeyArrays,
    operations: String,
    checksums: Vec<Option<i64>>,
    matches: Option<Vec<Option<String>>>,
}

impl Announced {
    pub(super) fn new(shape: &Shape, intent: &Intent) -> Self {
        let items = &intent.items;
        let tracked = items.iter().any(|item| item.match_values.is_some());
        let canonical = || {
            let texts = items
                .iter()
                .map(|item| item.match_values.as_deref().map(super::matching::canonical));
            texts.collect()
        };
        Self {
            epoch: intent.epoch,
            id: intent.id,
            keys: KeyArrays::of(shape, items.iter().map(|item| &item.key)),
            operations: items.iter().map(|item| item.operation.letter()).collect(),
            checksums: items.iter().map(|item| item.checksum).collect(),
            matches: tracked.then(canonical),
        }
    }
}

impl Writer<'_> {
    /// Applies effects.
    pub(super) fn apply<'f>(&self, flight: &mut Flight<'f>, run: i32, effects: &'f Effects) {
        if self.recent && effects.put.is_plain() {
            self.put_recent(flight, run, &effects.put);
        } else {
            self.absorb(flight, &effects.put.keys);
            self.put(flight, run, &effects.put);
        }
        if self.recent {
            self.drop_recent(flight, run, &effects.drop);
        } else {
            self.absorb(flight, &effects.drop);
            self.drop_keys(flight, &effects.drop);
        }
        self.absorb(flight, &effects.bury);
        self.absorb(flight, &effects.doubt.keys);
        self.bury(flight, run, &effects.bury);
        self.count_removals(flight, run, effects.removed);
        self.overwrite(flight, &effects.put.keys, &effects.put.matches);
        self.overwrite(flight, &effects.doubt.keys, &effects.doubt.matches);
        self.doubt(flight, run, &effects.doubt);
        self.reject(flight, run, &effects.reject);
        self.forget_in(flight, "doubt", &effects.forget);
        self.forget_in(flight, "reject", &effects.forget);
        if self.keep_rows {
            self.keep(flight, &effects.put, &effects.drop);
        }
    }

    /// Adds what `written` gave to the count of rows in state; a count that stays writes nothing.
    fn counting(&self, written: &str, number: &str) -> String {
        format!(
            "WITH written AS ({written}) UPDATE {} SET rows = rows + w.n \
             FROM (SELECT {number} AS n FROM written) w WHERE sync_id = {} AND w.n <> 0",
            self.shape.shared("progress"),
            self.shape.sync
        )
    }

    fn put<'f>(&self, flight: &mut Flight<'f>, run: i32, set: &'f PutSet) {
        if set.keys.is_empty() {
            return;
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let mut params = set.keys.params();
        params.push((&set.checksums, Type::INT8_ARRAY));
        let checksums = format!("${}::bigint[]", n + 1);
        // Most steps only deliver, to syncs that don't keep identities.
        let (rows, mark, identity) = if set.is_plain() {
            let unnest = self.shape.unnest(&[&checksums]);
            (format!("{unnest} AS u({names}, h)"), "NULL", "NULL")
        } else {
            params.push((&set.marks, Type::TEXT_ARRAY));
            params.push((&set.matches, Type::TEXT_ARRAY));
            let unnest = self.shape.unnest(&[
                &checksums,
                &format!("${}::text[]", n + 2),
                &format!("${}::text[]", n + 3),
            ]);
            let rows = format!("{unnest} AS u({names}, h, mark, m)");
            (rows, "u.mark::\"char\"", "u.m")
        };
        let sql = format!(
            "INSERT INTO {state} AS s ({names}, h, mark, m, run) \
             SELECT {keys}, u.h, {mark}, {identity}, {run} FROM {rows} \
             ON CONFLICT ({names}) DO UPDATE SET h = EXCLUDED.h, mark = EXCLUDED.mark, \
             m = CASE WHEN EXCLUDED.mark = 's' THEN s.m ELSE EXCLUDED.m END, \
             run = EXCLUDED.run RETURNING (xmax = 0) AS fresh",
            state = self.shape.own("state"),
            keys = self.shape.names("u."),
        );
        flight.push(self.counting(&sql, "count(*) FILTER (WHERE fresh)"), params);
    }

    fn drop_keys<'f>(&self, flight: &mut Flight<'f>, keys: &'f KeyArrays) {
        if keys.is_empty() {
            return;
        }
        let sql = format!(
            "DELETE FROM {} AS s USING {} AS u({}) WHERE {} RETURNING 1",
            self.shape.own("state"),
            self.shape.unnest(&[]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        flight.push(self.counting(&sql, "-count(*)"), keys.params());
    }

    /// A record that was put at an identity has taken the place of whatever another key had
    /// delivered there: what that key has at the destination is not known any more (semantics 12).
    fn overwrite<'f>(
        &self,
        flight: &mut Flight<'f>,
        keys: &'f KeyArrays,
        matches: &'f Vec<Option<String>>,
    ) {
        if matches.iter().all(Option::is_none) {
            return;
        }
        let sql = format!(
            "UPDATE {} AS s SET h = NULL FROM {} AS u({}, m) WHERE s.m = u.m AND s.h IS NOT NULL AND NOT ({})",
            self.shape.own("state"),
            self.shape
                .unnest(&[&format!("${}::text[]", self.shape.keys.len() + 1)]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        let mut params = keys.params();
        params.push((matches, Type::TEXT_ARRAY));
        flight.push(sql, params);
    }

    /// Removals that took effect, for the guard that looks back 24 hours (semantics 20): a removal
    /// that this run did not get to is counted by the run that does.
    fn count_removals(&self, flight: &mut Flight<'_>, run: i32, number: i64) {
        if number != 0 {
            let sql = format!(
                "UPDATE {} SET removals_done = removals_done + {number} WHERE run = {run}",
                self.shape.shared("run_history")
            );
            flight.push(sql, Vec::new());
        }
    }

    fn bury<'f>(&self, flight: &mut Flight<'f>, run: i32, keys: &'f KeyArrays) {
        if keys.is_empty() {
            return;
        }
        let sql = format!(
            "UPDATE {} AS s SET mark = 't', run = {run} FROM {} AS u({}) WHERE {}",
            self.shape.own("state"),
            self.shape.unnest(&[]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        flight.push(sql, keys.params());
    }

    /// Unknown outcomes become `h = NULL` and a doubt; absent keys are inserted (semantics 8).
    fn doubt<'f>(&self, flight: &mut Flight<'f>, run: i32, set: &'f DoubtSet) {
        if set.keys.is_empty() {
            return;
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let unnest = self.shape.unnest(&[
            &format!("${}::text[]", n + 1),
            &format!("${}::text[]", n + 2),
        ]);
        // A key that was never acknowledged is marked so: its row is still an addition. Any other
        // keeps the run of its last acknowledgement.
        // A doubtful delete keeps the identity that may still be there; anything else may have put
        // the record at the identity that was attempted.
        let state = format!(
            "INSERT INTO {state} AS s ({names}, h, mark, m, run) \
             SELECT {keys}, NULL, 'n', u.m, {run} FROM {unnest} AS u({names}, op, m) \
             ON CONFLICT ({names}) DO UPDATE SET h = NULL, \
             mark = CASE s.mark WHEN 'n' THEN s.mark END, \
             m = coalesce(EXCLUDED.m, s.m) RETURNING (xmax = 0) AS fresh",
            state = self.shape.own("state"),
            keys = self.shape.names("u."),
        );
        let doubts = format!(
            "INSERT INTO {} ({names}, op, run) SELECT {}, u.op::\"char\", {run} \
             FROM {unnest} AS u({names}, op, m) ON CONFLICT ({names}) DO NOTHING",
            self.shape.table("doubt"),
            self.shape.names("u."),
        );
        let params = || {
            let mut params = set.keys.params();
            params.push((&set.operations, Type::TEXT_ARRAY));
            params.push((&set.matches, Type::TEXT_ARRAY));
            params
        };
        let state = self.counting(&state, "count(*) FILTER (WHERE fresh)");
        flight.push(state, params());
        flight.push(doubts, params());
    }

    fn reject<'f>(&self, flight: &mut Flight<'f>, run: i32, set: &'f RejectSet) {
        if set.keys.is_empty() {
            return;
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let at = |i: usize, kind: &str| format!("${}::{kind}[]", n + i);
        let unnest = self.shape.unnest(&[
            &at(1, "text"),
            &at(2, "bigint"),
            &at(3, "text"),
            &at(4, "text"),
        ]);
        // A new value starts a new count of attempts.
        let sql = format!(
            "INSERT INTO {} AS r ({names}, op, h, code, message, attempts, first_run, last_run, first_at) \
             SELECT {}, u.op::\"char\", u.h, u.code, u.message, 1, {run}, {run}, clock_timestamp() \
             FROM {unnest} AS u({names}, op, h, code, message) \
             ON CONFLICT ({names}) DO UPDATE SET op = EXCLUDED.op, code = EXCLUDED.code, \
             message = EXCLUDED.message, last_run = EXCLUDED.last_run, forced = false, \
             attempts = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h \
             THEN r.attempts + (r.last_run <> EXCLUDED.last_run)::int ELSE 1 END, \
             first_run = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h THEN r.first_run ELSE EXCLUDED.first_run END, \
             first_at = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h THEN r.first_at ELSE EXCLUDED.first_at END, \
             h = EXCLUDED.h",
            self.shape.table("reject"),
            self.shape.names("u."),
        );
        let mut params = set.keys.params();
        params.push((&set.operations, Type::TEXT_ARRAY));
        params.push((&set.checksums, Type::INT8_ARRAY));
        params.push((&set.codes, Type::TEXT_ARRAY));
        params.push((&set.messages, Type::TEXT_ARRAY));
        flight.push(sql, params);
    }

    /// Doubts or rejects of keys that are settled for good.
    pub(super) fn forget_in<'f>(&self, flight: &mut Flight<'f>, table: &str, keys: &'f KeyArrays) {
        if !keys.is_empty() {
            let sql = format!(
                "DELETE FROM {} AS s USING {} AS u({}) WHERE {}",
                self.shape.table(table),
                self.shape.unnest(&[]),
                self.shape.names(""),
                self.shape.equal("s", "u"),
            );
            flight.push(sql, keys.params());
        }
    }

    fn keep<'f>(&self, flight: &mut Flight<'f>, put: &'f PutSet, drop: &'f KeyArrays) {
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        if !put.keys.is_empty() {
            let sql = format!(
                "INSERT INTO {} ({names}, sent) SELECT {}, u.sent FROM {} AS u({names}, sent) \
                 WHERE u.sent IS NOT NULL ON CONFLICT ({names}) DO UPDATE SET sent = EXCLUDED.sent",
                self.shape.table("sent"),
                self.shape.names("u."),
                self.shape.unnest(&[&format!("${}::text[]", n + 1)]),
            );
            let mut params = put.keys.params();
            params.push((&put.sent, Type::TEXT_ARRAY));
            flight.push(sql, params.clone());
            // Delivered, but nobody remembers with which values: the old ones would be a lie.
            let sql = format!(
                "DELETE FROM {} AS s USING {} AS u({names}, sent, mark) \
                 WHERE u.sent IS NULL AND u.mark IS NULL AND {}",
                self.shape.table("sent"),
                self.shape.unnest(&[
                    &format!("${}::text[]", n + 1),
                    &format!("${}::text[]", n + 2)
                ]),
                self.shape.equal("s", "u"),
            );
            params.push((&put.marks, Type::TEXT_ARRAY));
            flight.push(sql, params);
        }
        self.forget_in(flight, "sent", drop);
    }

    /// Acknowledges intents as a whole: their keys and checksums are what state takes over when
    /// they are folded (`fold`), so only their rows are marked and counted.
    pub(super) fn mark<'f>(
        &self,
        flight: &mut Flight<'f>,
        epoch: i64,
        intents: &'f Vec<i64>,
        records: usize,
    ) {
        if intents.is_empty() {
            return;
        }
        // Dividing by nought fails the step if one of them is not there: its rows would be counted
        // and never come into state.
        let sql = format!(
            "WITH marked AS (UPDATE {} SET acknowledged = true \
             WHERE epoch = {epoch} AND intent = ANY($1) AND NOT acknowledged RETURNING 1) \
             UPDATE {} SET rows = rows + {records} / (SELECT (count(*) = {})::int FROM marked) \
             WHERE sync_id = {}",
            self.shape.table("intent"),
            self.shape.shared("progress"),
            intents.len(),
            self.shape.sync,
        );
        flight.push(sql, vec![(intents, Type::INT8_ARRAY)]);
    }

    pub(super) fn announce<'f>(&self, flight: &mut Flight<'f>, run: i32, intent: &'f Announced) {
        let n = self.shape.keys.len();
        let places: Vec<String> = (1..=n + 3).map(|i| format!("${i}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}, ops, hs, ms, epoch, intent, run) VALUES ({}, {}, {}, {run}) \
             ON CONFLICT DO NOTHING",
            self.shape.table("intent"),
            self.shape.names(""),
            places.join(", "),
            intent.epoch,
            intent.id,
        );
        let mut params = intent.keys.params();
        params.push((&intent.operations, Type::TEXT));
        params.push((&intent.checksums, Type::INT8_ARRAY));
        params.push((&intent.matches, Type::TEXT_ARRAY));
        flight.push(sql, params);
    }
}
