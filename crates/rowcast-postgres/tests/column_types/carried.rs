//! Rows that go to another PostgreSQL undecoded arrive as their values do.

use std::sync::Arc;

use rowcast_core::ledger::{DiffRequest, Ledger};
use rowcast_core::mapping::{CompileInput, FieldMapping, Mapper};
use rowcast_core::{
    Batch, Change, Destination, DestinationConfig, Mode, Name, Operation, Outcome, Record,
    RunContext, SettingValue, Value,
};

use super::harness::World;
use super::{read_columns, samples, world};

/// Records in a batch that is large enough to be copied.
const LARGE: usize = 300;

fn context() -> Arc<RunContext> {
    Arc::new(RunContext {
        sync: "s".into(),
        sync_id: "s".into(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "o".into(),
        key_columns: vec!["id".into()],
        started_at: 0,
    })
}

/// Rows of a comparison that only looks, undecoded or as values.
async fn look(world: &World, mapping: &FieldMapping, raw: bool) -> Vec<Change> {
    let ledger = world.ledger();
    let set = ledger.changes(None, &DiffRequest::default()).await.unwrap();
    let mut reader = set.changes;
    if raw {
        assert!(reader.give_raw(&mapping.plain().unwrap()));
    }
    let mut changes = reader.next(usize::MAX).await.unwrap();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

fn record(change: Change, mapping: &FieldMapping, raw: bool) -> Record {
    let (match_on, fields) = match &change.row {
        Some(row) if !raw => (
            mapping.match_on(row, &context()).unwrap(),
            mapping.fields(row, &context()).unwrap(),
        ),
        row => {
            assert!(row.is_none());
            Default::default()
        }
    };
    Record {
        idempotency_key: change.key.canonical(),
        key: change.key,
        operation: Operation::Upsert,
        kind: change.kind,
        match_on,
        fields,
        json: None,
        raw: change.raw,
        checksum: change.checksum,
        doubtful: false,
    }
}

async fn open(world: &World, table: &str) -> Arc<dyn Destination> {
    let destination = rowcast_postgres::destination::build(DestinationConfig {
        object: table.into(),
        mode: Mode::Upsert,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        project_dir: "/".into(),
        ..DestinationConfig::new(
            "warehouse",
            SettingValue::Map(vec![(
                "url".to_owned(),
                SettingValue::Secret(world.database.url().into()),
            )]),
        )
    })
    .unwrap();
    assert!(destination.takes_raw());
    destination.open(&context()).await.unwrap();
    destination
}

/// Writes all rows in batches of a size, and gives the outcomes.
async fn write(
    destination: &dyn Destination,
    intents: &mut i64,
    size: usize,
    changes: Vec<Change>,
    mapping: &FieldMapping,
    raw: bool,
) -> Vec<Outcome> {
    let records = changes
        .into_iter()
        .map(|change| record(change, mapping, raw));
    let records: Vec<Record> = records.collect();
    let mut outcomes = Vec::new();
    for records in records.chunks(size) {
        *intents += 1;
        let batch = Batch {
            intent: *intents,
            operation: Operation::Upsert,
            records: records.to_vec(),
            context: context(),
        };
        outcomes.extend(destination.write(&batch).await.unwrap());
    }
    outcomes
}

/// Writes all rows both ways into tables of these columns, which must end up alike.
async fn compare(
    world: &World,
    mapping: &FieldMapping,
    intents: &mut i64,
    name: &str,
    columns: &str,
    size: usize,
) {
    for way in ["values", "raw"] {
        let sql = format!("CREATE TABLE {name}_{way} (id bigint PRIMARY KEY, {columns})");
        world.sql(&sql).await;
    }
    let (values, raw) = (format!("{name}_values"), format!("{name}_raw"));
    let by_values = open(world, &values).await;
    let by_raw = open(world, &raw).await;
    // The second time the rows are there already.
    for _ in 0..2 {
        let rows = look(world, mapping, false).await;
        let first = write(&*by_values, intents, size, rows, mapping, false).await;
        let rows = look(world, mapping, true).await;
        let second = write(&*by_raw, intents, size, rows, mapping, true).await;
        assert_eq!(first.len(), second.len());
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(
                matches!(first, Outcome::Delivered),
                matches!(second, Outcome::Delivered)
            );
        }
        let differing = format!(
            "SELECT count(*) FROM {values} a FULL JOIN {raw} b USING (id) WHERE a *<> b OR a.id IS NULL OR b.id IS NULL"
        );
        assert_eq!(
            world.number(&differing).await,
            0,
            "{name} in batches of {size}"
        );
        let arrived = world.number(&format!("SELECT count(*) FROM {raw}")).await;
        let good = first
            .iter()
            .filter(|outcome| **outcome == Outcome::Delivered);
        assert_eq!(arrived as usize, good.count());
        assert!(arrived > 0);
    }
}

#[tokio::test]
async fn rule_30_undecoded_rows_arrive_as_their_values_do() {
    let mut world = world("carried").await;
    let samples: Vec<_> = samples::all()
        .into_iter()
        .filter(|sample| !matches!(sample.name, "codes" | "oidvector" | "int2vector"))
        .collect();
    let columns: Vec<String> = (0..samples.len()).map(|i| format!("v{i}")).collect();
    let declared = columns.iter().zip(&samples);
    let declared: Vec<String> = declared.map(|(v, s)| format!("{v} {}", s.column)).collect();
    world
        .sql(&format!(
            "CREATE TABLE t (id bigint PRIMARY KEY, {})",
            declared.join(", ")
        ))
        .await;
    read_columns(&mut world, "t", samples.len());
    let mut count = 0;
    while count < LARGE as i64 + 50 {
        for (column, sample) in columns.iter().zip(&samples) {
            for literal in sample.literals() {
                // Beyond 2^53, where identities become strings, and before it.
                let id = 9_007_199_254_740_990_i64 + count;
                world
                    .sql(&format!(
                        "INSERT INTO t (id, {column}) VALUES ({id}, {literal})"
                    ))
                    .await;
                count += 1;
            }
        }
    }
    let fields = columns.iter().rev();
    let fields = fields.map(|v| (Name::from(v.as_str()), Value::text(v.as_str())));
    let fields = Value::Object(fields.collect());
    let mapping = FieldMapping::compile(CompileInput {
        fields: &fields,
        match_on: None,
        key_columns: &["id".into()],
        schema: None,
        sensitive: &[],
    })
    .unwrap();
    world.config.sync.columns = mapping.columns();
    // All destinations keep one progress.
    let mut intents = 0;
    let same = declared.join(", ");
    compare(&world, &mapping, &mut intents, "copied", &same, LARGE).await;
    compare(&world, &mapping, &mut intents, "sent", &same, 40).await;
    // Columns of another type than the source's: most values fit, some are refused.
    let texts: Vec<String> = columns.iter().map(|v| format!("{v} text")).collect();
    compare(
        &world,
        &mapping,
        &mut intents,
        "texts",
        &texts.join(", "),
        LARGE,
    )
    .await;
    let wider = |name: &str, column: &str| match name {
        "int2" | "int4" => "int8".to_owned(),
        "int8" => "int4".to_owned(),
        "float4" => "float8".to_owned(),
        "float8" => "float4".to_owned(),
        "json" => "jsonb".to_owned(),
        "jsonb" => "json".to_owned(),
        "timestamp" => "timestamptz".to_owned(),
        "timestamptz" => "timestamp".to_owned(),
        "text" => "varchar(2)".to_owned(),
        "numeric" => "numeric(6, 1)".to_owned(),
        _ => column.to_owned(),
    };
    let others = columns.iter().zip(&samples);
    let others = others.map(|(v, s)| format!("{v} {}", wider(s.name, s.column)));
    let others: Vec<String> = others.collect();
    compare(
        &world,
        &mapping,
        &mut intents,
        "others",
        &others.join(", "),
        LARGE,
    )
    .await;
}
