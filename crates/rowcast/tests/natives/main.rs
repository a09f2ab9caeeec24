//! Native kinds behind the program, on their real servers: a killed worker and a server that is
//! restarted in the middle of a run lose nothing.

#[path = "../support/command.rs"]
mod command;
mod customers;
mod kafka;
mod mysql;
mod nats;
#[path = "../support/project.rs"]
mod project;
mod redis;
