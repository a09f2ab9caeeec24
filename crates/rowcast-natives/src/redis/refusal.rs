//! What an error of the server means: wait, or a person must act.
//!
//! Errors of a transaction that was not executed had no effect.

use rowcast_core::{Code, Fault, Reason};

use crate::connect::Endpoint;

/// Sorts an error by its first word.
pub(super) fn judge(endpoint: &Endpoint, stream: &str, error: &str) -> Fault {
    let word = error.split_whitespace().next().unwrap_or_default();
    match word {
        "OOM" => busy(
            endpoint,
            error,
            "the server's memory is full: raise its `maxmemory`, or let the stream drop old entries with `maxlen`",
        ),
        "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY"
        | "NOREPLICAS" | "MISCONF" => busy(
            endpoint,
            error,
            "the server takes no writes now: it is a replica, starting, or can't save; it is tried again",
        ),
        "NOAUTH" | "WRONGPASS" => endpoint.login_refused(error),
        "NOPERM" => Fault::fatal(unfit(endpoint, stream, error).hint(format!(
            "allow it: ACL SETUSER name ~{stream} +xadd +multi +exec +type"
        ))),
        "WRONGTYPE" => Fault::fatal(
            unfit(endpoint, stream, error)
                .hint("the key holds something else than a stream: name another in `object`"),
        ),
        "MOVED" | "CROSSSLOT" | "ASK" => {
            Fault::fatal(unfit(endpoint, stream, error).hint(
                "this is one node of a cluster: name as `host` the node that holds the stream",
            ))
        }
        _ if error.starts_with("ERR invalid password")
            || error.starts_with("ERR Client sent AUTH") =>
        {
            endpoint.login_refused(error)
        }
        _ => Fault::fatal(
            unfit(endpoint, stream, error)
                .hint("the server must be Redis 5 or later, or one that has its streams"),
        ),
    }
}

fn busy(endpoint: &Endpoint, error: &str, hint: &str) -> Fault {
    Fault::refused(
        Reason::new(
            Code::DestinationBusy,
            format!("{} could not take a batch now", endpoint.place()),
        )
        .detail(format!("Redis said: {error}"))
        .hint(hint),
    )
}

fn unfit(endpoint: &Endpoint, stream: &str, error: &str) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!(
            "can't write to the stream {stream} of destination `{}`",
            endpoint.destination()
        ),
    )
    .detail(format!("Redis said: {error}"))
}
