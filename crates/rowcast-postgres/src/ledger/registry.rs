//! The sync's own row: found by name, made on the first run, bound to its identity.
//!
//! State belongs to (sync, destination account, object, match_on, key columns and types): when one
//! of these changes, state says nothing about the new place and must not be used (semantics 2).

use std::collections::BTreeMap;

use rowcast_core::{Code, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::config::SyncSpec;
use super::forms::{KeyForm, TypeFacts};
use super::layout;
use super::plan::HashPlan;
use super::shape::{KeyColumn, Shape};
use crate::connect::db_error;
use crate::sql::{ident, qualified};

/// A sync as the state schema knows it.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub id: i32,
    pub uuid: String,
    pub random: i64,
    pub backfill: i32,
    pub paused: bool,
    pub plan: Option<HashPlan>,
    /// Whether its tables were made.
    pub tables: bool,
    pub identity: BTreeMap<String, String>,
}

impl Registered {
    /// A sync that has never run.
    pub(super) fn unknown() -> Self {
        Self {
            id: 0,
            uuid: String::new(),
            random: 0,
            backfill: 0,
            paused: false,
            plan: None,
            tables: false,
            identity: BTreeMap::new(),
        }
    }
}

/// The identity of a sync: what the application says, and the key.
pub(super) fn identity(spec: &SyncSpec, keys: &[KeyColumn]) -> BTreeMap<String, String> {
    let mut identity = spec.identity.clone();
    let key: Vec<String> = keys
        .iter()
        .map(|key| format!("{} {}", key.name, key.form.storage()))
        .collect();
    identity.insert("primary key".into(), key.join(", "));
    identity
}

/// Finds a sync by name, or by its earlier name.
///
/// # Errors
/// The database fails.
pub(super) async fn find(
    client: &Client,
    schema: &str,
    name: &str,
) -> Result<Option<Registered>, Reason> {
    let what = format!("looking for sync {name:?}");
    let sql = format!(
        "SELECT id, uuid, seed_random, backfill, paused, plan::text, identity::text, \
         to_regclass($2 || '.state_' || id) IS NOT NULL FROM {} WHERE name = $1",
        qualified(schema, "sync")
    );
    let place = ident(schema);
    let rows = client
        .query_typed(&sql, &[(&name, Type::TEXT), (&place, Type::TEXT)])
        .await
        .map_err(|error| db_error(&error, &what))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let damaged = |error: serde_json::Error| {
        Reason::defect(format!("the stored sync can't be read: {error}"))
    };
    let plan: Option<String> = row.get(5);
    Ok(Some(Registered {
        id: row.get(0),
        uuid: row.get(1),
        random: row.get(2),
        backfill: row.get(3),
        paused: row.get(4),
        plan: plan
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(damaged)?,
        identity: serde_json::from_str(&row.get::<_, String>(6)).map_err(damaged)?,
        tables: row.get(7),
    }))
}

/// Finds a sync whose state can be looked at, under its name or its earlier one. Changes nothing.
///
/// # Errors
/// The database fails.
pub(super) async fn look(
    client: &Client,
    schema: &str,
    spec: &SyncSpec,
) -> Result<Option<Registered>, Reason> {
    let mut found = find(client, schema, &spec.name).await?;
    if let (None, Some(was)) = (&found, &spec.was) {
        found = find(client, schema, was).await?;
    }
    // After a reset, or when the first run ended early, there is nothing to look at.
    Ok(found.filter(|found| !found.identity.is_empty() && found.tables))
}

/// Finds or makes the sync and its tables, and proves its identity.
///
/// # Errors
/// `IdentityChanged` when state belongs to another place.
pub(super) async fn ensure(
    client: &Client,
    schema: &str,
    spec: &SyncSpec,
    keys: &[KeyColumn],
    first_seed: Option<i64>,
) -> Result<(Registered, Shape), Reason> {
    let what = format!("registering sync {:?}", spec.name);
    let failed = |error| db_error(&error, &what);
    let wanted = identity(spec, keys);
    let table = qualified(schema, "sync");
    let mut found = find(client, schema, &spec.name).await?;
    if found.is_none()
        && let Some(was) = &spec.was
    {
        let sql = format!("UPDATE {table} SET name = $1 WHERE name = $2");
        client
            .query_typed(&sql, &[(&spec.name, Type::TEXT), (was, Type::TEXT)])
            .await
            .map_err(failed)?;
        found = find(client, schema, &spec.name).await?;
    }
    let json = serde_json::to_string(&wanted)
        .map_err(|error| Reason::defect(format!("an identity can't be written: {error}")))?;
    let registered = if let Some(registered) = found {
        registered
    } else {
        let uuid = uuid::Uuid::now_v7().to_string();
        let random = first_seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 as i64);
        let sql = format!(
            "WITH made AS (INSERT INTO {table} (uuid, name, identity, seed_random) \
             VALUES ($1, $2, $3::text::jsonb, $4) ON CONFLICT (name) DO NOTHING RETURNING id) \
             INSERT INTO {} (sync_id) SELECT id FROM made",
            qualified(schema, "progress")
        );
        client
            .query_typed(
                &sql,
                &[
                    (&uuid, Type::TEXT),
                    (&spec.name, Type::TEXT),
                    (&json, Type::TEXT),
                    (&random, Type::INT8),
                ],
            )
            .await
            .map_err(failed)?;
        find(client, schema, &spec.name)
            .await?
            .ok_or_else(|| Reason::defect("a sync that was just registered is not there"))?
    };
    let shape = Shape::new(schema, registered.id, keys.to_vec());
    // An empty identity is one that a reset cleared.
    if registered.identity.is_empty() {
        let sql = format!("UPDATE {table} SET identity = $2::text::jsonb WHERE id = $1");
        client
            .query_typed(&sql, &[(&registered.id, Type::INT4), (&json, Type::TEXT)])
            .await
            .map_err(failed)?;
    } else if registered.identity != wanted {
        return Err(changed(&spec.name, &registered.identity, &wanted));
    }
    if !registered.tables {
        make_tables(client, &shape, &what).await?;
    }
    Ok((registered, shape))
}

/// Proves that a known sync still writes to the place its state is about.
///
/// # Errors
/// `IdentityChanged`.
pub(super) fn prove(spec: &SyncSpec, known: &Registered, keys: &[KeyColumn]) -> Result<(), Reason> {
    let wanted = identity(spec, keys);
    if known.identity == wanted {
        Ok(())
    } else {
        Err(changed(&spec.name, &known.identity, &wanted))
    }
}

/// The shape of a sync's tables as they are stored.
///
/// # Errors
/// The database fails.
pub(super) async fn stored_shape(
    client: &Client,
    schema: &str,
    registered: &Registered,
) -> Result<Option<Shape>, Reason> {
    let probe = Shape::new(schema, registered.id, Vec::new());
    let state = probe.own("state");
    let rows = client
        .query_typed(
            "SELECT t.typname::text, n.nspname::text FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname ~ '^k[0-9]+$' \
             ORDER BY a.attnum",
            &[(&state, Type::TEXT)],
        )
        .await
        .map_err(|error| db_error(&error, "reading state"))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names = registered
        .identity
        .get("primary key")
        .map(String::as_str)
        .unwrap_or_default();
    let names: Vec<&str> = names
        .split(", ")
        .map(|part| part.split(' ').next().unwrap_or(part))
        .collect();
    let keys = rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let (base, schema): (String, String) = (row.get(0), row.get(1));
            let full = if schema == "pg_catalog" {
                base.clone()
            } else {
                format!("{schema}.{base}")
            };
            let form = match base.as_str() {
                "int8" => KeyForm::Int,
                "text" => KeyForm::Text,
                "numeric" => KeyForm::Numeric,
                _ => KeyForm::Other(full.clone()),
            };
            let facts = TypeFacts {
                type_name: base,
                base: full,
                element: None,
                kind: 'b',
                ordered: true,
            };
            KeyColumn {
                name: names
                    .get(i)
                    .map_or_else(|| format!("k{}", i + 1), |name| (*name).to_owned()),
                facts,
                form,
            }
        })
        .collect();
    Ok(Some(Shape::new(schema, registered.id, keys)))
}

async fn make_tables(client: &Client, shape: &Shape, what: &str) -> Result<(), Reason> {
    // Two first runs make the tables once: the second waits for the row and finds them.
    let sql = format!(
        "BEGIN; SELECT 1 FROM {} WHERE id = {} FOR UPDATE; {} COMMIT",
        shape.shared("sync"),
        shape.sync,
        layout::sync_tables(shape)
    );
    if let Err(error) = client.batch_execute(&sql).await {
        let _ = client.batch_execute("ROLLBACK").await;
        let twice = error.code() == Some(&tokio_postgres::error::SqlState::DUPLICATE_TABLE);
        if !twice {
            return Err(db_error(&error, what));
        }
    }
    Ok(())
}

/// An identity's value for people: how keys are compared inside is not their business.
fn plain(text: &str) -> String {
    text.replace(" COLLATE \"C\"", "")
}

fn changed(
    name: &str,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Reason {
    let mut differences = Vec::new();
    for key in before
        .keys()
        .chain(now.keys().filter(|key| !before.contains_key(*key)))
    {
        let (then, now) = (before.get(key), now.get(key));
        if then != now {
            let none = || "none".to_owned();
            differences.push(format!(
                "{key} was {}, is {}",
                then.map_or_else(none, |text| plain(text)),
                now.map_or_else(none, |text| plain(text))
            ));
        }
    }
    Reason::new(
        Code::IdentityChanged,
        format!("the state of sync {name:?} is about something else"),
    )
    .detail(differences.join("; "))
    .hint(format!(
        "`rowcast reset {name}` forgets what was sent, and the next run sends every row; \
             `rowcast baseline {name}` accepts the present rows as sent; \
             or undo the change"
    ))
}
