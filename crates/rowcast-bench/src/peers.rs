//! The peers: installed into a folder of their own, set up as their documentation says, with their
//! limits lifted.
//!
//! One that can't be installed is reported as absent; that is not an error.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure;
use crate::project::COLUMNS;
use crate::results::Peer;
use crate::terminal::{heading, say};

/// (name, version, what pip installs)
const WANTED: &[(&str, &str, &[&str])] = &[
    ("drt", "1.2.1", &["drt-core[postgres]==1.2.1"]),
    (
        "sling",
        "1.4.11",
        &["sling==1.4.11", "sling-linux-amd64==1.4.11"],
    ),
    (
        "dlt",
        "1.31.0",
        &[
            "dlt[postgres,parquet]==1.31.0",
            "sqlalchemy",
            "psycopg2-binary",
            "pyarrow",
        ],
    ),
];

/// The installed peers.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Their virtual environments.
    environments: PathBuf,
    /// Their settings and what they remember.
    work: PathBuf,
    pub(crate) list: Vec<Peer>,
}

impl Peers {
    /// Installs what is not there yet; `none` leaves all of them out.
    pub(crate) fn install(cache: &Path, work: &Path, none: bool) -> Self {
        let mut peers = Self {
            environments: cache.join("peers"),
            work: work.join("peers"),
            list: Vec::new(),
        };
        if !none {
            heading("peers");
        }
        for (name, version, packages) in WANTED {
            let outcome = if none {
                Err("left out with --no-peers".to_owned())
            } else {
                peers.ensure(name, packages)
            };
            match &outcome {
                Ok(()) => say(&format!("{name} {version}")),
                Err(_) if none => {}
                Err(error) => say(&format!("{name} {version} is absent: {error}")),
            }
            peers.list.push(Peer {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                absent: outcome.err(),
            });
        }
        peers
    }

    fn ensure(&self, name: &str, packages: &[&str]) -> Result<(), String> {
        let folder = self.environments.join(name);
        let mark = folder.join("installed");
        let wanted = packages.join("\n");
        if std::fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        let failed = |error: std::io::Error| error.to_string();
        std::fs::create_dir_all(&self.environments).map_err(failed)?;
        std::fs::create_dir_all(&self.work).map_err(failed)?;
        say(&format!("installing {}", packages.join(" ")));
        let mut python = Command::new("python3");
        python.args(["-m", "venv"]).arg(&folder);
        measure::run(&mut python, &self.work)?.succeeded("python3 -m venv")?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        pip.args(packages);
        measure::run(&mut pip, &self.work)?.succeeded("pip install")?;
        std::fs::write(mark, wanted).map_err(failed)
    }

    /// Whether a peer takes part.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut list = self.list.iter();
        list.any(|peer| peer.name == name && peer.absent.is_none())
    }

    fn write(&self, path: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.work.join(path);
        let failed = |error: std::io::Error| format!("could not write {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
        Ok(path)
    }

    /// drt with one sync: `destination` and `sync` are its YAML.
    fn drt(
        &self,
        port: u16,
        table: &str,
        destination: &str,
        sync: &str,
    ) -> Result<Command, String> {
        // With what it remembers of an earlier run, in the project and in the user's folder.
        let _ = std::fs::remove_dir_all(self.work.join("drt"));
        let profile = format!(
            "bench: {{type: postgres, host: 127.0.0.1, port: {port}, dbname: base, \
             user: postgres, password_env: PG_PASSWORD}}\n"
        );
        self.write("drt/user/.drt/profiles.yml", &profile)?;
        let project = "name: bench\nversion: \"1\"\nprofile: bench\n";
        self.write("drt/drt_project.yml", project)?;
        let columns = COLUMNS.join(", ");
        let text = format!(
            "name: bench\nmodel: \"SELECT {columns} FROM {table}\"\n\
             destination:\n{destination}\nsync: {sync}\n"
        );
        self.write("drt/syncs/bench.yml", &text)?;
        let folder = self.work.join("drt");
        let mut command = Command::new(self.environments.join("drt/bin/drt"));
        command
            .args(["run", "--select", "bench", "--output", "json"])
            .current_dir(&folder)
            .env("HOME", folder.join("user"))
            .env("PG_PASSWORD", "x");
        Ok(command)
    }

    /// drt to an HTTP service: `batch` rows a request, or one with `None`.
    pub(crate) fn drt_http(
        &self,
        port: u16,
        table: &str,
        url: &str,
        batch: Option<usize>,
    ) -> Result<Command, String> {
        let body = match batch {
            None => "  body_template: '{{ row | tojson_safe }}'".to_owned(),
            Some(rows) => format!(
                "  body_mode: batch\n  max_records_per_request: {rows}\n  \
                 batch_template: '{{\"rows\": {{{{ rows | tojson_safe }}}} }}'"
            ),
        };
        let destination = format!(
            "  type: rest_api\n  url: {url}\n  method: POST\n  \
             headers: {{Content-Type: application/json}}\n{body}"
        );
        let size = batch.unwrap_or(500);
        let sync =
            format!("{{mode: full, batch_size: {size}, rate_limit: {{requests_per_second: 0}}}}");
        self.drt(port, table, &destination, &sync)
    }

    /// drt mirroring to a table of the database `target`.
    pub(crate) fn drt_mirror(&self, port: u16, from: &str, to: &str) -> Result<Command, String> {
        let destination = format!(
            "  type: postgres\n  host: 127.0.0.1\n  port: {port}\n  dbname: target\n  \
             user: postgres\n  password_env: PG_PASSWORD\n  table: public.{to}\n  upsert_key: [id]"
        );
        let sync = "{mode: mirror, incremental_strategy: diff, diff: {hash_columns: all}, \
                    mirror: {strategy: diff}, batch_size: 1000}";
        self.drt(port, from, &destination, sync)
    }

    /// dlt, table to table, in its fastest form: Arrow batches, appended.
    pub(crate) fn dlt(&self, port: u16, from: &str) -> Result<Command, String> {
        let state = self.work.join("dlt/state");
        let _ = std::fs::remove_dir_all(&state);
        let script = format!(
            "import dlt\nfrom dlt.sources.sql_database import sql_table\n\
             url = 'postgresql://postgres:x@127.0.0.1:{port}/'\n\
             table = sql_table(credentials=url.replace('postgresql:', 'postgresql+psycopg2:') + 'base', \
             table='{from}', schema='public', backend='pyarrow', chunk_size=100000)\n\
             pipeline = dlt.pipeline('bench', destination=dlt.destinations.postgres(url + 'target'), \
             dataset_name='dlt_bench', pipelines_dir={:?})\n\
             pipeline.run(table, write_disposition='append')\n",
            state.display().to_string()
        );
        let path = self.write("dlt/run.py", &script)?;
        let mut command = Command::new(self.environments.join("dlt/bin/python"));
        command
            .arg(path)
            .current_dir(self.work.join("dlt"))
            .env("HOME", self.work.join("dlt"))
            .env("RUNTIME__DLTHUB_TELEMETRY", "false")
            .env("RUNTIME__LOG_LEVEL", "ERROR");
        Ok(command)
    }

    /// The program itself; its wrapper would download another.
    fn sling(&self, port: u16) -> Result<Command, String> {
        let library = self.environments.join("sling/lib");
        let versions = std::fs::read_dir(&library).map_err(|error| error.to_string())?;
        let program = versions
            .flatten()
            .map(|version| {
                let packages = version.path().join("site-packages");
                packages.join("sling_linux_amd64/bin/sling-linux-amd64")
            })
            .find(|path| path.is_file())
            .ok_or("the sling program is not in its package")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).map_err(|error| error.to_string())?;
        let home = self.work.join("sling");
        std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        let url = |database: &str| {
            format!("postgresql://postgres:x@127.0.0.1:{port}/{database}?sslmode=disable")
        };
        let mut command = Command::new(program);
        command
            .current_dir(&home)
            .env("HOME", &home)
            .env("SLING_DISABLE_TELEMETRY", "TRUE")
            .env("PGS", url("base"))
            .env("PGD", url("target"));
        Ok(command)
    }

    /// sling, table to table, incremental by its key and `updated_at`.
    pub(crate) fn sling_postgres(&self, port: u16, to: &str) -> Result<Command, String> {
        let text = format!(
            "source: PGS\ntarget: PGD\ndefaults: {{mode: incremental, primary_key: [id], \
             update_key: updated_at, object: public.{to}}}\nstreams: {{public.users: }}\n"
        );
        let path = self.write("sling/bench.yml", &text)?;
        let mut command = self.sling(port)?;
        command.arg("run").arg("-r").arg(path);
        Ok(command)
    }

    /// sling to a file of JSON lines.
    pub(crate) fn sling_file(&self, port: u16, file: &Path) -> Result<Command, String> {
        let mut command = self.sling(port)?;
        command
            .args(["run", "--src-conn", "PGS", "--src-stream"])
            .arg("select * from users")
            .arg("--tgt-object")
            .arg(format!("file://{}", file.display()));
        Ok(command)
    }
}
