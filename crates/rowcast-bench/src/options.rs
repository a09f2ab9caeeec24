//! The words after `cargo xtask bench`.

use std::path::PathBuf;

/// What `--help` says.
pub(crate) const HELP: &str = "\
Measures Rowcast against what the machine can do and against its peers.

Usage: cargo xtask bench [OPTIONS]

Options:
  --quick          100,000 rows everywhere: minutes in place of half an hour
  --only NUMBERS   Only these goals, such as 4,9
  --rows N         Rows of the usual table; the big one has ten times as many [default: 1000000]
  --runs N         Repetitions after a warm-up, of which the median counts [default: 5]
  --no-peers       Leaves the peers out; nothing is installed
  --name NAME      Writes bench/results/NAME.json [default: full, or quick]
  --update         With --only: puts these goals into the results that are there
  --dir FOLDER     Where the server keeps its data [default: in the target folder]
  --render         Measures nothing; writes the page of the documentation from the results
";

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    /// Goals; all when empty.
    pub(crate) only: Vec<u8>,
    pub(crate) rows: u64,
    pub(crate) rows_big: u64,
    pub(crate) runs: usize,
    pub(crate) no_peers: bool,
    pub(crate) name: String,
    pub(crate) update: bool,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) render: bool,
    /// Where the page goes in place of the repository: to compare it.
    pub(crate) into: Option<PathBuf>,
    /// What xtask adds: the folder of PostgreSQL's programs, the program `rowcast`, the root of
    /// the repository, Cargo's target folder.
    pub(crate) programs: PathBuf,
    pub(crate) rowcast: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Options {
    /// Reads the words.
    pub(crate) fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            runs: 5,
            ..Self::default()
        };
        let mut rows = None;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next();
                value.ok_or_else(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--quick" => options.quick = true,
                "--only" => {
                    for number in value()?.split(',') {
                        match number.trim().parse() {
                            Ok(number @ 1..=12) => options.only.push(number),
                            _ => return Err(format!("`{number}` is no goal; they are 1 to 12")),
                        }
                    }
                }
                "--rows" => rows = Some(number(value()?)?.max(10_000)),
                "--runs" => options.runs = number(value()?)?.max(1) as usize,
                "--no-peers" => options.no_peers = true,
                "--name" => options.name.clone_from(value()?),
                "--update" => options.update = true,
                "--dir" => options.dir = Some(value()?.into()),
                "--render" => options.render = true,
                "--into" => options.into = Some(value()?.into()),
                "--programs" => options.programs = value()?.into(),
                "--rowcast" => options.rowcast = value()?.into(),
                "--root" => options.root = value()?.into(),
                "--target" => options.target = value()?.into(),
                other => return Err(format!("`{other}` is not understood\n\n{HELP}")),
            }
        }
        options.rows = rows.unwrap_or(if options.quick { 100_000 } else { 1_000_000 });
        options.rows_big = options.rows * if options.quick { 1 } else { 10 };
        if options.name.is_empty() {
            let name = if options.quick { "quick" } else { "full" };
            name.clone_into(&mut options.name);
        }
        if !options
            .name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return Err(format!("`{}` is no name for a file", options.name));
        }
        Ok(options)
    }

    /// Whether a goal is asked for.
    pub(crate) fn wants(&self, goal: u8) -> bool {
        self.only.is_empty() || self.only.contains(&goal)
    }
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace(['_', ','], "");
    digits.parse().map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::read(&words)
    }

    #[test]
    fn goals_rows_and_runs_are_read() {
        let options = read("--only 4,9 --rows 50_000 --runs 3").unwrap();
        assert!(options.wants(9) && !options.wants(1));
        assert_eq!(
            (options.rows, options.rows_big, options.runs),
            (50_000, 500_000, 3)
        );
        let quick = read("--quick").unwrap();
        assert_eq!((quick.rows, quick.rows_big), (100_000, 100_000));
        assert!(quick.wants(12));
        assert_eq!(quick.name, "quick");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert!(read("--only 13").unwrap_err().contains("no goal"));
        assert!(read("--rows many").unwrap_err().contains("no number"));
        assert!(read("--fast").unwrap_err().contains("--fast"));
        assert!(read("--name ../x").unwrap_err().contains("no name"));
    }
}
