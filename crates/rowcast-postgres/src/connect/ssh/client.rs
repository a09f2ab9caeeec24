//! Our side of an SSH conversation: it accepts one host key, and nothing that the server opens.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{ChannelOpenHandle, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure, Error};

use super::host_key::Pin;

/// What the server said, kept for messages.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The host key it proved to have.
    pub(super) host_key: Option<PublicKey>,
    /// Why it did not open a channel, in its words.
    pub(super) refusal: Option<String>,
}

/// Shared between a conversation and who started it.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedHeard(Arc<Mutex<Heard>>);

impl SharedHeard {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Client {
    pub(super) pinned: Option<Pin>,
    pub(super) heard: SharedHeard,
}

// The library accepts every channel unless told otherwise; a reply that is dropped refuses.
impl Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let key = offered.public_key();
        let known = self.pinned.as_ref().is_some_and(|pin| pin.is(&key));
        self.heard.with(|heard| heard.host_key = Some(key));
        Ok(known)
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), Error> {
        let words = description.trim().to_owned();
        self.heard
            .with(|heard| heard.refusal = Some(words).filter(|words| !words.is_empty()));
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }
}
