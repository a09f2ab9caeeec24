//! Where the control schema is.

use rowcast_core::{Code, Reason, Secret};
use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::control::Control;

use crate::{Answer, Project, wire};

/// The schema in a database that was named for it.
const SCHEMA: &str = "_rowcast";

/// The control schema: in the database that was named, or beside the state when all state is in one
/// place.
///
/// # Errors
/// The connection string can't be read; or there are several places and none was named.
pub(crate) fn control(project: &Project, database: Option<&Secret<String>>) -> Answer<Control> {
    if let Some(url) = database {
        let config = ConnectConfig::from_url(url.reveal())?;
        return Ok(Control::new(Connector::new(config), SCHEMA));
    }
    let mut places: Vec<&rowcast_config::Source> = Vec::new();
    for source in project.config.sources.values() {
        let place = project.config.state_source(source);
        if !places.iter().any(|known| known.name == place.name) {
            places.push(place);
        }
    }
    match places[..] {
        [place] => Ok(Control::new(wire::connector(place)?, &place.state_schema)),
        _ => {
            let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
            let reason = Reason::new(
                Code::Usage,
                "can't tell in which database the server keeps its own tables",
            );
            let reason = if names.is_empty() {
                reason.detail("the project has no source")
            } else {
                reason.detail(format!("state is kept in {}", names.join(", ")))
            };
            Err(reason
                .hint("name one: `rowcast serve --database postgresql://…`")
                .into())
        }
    }
}
