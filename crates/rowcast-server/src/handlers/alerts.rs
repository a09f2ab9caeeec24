//! Alerts: how they stand, muting, trying channels.

use axum::extract::State;
use rowcast_app::alerts::{AlertsView, MuteRequest};

use crate::App;
use crate::answer::{Answered, ok};
use crate::input::{Given, Of};
use crate::metrics::escaped;

pub(crate) async fn alerts(State(app): State<App>) -> Answered {
    ok(&app.service.alerts().await?)
}

pub(crate) async fn mute(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(request): Given<MuteRequest>,
) -> Answered {
    ok(&app.service.mute(&name, &request).await?)
}

pub(crate) async fn unmute(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&app.service.unmute(&name).await?)
}

pub(crate) async fn test(State(app): State<App>, Of(channel): Of<String>) -> Answered {
    ok(&app.service.test_channels(Some(&channel)).await?)
}

pub(crate) async fn test_all(State(app): State<App>) -> Answered {
    ok(&app.service.test_channels(None).await?)
}

/// Figures for Prometheus.
pub(crate) fn figures(alerts: &AlertsView, text: &mut String) {
    text.push_str(
        "# HELP rowcast_alert_open Conditions that are open.\n# TYPE rowcast_alert_open gauge\n",
    );
    for alert in &alerts.alerts {
        text.push_str(&format!(
            "rowcast_alert_open{{sync=\"{}\",condition=\"{}\"}} 1\n",
            escaped(&alert.sync),
            alert.condition
        ));
    }
    text.push_str(
        "# HELP rowcast_alert_messages Messages to channels, as they stand.\n\
         # TYPE rowcast_alert_messages gauge\n",
    );
    for channel in &alerts.channels {
        for (status, count) in [
            ("waiting", channel.waiting),
            ("delivered", channel.delivered),
            ("given_up", channel.given_up),
        ] {
            text.push_str(&format!(
                "rowcast_alert_messages{{channel=\"{}\",status=\"{status}\"}} {count}\n",
                escaped(&channel.channel)
            ));
        }
    }
}
