//! Changes of files as commits, made by the command `git` of the machine.

use std::path::Path;
use std::process::Command;

use rowcast_core::{Code, Reason};

use super::Signed;

/// Longest message of a commit, in bytes.
const MESSAGE_MAX: usize = 4096;

fn git(dir: &Path, arguments: &[&str]) -> Result<String, Reason> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        .args(["-c", "commit.gpgsign=false", "-c", "core.quotepath=off"])
        .args(arguments)
        // Nobody is there to type, and the folder alone says which repository is meant.
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_COMMITTER_NAME", "Rowcast")
        .env("GIT_COMMITTER_EMAIL", "rowcast@localhost")
        .stdin(std::process::Stdio::null());
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let failed = |detail: String| {
        Reason::new(Code::CommitFailed, "the change could not be committed to Git")
            .detail(detail)
            .hint("install git, make the project's folder part of a repository that this user may write, or serve without --git")
    };
    let output = command
        .output()
        .map_err(|error| failed(format!("git can't be started: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    })
    .trim()
    .to_owned();
    let what = arguments.first().copied().unwrap_or_default();
    Err(failed(format!("git {what}: {said}")))
}

/// Whether changes in this folder can become commits at all.
///
/// # Errors
/// There is no `git`, or the folder is in no repository.
pub(in crate::serve) fn usable(dir: &Path) -> Result<(), Reason> {
    git(dir, &["rev-parse", "--is-inside-work-tree"]).map(|_| ())
}

/// The author of a commit, in Git's form.
///
/// # Errors
/// The one that was given has another form.
pub(super) fn author(signed: Signed<'_>) -> Result<String, Reason> {
    let Some(given) = signed.author else {
        let name: String = signed
            .who
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '<' | '>'))
            .collect();
        let name = name.trim();
        let name = if name.is_empty() { "token" } else { name };
        return Ok(format!("{name} <token@rowcast.invalid>"));
    };
    let form = given
        .strip_suffix('>')
        .and_then(|rest| rest.split_once(" <"))
        .filter(|(name, mail)| {
            let plain = |text: &str| {
                !text.trim().is_empty()
                    && !text
                        .chars()
                        .any(|c| c.is_control() || matches!(c, '<' | '>'))
            };
            plain(name) && plain(mail) && mail.contains('@')
        });
    match form {
        Some(_) => Ok(given.to_owned()),
        None => Err(
            Reason::new(Code::RequestInvalid, "the author can't be understood")
                .hint("write a name and an address: `Ada <ada@example.com>`"),
        ),
    }
}

/// Commits these files and no others. `None` when Git knows them as they are.
///
/// # Errors
/// Git's own words.
pub(super) fn commit(
    dir: &Path,
    paths: &[&str],
    subject: &str,
    signed: Signed<'_>,
) -> Result<Option<String>, Reason> {
    let author = author(signed)?;
    let message = match signed.message {
        Some(message) if message.len() > MESSAGE_MAX => {
            return Err(Reason::new(Code::RequestInvalid, "the message is too long")
                .hint(format!("write at most {MESSAGE_MAX} bytes")));
        }
        Some(message) if !message.trim().is_empty() => message.replace('\0', ""),
        _ => subject.to_owned(),
    };
    let with = |start: &[&str]| {
        let mut all: Vec<String> = start.iter().map(|word| (*word).to_owned()).collect();
        all.push("--".to_owned());
        all.extend(paths.iter().map(|path| (*path).to_owned()));
        all
    };
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        git(dir, &arguments)
    };
    run(with(&["add", "--all"]))?;
    if run(with(&["diff", "--cached", "--name-only"]))?.is_empty() {
        return Ok(None);
    }
    let (author, message) = (format!("--author={author}"), format!("--message={message}"));
    run(with(&["commit", "--quiet", "--only", &author, &message]))?;
    git(dir, &["rev-parse", "HEAD"]).map(Some)
}

/// After a commit that failed: what was staged for it is not.
pub(super) fn unstage(dir: &Path, paths: &[&str]) {
    let mut arguments = vec!["reset", "--quiet", "--"];
    arguments.extend(paths);
    if let Err(reason) = git(dir, &arguments) {
        tracing::warn!(%reason, "what was staged stays so");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_has_a_name_and_an_address_on_one_line() {
        let of = |given| {
            author(Signed {
                who: "ci <x>\n",
                author: given,
                message: None,
            })
        };
        assert_eq!(of(None).unwrap(), "ci x <token@rowcast.invalid>");
        assert_eq!(
            of(Some("Ada <ada@example.com>")).unwrap(),
            "Ada <ada@example.com>"
        );
        for wrong in [
            "Ada",
            "<a@b>",
            "Ada <a@b> <c@d>",
            "A\nb <a@b>",
            "--x",
            "Ada <>",
        ] {
            assert!(of(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
