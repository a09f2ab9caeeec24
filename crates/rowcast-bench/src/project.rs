//! The project folder of the benchmark: the files a user would write, with default settings except
//! for the size of batches.

use std::path::Path;

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) postgres: u16,
    pub(crate) sink: u16,
    /// The folder of files that are written.
    pub(crate) files: &'a Path,
}

/// The columns of the model, all of which are mapped.
pub(crate) const COLUMNS: [&str; 13] = [
    "id",
    "external_id",
    "email",
    "first_name",
    "last_name",
    "attributes",
    "balance",
    "created_at",
    "updated_at",
    "active",
    "phone",
    "plan",
    "logins",
];

/// The joined model: people with the sums of their orders.
pub(crate) const JOINED: &str = "\
SELECT u.id, u.email, u.first_name, u.last_name, u.plan, u.active,
       count(o.id) AS orders, coalesce(sum(o.amount), 0) AS total, max(o.placed_at) AS last_order_at
FROM users u LEFT JOIN orders o ON o.user_id = u.id
GROUP BY u.id";

/// The columns of the joined model.
const JOINED_COLUMNS: [&str; 9] = [
    "id",
    "email",
    "first_name",
    "last_name",
    "plan",
    "active",
    "orders",
    "total",
    "last_order_at",
];

/// (destination, what stands under `settings:`, what stands at the top)
fn destinations(places: &Places) -> Vec<(&'static str, String, &'static str)> {
    let http = |name: &str, more: &str| {
        let url = format!("  url: http://127.0.0.1:{}/{name}\n", places.sink);
        format!("connector: http\nallow_addresses: [127.0.0.0/8]\nsettings:\n{url}{more}")
    };
    let thousand = "concurrency: 8\nbatch: { max_records: 1000, max_bytes: 4MB }\n";
    let hundred = "concurrency: 8\nbatch: { max_records: 100, max_bytes: 1MB }\n";
    let ndjson = "  format: ndjson\n";
    let fields = "  body: fields\n";
    let postgres = format!(
        "connector: postgres\nsettings:\n  host: 127.0.0.1\n  port: {}\n  database: target\n  \
         user: postgres\n  sslmode: disable\n",
        places.postgres
    );
    let file = format!(
        "connector: file\nsettings:\n  path: \"{}/{{{{ sync }}}}-{{{{ run }}}}.jsonl\"\n  body: fields\n",
        places.files.display()
    );
    vec![
        ("hook_1000", http("hook_1000", fields), thousand),
        ("hook_100", http("hook_100", fields), hundred),
        (
            "hook_single",
            http("hook_single", fields),
            "concurrency: 8\n",
        ),
        ("lines", http("lines", ndjson), thousand),
        ("lines_cursor", http("lines_cursor", ndjson), thousand),
        ("lines_wal", http("lines_wal", ndjson), thousand),
        ("lines_big", http("lines_big", ndjson), thousand),
        ("warehouse", postgres, ""),
        ("files", file, ""),
        ("nowhere", "connector: \"null\"\n".to_owned(), ""),
        ("nowhere_uuid", "connector: \"null\"\n".to_owned(), ""),
        ("nowhere_joined", "connector: \"null\"\n".to_owned(), ""),
        ("nowhere_small", "connector: \"null\"\n".to_owned(), ""),
    ]
}

/// (sync, model, destination, more)
const SYNCS: &[(&str, &str, &str, &str)] = &[
    ("first_1000", "users", "hook_1000", ""),
    ("first_100", "users", "hook_100", ""),
    ("single", "few", "hook_single", ""),
    ("changes", "users", "lines", "mode: mirror\n"),
    (
        "changes_cursor",
        "users_cursor",
        "lines_cursor",
        "mode: mirror\n",
    ),
    ("changes_wal", "users", "lines_wal", "mode: mirror\n"),
    ("changes_big", "users_big", "lines_big", "mode: mirror\n"),
    (
        "changes_big_uuid",
        "users_big_uuid",
        "nowhere_uuid",
        "mode: mirror\n",
    ),
    (
        "copy",
        "users",
        "warehouse",
        "mode: mirror\nobject: public.users_ours\n",
    ),
    ("file", "users", "files", ""),
    ("nothing", "users", "nowhere", ""),
    ("joined", "joined", "nowhere_joined", ""),
    ("small", "small", "nowhere_small", ""),
];

/// Every file of the project, by path.
pub(crate) fn files(places: &Places) -> Vec<(String, String)> {
    let mut files = vec![(
        "rowcast.yml".to_owned(),
        "project: bench\nversion: 1\n".to_owned(),
    )];
    for (source, database) in [("base", "base"), ("big", "big")] {
        files.push(source_file(source, database, places.postgres));
    }
    let mut model = |name: &str, source: &str, from: &str| {
        let text = format!("model: {name}\nsource: {source}\n{from}primary_key: [id]\n");
        files.push((format!("models/{name}.yml"), text));
    };
    model("users", "base", "table: users\n");
    model("few", "base", "table: few\n");
    model("small", "base", "table: small\n");
    model("users_big", "big", "table: users\n");
    let cursor = "table: users\ncursor: { column: updated_at, overlap: 10m, full: daily }\n";
    model("users_cursor", "base", cursor);
    model("joined", "base", "");
    files.push((
        "models/users_big_uuid.yml".to_owned(),
        "model: users_big_uuid\nsource: big\ntable: users\nprimary_key: [external_id]\n".to_owned(),
    ));
    files.push(("models/joined.sql".to_owned(), JOINED.to_owned()));
    for (name, text, top) in destinations(places) {
        let text = format!("destination: {name}\n{top}{text}");
        files.push((format!("destinations/{name}.yml"), text));
    }
    for (name, model, destination, more) in SYNCS {
        let columns: &[&str] = if *model == "joined" {
            &JOINED_COLUMNS
        } else {
            &COLUMNS
        };
        let fields: Vec<String> = columns.iter().map(|c| format!("  {c}: {c}\n")).collect();
        let fields = fields.concat();
        let text = format!(
            "sync: {name}\nmodel: {model}\ndestination: {destination}\n{more}fields:\n{fields}"
        );
        files.push((format!("syncs/{name}.yml"), text));
    }
    files
}

/// A source's file; goal 12 writes it anew to go through a proxy.
pub(crate) fn source_file(source: &str, database: &str, port: u16) -> (String, String) {
    let text = format!(
        "source: {source}\nhost: 127.0.0.1\nport: {port}\ndatabase: {database}\nuser: postgres\n\
         sslmode: disable\n"
    );
    (format!("sources/{source}.yml"), text)
}

/// Writes files below a folder.
pub(crate) fn write(folder: &Path, files: &[(String, String)]) -> Result<(), String> {
    for (path, text) in files {
        let path = folder.join(path);
        let failed = |error: std::io::Error| format!("could not write {}: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_has_its_model_and_its_destination() {
        let places = Places {
            postgres: 1,
            sink: 2,
            files: Path::new("out"),
        };
        let files = files(&places);
        for (name, model, destination, _) in SYNCS {
            for path in [
                format!("models/{model}.yml"),
                format!("destinations/{destination}.yml"),
            ] {
                assert!(files.iter().any(|(p, _)| *p == path), "{name}: {path}");
            }
        }
    }
}
