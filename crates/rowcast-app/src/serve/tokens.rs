//! Tokens of the API: made here, shown once, stored as hashes.

use std::time::Duration;

use rowcast_core::settings::parse_duration;
use rowcast_core::{Code, Reason, Secret};
use rowcast_postgres::control::{NewToken, TokenRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Service;
use crate::Answer;

/// What a token permits; each scope includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking.
    Read,
    /// Starting, stopping and retrying runs.
    Run,
    /// Changing what is there: state and files.
    Write,
    /// Tokens.
    Admin,
}

impl Scope {
    /// All scopes, the smallest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Run, Self::Write, Self::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Whose token a request has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub id: i64,
    pub name: String,
    pub scope: Scope,
}

/// A token to be made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Who or what it is for.
    pub name: String,
    /// What it permits; each scope includes those before it.
    pub scope: Scope,
    /// How long it is good for, such as `90d`; for ever without it.
    #[serde(default)]
    pub expires_in: Option<String>,
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TokenView {
    pub id: i64,
    pub name: String,
    pub scope: String,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// A token that was just made: the only time that it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenMade {
    #[serde(flatten)]
    pub about: TokenView,
    pub token: String,
}

impl From<TokenRow> for TokenView {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            scope: row.scope,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// 244 random bits, with a head by which scanners of leaked secrets can know it.
fn fresh() -> String {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    format!("rowcast_{}{}", random(), random())
}

fn hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

impl Service {
    /// Makes the first token of a control schema, which may do everything; `None` when there was one
    /// before.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn first_token(&self) -> Answer<Option<Secret<String>>> {
        let token = fresh();
        let new = NewToken {
            name: "first",
            hash: &hash(&token),
            scope: Scope::Admin.as_str(),
            lasts_s: None,
        };
        let made = self.inner.asks.add_first_token(&new).await?;
        Ok(made.map(|_| Secret::new(token)))
    }

    /// Who a token is, and what it permits; `None` when it is none, revoked or at its end.
    ///
    /// The database is asked for the hash of what was sent, never for the token: how long the answer
    /// takes says nothing about a token that there is.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn caller(&self, token: &str) -> Answer<Option<Caller>> {
        let found = self.inner.asks.valid_token(&hash(token)).await?;
        Ok(found.and_then(|row| {
            let mut scopes = Scope::ALL.into_iter();
            let scope = scopes.find(|scope| scope.as_str() == row.scope)?;
            Some(Caller {
                id: row.id,
                name: row.name,
                scope,
            })
        }))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// The request can't be understood, or the control database fails.
    pub async fn make_token(&self, request: &TokenRequest) -> Answer<TokenMade> {
        let lasts = match &request.expires_in {
            None => None,
            Some(text) => Some(
                parse_duration(text)
                    .filter(|lasts| *lasts >= Duration::from_secs(1))
                    .ok_or_else(|| {
                        Reason::new(Code::Usage, format!("{text:?} is no duration"))
                            .hint("write how long the token is good for with a unit: `90d`")
                    })?,
            ),
        };
        if request.name.trim().is_empty() {
            return Err(Reason::new(Code::Usage, "a token needs a name")
                .hint("say who or what it is for: `\"name\": \"airflow\"`")
                .into());
        }
        let token = fresh();
        let new = NewToken {
            name: &request.name,
            hash: &hash(&token),
            scope: request.scope.as_str(),
            lasts_s: lasts.map(|lasts| i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX)),
        };
        let about = self.inner.asks.add_token(&new).await?.into();
        Ok(TokenMade { about, token })
    }

    /// Every token, the newest first, never itself.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn tokens(&self) -> Answer<Vec<TokenView>> {
        let rows = self.inner.asks.tokens().await?;
        Ok(rows.into_iter().map(TokenView::from).collect())
    }

    /// Takes a token back; from now on it permits nothing.
    ///
    /// # Errors
    /// There is no such token, or the control database fails.
    pub async fn revoke_token(&self, id: i64) -> Answer<()> {
        if self.inner.asks.revoke_token(id).await? {
            Ok(())
        } else {
            Err(
                Reason::new(Code::UnknownReference, format!("there is no token {id}"))
                    .hint("`GET /api/v1/tokens` lists them")
                    .into(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_include_those_before_and_tokens_differ() {
        for pair in Scope::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        let (a, b) = (fresh(), fresh());
        assert_ne!(a, b);
        assert_eq!(a.len(), "rowcast_".len() + 64);
        assert_ne!(hash(&a), hash(&b));
        assert!(!hash(&a).contains(&a));
    }
}
