//! Streaming replicas of test clusters, made as an administrator makes them: pg_basebackup.

use super::{Cluster, as_server, bin_dir, free_port, give_to_server};

impl Cluster {
    /// A hot standby of this cluster, with more lines of configuration. It has replayed everything
    /// that was committed before.
    #[must_use]
    pub fn standby(&self, lines: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rowcast-pg")
            .tempdir()
            .expect("temporary folder");
        give_to_server(dir.path());
        let data = dir.path().join("data");
        let out = as_server(bin_dir().join("pg_basebackup"))
            .args(["-R", "-X", "stream", "-c", "fast", "-N", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(&self.socket)
            .arg("-D")
            .arg(&data)
            .output()
            .expect("run pg_basebackup");
        assert!(
            out.status.success(),
            "pg_basebackup failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let port = free_port();
        let path = data.join("postgresql.auto.conf");
        let mut conf = std::fs::read_to_string(&path).expect("the copied configuration");
        conf.push_str(&format!(
            "port = {port}\nunix_socket_directories = '{}'\n",
            dir.path().display()
        ));
        for line in lines {
            conf.push_str(&format!("{line}\n"));
        }
        std::fs::write(&path, conf).expect("write configuration");
        let standby = Self::launch(dir, data, port);
        standby.catch_up(self);
        standby
    }

    /// Waits until this standby has replayed everything that its primary committed.
    pub fn catch_up(&self, primary: &Self) {
        let position = primary.psql("postgres", "SELECT pg_current_wal_lsn()");
        let replayed = format!(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= '{}', false)",
            position.trim()
        );
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.psql("postgres", &replayed).trim() != "t" {
            assert!(
                std::time::Instant::now() < deadline,
                "the standby does not catch up with {position}"
            );
        }
    }

    /// Makes this standby a primary, on a timeline of its own.
    pub fn promote(&self) {
        let promoted = self.psql("postgres", "SELECT pg_promote()");
        assert_eq!(promoted.trim(), "t", "the standby was not promoted");
    }
}
