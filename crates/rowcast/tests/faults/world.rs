//! One source, one sync, its receiver, a proxy before each, and the processes that run between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path as FilePath;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::{Cluster, Database};
use rowcast_testkit::proxy::Proxy;
use serde_json::Value;

use crate::command::{self, Ended};
use crate::https::Encrypted;
use crate::judge::{Effect, Fields, Records, judge};
use crate::{Case, Path};

/// Rows of the table, at most.
const ROWS: usize = 60;

/// Longest a disturbed run may take. The product's own timeouts are far below it; a run that is
/// killed by this has hung, and fails the test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);

/// The destination's timeout; a lease lasts three of them.
const TIMEOUT: &str = "3s";

/// A kind of destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    /// With TLS before it; the program trusts one authority.
    Https,
    Postgres,
}

enum Receiver {
    Http(Api),
    Postgres(Database),
}

pub(crate) struct World {
    pub(crate) cluster: &'static Cluster,
    pub(crate) source: Database,
    pub(crate) to_source: Proxy,
    pub(crate) to_destination: Proxy,
    dir: tempfile::TempDir,
    receiver: Receiver,
    /// The encrypted side of an API, and who vouches for it.
    pub(crate) encrypted: Option<Encrypted>,
    round: i64,
    effects_judged: usize,
}

/// Runs something and gives the words of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| {
                panic
                    .downcast_ref::<&str>()
                    .map(|words| (*words).to_owned())
            })
            .unwrap_or_default()
    })
}

/// A process that is killed when it outlasts the deadline.
pub(crate) struct Running {
    pid: rustix::process::Pid,
    told: std::sync::mpsc::Receiver<Ended>,
    began: Instant,
}

impl Running {
    pub(crate) fn start(mut command: std::process::Command) -> Self {
        let child = command.spawn().expect("start rowcast");
        let pid = rustix::process::Pid::from_child(&child);
        let (tell, told) = channel();
        std::thread::spawn(move || tell.send(command::wait(child)));
        Self {
            pid,
            told,
            began: Instant::now(),
        }
    }

    /// Its end.
    ///
    /// # Panics
    /// It did not come in time.
    pub(crate) fn ended(self) -> Ended {
        let left = DEADLINE.saturating_sub(self.began.elapsed());
        self.told.recv_timeout(left).unwrap_or_else(|_| {
            let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
            let words = self.told.recv().expect("a killed process ends").words();
            panic!("it hung: killed after {DEADLINE:?}: {words}")
        })
    }
}

impl World {
    /// A world on the shared server, after a first, undisturbed run.
    pub(crate) fn new(kind: Kind, name: &str) -> Self {
        Self::on(Cluster::shared(), kind, name)
    }

    /// The same with the source on a server of its own.
    pub(crate) fn on(cluster: &'static Cluster, kind: Kind, name: &str) -> Self {
        let source = cluster.database(name);
        cluster.psql(
            &source.name,
            "CREATE TABLE rows (id bigint PRIMARY KEY, name text NOT NULL, version bigint NOT NULL)",
        );
        let to_source = Proxy::to_port(source.port);
        let dir = tempfile::Builder::new()
            .prefix("rowcast-faults")
            .tempdir()
            .expect("a temporary folder");
        let mut encrypted = None;
        let (receiver, to_destination) = match kind {
            Kind::Http => {
                let api = Api::start();
                let proxy = Proxy::to(api.address());
                (Receiver::Http(api), proxy)
            }
            Kind::Https => {
                let api = Api::start();
                let before = Encrypted::before(&api, dir.path());
                let proxy = Proxy::to(before.front.address());
                encrypted = Some(before);
                (Receiver::Http(api), proxy)
            }
            Kind::Postgres => {
                // Never on the source's server, which some tests break.
                let target = Cluster::shared().database(&format!("{name}_target"));
                Cluster::shared().psql(&target.name, TARGET);
                let proxy = Proxy::to_port(target.port);
                (Receiver::Postgres(target), proxy)
            }
        };
        let mut world = Self {
            cluster,
            source,
            to_source,
            to_destination,
            dir,
            receiver,
            encrypted,
            round: 0,
            effects_judged: 0,
        };
        world.configure();
        world.change();
        world.settle();
        world
    }

    fn configure(&self) {
        self.file("rowcast.yml", "project: test\nversion: 1\n");
        self.source_file("postgres", "");
        self.file(
            "models/rows.yml",
            "model: rows\nsource: source\ntable: rows\nprimary_key: [id]\n",
        );
        let more = format!(
            "batch: {{ max_records: 10 }}\nconcurrency: 2\ntimeout: {TIMEOUT}\nsettings:\n"
        );
        let port = self.to_destination.port();
        let destination = match &self.receiver {
            Receiver::Http(_) => format!(
                "destination: there\nconnector: http\nallow_addresses: [127.0.0.1/32]\n{more}  \
                 url: {}://127.0.0.1:{port}/rows\n",
                if self.encrypted.is_some() {
                    "https"
                } else {
                    "http"
                }
            ),
            Receiver::Postgres(target) => format!(
                "destination: there\nconnector: postgres\n{more}  \
                 url: postgresql://postgres@127.0.0.1:{port}/{}?connect_timeout=2\n  \
                 sslmode: disable\n",
                target.name
            ),
        };
        self.file("destinations/there.yml", &destination);
        self.file(
            "syncs/rows.yml",
            "sync: rows\nmodel: rows\ndestination: there\nobject: rows\nmode: mirror\n\
             guards: { removed: 100% }\nfields: { name: name, version: version }\n",
        );
    }

    /// The source's file: a user with or without a password, and more lines.
    pub(crate) fn source_file(&self, user: &str, more: &str) {
        self.file(
            "sources/source.yml",
            &format!(
                "source: source\nurl: postgresql://{user}@127.0.0.1:{}/{}?connect_timeout=2\n\
                 sslmode: disable\nlimits: {{ statement_timeout: 2s }}\n{more}",
                self.to_source.port(),
                self.source.name
            ),
        );
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        std::fs::write(path, text).expect("write a file");
    }

    pub(crate) fn dir(&self) -> &FilePath {
        self.dir.path()
    }

    pub(crate) fn api(&self) -> &Api {
        match &self.receiver {
            Receiver::Http(api) => api,
            Receiver::Postgres(_) => panic!("the receiver is no API"),
        }
    }

    /// SQL as the superuser in the source.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.psql(&self.source.name, sql)
    }

    /// Some rows change, some go, some come back.
    pub(crate) fn change(&mut self) {
        self.round += 1;
        let round = self.round;
        self.sql(&format!(
            "BEGIN;
             DELETE FROM rows WHERE id % 7 = {round} % 7;
             INSERT INTO rows SELECT n, '', 0 FROM generate_series(1, {ROWS}) n
               WHERE n % 7 <> {round} % 7 ON CONFLICT DO NOTHING;
             UPDATE rows SET version = {round} WHERE version = 0 OR id % 3 = {round} % 3;
             UPDATE rows SET name = 'name ' || version || ' of ' || id WHERE version = {round};
             COMMIT;"
        ));
    }

    fn rows(&self) -> Records {
        table(
            self.cluster,
            &self.source,
            "SELECT id, version, name FROM rows",
        )
        .into_iter()
        .filter_map(|effect| Some((effect.key, effect.fields?)))
        .collect()
    }

    /// One run, not yet started.
    pub(crate) fn run(&self) -> std::process::Command {
        self.rowcast(&["run", "rows", "--json"])
    }

    /// Any command, not yet started.
    pub(crate) fn rowcast(&self, words: &[&str]) -> std::process::Command {
        let mut command = command::rowcast(self.dir(), words);
        if let Some(encrypted) = &self.encrypted {
            command.env("SSL_CERT_FILE", &encrypted.roots);
        }
        command
    }

    /// Changes the source, breaks something, runs, mends it, and judges. Gives the run's end.
    pub(crate) fn cross(&mut self, case: &Case) -> String {
        self.change();
        let proxy = match case.path {
            Path::ToSource => &self.to_source,
            Path::ToDestination => &self.to_destination,
        };
        let before = proxy.fired().len();
        if case.rules.is_empty() {
            proxy.refuse();
        }
        for rule in &case.rules {
            proxy.inject(rule.clone());
        }
        let began = Instant::now();
        let ended = Running::start(self.run()).ended();
        let took = began.elapsed();
        assert!(
            proxy.fired().len() > before,
            "the place was not reached: {}",
            ended.words()
        );
        self.heal();
        let said = end_of(&ended);
        assert!(
            case.ends
                .iter()
                .any(|(code, error)| said.0 == *code && said.1 == *error),
            "it ended with {said:?}, not one of {:?}: {}",
            case.ends,
            ended.words()
        );
        let repeats = self.settle();
        assert!(
            case.repeats || repeats == 0,
            "{repeats} records came twice, though none was on its way"
        );
        format!("{said:?} after {took:?}, {repeats} records twice")
    }

    pub(crate) fn heal(&self) {
        self.to_source.heal();
        self.to_destination.heal();
    }

    /// Runs until nothing is sent any more, judges what the receiver holds and everything on the
    /// way there. Gives how many records came more than once since the last time.
    pub(crate) fn settle(&mut self) -> usize {
        let mut words = String::new();
        for _ in 0..3 {
            let ended = Running::start(self.run()).ended();
            assert_eq!(ended.code, Some(0), "after the fault: {}", ended.words());
            let report = ended.json()["runs"][0].clone();
            if report["requests"] == 0 {
                return self.judge();
            }
            words = ended.words();
        }
        panic!("after three runs without a change still something is sent: {words}");
    }

    pub(crate) fn holds_the_rows(&self) {
        let (rows, holds) = (self.rows(), self.holds());
        assert!(!rows.is_empty());
        assert_eq!(holds, rows, "the receiver holds something else");
    }

    fn judge(&mut self) -> usize {
        self.holds_the_rows();
        let effects = self.effects();
        let (problems, _) = judge(&effects);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        // The state before counts, so that the first of this time is compared with the last before.
        let repeated = judge(&effects).1 - judge(&effects[..self.effects_judged]).1;
        self.effects_judged = effects.len();
        if let Receiver::Postgres(_) = self.receiver {
            assert_eq!(
                repeated, 0,
                "exactly once is the postgres destination's law"
            );
        }
        repeated
    }

    fn holds(&self) -> Records {
        let mut records = Records::new();
        match &self.receiver {
            Receiver::Http(api) => {
                for (key, fields) in api.store().records {
                    records.insert(id_in(&key), fields_of(&fields));
                }
            }
            Receiver::Postgres(target) => {
                let sql = "SELECT id, version, name FROM rows";
                for effect in table(Cluster::shared(), target, sql) {
                    records.extend(effect.fields.map(|fields| (effect.key, fields)));
                }
            }
        }
        records
    }

    fn effects(&self) -> Vec<Effect> {
        match &self.receiver {
            Receiver::Http(api) => api
                .store()
                .history
                .iter()
                .map(|applied| Effect {
                    key: id_in(&applied.key),
                    fields: (applied.operation != "delete").then(|| fields_of(&applied.fields)),
                    idempotency_key: applied.idempotency_key.clone(),
                })
                .collect(),
            Receiver::Postgres(target) => {
                let sql = "SELECT id, version, name FROM effects ORDER BY n";
                table(Cluster::shared(), target, sql)
            }
        }
    }
}

/// Its trigger notes every record that a committed transaction wrote, also one that changed
/// nothing: `BEFORE INSERT` fires for the rows of an upsert that then update.
const TARGET: &str = "
    CREATE TABLE rows (id bigint PRIMARY KEY, name text, version bigint);
    CREATE TABLE effects (n bigserial PRIMARY KEY, id bigint, name text, version bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'DELETE' THEN
        INSERT INTO public.effects (id) VALUES (OLD.id);
        RETURN OLD;
      END IF;
      INSERT INTO public.effects (id, name, version) VALUES (NEW.id, NEW.name, NEW.version);
      RETURN NEW;
    END $$;
    CREATE TRIGGER note BEFORE INSERT OR DELETE ON rows FOR EACH ROW EXECUTE FUNCTION note();";

/// Exit code, and the code of the error that the run or the command ended with.
pub(crate) fn end_of(ended: &Ended) -> (i32, String) {
    let code = ended.code.expect("no signal ended it");
    let document = ended.json();
    let failure = [
        &document["runs"][0]["failure"],
        &document["failed"][0]["errors"][0],
        &document["errors"][0],
    ]
    .into_iter()
    .find(|failure| failure.is_object());
    let Some(failure) = failure else {
        return (code, String::new());
    };
    for part in ["code", "message", "hint"] {
        let text = failure[part].as_str().unwrap_or_default();
        assert!(
            !text.is_empty(),
            "a reason without {part}: {}",
            ended.words()
        );
    }
    let error = failure["code"].as_str().unwrap_or_default().to_owned();
    (code, error)
}

fn table(cluster: &Cluster, database: &Database, sql: &str) -> Vec<Effect> {
    cluster
        .psql(&database.name, sql)
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, '|').collect();
            Effect {
                key: parts[0].parse().expect("an id"),
                fields: parts[1].parse().ok().map(|version| Fields {
                    name: parts[2].to_owned(),
                    version,
                }),
                idempotency_key: None,
            }
        })
        .collect()
}

fn id_in(key: &str) -> i64 {
    let key: Value = serde_json::from_str(key).expect("a key is JSON");
    key["id"].as_i64().expect("a number")
}

fn fields_of(fields: &Value) -> Fields {
    Fields {
        name: fields["name"].as_str().expect("a name").to_owned(),
        version: fields["version"].as_i64().expect("a number"),
    }
}
