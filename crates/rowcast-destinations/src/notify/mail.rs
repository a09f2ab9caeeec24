//! Mail over SMTP.
//!
//! The server's name is looked up here, so that the address policy decides, and its certificate is
//! checked for that name.

use std::net::IpAddr;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use rowcast_core::address::AddressPolicy;
use rowcast_core::alert::{Message, NoticeKind};
use rowcast_core::{Code, Reason, Secret};

use super::undelivered;
use crate::http::client::{Lookup as _, SystemLookup};

/// How long each step of the conversation may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// After STARTTLS, which must be offered.
    StartTls,
    /// From the first byte.
    Implicit,
    None,
}

impl MailTls {
    /// The port without another.
    fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// A mail server, and whom to write to.
#[derive(Debug, Clone)]
pub struct Mail {
    pub host: String,
    pub port: Option<u16>,
    pub login: Option<(Secret<String>, Secret<String>)>,
    pub from: String,
    pub to: Vec<String>,
    pub tls: MailTls,
}

impl Mail {
    pub(super) async fn send(
        &self,
        policy: &AddressPolicy,
        message: &Message,
    ) -> Result<(), Reason> {
        let mail = self.compose(message)?;
        let addresses = self
            .addresses(policy)
            .await
            .map_err(|why| undelivered(&why))?;
        let tls = match self.tls {
            MailTls::None => Tls::None,
            _ => {
                // Lettre takes whichever provider the process has chosen, and aws-lc-rs otherwise.
                let parameters = TlsParameters::builder(self.host.clone())
                    .build_rustls()
                    .map_err(|error| self.unreachable(&error))?;
                if self.tls == MailTls::StartTls {
                    Tls::Required(parameters)
                } else {
                    Tls::Wrapper(parameters)
                }
            }
        };
        let mut last = None;
        for address in addresses {
            match self
                .transport(address, tls.clone())
                .send(mail.clone())
                .await
            {
                Ok(_) => return Ok(()),
                // Who has answered is the server; another address is the same one.
                Err(error) if error.is_permanent() || error.is_transient() => {
                    return Err(self.refused(&error));
                }
                Err(error) => last = Some(self.refused(&error)),
            }
        }
        Err(last.unwrap_or_else(|| Reason::defect("a mail server without an address was kept")))
    }

    fn transport(&self, address: IpAddr, tls: Tls) -> AsyncSmtpTransport<Tokio1Executor> {
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
                .port(self.port.unwrap_or_else(|| self.tls.port()))
                .tls(tls)
                .hello_name(ClientId::Domain("localhost".to_owned()))
                .timeout(Some(TIMEOUT));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(
                user.reveal().clone(),
                password.reveal().clone(),
            ));
        }
        builder.build()
    }

    /// The host's addresses that may be reached; at least one.
    async fn addresses(&self, policy: &AddressPolicy) -> Result<Vec<IpAddr>, Reason> {
        let found = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => SystemLookup
                .addresses(self.host.clone())
                .await
                .map_err(|error| {
                    Reason::new(
                        Code::DestinationUnreachable,
                        "the mail server's name can't be looked up",
                    )
                    .detail(error.to_string())
                })?,
        };
        let mut refused = None;
        let mut kept = Vec::new();
        for address in found {
            match policy.permit(address) {
                Ok(()) => kept.push(address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if !kept.is_empty() {
            return Ok(kept);
        }
        Err(match refused {
            Some(why) => why.reason("the mail server"),
            None => Reason::new(
                Code::DestinationUnreachable,
                "the mail server's name has no address",
            ),
        })
    }

    fn compose(&self, message: &Message) -> Result<lettre::Message, Reason> {
        let mailbox = |text: &str, what: &str| {
            text.trim().parse::<Mailbox>().map_err(|error| {
                undelivered(
                    &Reason::new(Code::InvalidSetting, format!("{what} is no mail address"))
                        .detail(error.to_string()),
                )
            })
        };
        let from = mailbox(&self.from, "`smtp.from`")?;
        let mut to = Mailboxes::new();
        for address in &self.to {
            to.push(mailbox(address, "an address of the channel")?);
        }
        let domain = from.email.domain().to_owned();
        let thread = format!("<{}@{domain}>", message.subject().replace('/', "."));
        let builder = lettre::Message::builder()
            .from(from)
            .mailbox(lettre::message::header::To::from(to))
            .subject(message.title())
            // The same in every attempt: a mail that comes twice is known as one.
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .references(thread)
            .header(ContentType::TEXT_PLAIN);
        let mut mail = builder.body(text(message)).map_err(|error| {
            undelivered(
                &Reason::new(Code::InvalidSetting, "the mail can't be written")
                    .detail(error.to_string()),
            )
        })?;
        // RFC 3834: no answering machine is to answer.
        mail.headers_mut().insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
        Ok(mail)
    }

    fn unreachable(&self, error: &lettre::transport::smtp::Error) -> Reason {
        undelivered(
            &Reason::new(
                Code::DestinationUnreachable,
                "no trusted encrypted connection to the mail server",
            )
            .detail(self.masked(&error.to_string())),
        )
    }

    fn refused(&self, error: &lettre::transport::smtp::Error) -> Reason {
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            detail.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let what = if error.is_permanent() || error.is_transient() {
            "the mail server refused the mail"
        } else {
            "the mail server can't be reached"
        };
        undelivered(&Reason::new(Code::DestinationUnreachable, what).detail(self.masked(&detail)))
    }

    fn masked(&self, text: &str) -> String {
        let Some((_, password)) = &self.login else {
            return text.to_owned();
        };
        if password.reveal().is_empty() {
            return text.to_owned();
        }
        text.replace(password.reveal().as_str(), "***")
    }
}

/// The body of a mail.
fn text(message: &Message) -> String {
    let mut text = format!("{}\n", message.text);
    if let Some(counts) = message.counts_line() {
        text.push_str(&format!("\n{counts}\n"));
    }
    if let Some(owner) = &message.owner {
        text.push_str(&format!("owner: {owner}\n"));
    }
    if message.kind != NoticeKind::Test {
        text.push_str(&format!("since {}\n", message.since));
    }
    text.push_str("\nTo look closer:\n\n");
    for command in &message.commands {
        text.push_str(&format!("  {command}\n"));
    }
    text
}
