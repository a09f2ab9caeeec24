//! `init`: a small, commented project that runs.
//!
//! It asks nothing. With a database it looks up a table, its key and its columns; without one it
//! writes an example to be edited. It never overwrites a file.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rowcast_core::{Code, Reason};
use rowcast_postgres::catalog::{self, Relation};
use rowcast_postgres::connect::{ConnectConfig, Connection, Connector, SslMode};
use serde::Serialize;

use crate::failure::file_reason;
use crate::{Answer, environment};

/// Where a URL comes from when none is given.
const VARIABLE: &str = "DATABASE_URL";

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    pub dir: PathBuf,
    pub url: Option<String>,
    /// `schema.table` or `table`.
    pub table: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    pub project: String,
    pub dir: String,
    pub files: Vec<MadeFile>,
    /// What the project does, in a sentence or two.
    pub summary: String,
    /// The commands to type next, in order.
    pub next: Vec<NextStep>,
}

/// One file of the new project.
#[derive(Debug, Clone, Serialize)]
pub struct MadeFile {
    pub path: String,
    pub what: String,
}

/// One command and what it is for.
#[derive(Debug, Clone, Serialize)]
pub struct NextStep {
    pub command: String,
    pub why: String,
}

/// How the source's file says where the database is.
enum Place {
    /// `${env:DATABASE_URL}`: it was found there.
    Variable,
    /// A file in `secrets/`, because the URL was given.
    SecretFile(String),
    /// Nothing is known.
    Example,
}

/// What the project reads.
struct Subject {
    place: Place,
    sslmode: Option<&'static str>,
    schema: String,
    table: String,
    key: Vec<String>,
    /// The columns to send.
    columns: Vec<String>,
    estimated_rows: Option<u64>,
    found: bool,
}

/// Writes a project.
///
/// # Errors
/// The folder holds one already, the database can't be reached, or the table is not found or has no
/// primary key. Nothing is written then.
pub async fn init(request: &InitRequest) -> Answer<Made> {
    let dir = &request.dir;
    let marker = dir.join(rowcast_config::PROJECT_FILE);
    if marker.exists() {
        return Err(Reason::new(
            Code::Usage,
            format!("can't make a project in {}", dir.display()),
        )
        .detail("there is one already")
        .hint("name another folder: rowcast init FOLDER")
        .into());
    }
    let subject = subject(request).await?;
    let project = project_name(dir);
    let files = files(&project, &subject);
    for (path, _, _) in &files {
        let path = dir.join(path);
        if path.exists() && !path.ends_with(".gitignore") {
            return Err(Reason::new(
                Code::Usage,
                format!("can't make a project in {}", dir.display()),
            )
            .detail(format!("{} exists already", path.display()))
            .hint("name another folder: rowcast init FOLDER")
            .into());
        }
    }
    let mut made = Vec::new();
    for (path, text, what) in files {
        if put(&dir.join(&path), &text)? && !what.is_empty() {
            made.push(MadeFile {
                path,
                what: what.to_owned(),
            });
        }
    }
    Ok(Made {
        summary: summary(&subject),
        next: next(dir, &subject),
        dir: if dir == Path::new(".") {
            "this folder".to_owned()
        } else {
            dir.display().to_string()
        },
        project,
        files: made,
    })
}

async fn subject(request: &InitRequest) -> Answer<Subject> {
    let given = request.url.clone();
    let found = environment::variable(VARIABLE).filter(|url| !url.is_empty());
    let (url, place) = match (given, found) {
        (Some(url), _) => (url.clone(), Place::SecretFile(url)),
        (None, Some(url)) => (url, Place::Variable),
        (None, None) => return Ok(example(request.table.as_deref())),
    };
    let mut config = ConnectConfig::from_url(&url)?;
    // On this machine nothing can listen in between; elsewhere the default stays verify-full.
    let local = ["localhost", "127.0.0.1", "::1"].contains(&config.host.as_str());
    let sslmode = (local && !url.contains("sslmode=")).then_some("prefer");
    if sslmode.is_some() {
        config.sslmode = SslMode::Prefer;
    }
    let connection = Connector::new(config).connect().await?;
    let relation = match &request.table {
        Some(name) => named(&connection, name).await?,
        None => first_with_key(&connection).await?,
    };
    Ok(Subject {
        place,
        sslmode,
        schema: relation.schema.clone(),
        table: relation.name.clone(),
        columns: relation
            .columns
            .iter()
            .filter(|column| column.readable && !relation.primary_key.contains(&column.name))
            .map(|column| column.name.clone())
            .collect(),
        estimated_rows: relation.estimated_rows,
        key: relation.primary_key,
        found: true,
    })
}

fn example(table: Option<&str>) -> Subject {
    let table = table.unwrap_or("customers");
    let (schema, table) = table.split_once('.').unwrap_or(("public", table));
    Subject {
        place: Place::Example,
        sslmode: None,
        schema: schema.to_owned(),
        table: table.to_owned(),
        key: vec!["id".to_owned()],
        columns: vec!["email".to_owned()],
        estimated_rows: None,
        found: false,
    }
}

async fn named(connection: &Connection, name: &str) -> Answer<Relation> {
    let (schema, table) = match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    };
    let Some(mut relation) = catalog::find(&connection.client, schema, table).await? else {
        let known = catalog::tables(&connection.client).await?;
        let known: Vec<String> = known
            .iter()
            .filter(|relation| !relation.schema.starts_with('_'))
            .take(10)
            .map(|relation| format!("{}.{}", relation.schema, relation.name))
            .collect();
        return Err(Reason::new(
            Code::ModelInvalid,
            format!("the table {name} was not found"),
        )
        .detail(format!("the role sees: {}", known.join(", ")))
        .hint("name one with --table schema.table")
        .into());
    };
    if relation.primary_key.is_empty() {
        // A view has none of its own; a column named id is what people mean.
        let id = relation.columns.iter().find(|column| column.name == "id");
        match id {
            Some(id) => relation.primary_key = vec![id.name.clone()],
            None => {
                return Err(Reason::new(
                    Code::KeyMissing,
                    format!("the {} {name} has no primary key", relation.kind.as_str()),
                )
                .detail("Rowcast tells rows apart by their primary key")
                .hint("choose another table, or write the project without one and name the columns as `primary_key:` in its model")
                .into());
            }
        }
    }
    Ok(relation)
}

/// The first table with a primary key, the biggest first.
async fn first_with_key(connection: &Connection) -> Answer<Relation> {
    let mut relations = catalog::tables(&connection.client).await?;
    relations
        .retain(|relation| !relation.primary_key.is_empty() && !relation.schema.starts_with('_'));
    relations.sort_by(|a, b| {
        (b.estimated_rows.unwrap_or(0))
            .cmp(&a.estimated_rows.unwrap_or(0))
            .then_with(|| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)))
    });
    relations.into_iter().next().ok_or_else(|| {
        Reason::new(
            Code::ModelInvalid,
            "can't choose a table for the new project",
        )
        .detail("the role sees no table with a primary key")
        .hint("name a table or view with --table schema.table, or grant the role SELECT on one")
        .into()
    })
}

/// The folder's own name, as a project's.
fn project_name(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    word(&name.unwrap_or_default(), "project")
}

/// A name that can be a file's and an object's: letters, digits, `_` and `-`.
fn word(text: &str, otherwise: &str) -> String {
    let word: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let word = word.trim_matches(['_', '-']).to_owned();
    if word.is_empty() {
        otherwise.to_owned()
    } else {
        word
    }
}

/// A YAML scalar: plain where it is a plain word, else quoted.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

/// Path, text and purpose of each file; those without a purpose are not listed.
fn files(project: &str, subject: &Subject) -> Vec<(String, String, &'static str)> {
    let model = word(&subject.table, "rows");
    let sync = format!("{model}_to_file");
    let mut files = vec![
        (
            "rowcast.yml".to_owned(),
            format!("# The project. Everything else is in the folders beside this file.\nproject: {project}\nversion: 1\n"),
            "the project",
        ),
        ("sources/database.yml".to_owned(), source_file(subject), "where rows come from"),
        (
            format!("models/{model}.yml"),
            format!(
                "# Which rows, and what tells one from another. In place of `table:`, a query in\n\
                 # models/{model}.sql does as well: it may join, filter and compute.\n\
                 model: {model}\nsource: database\ntable: {}\nprimary_key: [{}]\n",
                scalar(&format!("{}.{}", subject.schema, subject.table)),
                subject.key.iter().map(|name| scalar(name)).collect::<Vec<_>>().join(", ")
            ),
            "which rows",
        ),
        (
            "destinations/file.yml".to_owned(),
            "# Where records go. This one writes a file for each run, so that you can look at what is sent.\n\
             # To send to a service instead: connector: http (docs: reference, connector http).\n\
             destination: file\nconnector: file\nsettings:\n  path: \"out/{{ sync }}-{{ run }}.jsonl\"\n"
                .to_owned(),
            "where records go",
        ),
        (format!("syncs/{sync}.yml"), sync_file(&sync, &model, subject), "which column goes to which field"),
        (".gitignore".to_owned(), "/secrets/\n/out/\n".to_owned(), ""),
    ];
    if let Place::SecretFile(url) = &subject.place {
        files.push((
            "secrets/database_url".to_owned(),
            format!("{url}\n"),
            "the URL you gave, readable by you alone, ignored by Git",
        ));
    }
    files
}

fn source_file(subject: &Subject) -> String {
    let mut text = "# The PostgreSQL database that rows are read from. Rowcast keeps what it delivered in the\n\
                    # schema `_rowcast` there; `rowcast setup-sql` prints the grants its role needs.\n\
                    source: database\n"
        .to_owned();
    match subject.place {
        Place::SecretFile(_) => text.push_str("url: ${file:secrets/database_url}\n"),
        Place::Variable | Place::Example => text.push_str("url: ${env:DATABASE_URL}\n"),
    }
    match subject.sslmode {
        Some(mode) => text.push_str(&format!(
            "sslmode: {mode}          # the server is on this machine; for others leave it at verify-full\n"
        )),
        None => text.push_str("# sslmode: verify-full    # the default; libpq's six modes with libpq's meaning\n"),
    }
    text
}

fn sync_file(sync: &str, model: &str, subject: &Subject) -> String {
    let mut text = format!(
        "# Sends the rows of the model to the destination, and from then on only what changed.\n\
         sync: {sync}\nmodel: {model}\ndestination: file\n\
         mode: mirror               # added and updated rows are upserted, removed ones deleted; or: upsert, update, insert, delete\n\
         fields:                    # destination field: column, or an expression like \"{{{{ first_name | upper }}}}\"\n"
    );
    let columns = if subject.columns.is_empty() {
        &subject.key
    } else {
        &subject.columns
    };
    for column in columns {
        text.push_str(&format!("  {0}: {0}\n", scalar(column)));
    }
    text.push_str(
        "# schedule: { every: 15m } # for `rowcast serve`; or let cron or systemd start `rowcast run`\n",
    );
    text
}

/// Writes a new file; secrets for the owner alone. `false`: it is there already.
fn put(path: &Path, text: &str) -> Answer<bool> {
    let secret = path
        .parent()
        .is_some_and(|parent| parent.ends_with("secrets"));
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if secret { 0o600 } else { 0o644 })
            .open(path);
        match opened {
            Ok(mut file) => std::io::Write::write_all(&mut file, text.as_bytes()).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    };
    Ok(write().map_err(|error| file_reason("write", path, &error))?)
}

fn summary(subject: &Subject) -> String {
    let table = format!("{}.{}", subject.schema, subject.table);
    if !subject.found {
        return format!(
            "No database was given, so the project is an example about a table {table}. Set DATABASE_URL to\n\
             your database's URL, then put your table and its columns into models/ and syncs/. Or remove the\n\
             folder and let init look them up: rowcast init --url postgresql://…"
        );
    }
    let rows = match subject.estimated_rows {
        Some(rows) => format!(" (about {rows} rows)"),
        None => String::new(),
    };
    format!(
        "It sends the rows of {table}{rows} to a file in out/ for each run: all of them at first, then only\n\
         what was added, updated or removed. Rows are told apart by {}.",
        subject.key.join(", ")
    )
}

fn next(dir: &Path, subject: &Subject) -> Vec<NextStep> {
    let step = |command: String, why: &str| NextStep {
        command,
        why: why.to_owned(),
    };
    let cd = if dir == Path::new(".") {
        String::new()
    } else {
        format!("cd {} && ", dir.display())
    };
    let mut steps = vec![step(
        format!("{cd}rowcast check"),
        "can the rows be read and state be kept? if not, which grant is missing",
    )];
    if subject.found {
        steps.push(step(
            "rowcast plan --limit 10".to_owned(),
            "what would be sent, without sending",
        ));
        steps.push(step(
            "rowcast run".to_owned(),
            "send it; run it again to see that only changes are sent",
        ));
    } else {
        steps.insert(
            0,
            step(
                "export DATABASE_URL=postgresql://user:password@host/database".to_owned(),
                "where the rows are",
            ),
        );
        steps.push(step(
            "rowcast plan --limit 10".to_owned(),
            "what would be sent, without sending",
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_yaml_would_misread_are_quoted() {
        assert_eq!(scalar("first_name"), "first_name");
        assert_eq!(scalar("no"), "\"no\"");
        assert_eq!(scalar("Größe"), "\"Größe\"");
        assert_eq!(scalar("a: b"), "\"a: b\"");
        assert_eq!(word("My Table!", "x"), "my_table");
        assert_eq!(word("…", "rows"), "rows");
    }
}
