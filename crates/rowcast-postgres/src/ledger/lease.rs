//! The right to run a sync: one row, one rising epoch.
//!
//! Taking the lease raises the epoch; every write of the run that held it before is fenced from
//! then on. No lease is taken while requests of a dead run may still be on their way (semantics 13).

use std::time::{Duration, Instant};

use rowcast_core::{Code, Reason};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::shape::Shape;
use crate::connect::db_error;
use crate::sql::qualified;

/// A lease lasts three requests: renewed after one, it still outlives the next.
pub(super) fn term(request_timeout: Duration) -> Duration {
    (request_timeout * 3).max(Duration::from_secs(3))
}

/// How long one statement of state may keep a run waiting: short enough that a lost connection is
/// noticed and made again while the lease still holds. Twice that is needed, for the cancel.
pub(super) fn patience(term: Duration) -> Duration {
    (term / 4).max(Duration::from_secs(2))
}

/// Who holds a lease: host, boot, process and its start, so that a later process with the same
/// number is not taken for it.
pub(crate) fn owner() -> String {
    format!(
        "{}:{}:{}",
        boot(),
        std::process::id(),
        started(std::process::id()).unwrap_or_default()
    )
}

fn boot() -> String {
    let read = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    // Containers share the kernel's boot id but not their process numbers.
    let host = read("/etc/hostname").unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid")
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    format!("{host}/{boot}/{namespace}").replace(':', "-")
}

/// Start time of a process in clock ticks since boot: field 22 of `/proc/PID/stat`.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether the owner was a process of this machine that is certainly gone.
pub(crate) fn is_dead(owner: &str) -> bool {
    let mut parts = owner.rsplitn(3, ':');
    let (Some(start), Some(pid), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Ok(pid) = pid.parse::<u32>() else {
        return false;
    };
    // Whoever may not see the first process may not see those of others: they are there, but hidden.
    let visible = started(1).is_some();
    host == boot() && gone(start, started(pid).as_deref(), visible)
}

/// Whether a process that began at `start` is gone, when its number now belongs to one that began at
/// `found`.
fn gone(start: &str, found: Option<&str>, visible: bool) -> bool {
    !start.is_empty() && found.map_or(visible, |found| found != start)
}

/// A taken lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub epoch: i64,
    pub generation: i32,
    pub deadline: Instant,
}

/// Takes the lease, waiting as long as it must.
///
/// # Errors
/// The sync is running elsewhere and `wait` is false.
pub(super) async fn take(
    client: &Client,
    shape: &Shape,
    name: &str,
    term: Duration,
    wait: bool,
) -> Result<Taken, Reason> {
    let what = format!("taking the lease of sync {name:?}");
    let me = owner();
    let millis = term.as_millis() as i64;
    let mut told = false;
    loop {
        let asked = Instant::now();
        let sql = format!(
            "UPDATE {sync} SET epoch = epoch + 1, lease_owner = $2, cancel_epoch = NULL, \
             lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond' \
             WHERE id = $1 AND (lease_until IS NULL OR lease_until <= clock_timestamp()) \
             RETURNING epoch, generation",
            sync = shape.shared("sync"),
        );
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&shape.sync, Type::INT4),
                    (&me, Type::TEXT),
                    (&millis, Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, &what))?;
        if let Some(row) = rows.first() {
            return Ok(Taken {
                epoch: row.get(0),
                generation: row.get(1),
                deadline: asked + term,
            });
        }
        let Some((owner, left, epoch)) = holder(client, shape, &what).await? else {
            continue;
        };
        if is_dead(&owner) {
            if !has_intents(client, shape, &what).await? {
                // Nothing of the dead run can be on its way.
                release_dead(client, shape, &owner, epoch, &what).await?;
                continue;
            }
            if !told {
                tracing::info!(
                    sync = name,
                    wait_ms = left.as_millis() as u64,
                    "an earlier run died; waiting until its last request has timed out"
                );
            }
            told = true;
        } else if !wait {
            return Err(Reason::new(
                Code::SyncRunning,
                format!("sync {name:?} is already running"),
            )
            .detail(format!("process {} holds it", process(&owner)))
            .hint("wait for it with --wait, or stop it with `rowcast cancel`"));
        }
        tokio::time::sleep(left.clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
    }
}

fn process(owner: &str) -> &str {
    owner.rsplit(':').nth(1).unwrap_or(owner)
}

async fn holder(
    client: &Client,
    shape: &Shape,
    what: &str,
) -> Result<Option<(String, Duration, i64)>, Reason> {
    let sql = format!(
        "SELECT coalesce(lease_owner, ''), \
         (extract(epoch FROM lease_until - clock_timestamp()) * 1000)::bigint, epoch \
         FROM {} WHERE id = $1 AND lease_until > clock_timestamp()",
        shape.shared("sync")
    );
    let rows = client
        .query_typed(&sql, &[(&shape.sync, Type::INT4)])
        .await
        .map_err(|error| db_error(&error, what))?;
    Ok(rows.first().map(|row: &Row| {
        let left: i64 = row.get(1);
        (
            row.get(0),
            Duration::from_millis(left.max(0) as u64),
            row.get(2),
        )
    }))
}

async fn has_intents(client: &Client, shape: &Shape, what: &str) -> Result<bool, Reason> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} WHERE NOT acknowledged)",
        shape.table("intent")
    );
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, what))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Whether there are acknowledged intents that are not folded.
///
/// # Errors
/// The database fails.
pub(super) async fn has_acknowledged(client: &Client, shape: &Shape) -> Result<bool, Reason> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} WHERE acknowledged)",
        shape.table("intent")
    );
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, "looking for acknowledged intents"))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

async fn release_dead(
    client: &Client,
    shape: &Shape,
    owner: &str,
    epoch: i64,
    what: &str,
) -> Result<(), Reason> {
    let sql = format!(
        "UPDATE {} SET lease_until = NULL WHERE id = $1 AND lease_owner = $2 AND epoch = $3",
        shape.shared("sync")
    );
    client
        .query_typed(
            &sql,
            &[
                (&shape.sync, Type::INT4),
                (&owner, Type::TEXT),
                (&epoch, Type::INT8),
            ],
        )
        .await
        .map_err(|error| db_error(&error, what))?;
    Ok(())
}

/// Gives a lease back that no run made use of. When that fails, it runs out by itself.
pub(super) async fn give_back(client: &Client, shape: &Shape, epoch: i64) {
    let sql = format!(
        "UPDATE {} SET lease_until = NULL, lease_owner = NULL WHERE id = $1 AND epoch = $2",
        shape.shared("sync")
    );
    let _ = client
        .query_typed(&sql, &[(&shape.sync, Type::INT4), (&epoch, Type::INT8)])
        .await;
}

/// Extends the lease. `None` when another run took over; `Some(true)` when a cancel was asked for.
///
/// # Errors
/// The database fails.
pub(super) async fn renew(
    client: &Client,
    shape: &Shape,
    epoch: i64,
    term: Duration,
) -> Result<Option<bool>, Reason> {
    let sql = format!(
        "UPDATE {} SET lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond' \
         WHERE id = $1 AND epoch = $2 RETURNING coalesce(cancel_epoch = epoch, false)",
        shape.shared("sync")
    );
    let millis = term.as_millis() as i64;
    let rows = client
        .query_typed(
            &sql,
            &[
                (&shape.sync, Type::INT4),
                (&epoch, Type::INT8),
                (&millis, Type::INT8),
            ],
        )
        .await
        .map_err(|error| db_error(&error, "renewing the lease"))?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Asks the running process of a sync to stop; it notices at its next renewal.
///
/// # Errors
/// The database fails. `false`: the sync is not running.
pub(super) async fn request_cancel(
    client: &Client,
    schema: &str,
    name: &str,
) -> Result<bool, Reason> {
    let sql = format!(
        "UPDATE {} SET cancel_epoch = epoch WHERE name = $1 AND lease_until > clock_timestamp() RETURNING 1",
        qualified(schema, "sync")
    );
    let rows = client
        .query_typed(&sql, &[(&name, Type::TEXT)])
        .await
        .map_err(|error| db_error(&error, &format!("cancelling sync {name:?}")))?;
    Ok(!rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_an_impossible_one_is_dead() {
        assert!(!is_dead(&owner()));
        assert!(is_dead(&format!("{}:4294967295:1", boot())));
        assert!(
            is_dead(&format!("{}:{}:1", boot(), std::process::id())),
            "same number, other start"
        );
        assert!(!is_dead("another-host:1:1"));
    }

    #[test]
    fn a_process_that_is_hidden_is_not_taken_for_dead() {
        assert!(gone("7", None, true));
        assert!(gone("7", Some("8"), true));
        assert!(gone("7", Some("8"), false));
        assert!(!gone("7", Some("7"), false));
        assert!(
            !gone("7", None, false),
            "hidepid, or ProtectProc of systemd"
        );
        assert!(!gone("", None, true), "its start was never known");
    }
}
