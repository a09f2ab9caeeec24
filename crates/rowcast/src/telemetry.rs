//! What the process tells while it works: its log on standard error, as text or as JSON lines, and
//! spans to an OpenTelemetry collector for who asks for them.
//!
//! Traces are opt-in by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and those beside it).
//! Nothing here may hold a run up: spans are sent by a thread of their own, and dropped when the
//! collector does not keep up.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::cli::{Cli, Command, LogFormat};
use crate::output::Output;

/// Ends what was begun: spans that wait are sent.
#[derive(Debug)]
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Telemetry {
    /// Begins to log, and to trace where the environment names a collector. Once in a process, and
    /// before the runtime.
    pub(crate) fn start(cli: &Cli, output: Output) -> Self {
        let log = log(cli, output);
        #[cfg(feature = "otel")]
        {
            let traces = traces::provider();
            let spans = traces
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map(traces::layer);
            let begun = tracing_subscriber::registry().with(log).with(spans);
            begun.init();
            match traces {
                Ok(traces) => Self { traces },
                Err(error) => {
                    tracing::warn!(target: "rowcast", error, "no traces are sent");
                    Self { traces: None }
                }
            }
        }
        #[cfg(not(feature = "otel"))]
        {
            tracing_subscriber::registry().with(log).init();
            Self {}
        }
    }

    /// Sends what waits, for as long as one export may take.
    pub(crate) fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            // A collector that is away has been told of already.
            let _ = traces.shutdown();
        }
    }
}

/// The log's layer, with what its level lets through.
fn log<S>(cli: &Cli, output: Output) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let level = match cli.global.verbose {
        // A service's log is what people look at; other commands say what they did themselves.
        0 if matches!(cli.command, Command::Serve(_)) => {
            "rowcast=info,rowcast_app=info,rowcast_server=info,warn"
        }
        0 => "error",
        1 => {
            "rowcast=info,rowcast_app=info,rowcast_engine=info,rowcast_postgres=info,rowcast_destinations=info,warn"
        }
        _ => {
            "rowcast=debug,rowcast_app=debug,rowcast_engine=debug,rowcast_postgres=debug,rowcast_destinations=debug,info"
        }
    };
    let filter = EnvFilter::new(level);
    let layer = fmt::layer().with_writer(std::io::stderr);
    match cli.global.log_format {
        LogFormat::Text => layer
            .with_ansi(output.stderr.colour)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
    }
}

#[cfg(feature = "otel")]
mod traces {
    //! Spans of runs, over HTTP to a collector.

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
    use tracing::level_filters::LevelFilter;
    use tracing_opentelemetry::OpenTelemetryLayer;
    use tracing_subscriber::filter::{Filtered, Targets};

    use super::{Layer as _, LookupSpan};

    /// Where the engine's spans say they are from. Others' spans are never sent: nobody here knows
    /// what they hold.
    const FLOW: &str = "rowcast::flow";
    /// Either names a collector.
    const ENDPOINTS: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];

    type Spans<S> = Filtered<OpenTelemetryLayer<S, SdkTracer>, Targets, S>;

    #[expect(
        clippy::disallowed_methods,
        reason = "the variables of the OpenTelemetry specification are not the project's configuration"
    )]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// What sends spans; `None` when nobody asked for it.
    pub(super) fn provider() -> Result<Option<SdkTracerProvider>, String> {
        let off = |name: &str, word: &str| {
            variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        let named = ENDPOINTS.into_iter().any(|name| variable(name).is_some());
        if !named || off("OTEL_SDK_DISABLED", "true") || off("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let mut about = Resource::builder().with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ));
        if variable("OTEL_SERVICE_NAME").is_none() {
            about = about.with_service_name("rowcast");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(about.build())
            .build();
        Ok(Some(provider))
    }

    /// Takes the spans of runs, and nothing else.
    pub(super) fn layer<S>(provider: &SdkTracerProvider) -> Spans<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = provider.tracer("rowcast");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(FLOW, LevelFilter::DEBUG))
    }
}
