//! Segment's state: `records_<mapping>` with the ids it had extracted, and checksums whose function
//! nobody published.
//!
//! It was written before delivery, so an id says that a row was seen, not that it arrived.

use rowcast_core::Reason;
use tokio_postgres::Client;

use super::{OldState, Table, missing, number, tables, unfit};
use crate::ledger::adopt::{AdoptRequest, Belief};
use crate::ledger::forms::KeyForm;
use crate::ledger::model::Model;
use crate::ledger::shape::Shape;
use crate::sql::ident;

/// The documentation prints all of these; unquoted they fold to lower case.
const SCHEMAS: [&str; 2] = ["__segment_reverse_etl", "_segment_reverse_etl"];
const RECORDS: &str = "records_";
const ID: &str = "record_id";

pub(super) async fn find(
    client: &Client,
    request: &AdoptRequest,
    shape: &Shape,
    model: &Model,
) -> Result<OldState, Reason> {
    let [key] = &shape.keys[..] else {
        return Err(unfit(
            request,
            format!(
                "it knows one id for each row, and the model's primary key has {} columns",
                shape.keys.len()
            ),
            "adopt with the one column that Segment had as its identifier, or `rowcast baseline`",
        ));
    };
    if model.matching.is_some() {
        return Err(unfit(
            request,
            "it knows ids alone, and this sync deletes by `match_on`: which record to delete could not be told",
            "`rowcast baseline` accepts the present rows with their match values",
        ));
    }
    let table = records(request, tables(client, request, &SCHEMAS).await?)?;
    let id = table.column(ID).ok_or_else(|| {
        missing(
            request,
            format!("table {} has no column {ID}", table.shown()),
        )
    })?;
    let (readable, read) = reading(&key.form);
    let ids = format!("(SELECT {}::text AS r FROM {}) x", ident(id), table.sql());
    let what = format!("reading {}", table.shown());
    let unread = number(
        client,
        &format!("SELECT count(*) FROM {ids} WHERE ({readable}) IS NOT TRUE"),
        &what,
    )
    .await?;
    // Ids that read as one key, such as 7 and 07.
    let twice = number(
        client,
        &format!(
            "SELECT count(*) - count(DISTINCT CASE WHEN {readable} THEN {read} END) \
             FROM {ids} WHERE ({readable}) IS TRUE"
        ),
        &what,
    )
    .await?;
    let mut notes = Vec::new();
    if unread > 0 {
        notes.push(format!(
            "{unread} ids can't be values of the model's key {} ({}); they are left out",
            key.name, key.facts.type_name
        ));
    }
    if twice > 0 {
        notes.push(format!("{twice} ids read as a key that is there already"));
    }
    notes.push(match request.belief {
        Belief::Trust => "Segment noted rows before it delivered them: what failed or was cancelled there \
                          counts as delivered too"
            .to_owned(),
        Belief::Compare | Belief::Resend => {
            "Segment's state holds ids only, noted before delivery: the next run sends every present row again"
                .to_owned()
        }
    });
    Ok(OldState {
        tables: vec![table.shown()],
        query: format!(
            "SELECT k1, true AS p, NULL::bigint AS h, NULL::text AS m, false AS failed FROM \
             (SELECT CASE WHEN {readable} THEN {read} END AS k1 FROM {ids} WHERE ({readable}) IS TRUE) y \
             GROUP BY k1"
        ),
        comparable: false,
        left_out: unread + twice,
        notes,
    })
}

/// The one table of ids, or the one that was named.
fn records(request: &AdoptRequest, tables: Vec<Table>) -> Result<Table, Reason> {
    let all: Vec<Table> = tables
        .into_iter()
        .filter(|table| table.after(RECORDS).is_some())
        .collect();
    let ids = || {
        let ids: Vec<&str> = all
            .iter()
            .filter_map(|table| table.after(RECORDS))
            .collect();
        ids.join(", ")
    };
    match &request.id {
        Some(id) => all
            .iter()
            .find(|table| {
                table
                    .after(RECORDS)
                    .is_some_and(|own| own.eq_ignore_ascii_case(id))
            })
            .cloned()
            .ok_or_else(|| {
                missing(
                    request,
                    format!(
                        "there is no table {RECORDS}{id}; there is state of: {}",
                        ids()
                    ),
                )
            }),
        None if all.is_empty() => Err(missing(
            request,
            format!(
                "no table {RECORDS}… in a schema named {}",
                SCHEMAS.join(" or ")
            ),
        )),
        None if all.len() > 1 => Err(missing(
            request,
            format!(
                "it holds several mappings, and no `--id` says which: {}",
                ids()
            ),
        )),
        None => Ok(all[0].clone()),
    }
}

/// The condition under which the text `x.r` is a key of this form, and the key.
fn reading(form: &KeyForm) -> (String, String) {
    let condition = match form {
        KeyForm::Int => r"x.r ~ '^-?[0-9]{1,18}$'",
        KeyForm::Numeric => r"x.r ~ '^-?[0-9]+([.][0-9]+)?$'",
        KeyForm::Other(base) if base == "uuid" => {
            "x.r ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'"
        }
        KeyForm::Text | KeyForm::Other(_) => "x.r IS NOT NULL",
    };
    (condition.to_owned(), form.stored_as_key("x.r"))
}
