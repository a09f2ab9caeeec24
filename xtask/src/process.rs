//! Running other programs: said before it is done where it changes the machine, with their output
//! left alone.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::tree;

/// Whether a program is on the path.
pub(crate) fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// A program's place on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A command's text as a person would type it.
fn text(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    if let Some(last) = PathBuf::from(&words[0]).file_name() {
        words[0] = last.to_string_lossy().into_owned();
    }
    words.join(" ")
}

/// Runs a command to its end.
///
/// # Errors
/// It could not be started or did not succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let text = text(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("could not run `{text}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{text}` failed ({status})"))
    }
}

/// Cargo itself, in the root of the workspace.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(tree::root());
    command
}

/// Runs Cargo.
///
/// # Errors
/// It did not succeed.
pub(crate) fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(&mut cargo_command(arguments))
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// It could not be started or did not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let text = text(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("could not run `{text}`: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{text}` failed ({})", output.status))
    }
}

/// Runs a command, passes its standard output on line by line as it comes, and shows each line to
/// `look`. Returns whether it succeeded.
///
/// # Errors
/// It could not be started, or its output could not be passed on.
pub(crate) fn pass_on(command: &mut Command, mut look: impl FnMut(&str)) -> Result<bool, String> {
    let text = text(command);
    let failed = |error: std::io::Error| format!("could not run `{text}`: {error}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let mut out = std::io::stdout().lock();
            out.write_all(&line)
                .and_then(|()| out.flush())
                .map_err(failed)?;
            look(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    Ok(child.wait().map_err(failed)?.success())
}
