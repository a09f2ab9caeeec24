//! Servers that fail under a run: real ones, and the errors are their own unless a case says
//! otherwise.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use rowcast_testkit::api::{Act, Script};
use rowcast_testkit::postgres::{Cluster, Options};
use rowcast_testkit::proxy::{Fault, Rule, When};

use crate::End;
use crate::command::Ended;
use crate::world::{Kind, Running, World, end_of};

/// Faults inside the server, armed by a row of `fault`. A trigger fires once: sequences do not
/// roll back. A model is read in a read-only transaction, so `boom` fires as long as it is armed.
const ARMS: &str = "
    CREATE TABLE fault (what text);
    CREATE SEQUENCE fault_once;
    CREATE FUNCTION boom() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      IF EXISTS (SELECT FROM public.fault WHERE what = 'terminate the model') THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
      END IF;
      RETURN true;
    END $$;
    CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE armed text;
    BEGIN
      SELECT what INTO armed FROM public.fault WHERE what = TG_ARGV[0] OR what LIKE TG_ARGV[0] || ' %';
      IF armed IS NOT NULL AND nextval('public.fault_once') = 1 THEN
        CASE split_part(armed, ' ', 2)
          WHEN '' THEN PERFORM pg_terminate_backend(pg_backend_pid());
          WHEN 'slow' THEN PERFORM pg_sleep(20);
          ELSE RAISE 'raised by the test' USING ERRCODE = split_part(armed, ' ', 2);
        END CASE;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON _rowcast.state_1
      FOR EACH ROW EXECUTE FUNCTION fault('step');
    CREATE TRIGGER fault BEFORE UPDATE ON _rowcast.run_history
      FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION fault('finish');";

/// A world on a server of its own, and the cases that were walked in it.
struct Servers {
    world: World,
    walked: usize,
}

impl Servers {
    fn new(name: &str, options: &Options) -> Self {
        // It lives as long as the process: the world borrows it for ever.
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options)));
        let mut world = World::on(cluster, Kind::Http, name);
        world.sql(ARMS);
        world.file(
            "models/rows.yml",
            "model: rows\nsource: source\nsql: SELECT * FROM rows WHERE boom()\nprimary_key: [id]\n",
        );
        world.settle();
        Self { world, walked: 0 }
    }

    /// A run ended as it should, the fault is undone, and everything is well again.
    fn judge(&mut self, name: &str, ended: &Ended, ends: &[End]) {
        let said = end_of(ended);
        assert!(
            ends.iter().any(|end| (end.0, end.1) == (said.0, &said.1)),
            "{name}: it ended with {said:?}, not {ends:?}: {}",
            ended.words()
        );
        self.world
            .sql("TRUNCATE fault; SELECT setval('fault_once', 1, false)");
        self.world.heal();
        self.world.settle();
        self.walked += 1;
        println!("{name}: {said:?}");
    }

    /// A run under something that `wrong` does and `right` undoes.
    fn under(&mut self, name: &str, wrong: &str, right: &str, ends: &[End]) {
        self.world.change();
        self.world.sql(wrong);
        let ended = Running::start(self.world.run()).ended();
        if !right.is_empty() {
            // Also where the server is read-only for everybody.
            let sql = format!("SET default_transaction_read_only = off; {right}");
            self.world.cluster.psql("postgres", &sql);
        }
        self.judge(name, &ended, ends);
    }

    /// A run to which something happens while its third request is on its way.
    fn amid(&mut self, name: &str, event: impl FnOnce(&mut World), ends: &[End]) {
        self.world.change();
        let ended = self.interrupted(event);
        self.judge(name, &ended, ends);
    }

    fn interrupted(&mut self, event: impl FnOnce(&mut World)) -> Ended {
        let before = self.world.api().requests();
        let third = move |seen: &rowcast_testkit::api::Seen| seen.number == before + 2;
        self.world.api().script(Script::when(third, Act::Hold));
        let running = Running::start(self.world.run());
        self.world.api().wait(|log| log.len() > before + 2);
        event(&mut self.world);
        self.world.api().release();
        let ended = running.ended();
        self.world.api().behave();
        ended
    }

    /// Every connection of the program ends.
    fn terminate(world: &World) {
        world.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'rowcast' AND pid <> pg_backend_pid()",
        );
    }
}

const OVERCOME: &[End] = &[(0, "")];
const CONNECT: &[End] = &[(3, "E0201")];
const LOGIN: &[End] = &[(3, "E0202")];
const LOST: &[End] = &[(3, "E0214")];
const LATE: &[End] = &[(1, "E0215")];
const FAILED: &[End] = &[(1, "E0212")];

fn arm(what: &str) -> String {
    format!("INSERT INTO fault VALUES ('{what}')")
}

#[test]
fn a_server_that_fails_costs_a_run_at_most() {
    let mut servers = Servers::new("servers", &Options::default());
    servers.under(
        "terminated in the extraction",
        &arm("terminate the model"),
        "",
        LOST,
    );
    servers.under("terminated in a step", &arm("step"), "", OVERCOME);
    servers.under("terminated at the end", &arm("finish"), "", OVERCOME);
    servers.amid(
        "terminated while sending",
        |world| Servers::terminate(world),
        OVERCOME,
    );
    // Not to be had from a real server on demand: raised by a trigger, with the server's code.
    servers.under("out of memory (raised)", &arm("step 53200"), "", FAILED);
    servers.under("deadlock (raised)", &arm("step 40P01"), "", FAILED);
    servers.under(
        "serialization failure (raised)",
        &arm("finish 40001"),
        "",
        FAILED,
    );

    let database = servers.world.source.name.clone();
    let set = |what: &str| format!("ALTER DATABASE {database} SET {what}");
    let reset = |what: &str| format!("ALTER DATABASE {database} RESET {what}");
    let slow = format!("{}; {}", arm("step slow"), set("statement_timeout = 700"));
    servers.under(
        "statement_timeout of the server",
        &slow,
        &reset("statement_timeout"),
        LATE,
    );
    servers.under(
        "read-only server",
        &set("default_transaction_read_only = on"),
        &reset("default_transaction_read_only"),
        &[(1, "E0302")],
    );
    // Each answer takes 600 ms, longer than the server lets a transaction be idle.
    servers.world.to_source.inject(Rule::up(
        When::text("COPY ("),
        Fault::Latency(Duration::from_millis(600)),
    ));
    servers.under(
        "idle in a transaction for too long",
        &set("idle_in_transaction_session_timeout = 200"),
        &reset("idle_in_transaction_session_timeout"),
        LOST,
    );

    for (name, table, ends) in [
        ("the model's table is locked", "rows", LATE),
        ("the state table is locked", "_rowcast.state_1", LATE),
    ] {
        servers.world.change();
        let holder = Holder::of(&servers.world, table);
        let ended = Running::start(servers.world.run()).ended();
        drop(holder);
        servers.judge(name, &ended, ends);
    }
    servers.world.change();
    let mut holder = None;
    let ended = servers.interrupted(|world| {
        holder = Some(Holder::of(world, "_rowcast.state_1"));
    });
    drop(holder);
    servers.judge("the state table is locked while sending", &ended, LATE);

    disk_full(&mut servers);

    // A login that is no superuser's: limits do not hold for those.
    servers
        .world
        .sql("CREATE ROLE clerk LOGIN IN ROLE postgres");
    servers.world.source_file("clerk", "");
    servers.world.settle();
    servers.under(
        "too many connections",
        "ALTER ROLE clerk CONNECTION LIMIT 0",
        "ALTER ROLE clerk CONNECTION LIMIT -1",
        LOGIN,
    );
    servers.world.change();
    let ended = servers.interrupted(|world| {
        world.sql("ALTER ROLE clerk CONNECTION LIMIT 0");
        Servers::terminate(world);
    });
    servers.world.sql("ALTER ROLE clerk CONNECTION LIMIT -1");
    servers.judge("too many connections while sending", &ended, LOGIN);
    let walked = servers.walked;
    println!("servers: {walked} cases ran");
    assert!(walked >= 15, "{walked}");
}

/// A session that holds ACCESS EXCLUSIVE on a table until it is dropped.
struct Holder {
    psql: std::process::Child,
}

impl Holder {
    fn of(world: &World, table: &str) -> Self {
        let mut psql = Command::new(rowcast_testkit::postgres::bin_dir().join("psql"))
            .args(["-X", "-q", "-U", "postgres", "-d", &world.source.name])
            .args([
                "-h",
                &world.source.host,
                "-p",
                &world.source.port.to_string(),
            ])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("run psql");
        let sql = format!("SET application_name = 'holder'; BEGIN; LOCK TABLE {table};\n");
        let stdin = psql.stdin.as_mut().expect("stdin");
        std::io::Write::write_all(stdin, sql.as_bytes()).expect("write to psql");
        let held = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE granted \
                    AND mode = 'AccessExclusiveLock' AND application_name = 'holder'";
        while world.sql(held).trim() == "0" {
            std::thread::yield_now();
        }
        Self { psql }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

/// Tables of state on a full disk: a tiny file system where this process may mount one, else the
/// server's code raised by a trigger.
fn disk_full(servers: &mut Servers) {
    let dir = tempfile::Builder::new()
        .prefix("rowcast-tiny")
        .tempdir()
        .expect("a temporary folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|done| done.status.success());
    if !mounted {
        println!("disk full: no mount here, raised by a trigger");
        servers.under("disk full (raised)", &arm("step 53100"), "", FAILED);
        return;
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))
        .expect("let the server in");
    let space = dir.path().join("space");
    std::fs::create_dir(&space).expect("a folder for the server");
    if rustix::process::geteuid().is_root() {
        let ids = std::fs::metadata(&servers.world.cluster.data).expect("the data directory");
        let (uid, gid) = (
            std::os::unix::fs::MetadataExt::uid(&ids),
            std::os::unix::fs::MetadataExt::gid(&ids),
        );
        std::os::unix::fs::chown(&space, Some(uid), Some(gid)).expect("give it to the server");
    }
    servers.world.sql(&format!(
        "CREATE TABLESPACE tiny LOCATION '{}'",
        space.display()
    ));
    // No record leaves without an intent. Intents that are acknowledged are as good as state: the
    // run that can't fold them leaves that to the next one.
    for (table, ends) in [("intent_1", FAILED), ("state_1", OVERCOME)] {
        servers
            .world
            .sql(&format!("ALTER TABLE _rowcast.{table} SET TABLESPACE tiny"));
        let filler = dir.path().join("filler");
        // It is cut off where the disk ends.
        let _ = std::fs::write(&filler, vec![0; 1 << 20]);
        // The table's pages are there; only new rows need another one.
        servers.world.sql(
            "INSERT INTO rows SELECT n, 'name 1 of ' || n, 1 FROM generate_series(1000, 5000) n",
        );
        let ended = Running::start(servers.world.run()).ended();
        std::fs::remove_file(&filler).expect("make room");
        servers.world.sql(&format!(
            "ALTER TABLE _rowcast.{table} SET TABLESPACE pg_default"
        ));
        servers.world.sql("DELETE FROM rows WHERE id >= 1000");
        servers.judge(&format!("disk full (a real one) for {table}"), &ended, ends);
    }
    servers.world.sql("DROP TABLESPACE tiny");
    let unmounted = Command::new("umount").arg(dir.path()).status();
    assert!(
        unmounted.is_ok_and(|status| status.success()),
        "unmount the tiny disk"
    );
}

#[test]
fn a_server_that_restarts_or_turns_away_costs_a_run_at_most() {
    let mut servers = Servers::new(
        "restarts",
        &Options {
            hba: Some(
                "local all all trust\nhost all clerk all scram-sha-256\nhost all all all trust\n"
                    .into(),
            ),
            ..Options::default()
        },
    );
    servers.amid(
        "immediate restart",
        |world| {
            world.cluster.crash();
            world.cluster.start_again(true);
        },
        OVERCOME,
    );
    servers.world.change();
    let ended = servers.interrupted(|world| world.cluster.crash());
    servers.world.cluster.start_again(true);
    servers.judge("crash", &ended, CONNECT_LATER);
    // A standby that takes no readers answers as a server in recovery does.
    recovering(&mut servers);

    servers
        .world
        .sql("CREATE ROLE clerk LOGIN IN ROLE postgres PASSWORD 'one'");
    servers.world.source_file("clerk:one", "");
    servers.world.settle();
    servers.world.change();
    let ended = servers.interrupted(|world| {
        world.sql("ALTER ROLE clerk PASSWORD 'two'");
        Servers::terminate(world);
    });
    servers.world.source_file("clerk:two", "");
    servers.judge("password changed", &ended, LOGIN);

    // Last, because state begins anew: what is there is sent once more.
    servers
        .world
        .sql("UPDATE rows SET version = 1000, name = 'name 1000 of ' || id");
    let ended = servers.interrupted(|world| {
        world.sql("DROP SCHEMA _rowcast CASCADE");
    });
    let said = end_of(&ended);
    assert_eq!((said.0, said.1.as_str()), (1, "E0301"), "{}", ended.words());
    let again = Running::start(servers.world.run()).ended();
    assert_eq!(again.code, Some(0), "{}", again.words());
    servers.world.holds_the_rows();
    let walked = servers.walked + 1;
    println!("restarts: {walked} cases ran");
    assert!(walked >= 5, "{walked}");
}

/// The server is away for the rest of the run.
const CONNECT_LATER: &[End] = &[(3, "E0201")];

fn recovering(servers: &mut Servers) {
    servers.world.change();
    let cluster = servers.world.cluster;
    let signal = cluster.data.join("standby.signal");
    let conf = cluster.data.join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&conf).expect("read the configuration");
    cluster.crash();
    std::fs::write(&signal, "").expect("make it a standby");
    let all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&signal, all).expect("let the server have it");
    std::fs::write(&conf, format!("{before}hot_standby = off\n")).expect("configure");
    cluster.start_again(false);
    let turned_away = |words: String| words.contains("FATAL") && !words.contains("refused");
    while !cluster
        .psql_as("postgres", "postgres", "SELECT 1")
        .is_err_and(turned_away)
    {
        std::thread::yield_now();
    }
    let ended = Running::start(servers.world.run()).ended();
    let said = end_of(&ended);
    assert_eq!(
        (said.0, said.1.as_str()),
        (CONNECT[0].0, CONNECT[0].1),
        "{}",
        ended.words()
    );
    cluster.crash();
    std::fs::remove_file(&signal).expect("no standby any more");
    std::fs::write(&conf, before).expect("configure");
    cluster.start_again(true);
    servers.world.settle();
    servers.walked += 1;
}
