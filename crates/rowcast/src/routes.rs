//! Which request of the HTTP API does what a command does: one line for each command, held to be
//! complete by a test that walks the command line's tree.

/// How a command is had over HTTP.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Over {
    /// By these requests.
    Http(&'static [&'static str]),
    /// Not at all, for this reason.
    Not(&'static str),
}

use Over::{Http, Not};

/// Commands with their subcommands, as they are typed.
pub(crate) const COMMANDS: &[(&str, Over)] = &[
    ("demo", Not("shows Rowcast on the machine where one sits")),
    (
        "init",
        Http(&[
            "POST /api/v1/sources",
            "POST /api/v1/models",
            "POST /api/v1/destinations",
            "POST /api/v1/syncs",
        ]),
    ),
    (
        "import segment",
        Not(
            "reads files of the machine where one sits and makes a project; a server has one already",
        ),
    ),
    (
        "import rudder",
        Not(
            "reads files of the machine where one sits and makes a project; a server has one already",
        ),
    ),
    ("validate", Http(&["POST /api/v1/validate"])),
    ("check", Http(&["POST /api/v1/check"])),
    ("tables", Http(&["GET /api/v1/sources/{name}/tables"])),
    (
        "setup-sql",
        Http(&["POST /api/v1/sources/{name}/setup-sql"]),
    ),
    ("preview", Http(&["GET /api/v1/models/{name}/preview"])),
    ("suggest", Http(&["POST /api/v1/syncs/{name}/suggest"])),
    ("plan", Http(&["POST /api/v1/syncs/{name}/plan"])),
    ("run", Http(&["POST /api/v1/syncs/{name}/run"])),
    ("cancel", Http(&["POST /api/v1/syncs/{name}/cancel"])),
    (
        "status",
        Http(&["GET /api/v1/status", "GET /api/v1/syncs/{name}/status"]),
    ),
    ("runs", Http(&["GET /api/v1/syncs/{name}/runs"])),
    ("rejects", Http(&["GET /api/v1/syncs/{name}/rejects"])),
    ("retry", Http(&["POST /api/v1/syncs/{name}/retry"])),
    ("baseline", Http(&["POST /api/v1/syncs/{name}/baseline"])),
    ("adopt", Http(&["POST /api/v1/syncs/{name}/adopt"])),
    ("reset", Http(&["POST /api/v1/syncs/{name}/reset"])),
    ("pause", Http(&["POST /api/v1/syncs/{name}/pause"])),
    ("resume", Http(&["POST /api/v1/syncs/{name}/resume"])),
    ("serve", Not("is what answers")),
    ("alerts list", Http(&["GET /api/v1/alerts"])),
    ("alerts mute", Http(&["POST /api/v1/syncs/{name}/mute"])),
    ("alerts unmute", Http(&["POST /api/v1/syncs/{name}/unmute"])),
    (
        "alerts test",
        Http(&[
            "POST /api/v1/alerts/test",
            "POST /api/v1/alerts/test/{channel}",
        ]),
    ),
    ("why", Http(&["GET /api/v1/syncs/{name}/why"])),
    ("test", Http(&["POST /api/v1/test"])),
    ("map", Http(&["POST /api/v1/map"])),
    ("connectors list", Http(&["GET /api/v1/connectors"])),
    ("connectors show", Http(&["GET /api/v1/connectors/{name}"])),
    (
        "connectors install",
        Not("runs npm where the server is; a token is no login there"),
    ),
    (
        "connectors choices",
        Http(&["POST /api/v1/destinations/{name}/choices"]),
    ),
    (
        "connectors new",
        Not("writes a skeleton for an editor; code of connectors does not come over the network"),
    ),
    (
        "connectors test",
        Http(&["POST /api/v1/connectors/{name}/test"]),
    ),
    (
        "connectors try",
        Http(&["POST /api/v1/destinations/{name}/try"]),
    ),
    ("schema", Http(&["GET /api/v1/schemas"])),
    (
        "explain",
        Http(&["GET /api/v1/codes", "GET /api/v1/codes/{code}"]),
    ),
    (
        "docs-reference",
        Not("writes pages for the documentation of Rowcast itself"),
    ),
];

/// The table as a section of the API's reference page.
pub(crate) fn section() -> String {
    let mut out =
        String::from("\n## Commands and their requests\n\n| command | over HTTP |\n|---|---|\n");
    for (command, over) in COMMANDS {
        let over = match over {
            Http(requests) => {
                let requests: Vec<String> = requests.iter().map(|r| format!("`{r}`")).collect();
                requests.join(", ")
            }
            Not(reason) => format!("no: {reason}"),
        };
        out.push_str(&format!("| `rowcast {command}` | {over} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    fn walk(command: &Command, path: &str, found: &mut BTreeSet<String>) {
        let below: Vec<&Command> = command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
            .collect();
        if below.is_empty() {
            found.insert(path.trim().to_owned());
        }
        for below in below {
            walk(below, &format!("{path} {}", below.get_name()), found);
        }
    }

    #[test]
    fn every_command_has_requests_that_there_are_or_a_reason() {
        let mut commands = BTreeSet::new();
        walk(&Cli::command(), "", &mut commands);
        let named: BTreeSet<String> = COMMANDS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(
            commands, named,
            "see COMMANDS in crates/rowcast/src/routes.rs"
        );
        assert_eq!(named.len(), COMMANDS.len());
        let requests: BTreeSet<String> = rowcast_server::routes::ROUTES
            .iter()
            .map(|route| format!("{} {}", route.method.to_uppercase(), route.path))
            .collect();
        for (command, over) in COMMANDS {
            match over {
                Http(wanted) => {
                    assert!(!wanted.is_empty(), "{command}");
                    for request in *wanted {
                        assert!(
                            requests.contains(*request),
                            "{command}: {request} is no route"
                        );
                    }
                }
                Not(reason) => assert!(reason.len() > 10, "{command}"),
            }
        }
    }
}
