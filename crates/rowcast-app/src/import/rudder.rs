//! Rudder CLI's YAML: accounts, destinations, SQL models, tables and connections.
//!
//! A connection goes on to deliver through the RudderStack data plane, so that its receivers get
//! what they got before.

mod connection;
mod specs;

use std::collections::BTreeMap;
use std::path::Path;

use rowcast_config::render::Part;
use serde_json::Value;

use super::draft::{Draft, Page};
use crate::Answer;
use specs::{Spec, text};

const ACCOUNT: &str = "account";
const DESTINATION: &str = "destination";
const MODEL: &str = "retl-source-sql-model";
const TABLE: &str = "retl-source-table";
const CONNECTIONS: &str = "retl-connections";

pub(super) fn read(dir: &Path) -> Answer<Draft> {
    let specs = specs::read(dir)?;
    let mut writer = Writer::default();
    for spec in specs.iter().filter(|spec| spec.kind == ACCOUNT) {
        writer.account(spec);
    }
    let cursors = connection::cursors(&specs);
    for spec in &specs {
        match spec.kind.as_str() {
            MODEL | TABLE => writer.model(spec, &cursors)?,
            ACCOUNT | DESTINATION | CONNECTIONS => {}
            other => writer.draft.left(
                other,
                &spec.shown,
                format!("kind {other} is no part of Reverse ETL"),
            ),
        }
    }
    for spec in specs.iter().filter(|spec| spec.kind == CONNECTIONS) {
        for one in spec.connections() {
            writer.connection(one, &specs, &cursors);
        }
    }
    for spec in specs.iter().filter(|spec| spec.kind == DESTINATION) {
        writer.destination(spec);
    }
    Ok(writer.draft)
}

/// Names of what was written, by the ids of the specs.
#[derive(Default)]
struct Writer {
    draft: Draft,
    sources: BTreeMap<String, String>,
    models: BTreeMap<String, String>,
    destinations: BTreeMap<String, String>,
    /// Why an account, a model or a destination is not there.
    absent: BTreeMap<String, String>,
}

impl Writer {
    fn account(&mut self, spec: &Spec) {
        let definition = text(&spec.body, "account_definition_name").unwrap_or_default();
        if !definition.eq_ignore_ascii_case("SOURCE_POSTGRES") {
            let reason = format!("it is {definition}; Rowcast reads PostgreSQL");
            self.absent.insert(spec.id.clone(), reason.clone());
            self.draft.left(ACCOUNT, &spec.shown, reason);
            return;
        }
        let own = self.draft.name("sources", &spec.id);
        let mut page = Page::default();
        let name = text(&spec.body, "name").unwrap_or_default();
        page.describe(&[&name]);
        let config = spec.body.get("config").unwrap_or(&Value::Null);
        for (key, old) in [
            ("host", "host"),
            ("port", "port"),
            ("database", "dbname"),
            ("user", "user"),
        ] {
            match text(config, old) {
                Some(value) if value.contains("{{") => {
                    let part = self.draft.secret(
                        &reference(&value, &format!("{own}_{key}")),
                        format!("{old} of account {}", spec.id),
                    );
                    page.put(key, part);
                }
                Some(value) if key == "port" && value.parse::<u16>().is_ok() => {
                    page.word(key, value);
                }
                Some(value) => page.text(key, value),
                None if key == "port" => {}
                None => {
                    let part = self.draft.secret(
                        &format!("{own}_{key}"),
                        format!("{old} of account {}", spec.id),
                    );
                    page.put(key, part);
                    page.differs(format!(
                        "its {old} is not in the file; it comes from a variable"
                    ));
                }
            }
        }
        // Whatever stands there: a password is never written down.
        let old = text(config, "password").unwrap_or_default();
        let password = self.draft.secret(
            &reference(&old, &format!("{own}_password")),
            format!("the password of account {}", spec.id),
        );
        page.put("password", password);
        match text(config, "sslMode")
            .or_else(|| text(config, "ssl_mode"))
            .as_deref()
        {
            Some(mode @ ("disable" | "require")) => page.word("sslmode", mode),
            _ => page.differs("the server's certificate is verified: sslmode is verify-full"),
        }
        let file = self.draft.document("source", &own, &page);
        self.sources.insert(spec.id.clone(), own);
        self.draft
            .wrote(ACCOUNT, &spec.shown, vec![file], page.differs);
    }

    /// The source of a model: its account in the folder, or one that is only known by its id.
    fn source_of(&mut self, spec: &Spec) -> Result<String, String> {
        let account = match text(&spec.body, "account") {
            Some(reference) => specs::target(&reference, ACCOUNT)
                .ok_or_else(|| format!("its account {reference:?} can't be read"))?,
            None => text(&spec.body, "account_id").ok_or("it names no account")?,
        };
        if let Some(reason) = self.absent.get(&account) {
            return Err(format!("its account is not carried over: {reason}"));
        }
        if let Some(name) = self.sources.get(&account) {
            return Ok(name.clone());
        }
        let own = self.draft.name("sources", &account);
        let mut page = Page::default();
        let url = self.draft.secret(
            &format!("{own}_url"),
            format!("postgresql://user:password@host:5432/database of account {account}"),
        );
        page.put("url", url);
        let file = self.draft.document("source", &own, &page);
        self.draft.add(
            file,
            format!("models read through account {account}, which is not in the folder"),
        );
        self.sources.insert(account, own.clone());
        Ok(own)
    }

    fn model(&mut self, spec: &Spec, cursors: &connection::Cursors) -> Answer<()> {
        let kind = if spec.kind == MODEL { MODEL } else { TABLE };
        if let Err(reason) = self.try_model(spec, kind, cursors)? {
            self.absent.insert(spec.id.clone(), reason.clone());
            self.draft.left(kind, &spec.shown, reason);
        }
        Ok(())
    }

    fn try_model(
        &mut self,
        spec: &Spec,
        kind: &'static str,
        cursors: &connection::Cursors,
    ) -> Answer<Result<(), String>> {
        let warehouse = text(&spec.body, "source_definition").unwrap_or_default();
        if warehouse != "postgres" {
            return Ok(Err(format!(
                "it reads {warehouse}; Rowcast reads PostgreSQL"
            )));
        }
        let Some(key) = text(&spec.body, "primary_key") else {
            return Ok(Err("it has no primary key".to_owned()));
        };
        let sql = match kind {
            MODEL => match spec.sql()? {
                Some(sql) => Some(sql),
                None => return Ok(Err("it has no SQL".to_owned())),
            },
            _ => None,
        };
        let table = match (kind, text(&spec.body, "schema"), text(&spec.body, "table")) {
            (MODEL, ..) => None,
            (_, schema, Some(table)) => Some(named(schema.as_deref(), &table)),
            _ => return Ok(Err("it names no table".to_owned())),
        };
        let source = match self.source_of(spec) {
            Ok(source) => source,
            Err(reason) => return Ok(Err(reason)),
        };
        let own = self.draft.name("models", &spec.id);
        let mut page = Page::default();
        let shown = text(&spec.body, "display_name").unwrap_or_default();
        let more = text(&spec.body, "description").filter(|more| *more != shown);
        page.describe(&[&shown, more.as_deref().unwrap_or_default()]);
        page.word("source", source);
        if let Some(table) = table {
            page.text("table", table);
        }
        page.put("primary_key", Part::List(vec![Part::text(key)]));
        if let Some(cursor) = cursors.of(&spec.id) {
            page.put(
                "cursor",
                super::draft::map([("column", Part::text(cursor))]),
            );
            page.differs("a full comparison runs daily beside the cursor, so that late and removed rows are found");
        }
        page.paused(spec.enabled);
        let mut files = vec![self.draft.document("model", &own, &page)];
        if let Some(sql) = sql {
            let text = format!("{}\n", sql.trim_end().replace("${", "$${"));
            files.push(self.draft.file(format!("models/{own}.sql"), text));
        }
        self.models.insert(spec.id.clone(), own);
        self.draft.wrote(kind, &spec.shown, files, page.differs);
        Ok(Ok(()))
    }

    fn destination(&mut self, spec: &Spec) {
        match self.destinations.get(&spec.id) {
            Some(own) => {
                let file = format!("destinations/{own}.yml");
                let differs = vec![format!(
                    "records go to the data plane, which delivers them: connect the source whose write key you set to {}",
                    spec.id
                )];
                self.draft
                    .wrote(DESTINATION, &spec.shown, vec![file], differs);
            }
            None => {
                let reason = self.absent.get(&spec.id).cloned();
                let reason = reason.unwrap_or_else(|| {
                    "no Reverse ETL connection that is carried over leads to it".to_owned()
                });
                self.draft.left(DESTINATION, &spec.shown, reason);
            }
        }
    }
}

/// The name of a variable in `{{ .NAME }}`, or another.
fn reference(text: &str, other: &str) -> String {
    text.trim()
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
        .map(|inner| inner.trim().trim_start_matches('.').to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| other.to_owned())
}

/// `schema.table`, in double quotes where a name needs them.
fn named(schema: Option<&str>, table: &str) -> String {
    let part = |name: &str| {
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain {
            name.to_owned()
        } else {
            rowcast_postgres::sql::ident(name)
        }
    };
    match schema {
        Some(schema) => format!("{}.{}", part(schema), part(table)),
        None => part(table),
    }
}
