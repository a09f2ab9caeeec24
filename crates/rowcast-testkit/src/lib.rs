//! Test parts: throwaway PostgreSQL clusters, emulators, in-memory ledgers. A dev-dependency only.

pub mod api;
pub mod arbitrary;
pub mod calls;
pub mod catalogue;
pub mod conformance;
pub mod connectors;
pub mod crowded;
pub mod custom;
pub mod faulty;
pub mod hubspot;
pub mod mailchimp;
pub mod memory;
pub mod object_store;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod receivers;
pub mod rudderstack;
pub mod segment;
pub mod servers;
pub mod smtpd;
pub mod sshd;
pub mod tls;
