//! Behaviour of the ledger against a real server.
