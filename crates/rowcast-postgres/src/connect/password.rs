//! The password of one connection: a secret at hand, a file, or the output of a command.
//!
//! Must never show what the command printed to its standard output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rowcast_core::{Code, Reason};
use tokio::process::Command;

use super::config::{ConnectConfig, Password};

/// How long a password command may take: cloud command lines start slowly.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn obtain(config: &ConnectConfig) -> Result<Option<String>, Reason> {
    match &config.password {
        None => Ok(None),
        Some(password) => reveal(password, "password").await.map(Some),
    }
}

/// The present value of a secret; `what` is what it is called in messages.
pub(super) async fn reveal(password: &Password, what: &str) -> Result<String, Reason> {
    match password {
        Password::Secret(secret) => Ok(secret.reveal().clone()),
        Password::File(path) => read(path, what).await,
        Password::Command(arguments) => run(arguments, what).await,
    }
}

async fn read(path: &Path, what: &str) -> Result<String, Reason> {
    let mut text = tokio::fs::read_to_string(path).await.map_err(|error| {
        Reason::new(
            Code::MissingSecret,
            format!("the {what} file {} can't be read", path.display()),
        )
        .detail(error.to_string())
        .hint(format!(
            "write the {what} into it, readable by the user rowcast runs as alone"
        ))
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

async fn run(arguments: &[String], what: &str) -> Result<String, Reason> {
    let Some((program, arguments)) = arguments.split_first() else {
        return Err(Reason::new(
            Code::LoginFailed,
            format!("the {what} command is empty"),
        ));
    };
    // Arguments are not shown: people put tokens there.
    let failed = |detail: String| {
        Reason::new(
            Code::LoginFailed,
            format!("the {what} command \"{program}\" failed"),
        )
        .detail(detail)
        .hint(format!(
            "run it by hand as the user rowcast runs as; its standard output must be the {what} alone"
        ))
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
        .await
        .map_err(|_| {
            failed(format!(
                "it ran longer than {} s",
                COMMAND_TIMEOUT.as_secs()
            ))
        })?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let last = said.lines().last().unwrap_or("it said nothing");
        return Err(failed(format!("{}: {last}", output.status)));
    }
    let mut password = String::from_utf8(output.stdout)
        .map_err(|_| failed("its output is not UTF-8".to_owned()))?;
    while password.ends_with(['\n', '\r']) {
        password.pop();
    }
    if password.is_empty() {
        return Err(failed("it printed nothing".to_owned()));
    }
    Ok(password)
}
