//! The contract that every destination keeps, over a real server.

use std::sync::Mutex;

use rowcast_core::json::to_json;
use rowcast_core::{BoxFuture, Destination};
use rowcast_testkit::conformance::{Held, Subject, Trouble, difficult_values, run};

use super::*;

const SECRET: &str = "canary-4408";

struct Table {
    bench: Bench,
    /// What ends the trouble.
    cures: Mutex<Vec<&'static str>>,
}

impl Subject for Table {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let url = self.bench.database.url_as(&format!("postgres:{SECRET}"));
        let mut config = self.bench.config("contact", mode, &["id"]);
        config.settings = SettingValue::Map(vec![
            ("url".to_owned(), SettingValue::Secret(url.into())),
            ("create".to_owned(), SettingValue::Bool(true)),
        ]);
        config.batch_records = Some(records);
        crate::destination::build(config).unwrap()
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let sql = "SELECT id, key, value FROM contact AS t, jsonb_each_text(to_jsonb(t) - 'id')
                        WHERE value IS NOT NULL";
            let mut held = Held::new();
            // The first batch makes the table.
            for row in self.bench.client.query(sql, &[]).await.unwrap_or_default() {
                let (id, name): (i64, String) = (row.get(0), row.get(1));
                let text: String = row.get(2);
                // jsonb writes a document in its own way.
                let text = if text.starts_with('{') {
                    text.replace(' ', "")
                } else {
                    text
                };
                held.entry(id).or_default().insert(name, text);
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        let (sql, cure) = match trouble {
            Trouble::BadRecord(id) => (
                format!("ALTER TABLE contact ADD CONSTRAINT bad CHECK (id <> {id})"),
                "ALTER TABLE contact DROP CONSTRAINT bad",
            ),
            Trouble::Busy => (
                "CREATE SEQUENCE once;
                 CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF nextval('once') = 1 THEN RAISE 'wait' USING ERRCODE = 'lock_not_available'; END IF;
                   RETURN NEW; END $$;
                 CREATE TRIGGER busy BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION busy()"
                    .to_owned(),
                "DROP TRIGGER busy ON contact",
            ),
            // The answer to a COMMIT can't be cut from here, and credentials are looked at when a
            // connection opens: `exactly_once` and `setup` say what happens then.
            Trouble::LostAnswer | Trouble::Revoked => return false,
        };
        Cluster::shared().psql(&self.bench.database.name, &sql);
        self.cures.lock().unwrap().push(cure);
        true
    }

    fn calm(&self) {
        for cure in self.cures.lock().unwrap().drain(..) {
            Cluster::shared().psql(&self.bench.database.name, cure);
        }
    }

    fn knows_existing(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }

    /// Null is what every row holds in a column that came later.
    fn values(&self) -> Object {
        let mut values = difficult_values();
        values.retain(|(_, value)| !value.is_null());
        values
    }

    fn form(&self, value: &Value) -> String {
        let text = rowcast_core::json::to_text(value);
        match value {
            Value::TimestampTz(_) => text.replace('Z', "+00:00"),
            Value::Bytes(bytes) => {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                format!("\\x{}", digits.collect::<String>())
            }
            Value::Object(_) => to_json(value).replace(' ', ""),
            _ => text,
        }
    }
}

#[tokio::test]
async fn postgres_keeps_the_contract_of_a_destination() {
    let table = Table {
        bench: Bench::new("conformance", "").await,
        cures: Mutex::default(),
    };
    assert_eq!(
        run(&table).await,
        [
            "empty, one, at the limit",
            "values",
            "newest wins",
            "check",
            "deletes",
            "missing and existing records",
            "rejected in the middle",
            "transient, then success",
        ]
    );
}
