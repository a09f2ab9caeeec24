//! The server under measure: `rowcast serve` on a project of its own, with a receiver for what it
//! sends. Two measurements stand on it: the soak, and how fast the API answers and runs begin.

pub(crate) mod api;
pub(crate) mod receiver;
pub(crate) mod server;
pub(crate) mod soak;
pub(crate) mod speed;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cluster::Cluster;
use crate::machine;
use crate::results::Machine;

/// What `--help` says.
pub(crate) const HELP: &str = "\
Measures the server: `cargo xtask soak` and `cargo xtask service`.

Usage: cargo xtask soak [--minutes N] [--syncs N]
       cargo xtask service

Options:
  --minutes N    How long the soak lasts, its warm-up included [default: 30]
  --syncs N      Syncs that run in it, each every 30 seconds [default: 100]
  --dir FOLDER   Where the PostgreSQL server keeps its data [default: in the target folder]
";

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) minutes: u64,
    pub(crate) syncs: usize,
    dir: Option<PathBuf>,
    pub(crate) programs: PathBuf,
    pub(crate) rowcast: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

impl Options {
    /// Reads the words after the name of the measurement.
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            minutes: 30,
            syncs: 100,
            dir: None,
            programs: PathBuf::new(),
            rowcast: PathBuf::new(),
            root: PathBuf::new(),
            target: PathBuf::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value\n\n{HELP}"))?;
            let number = || {
                let number = value.parse::<u64>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| format!("`{value}` is no number"))
            };
            match word.as_str() {
                "--minutes" => options.minutes = number()?,
                "--syncs" => options.syncs = number()?.min(10_000) as usize,
                "--dir" => options.dir = Some(value.into()),
                "--programs" => options.programs = value.into(),
                "--rowcast" => options.rowcast = value.into(),
                "--root" => options.root = value.into(),
                "--target" => options.target = value.into(),
                other => return Err(format!("`{other}` is not understood\n\n{HELP}")),
            }
        }
        Ok(options)
    }

    /// A folder for one measurement, removed by the caller at the end.
    fn folder(&self) -> Result<PathBuf, String> {
        let base = self.dir.clone();
        let base = base.unwrap_or_else(|| self.target.join("bench"));
        let folder = base.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(folder)
    }
}

/// Carries out a measurement in a folder of its own, and writes its results.
pub(crate) fn measured<T: Serialize>(
    options: &Options,
    name: &str,
    measure: impl FnOnce(&Cluster, &Path) -> Result<T, String>,
) -> Result<T, String> {
    let folder = options.folder()?;
    let done = Cluster::start(&options.programs, &folder).and_then(|cluster| {
        cluster.psql(
            "postgres",
            "CREATE ROLE rowcast LOGIN; CREATE DATABASE shop OWNER rowcast;",
        )?;
        let done = measure(&cluster, &folder)?;
        let date = cluster.psql("postgres", "SELECT current_date")?;
        Ok((done, cluster.version()?, date))
    });
    if done.is_err() {
        let log = std::fs::read_to_string(folder.join("serve.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            crate::terminal::complain(line);
        }
    }
    let removed = std::fs::remove_dir_all(&folder);
    let (done, server, date) = done?;
    removed.map_err(|e| format!("could not remove {}: {e}", folder.display()))?;
    let document = Document {
        date,
        product: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine::describe(),
        server,
        figures: &done,
    };
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    let file = options.root.join(crate::RESULTS).join(name);
    crate::write(&file, &(text + "\n"))?;
    crate::terminal::say(&format!("\nwritten to {}", file.display()));
    Ok(done)
}

#[derive(Serialize)]
struct Document<'a, T> {
    date: String,
    product: String,
    machine: Machine,
    server: String,
    #[serde(flatten)]
    figures: &'a T,
}

/// The project: `syncs` syncs of one table of people, every one to a path of its own.
pub(crate) fn project(
    port: u16,
    receiver: u16,
    syncs: usize,
    schedule: impl Fn(usize) -> String,
) -> Vec<(String, String)> {
    let mut files = vec![
        (
            "rowcast.yml".to_owned(),
            "project: service\nversion: 1\n".to_owned(),
        ),
        (
            "sources/shop.yml".to_owned(),
            format!(
                "source: shop\nhost: 127.0.0.1\nport: {port}\ndatabase: shop\nuser: rowcast\n\
                 sslmode: disable\nlimits: {{ runs: 16 }}\n"
            ),
        ),
        (
            "models/people.yml".to_owned(),
            "model: people\nsource: shop\ntable: people\nprimary_key: [id]\n".to_owned(),
        ),
    ];
    for number in 0..syncs {
        let name = sync(number);
        files.push((
            format!("destinations/{name}.yml"),
            format!(
                "destination: {name}\nconnector: http\nallow_addresses: [127.0.0.0/8]\n\
                 batch: {{ max_records: 100, max_bytes: 1MB }}\n\
                 settings:\n  url: http://127.0.0.1:{receiver}/{name}\n  body: fields\n"
            ),
        ));
        files.push((
            format!("syncs/{name}.yml"),
            format!(
                "sync: {name}\nmodel: people\ndestination: {name}\nmode: upsert\n{}\
                 fields:\n  id: id\n  name: name\n  visits: visits\n",
                schedule(number)
            ),
        ));
    }
    files
}

/// The name of a sync, and of its destination.
pub(crate) fn sync(number: usize) -> String {
    format!("s{number:03}")
}

/// Makes the table of people.
pub(crate) fn people(cluster: &Cluster, rows: u64) -> Result<(), String> {
    let sql = format!(
        "CREATE TABLE people (id int PRIMARY KEY, name text, visits bigint);
         INSERT INTO people SELECT n, 'person ' || n, 0 FROM generate_series(1, {rows}) n;
         ALTER TABLE people OWNER TO rowcast; ANALYZE people;"
    );
    cluster.psql("shop", &sql).map(|_| ())
}
