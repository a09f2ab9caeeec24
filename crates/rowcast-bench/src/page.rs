//! The page of the documentation with its charts, made from a results file and nothing else.

use std::collections::BTreeMap;

use crate::goals::{self, Bar, Check};
use crate::results::{Measure, Results};
use crate::stats::{for_people, separated};
use crate::svg;

/// Where the page and its charts go, from the root of the repository.
pub(crate) const PAGE: &str = "docs/src/benchmark.md";
const CHARTS: &str = "docs/src/benchmark/";

/// What each peer can't do, whatever its speed. Not measured: read in their documentation and
/// tried.
const ABILITIES: &str = "\
| | changes without a cursor column | removed rows | HTTP | one row that the service refuses |
|---|---|---|---|---|
| rowcast | yes, by checksums in the source | yes | yes | is set aside with its reason; it alone is tried again |
| drt 1.2.1 | only to PostgreSQL, by sending every row again | only to PostgreSQL, `mirror` | yes, one request at a time | stops every run, or is lost with `skip` |
| sling 1.4.11 | no, needs `update_key` | no | no | – |
| dlt 1.31 | no, needs `incremental` | no | with code of one's own | stops every run |
| psql pipe | no, every row each time | no | no | stops the whole |
";

/// What a page says that was not made from full results.
const INTERIM: &str = "\
These figures are of a quick run with fewer rows. They show what is measured; they judge nothing.\n\n";

/// The words of a bar.
pub(crate) fn bar(bar: Bar, unit: &str) -> String {
    let (sign, value) = match bar {
        Bar::AtMost(value) => ("≤", value),
        Bar::AtLeast(value) => ("≥", value),
    };
    format!("{sign} {}", with_unit(&value.to_string(), unit))
}

fn with_unit(value: &str, unit: &str) -> String {
    match unit {
        "" => value.to_owned(),
        "×" => format!("{value}×"),
        unit => format!("{value} {unit}"),
    }
}

/// A check's figure and verdict.
pub(crate) fn verdict(check: &Check) -> (String, &'static str) {
    let figure = check.value.map_or_else(
        || "–".to_owned(),
        |value| with_unit(&for_people(value), check.unit),
    );
    let word = match check.met() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not measured",
    };
    (figure, word)
}

/// A table's cell must stay one.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn goals_table(results: &Results, why: &BTreeMap<String, String>) -> String {
    let mut table =
        String::from("| goal | what | measured | bar | | why |\n|---|---|---|---|---|---|\n");
    for check in goals::checks(results) {
        let (figure, word) = verdict(&check);
        let word = match check.met() {
            Some(false) => "🔴 missed",
            Some(true) => "met",
            None => word,
        };
        // A reason for a miss that is none any more is not shown.
        let why = match check.met() {
            Some(false) => why.get(&check.key).map_or("", String::as_str),
            _ => "",
        };
        table.push_str(&format!(
            "| {} | {} | {figure} | {} | {word} | {} |\n",
            check.key,
            check.what,
            bar(check.bar, check.unit),
            cell(why)
        ));
    }
    table
}

fn number(measure: &Measure, name: &str) -> String {
    measure
        .figure(name)
        .map_or_else(|| "–".to_owned(), for_people)
}

/// Figures that only some measures have, and their words.
const BESIDES: &[(&str, &str)] = &[
    ("state_mb", "MB of state"),
    ("source_mb", "MB heap of the source"),
    ("start_s", "s to the first query"),
    ("payloads_in_log", "payloads in the log"),
];

fn besides(measure: &Measure) -> String {
    let found = BESIDES.iter().filter_map(|(name, words)| {
        let value = measure.figure(name)?;
        Some(format!("{} {words}", for_people(value)))
    });
    found.collect::<Vec<_>>().join(", ")
}

fn measures_table(results: &Results) -> String {
    let mut table = String::from(
        "| goal | what | rows | runs | wall s (least – most) | rows/s | CPU s worker | server | \
         sink | peak MB | log MB | temp MB | besides |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for measure in &results.measures {
        let rows = separated(measure.rows as i64);
        if let Some(void) = &measure.void {
            table.push_str(&format!(
                "| {} | {} | {rows} | {} | **void**: {} | | | | | | | | |\n",
                measure.goal,
                cell(&measure.label),
                measure.runs,
                cell(void)
            ));
            continue;
        }
        let n = |name: &str| number(measure, name);
        let wall = if measure.figure("wall_s").is_some() {
            format!(
                "{} ({} – {})",
                n("wall_s"),
                n("wall_min_s"),
                n("wall_max_s")
            )
        } else {
            "–".to_owned()
        };
        let speed = measure
            .rows_per_second()
            .map_or_else(|| "–".to_owned(), for_people);
        table.push_str(&format!(
            "| {} | {} | {rows} | {} | {wall} | {speed} | {} | {} | {} | {} | {} | {} | {} |\n",
            measure.goal,
            cell(&measure.label),
            measure.runs,
            n("cpu_worker_s"),
            n("cpu_server_s"),
            n("cpu_sink_s"),
            n("memory_mb"),
            n("wal_mb"),
            n("temp_mb"),
            besides(measure),
        ));
    }
    table
}

/// A chart: its file, its title, and what it shows.
struct Chart {
    file: &'static str,
    title: &'static str,
    subtitle: String,
    bars: Vec<svg::Bar>,
    mark: Option<(f64, &'static str)>,
}

fn charts(results: &Results) -> Vec<Chart> {
    let rows = separated(results.rows as i64);
    let speeds = |wanted: &[(u8, &str)]| -> Vec<svg::Bar> {
        let found = wanted
            .iter()
            .filter_map(|(goal, id)| results.find(*goal, id));
        let mut bars: Vec<svg::Bar> = found
            .filter_map(|measure| {
                let value = measure.rows_per_second()?;
                Some(svg::Bar {
                    label: measure.label.clone(),
                    value,
                    text: for_people(value),
                    kind: measure.kind,
                })
            })
            .collect();
        bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        bars
    };
    let relative = |wanted: &[(u8, &str)]| -> Vec<svg::Bar> {
        let bar = |(goal, id): &(u8, &str)| {
            let measure = results.find(*goal, id)?;
            let unit = results.find(*goal, "copy_text")?.figure("wall_s")?;
            let value = measure.figure("wall_s")? / unit;
            Some(svg::Bar {
                label: measure.label.clone(),
                value,
                text: format!("{}×", for_people(value)),
                kind: measure.kind,
            })
        };
        wanted.iter().filter_map(bar).collect()
    };
    let memory = |wanted: &[(u8, &str)]| -> Vec<svg::Bar> {
        let bar = |(goal, id): &(u8, &str)| {
            let measure = results.find(*goal, id)?;
            let value = measure.figure("memory_mb")?;
            Some(svg::Bar {
                label: format!("{}, {} rows", measure.label, separated(measure.rows as i64)),
                value,
                text: format!("{} MB", for_people(value)),
                kind: measure.kind,
            })
        };
        wanted.iter().filter_map(bar).collect()
    };
    vec![
        Chart {
            file: "changes.svg",
            title: "Finding and sending what changed",
            subtitle: format!("wall time, reading all {rows} rows with COPY = 1; less is better"),
            bars: relative(&[
                (1, "copy_text"),
                (1, "copy_binary"),
                (1, "none"),
                (3, "one"),
                (3, "cursor"),
                (3, "ten"),
            ]),
            mark: None,
        },
        Chart {
            file: "first-sync.svg",
            title: "First sync to HTTP and to files",
            subtitle: "rows a second, state written; more is better".to_owned(),
            bars: speeds(&[
                (5, "thousand"),
                (4, "hundred"),
                (5, "single"),
                (5, "file"),
                (5, "drt_batch"),
                (5, "drt_single"),
                (5, "sling_file"),
                (10, "raw"),
            ]),
            mark: None,
        },
        Chart {
            file: "postgres.svg",
            title: "PostgreSQL to PostgreSQL",
            subtitle: "rows a second into a table with a primary key; more is better".to_owned(),
            bars: speeds(&[
                (6, "pipe_binary"),
                (6, "pipe_text"),
                (6, "ours"),
                (6, "sling"),
                (6, "dlt"),
                (6, "drt"),
            ]),
            mark: None,
        },
        Chart {
            file: "memory.svg",
            title: "Peak memory of the worker",
            subtitle: "MB; the model's size must not matter".to_owned(),
            bars: memory(&[
                (7, "first"),
                (7, "first_big"),
                (7, "one"),
                (7, "one_big"),
                (5, "drt_batch"),
                (6, "sling"),
                (6, "dlt"),
            ]),
            mark: Some((64.0, "goal: 64 MB")),
        },
    ]
}

/// The page and its charts, by path from the root of the repository.
pub(crate) fn files(results: &Results, why: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut pictures = String::new();
    for chart in charts(results) {
        if chart.bars.is_empty() {
            continue;
        }
        let text = svg::chart(chart.title, &chart.subtitle, &chart.bars, chart.mark);
        files.insert(format!("{CHARTS}{}", chart.file), text);
        pictures.push_str(&format!("![{}](benchmark/{})\n\n", chart.title, chart.file));
    }
    let machine = &results.machine;
    let settings: Vec<String> = results
        .settings
        .iter()
        .map(|(name, value)| format!("`{name}` {value}"))
        .collect();
    let peers: Vec<String> = results
        .peers
        .iter()
        .map(|peer| match &peer.absent {
            None => format!("{} {}", peer.name, peer.version),
            Some(why) => format!("{} {} (absent: {})", peer.name, peer.version, why),
        })
        .collect();
    let page = format!(
        "# Benchmark\n\n\
         <!-- Generated by `cargo xtask bench --render` from bench/results; do not edit. -->\n\n\
         `cargo xtask bench` makes these figures: it starts a PostgreSQL server of its own with default\n\
         settings, loads a table of 13 columns, and lets Rowcast, plain `COPY` and other tools do the same\n\
         work in turns. A figure is the median of its runs after a warm-up. What arrived is compared with\n\
         the source after each run, by count and checksum; a run that differs is void. Times depend on the\n\
         machine, so the goals are ratios within one run.\n\n\
         {interim}{pictures}## Goals\n\n\
         A missed bar stays here until the code meets it.\n\n{goals}\n\
         ## What the others can't do\n\n\
         Speed is compared only for what a tool can do at all.\n\n{ABILITIES}\n\
         ## All figures\n\n\
         CPU of the server includes its background processes. *Log* is the write-ahead log of the whole\n\
         server. Each run starts after a checkpoint unless it says otherwise.\n\n{measures}\n\
         ## Made on\n\n\
         | | |\n|---|---|\n\
         | day | {date} |\n| rowcast | {product}, release build |\n\
         | machine | {cores} cores ({processor}), {memory} GiB memory, {kernel} |\n\
         | server | PostgreSQL {server} |\n| settings | {settings} |\n| peers | {peers} |\n\
         | rows | {rows}; big table {big} |\n| results | `bench/results/{name}.json` |\n",
        interim = if results.name == "full" { "" } else { INTERIM },
        goals = goals_table(results, why),
        measures = measures_table(results),
        date = results.date,
        product = results.product,
        cores = machine.cores,
        processor = machine.processor,
        memory = for_people(machine.memory_gib),
        kernel = machine.kernel,
        server = results.server,
        settings = settings.join(", "),
        peers = peers.join(", "),
        rows = separated(results.rows as i64),
        big = separated(results.rows_big as i64),
        name = results.name,
    );
    files.insert(PAGE.to_owned(), page);
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;
    use crate::results::tests::{measure, results};

    fn slow() -> Results {
        results(vec![
            measure(1, "none", Kind::Ours, &[("wall_s", 3.0)]),
            measure(1, "copy_text", Kind::Limit, &[("wall_s", 2.0)]),
        ])
    }

    #[test]
    fn a_missed_bar_is_red_with_its_reason() {
        let why = BTreeMap::from([("1a".to_owned(), "a | b".to_owned())]);
        let files = files(&slow(), &why);
        let page = &files[PAGE];
        let line =
            "| 1a | no change, whole process / COPY text | 1.50× | ≤ 1.15× | 🔴 missed | a \\| b |";
        assert!(page.contains(line), "{page}");
        assert!(files["docs/src/benchmark/changes.svg"].contains("1.50×"));
        assert!(!files.contains_key("docs/src/benchmark/postgres.svg"));
    }

    #[test]
    fn the_same_results_make_the_same_page() {
        let why = BTreeMap::new();
        assert_eq!(files(&slow(), &why), files(&slow(), &why));
    }

    #[test]
    fn a_void_measure_says_why_and_shows_no_figure() {
        let mut results = slow();
        results.measures[0].void = Some("other ids arrived".to_owned());
        let page = files(&results, &BTreeMap::new())[PAGE].clone();
        assert!(page.contains("**void**: other ids arrived"));
        assert!(page.contains("| – | ≤ 1.15× | not measured |"));
    }
}
