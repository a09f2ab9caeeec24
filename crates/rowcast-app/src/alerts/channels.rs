//! From a channel of the project's files to one that can be told.

use rowcast_config::{Channel, SmtpTls, Text};
use rowcast_core::Secret;
use rowcast_destinations::notify::{self, Mail, MailTls, PAGERDUTY_URL, Target};

use crate::Project;

/// The word for a kind of channel.
pub(crate) fn kind(channel: &Channel) -> &'static str {
    match channel {
        Channel::Slack { .. } => "slack",
        Channel::Webhook { .. } => "webhook",
        Channel::Pagerduty { .. } => "pagerduty",
        Channel::Email { .. } => "email",
    }
}

/// The channel, ready to be told.
pub(crate) fn build(project: &Project, channel: &Channel) -> notify::Channel {
    let (target, allow_addresses) = match channel {
        Channel::Slack {
            url,
            allow_addresses,
        } => (Target::Slack { url: url.clone() }, allow_addresses.clone()),
        Channel::Webhook {
            url,
            secrets,
            allow_addresses,
        } => {
            let (url, secrets) = (url.clone(), secrets.clone());
            (Target::Webhook { url, secrets }, allow_addresses.clone())
        }
        Channel::Pagerduty {
            key,
            url,
            allow_addresses,
        } => {
            let url = url.as_ref().map_or(PAGERDUTY_URL, Text::reveal);
            let target = Target::Pagerduty {
                key: key.clone(),
                url: Secret::from(url),
            };
            (target, allow_addresses.clone())
        }
        Channel::Email { to } => {
            let smtp = project.config.smtp.as_ref();
            let text = |text: Option<&Text>| text.map(Text::reveal).unwrap_or_default().to_owned();
            let secret = |text: String| Secret::new(text);
            let mail = Mail {
                host: text(smtp.map(|smtp| &smtp.host)),
                port: smtp.and_then(|smtp| smtp.port),
                login: smtp.and_then(|smtp| {
                    let user = secret(smtp.user.as_ref()?.reveal().to_owned());
                    let password = smtp.password.clone();
                    Some((user, password.unwrap_or_else(|| secret(String::new()))))
                }),
                from: text(smtp.map(|smtp| &smtp.from)),
                to: to
                    .iter()
                    .map(|address| address.reveal().to_owned())
                    .collect(),
                tls: match smtp.map(|smtp| smtp.tls).unwrap_or_default() {
                    SmtpTls::StartTls => MailTls::StartTls,
                    SmtpTls::Implicit => MailTls::Implicit,
                    SmtpTls::None => MailTls::None,
                },
            };
            let allowed = smtp.map(|smtp| smtp.allow_addresses.clone());
            (Target::Mail(mail), allowed.unwrap_or_default())
        }
    };
    notify::Channel {
        target,
        allow_addresses,
    }
}
