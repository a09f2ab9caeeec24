//! SIGINT and SIGTERM: the first asks every run to stop and keep its progress, the second ends the
//! process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::output::Output;

#[expect(
    clippy::disallowed_methods,
    reason = "asked twice, a person wants the process to end whatever is lost"
)]
fn end_at_once() -> ! {
    std::process::exit(Exit::Interrupted.code().into())
}

/// Listens for the life of the process.
pub(crate) fn listen(cancel: CancellationToken, output: Output) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_cancelled() {
                end_at_once();
            }
            cancel.cancel();
            output.note("stopping; what was delivered is kept. Again to stop at once");
        }
    });
    Ok(())
}
