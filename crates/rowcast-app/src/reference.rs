//! Reference pages that come from code: what the crates below say of themselves.

use rowcast_destinations::manifest::{fixture_vocabulary, manifest_vocabulary};

use crate::wire;

/// File name and Markdown of each page, except those about the command line itself.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for (kind, text) in rowcast_config::reference::reference_markdown() {
        pages.push((format!("yaml-{kind}.md"), text));
    }
    pages.push((
        "mapping.md".to_owned(),
        rowcast_core::mapping::reference_markdown(),
    ));
    pages.push((
        "views.md".to_owned(),
        rowcast_postgres::ledger::views::page(),
    ));
    pages.push((
        "yaml-connector.md".to_owned(),
        rowcast_config::reference::described_markdown(
            "connectors/*.yml",
            "A connector made of a manifest. [Write a connector](../destinations/write-a-connector.md) leads through it.",
            &manifest_vocabulary(),
        ),
    ));
    pages.push((
        "yaml-fixture.md".to_owned(),
        rowcast_config::reference::described_markdown(
            "connectors/NAME/*.yml",
            "A fixture of a connector: records, the requests they must become, and the answers.",
            &fixture_vocabulary(),
        ),
    ));
    for (name, text) in crate::connectors::pages() {
        pages.push((format!("connector-{name}.md"), text));
    }
    for descriptor in wire::natives() {
        let text = rowcast_destinations::reference_markdown(&descriptor);
        pages.push((format!("connector-{}.md", descriptor.name), text));
    }
    pages
}
