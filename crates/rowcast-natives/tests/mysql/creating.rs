//! `create: true`, and what `check` says of the user's rights.

use rowcast_core::record::Operation;
use rowcast_core::{Code, DestinationConfig, Mode, Outcome, SettingValue, Value};
use rowcast_testkit::servers::MariaDb;

use crate::promises::{batch, failed, opened, settings, with};

fn set(config: &mut DestinationConfig, name: &str, value: SettingValue) {
    let SettingValue::Map(members) = &mut config.settings else {
        panic!("settings are a mapping");
    };
    members.retain(|(known, _)| known != name);
    members.push((name.to_owned(), value));
}

fn creating(port: u16, object: &str) -> DestinationConfig {
    let mut config = settings(port, object);
    set(&mut config, "create", SettingValue::Bool(true));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_records_make_the_table_and_later_ones_columns_that_it_lacks() {
    let server = MariaDb::start();
    let destination = opened(creating(server.port, "made"), 1).await;
    let digits = "12345678901234567890.123456789";
    let first = with(
        Operation::Upsert,
        1,
        &[
            ("name", Value::from("Ada")),
            ("paid", Value::Decimal(digits.into())),
            ("seen", Value::TimestampTz(1_709_209_800_500_000)),
            ("ok", Value::Bool(true)),
            ("raw", Value::Bytes(Box::from([0, 255]))),
            ("later", Value::Null),
        ],
    );
    let outcomes = destination.write(&batch(1, 1, vec![first])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    let second = with(
        Operation::Upsert,
        2,
        &[("Name", Value::from("Bo")), ("score", Value::float(0.5))],
    );
    let delete = with(Operation::Delete, 1, &[]);
    let outcomes = destination.write(&batch(1, 2, vec![second])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    assert_eq!(
        server.sql("SELECT id, name, paid, seen, ok, HEX(raw), later, score FROM made ORDER BY id"),
        [
            format!(
                "1\tAda\t{digits}{}\t2024-02-29 12:30:00.500000\t1\t00FF\tNULL\tNULL",
                "0".repeat(21)
            ),
            "2\tBo\tNULL\tNULL\tNULL\tNULL\tNULL\t0.5".to_owned(),
        ]
    );
    let outcomes = destination.write(&batch(1, 3, vec![delete])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    assert_eq!(server.sql("SELECT id FROM made"), ["2"]);
    let columns = server.sql(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS \
         WHERE TABLE_NAME = 'made' AND COLUMN_KEY = 'PRI'",
    );
    assert_eq!(columns, ["id\tbigint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_that_want_the_same_table_take_turns() {
    let server = MariaDb::start();
    let destination = opened(creating(server.port, "made"), 1).await;
    let record = |id, field: &str| with(Operation::Upsert, id, &[(field, Value::Int(id))]);
    let one = batch(1, 1, vec![record(1, "a")]);
    let two = batch(1, 2, vec![record(2, "b")]);
    let (one, two) = tokio::join!(destination.write(&one), destination.write(&two));
    assert_eq!(one.unwrap(), [Outcome::Delivered]);
    assert_eq!(two.unwrap(), [Outcome::Delivered]);
    assert_eq!(
        server.sql("SELECT id, a, b FROM made ORDER BY id"),
        ["1\t1\tNULL", "2\tNULL\t2"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_privilege_that_the_mode_needs() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100)); \
         CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'canary-7731'; \
         GRANT SELECT, INSERT, UPDATE ON shop.* TO weak@'127.0.0.1'",
    );
    let weak = |mut config: DestinationConfig, mode| {
        set(&mut config, "user", SettingValue::Text("weak".to_owned()));
        config.mode = mode;
        config
    };
    let upsert = weak(settings(server.port, "contact"), Mode::Upsert);
    let checks = crate::support::build("mysql", upsert).check().await;
    let check = checks.iter().find(|check| check.name == "privileges");
    assert_eq!(check.unwrap().found, "INSERT, UPDATE", "{checks:?}");
    let mirror = weak(settings(server.port, "contact"), Mode::Mirror);
    let (name, code, hint) = failed(mirror).await;
    assert_eq!((&*name, code), ("privileges", Code::DestinationObject));
    assert_eq!(
        hint,
        "GRANT DELETE, INSERT, SELECT, UPDATE ON `shop`.`contact` TO the user"
    );
    let make = weak(creating(server.port, "made"), Mode::Upsert);
    let (name, _, hint) = failed(make).await;
    assert_eq!(
        (&*name, &*hint),
        ("privileges", "GRANT CREATE ON `shop`.`made` TO the user")
    );
    // Looking changed nothing.
    assert_eq!(server.sql("SHOW TABLES"), ["contact"]);
}
