//! One module for each command: parse, one function of `rowcast-app`, render.

pub(crate) mod adopt;
pub(crate) mod alerts;
pub(crate) mod baseline;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod connectors;
pub(crate) mod demo;
pub(crate) mod docs_reference;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod map;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod rejects;
pub(crate) mod reset;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod setup_sql;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod tables;
pub(crate) mod test;
pub(crate) mod validate;
pub(crate) mod why;

use rowcast_app::{Answer, Project};
use rowcast_core::Code;
use tokio_util::sync::CancellationToken;

use crate::cli::{Command, Global};
use crate::exit::Exit;
use crate::output::Output;

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    /// Cancelled by the first SIGINT or SIGTERM.
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// Reads the project, secrets included.
    pub(crate) fn project(&self) -> Answer<Project> {
        Project::load(self.global.project.as_deref(), self.global.env.as_deref())
    }

    /// The project, for commands that also work outside of one. One that was named must be there.
    pub(crate) fn project_if_any(&self) -> Answer<Option<Project>> {
        match self.project_without_secrets() {
            Ok(project) => Ok(Some(project)),
            Err(failure)
                if self.global.project.is_none()
                    && failure
                        .problems
                        .iter()
                        .all(|problem| problem.reason.code == Code::ProjectNotFound) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Reads the project for commands that need no secrets.
    pub(crate) fn project_without_secrets(&self) -> Answer<Project> {
        Project::load_without_secrets(self.global.project.as_deref(), self.global.env.as_deref())
    }
}

/// Runs one command.
pub(crate) async fn dispatch(command: Command, context: &Context) -> Answer<Exit> {
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Init(args) => init::run(args, context).await,
        Command::Import(args) => import::run(args, context),
        Command::Validate(args) => validate::run(&args, context),
        Command::Check(args) => check::run(args, context).await,
        Command::Tables(args) => tables::run(args, context).await,
        Command::SetupSql(args) => setup_sql::run(args, context),
        Command::Preview(args) => preview::run(args, context).await,
        Command::Suggest(args) => suggest::run(args, context).await,
        Command::Plan(args) => plan::run(args, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Cancel(args) => cancel::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Runs(args) => runs::run(args, context).await,
        Command::Rejects(args) => rejects::run(args, context).await,
        Command::Retry(args) => retry::run(args, context).await,
        Command::Baseline(args) => baseline::run(args, context).await,
        Command::Adopt(args) => adopt::run(args, context).await,
        Command::Reset(args) => reset::run(args, context).await,
        Command::Pause(args) => pause::run(args, context).await,
        Command::Resume(args) => resume::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Alerts(args) => alerts::run(args, context).await,
        Command::Why(args) => why::run(args, context).await,
        Command::Test(args) => test::run(&args, context),
        Command::Map(args) => map::run(&args, context),
        Command::Connectors(args) => connectors::run(args, context).await,
        Command::Schema(args) => schema::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::DocsReference(args) => docs_reference::run(&args, context),
    }
}
