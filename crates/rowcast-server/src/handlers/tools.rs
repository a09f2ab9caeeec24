//! What needs no sync: mappings tried, tests run, connectors, grants, codes explained.

use axum::extract::State;
use rowcast_app::adopt::OldTool;
use rowcast_app::connectors::{self, TryRequest};
use rowcast_app::map::Map;
use rowcast_app::setup::{SetupRequest, Style};
use rowcast_app::{adopt, explain};
use rowcast_core::{Code, Operation, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::{Asked, Given, Of};

/// Rows to map: with the mapping of a sync, or the one given, or none.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MapOf {
    /// Use the fields of this sync.
    sync: Option<String>,
    /// Use this mapping.
    #[schemars(with = "Option<Value>")]
    mapping: Option<Box<serde_json::value::RawValue>>,
    /// The language of `mapping`.
    dialect: Dialect,
    /// Only rows that pass this Segment trigger.
    trigger: Option<String>,
    /// Rows as objects; without them only the mapping and the trigger are read.
    #[schemars(with = "Vec<Value>")]
    rows: Vec<Box<serde_json::value::RawValue>>,
}

/// A mapping's language.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    #[default]
    Rowcast,
    Segment,
}

/// Rows that were mapped.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Mapped {
    /// One for each row: the record, `{"error": "…"}`, or null for a row that the trigger does not pass.
    #[schemars(with = "Vec<Value>")]
    records: Vec<Option<Box<serde_json::value::RawValue>>>,
}

pub(crate) async fn map(State(app): State<App>, Given(of): Given<MapOf>) -> Answered {
    let read = |mapping: &serde_json::value::RawValue| {
        rowcast_core::json::from_json(mapping.get()).map_err(|error| {
            Refusal::from(
                Reason::new(Code::ExpressionInvalid, "the mapping is not JSON")
                    .detail(error.to_string()),
            )
        })
    };
    let mut map = match (&of.sync, &of.mapping, &of.dialect) {
        (Some(_), Some(_), _) => {
            let reason = Reason::new(Code::RequestInvalid, "both `sync` and `mapping` are given")
                .hint("give one of them");
            return Err(reason.into());
        }
        (Some(sync), None, _) => Map::of_sync(&app.service.project(), sync)?,
        (None, Some(mapping), Dialect::Rowcast) => Map::of_fields(&read(mapping)?)?,
        (None, Some(mapping), Dialect::Segment) => Map::of_segment(read(mapping)?, "")?,
        (None, None, _) => Map::identity(),
    };
    if let Some(trigger) = &of.trigger {
        map = map.with_trigger(trigger)?;
    }
    let mut records = Vec::new();
    for row in &of.rows {
        let record = map
            .line(row.get())
            .map(serde_json::value::RawValue::from_string);
        let record = record.transpose().map_err(|error| {
            Refusal::from(Reason::defect(format!("a record is no JSON: {error}")))
        })?;
        records.push(record);
    }
    ok(&Mapped { records })
}

pub(crate) async fn suggest(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&rowcast_app::suggest::suggest(&app.service.project(), &name).await?)
}

/// Which tests.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TestsOf {
    /// Names of tests; all without it.
    names: Vec<String>,
}

pub(crate) async fn test(State(app): State<App>, Given(of): Given<TestsOf>) -> Answered {
    ok(&rowcast_app::test::run(&app.service.project(), &of.names)?)
}

/// Which grants.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SetupOf {
    /// Who makes the state schema.
    style: StyleWord,
    /// The state schema; by default the source's.
    schema: Option<String>,
    /// Tables to read; by default those of the models.
    tables: Vec<String>,
    /// Every table of the source's search path.
    all_tables: bool,
    /// Tables that this role will create, too.
    future_tables: Option<String>,
}

/// Who makes the state schema: an administrator, or Rowcast.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StyleWord {
    #[default]
    Managed,
    Owned,
}

/// Statements.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Sql {
    sql: String,
}

pub(crate) async fn setup_sql(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(of): Given<SetupOf>,
) -> Answered {
    let request = SetupRequest {
        style: match of.style {
            StyleWord::Managed => Style::Managed,
            StyleWord::Owned => Style::Owned,
        },
        schema: of.schema,
        tables: of.tables,
        all_tables: of.all_tables,
        future_tables: of.future_tables,
    };
    let project = app.service.project();
    ok(&Sql {
        sql: rowcast_app::setup::setup_sql(&project, Some(&name), &request)?,
    })
}

pub(crate) async fn connectors(State(app): State<App>) -> Answered {
    ok(&connectors::list(Some(&app.service.project())))
}

pub(crate) async fn connector(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&connectors::show(Some(&app.service.project()), &name)?)
}

pub(crate) async fn test_connector(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let project = app.service.project();
    // A name is never taken for a path.
    connectors::show(Some(&project), &name)?;
    ok(&connectors::test(Some(&project), &[name]).await?)
}

/// Which field.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChoicesOf {
    /// The field; members of objects after a dot.
    field: String,
    /// The object; may be left out where there is one.
    #[serde(default)]
    object: String,
    /// Other fields, where the choice depends on them.
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
}

pub(crate) async fn choices(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(of): Given<ChoicesOf>,
) -> Answered {
    let fields = Value::Object(of.fields).to_string();
    let project = app.service.project();
    ok(&connectors::choices(&project, &name, &of.object, &of.field, &fields).await?)
}

/// One record.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TryOf {
    /// The object; may be left out where there is one.
    object: Option<String>,
    /// `insert`, `update`, `upsert` or `delete`; `upsert` without it.
    operation: Option<String>,
    /// What the record is found by: `name=value`.
    #[serde(rename = "match")]
    matching: Vec<String>,
    /// Fields: `name=value`; a value that is JSON is taken as such.
    fields: Vec<String>,
    /// Only the requests; nothing is sent.
    dry_run: bool,
}

pub(crate) async fn try_record(
    State(app): State<App>,
    Of(destination): Of<String>,
    Given(of): Given<TryOf>,
) -> Answered {
    let word = of.operation.as_deref().unwrap_or("upsert");
    let operation = Operation::ALL
        .into_iter()
        .find(|operation| operation.as_str() == word);
    let Some(operation) = operation else {
        let reason = Reason::new(
            Code::RequestInvalid,
            format!("there is no operation {word:?}"),
        )
        .hint("write insert, update, upsert or delete");
        return Err(reason.into());
    };
    let request = TryRequest {
        destination,
        object: of.object,
        operation,
        matching: of.matching,
        fields: of.fields,
        dry_run: of.dry_run,
    };
    ok(&connectors::try_record(&app.service.project(), &request).await?)
}

pub(crate) async fn codes(State(_): State<App>) -> Answered {
    ok(&explain::codes())
}

pub(crate) async fn code(State(_): State<App>, Of(word): Of<String>) -> Answered {
    ok(&explain::code(&word)?)
}

/// Which schema.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaOf {
    /// `source`, `model`, `destination`, `sync`, …; all without it.
    kind: Option<String>,
}

pub(crate) async fn schemas(State(_): State<App>, Asked(of): Asked<SchemaOf>) -> Answered {
    ok(&rowcast_app::schema::schemas(of.kind.as_deref())?)
}

/// What to take over.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdoptOf {
    /// The tool whose state it is.
    from: Tool,
    /// Counts present rows as delivered as they are now.
    #[serde(default)]
    trust: bool,
    /// Sends all present rows once more.
    #[serde(default)]
    resend: bool,
    /// The tool's id of the mapping or connection, where it has several.
    id: Option<String>,
    /// RudderStack's id of its newest run, where that can't be told.
    run: Option<String>,
    /// The tool's schema, where it is not the usual one.
    schema: Option<String>,
    /// False or absent to be told what would be done.
    #[serde(default)]
    confirmed: bool,
}

/// A tool.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tool {
    Segment,
    Rudder,
}

pub(crate) async fn adopt(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(of): Given<AdoptOf>,
) -> Answered {
    let request = adopt::Request {
        tool: match of.from {
            Tool::Segment => OldTool::Segment,
            Tool::Rudder => OldTool::Rudder,
        },
        trust: of.trust,
        resend: of.resend,
        id: of.id,
        run: of.run,
        schema: of.schema,
        confirmed: of.confirmed,
    };
    ok(&adopt::adopt(&app.service.project(), &name, &request).await?)
}
