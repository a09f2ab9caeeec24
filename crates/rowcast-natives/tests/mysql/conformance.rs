//! The suite of every connector.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::json::{to_json, to_text};
use rowcast_core::value::Object;
use rowcast_core::{BoxFuture, Destination, Mode, Value};
use rowcast_testkit::conformance::{Held, Subject, Trouble, difficult_values, run};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::MariaDb;
use serde_json::json;

use crate::support::{ALWAYS, Mended, SECRET, build, config};

struct Table {
    server: Arc<MariaDb>,
    proxy: Proxy,
    busy: Arc<AtomicBool>,
}

/// Columns of the table with the types they have.
const COLUMNS: [(&str, &str); 19] = [
    ("email", "VARCHAR(100)"),
    ("text", "TEXT"),
    ("long", "LONGTEXT"),
    ("empty", "VARCHAR(10)"),
    ("nothing", "INT"),
    ("big", "BIGINT"),
    ("small", "BIGINT"),
    ("exact", "DECIMAL(30,10)"),
    ("float", "DOUBLE"),
    ("yes", "BOOLEAN"),
    ("before 1970", "DATE"),
    ("instant", "DATETIME(6)"),
    ("wall", "DATETIME(6)"),
    ("bytes", "BLOB"),
    ("nested", "JSON"),
    ("uuid", "BINARY(16)"),
    ("Mixed Case", "INT"),
    ("select", "INT"),
    ("a.b", "INT"),
];

impl Table {
    fn start() -> Self {
        let server = MariaDb::start();
        assert_eq!(server.password, SECRET);
        let columns: Vec<String> = COLUMNS
            .iter()
            .map(|(name, kind)| format!("`{name}` {kind}"))
            .collect();
        server.sql(&format!(
            "CREATE TABLE contact (id BIGINT PRIMARY KEY, {}) CHARACTER SET utf8mb4; \
 ",
            columns.join(", ")
        ));
        let proxy = Proxy::to_port(server.port);
        Self {
            server: Arc::new(server),
            proxy,
            busy: Arc::default(),
        }
    }
}

/// A cell in one form for the client's hexadecimal output and for a value that was sent. Of long
/// ones the length will do.
fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02X}").expect("write to a string");
    }
    short(digits)
}

fn short(hex: String) -> String {
    if hex.len() > 1_000 {
        return format!("{} digits", hex.len());
    }
    hex
}

impl Subject for Table {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(
            "contact",
            &json!({
                "host": "127.0.0.1", "port": self.proxy.port(), "tls": false, "user": "rowcast",
                "password": format!("secret:{SECRET}"), "database": "shop",
            }),
        );
        config.mode = mode;
        config.batch_records = Some(records);
        let server = Arc::clone(&self.server);
        Arc::new(Mended {
            inner: build("mysql", config),
            broken: Arc::clone(&self.busy),
            mend: move || {
                server.sql("DROP TRIGGER busy");
            },
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let cells: Vec<String> = COLUMNS
                .iter()
                .map(|(name, kind)| match *kind {
                    "BLOB" | "BINARY(16)" => format!("IFNULL(HEX(`{name}`), '-')"),
                    _ => format!("IFNULL(HEX(CAST(`{name}` AS CHAR)), '-')"),
                })
                .collect();
            let rows = self
                .server
                .sql(&format!("SELECT id, {} FROM contact", cells.join(", ")));
            let mut held = Held::new();
            for row in rows {
                let mut cells = row.split('\t');
                let id = cells.next().unwrap().parse().unwrap();
                let fields = COLUMNS.iter().zip(cells);
                // What was not sent is null, as is what was sent as null.
                let fields = fields.filter(|(_, cell)| *cell != "-");
                held.insert(
                    id,
                    fields
                        .map(|((name, _), cell)| ((*name).to_owned(), short(cell.to_owned())))
                        .collect(),
                );
            }
            Some(held)
        })
    }

    fn values(&self) -> Object {
        let mut values = difficult_values();
        values.retain(|(name, value)| **name != *"not a number" && !value.is_null());
        values.push(("uuid".into(), Value::Uuid([7; 16])));
        values
    }

    fn form(&self, value: &Value) -> String {
        match value {
            Value::Bool(value) => hex(i32::from(*value).to_string().as_bytes()),
            Value::Bytes(bytes) => hex(bytes),
            Value::Uuid(bytes) => hex(bytes),
            Value::TimestampTz(_) => hex(b"1969-12-31 23:59:59.999999"),
            Value::Timestamp(_) => hex(b"2024-02-29 12:30:00.500000"),
            Value::Object(_) => hex(to_json(value).as_bytes()),
            other => hex(to_text(other).as_bytes()),
        }
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(id) => {
                self.server.sql(&format!(
                    "ALTER TABLE contact ADD CONSTRAINT bad CHECK (id <> {id})"
                ));
            }
            Trouble::Busy => {
                self.server.sql(
                    "CREATE TRIGGER busy BEFORE INSERT ON contact FOR EACH ROW \
                     SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
                );
                self.busy.store(true, Ordering::SeqCst);
            }
            Trouble::LostAnswer => {
                let rule = Rule::up(When::text("\u{3}COMMIT"), Break::Reset);
                self.proxy.inject(rule.passing());
            }
            // Opening a run logs in already; `promises.rs` has it.
            Trouble::Revoked => return false,
        }
        true
    }

    fn calm(&self) {
        self.server
            .sql("ALTER TABLE contact DROP CONSTRAINT IF EXISTS bad");
    }

    fn knows_existing(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_keeps_the_contract() {
    let more = [
        "missing and existing records",
        "rejected in the middle",
        "transient, then success",
        "lost answer, sent again",
    ];
    assert_eq!(run(&Table::start()).await, [&ALWAYS[..], &more].concat());
}
