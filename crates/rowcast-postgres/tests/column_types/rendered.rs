//! Records written straight from the wire are what the mapping makes of the values.

use rowcast_core::ledger::{DiffRequest, Ledger};
use rowcast_core::mapping::{CompileInput, FieldMapping, Mapper};
use rowcast_core::{Change, Name, RunContext, Value, json};

use super::harness::World;
use super::{read_columns, samples, world};

/// Rows of a comparison that only looks; as text where the mapping allows.
async fn look(world: &World, mapping: Option<&FieldMapping>) -> Vec<Change> {
    let ledger = world.ledger();
    let set = ledger.changes(None, &DiffRequest::default()).await.unwrap();
    let mut reader = set.changes;
    if let Some(mapping) = mapping {
        assert!(reader.write_json(&mapping.plain().unwrap()));
    }
    let mut changes = reader.next(usize::MAX).await.unwrap();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// Identity and fields of every row, by the mapping and by the reader.
async fn compare(world: &World, mapping: &FieldMapping) -> usize {
    let context = RunContext {
        sync: "s".into(),
        sync_id: String::new(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "o".into(),
        key_columns: vec!["id".into(), "n".into()],
        started_at: 0,
    };
    let rows = look(world, None).await;
    let written = look(world, Some(mapping)).await;
    assert_eq!(rows.len(), written.len());
    for (row, written) in rows.iter().zip(&written) {
        assert_eq!((&row.key, row.checksum), (&written.key, written.checksum));
        assert!(written.row.is_none());
        let record = written.json.as_ref().unwrap();
        let row = row.row.as_ref().unwrap();
        let (mut identity, mut fields) = (String::new(), String::new());
        json::push_object(&mut identity, &mapping.match_on(row, &context).unwrap());
        mapping.push_fields(row, &context, &mut fields).unwrap();
        assert_eq!(record.match_on(), identity);
        assert_eq!(record.fields(), fields);
    }
    rows.len()
}

#[tokio::test]
async fn rule_30_records_written_from_the_wire_are_what_the_mapping_makes_of_the_values() {
    let mut world = world("rendered").await;
    let samples = samples::all();
    let columns: Vec<String> = (0..samples.len()).map(|i| format!("v{i}")).collect();
    let declared = columns.iter().zip(&samples);
    let declared: Vec<String> = declared.map(|(v, s)| format!("{v} {}", s.column)).collect();
    world
        .sql(&format!(
            "CREATE TABLE t (id bigint, n numeric, {}, PRIMARY KEY (id, n))",
            declared.join(", ")
        ))
        .await;
    read_columns(&mut world, "t", samples.len());
    let mut count = 0;
    for (column, sample) in columns.iter().zip(&samples) {
        for literal in sample.literals() {
            // Beyond 2^53, where identities become strings, and before it.
            let id = 9_007_199_254_740_990_i64 + count;
            world
                .sql(&format!(
                    "INSERT INTO t (id, n, {column}) VALUES ({id}, {count}.50, {literal})"
                ))
                .await;
            count += 1;
        }
    }
    let fields = columns.iter().rev();
    let fields = fields.map(|v| (Name::from(format!("{v} \"é")), Value::text(v.as_str())));
    let fields = Value::Object(fields.collect());
    let mapping = FieldMapping::compile(CompileInput {
        fields: &fields,
        match_on: None,
        key_columns: &["id".into(), "n".into()],
        schema: None,
        sensitive: &[],
    })
    .unwrap();
    world.config.sync.columns = mapping.columns();
    // With an empty state, and compared with one.
    assert_eq!(compare(&world, &mapping).await, count as usize);
    world.run().await;
    let digests = &mut world.config.sync.digests;
    digests.insert("another".into(), "field".into());
    assert_eq!(compare(&world, &mapping).await, count as usize);
}
