//! Both sides of the comparison alone, in byte order of the key: what the worker merges when state
//! lives in another database (semantics 23).

use super::DiffSql;

impl DiffSql<'_> {
    /// The model's side alone in byte order of its key, for the merge on the worker. Columns: keys,
    /// checksum, mapped columns.
    pub(in crate::ledger) fn ordered_model(&self) -> String {
        let (wire, order) = self.ordered_keys("n");
        let mut columns = vec![wire, "n.h".into()];
        columns.extend((1..=self.data.len()).map(|i| format!("n.c{i}")));
        format!(
            "SELECT {} FROM (\n{}\n) n ORDER BY {order}",
            columns.join(", "),
            self.model(true)
        )
    }

    /// The state's side alone in byte order. Columns: keys, checksum, mark, reject (attempts,
    /// checksum, within, first run), doubt (operation, run), sent.
    pub(in crate::ledger) fn ordered_state(&self) -> String {
        let (wire, order) = self.ordered_keys("s");
        let on = |alias: &str| self.shape.equal(alias, "s");
        // Rejects of keys that state does not hold come from the other side of the full join.
        let keys: Vec<String> = (1..=self.shape.keys.len())
            .map(|i| format!("coalesce(s.k{i}, r.k{i}) AS k{i}"))
            .collect();
        format!(
            "SELECT {wire}, s.h, s.mark, s.has_state, s.attempts, s.rh, s.due, s.first_run, d.op, d.run{sent_column} FROM \
             (SELECT {}, {h} AS h, s.mark, s.k1 IS NOT NULL AS has_state, r.attempts, r.h AS rh, \
             (r.forced OR (r.attempts <= {} AND r.first_at > now() - interval '{} seconds')) AS due, r.first_run \
             FROM {} s FULL JOIN {} r ON {}) s LEFT JOIN {} d ON {}{sent_join} ORDER BY {order}",
            keys.join(", "),
            self.retry_runs,
            self.retry_seconds,
            self.state(),
            self.shape.table("reject"),
            self.shape.equal("r", "s"),
            self.shape.table("doubt"),
            on("d"),
            h = if self.plan.judges_anew {
                "CASE WHEN s.mark = 's' THEN NULL ELSE s.h END"
            } else {
                "s.h"
            },
            sent_column = if self.keep_rows { ", v.sent" } else { "" },
            sent_join = if self.keep_rows {
                format!(" LEFT JOIN {} v ON {}", self.shape.table("sent"), on("v"))
            } else {
                String::new()
            },
        )
    }

    fn ordered_keys(&self, alias: &str) -> (String, String) {
        let keys = self.shape.keys.iter().enumerate();
        let order: Vec<String> = keys
            .map(|(i, key)| key.form.byte_order(&format!("{alias}.k{}", i + 1)))
            .collect();
        (self.shape.wire(alias), order.join(", "))
    }
}
