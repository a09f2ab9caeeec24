//! Runs the binary as a person does, and makes what it prints the same every time.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder to type commands in.
pub(crate) struct Terminal {
    pub(crate) dir: PathBuf,
    /// Texts that differ between runs, and what stands for them.
    pub(crate) replace: Vec<(String, String)>,
    _folder: tempfile::TempDir,
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Terminal {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().canonicalize().expect("its path");
        Self {
            replace: vec![(dir.display().to_string(), "/somewhere".to_owned())],
            dir,
            _folder: folder,
        }
    }

    /// `rowcast` with arguments, in a folder below this one, with a clean environment.
    pub(crate) fn command(&self, below: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command
            .args(arguments)
            .current_dir(self.dir.join(below))
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", std::env::temp_dir())
            .stdin(Stdio::null());
        // As after an installation: the shell finds the program.
        let program = PathBuf::from(env!("CARGO_BIN_EXE_rowcast"));
        let mut path = program
            .parent()
            .map(PathBuf::from)
            .into_iter()
            .collect::<Vec<_>>();
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        command.env(
            "PATH",
            std::env::join_paths(path).expect("folders without colons"),
        );
        command
    }

    /// Runs a command line to its end.
    pub(crate) fn run(&self, below: &str, line: &str) -> Ran {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let done = self
            .command(below, &arguments)
            .output()
            .expect("run rowcast");
        self.ran(&done)
    }

    /// What a finished command did, made the same every time.
    pub(crate) fn ran(&self, done: &Output) -> Ran {
        Ran {
            code: done.status.code().unwrap_or(-1),
            stdout: self.normal(&String::from_utf8_lossy(&done.stdout)),
            stderr: self.normal(&String::from_utf8_lossy(&done.stderr)),
        }
    }

    /// Text without what differs between runs.
    pub(crate) fn normal(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.replace {
            text = text.replace(from, to);
        }
        let lines: Vec<String> = text.lines().map(steady).collect();
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// A line without durations, idempotency keys and the server's version.
fn steady(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for i in 1..words.len() {
        let unit = words[i].trim_end_matches(['.', ';', ',', ')']);
        let number = words[i - 1].trim_start_matches('(');
        let is_number =
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        if matches!(unit, "ms" | "s") && is_number {
            let rest = words[i][unit.len()..].to_owned();
            let open = if words[i - 1].starts_with('(') {
                "("
            } else {
                ""
            };
            words[i - 1] = format!("{open}N");
            words[i] = format!("ms{rest}");
        }
    }
    // A server's version and everything after it.
    let version = words.windows(2).position(|pair| {
        pair[0] == "PostgreSQL" && pair[1].starts_with(|c: char| c.is_ascii_digit())
    });
    if let Some(at) = version {
        words.truncate(at + 1);
    }
    let mut line = words.join(" ");
    let mark = "\"idempotency_key\":\"";
    if let Some(at) = line.find(mark) {
        let start = at + mark.len();
        if line.len() >= start + 32 {
            line.replace_range(start..start + 32, "…");
        }
    }
    line.trim_end().to_owned()
}
