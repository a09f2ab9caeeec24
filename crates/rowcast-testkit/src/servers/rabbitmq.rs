//! A RabbitMQ broker with its management interface, which tests read and change it through.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use super::{Process, folder};
use crate::postgres::{free_port, give_to_server};

/// Debian's wrapper beside it insists on a system user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The register of names would stay behind as a daemon if the broker started it.
const START: &str = r#"epmd -address 127.0.0.1 & exec "$0""#;

/// A running broker. Its user `caster` is for destinations.
#[derive(Debug)]
pub struct RabbitMq {
    pub port: u16,
    management: u16,
    process: Process,
    _dir: tempfile::TempDir,
}

impl RabbitMq {
    /// Starts a broker whose user `caster` has this password.
    ///
    /// # Panics
    /// It is not installed or does not start.
    pub fn start(password: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "no rabbitmq-server was found; install it: apt-get install -y rabbitmq-server"
        );
        let dir = folder("rabbitmq");
        let (port, management, dist, names) = (free_port(), free_port(), free_port(), free_port());
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("write a file of rabbitmq");
            give_to_server(&path);
            path.display().to_string()
        };
        let config = file(
            "rabbitmq.conf",
            format!(
                "listeners.tcp.1 = 127.0.0.1:{port}\nmanagement.tcp.port = {management}\n\
                 management.tcp.ip = 127.0.0.1\ndefault_user = admin\ndefault_pass = admin\n\
                 log.console = false\ndisk_free_limit.absolute = 1MB\n"
            ),
        );
        let plugins = file("enabled_plugins", "[rabbitmq_management].\n".to_owned());
        let home = dir.path().display().to_string();
        let environment = [
            ("HOME", home.clone()),
            ("RABBITMQ_NODENAME", format!("rowcast{port}@localhost")),
            ("RABBITMQ_MNESIA_BASE", format!("{home}/mnesia")),
            ("RABBITMQ_LOG_BASE", format!("{home}/log")),
            ("RABBITMQ_CONFIG_FILE", config),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", plugins),
            ("RABBITMQ_DIST_PORT", dist.to_string()),
            ("ERL_EPMD_PORT", names.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ];
        let environment = environment
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        let process = Process::start(
            vec![
                "sh".to_owned(),
                "-c".to_owned(),
                START.to_owned(),
                PROGRAM.to_owned(),
            ],
            environment,
            "Starting broker... completed",
        );
        let broker = Self {
            port,
            management,
            process,
            _dir: dir,
        };
        broker.password(password);
        broker.call(
            "PUT",
            "/api/permissions/%2F/caster",
            &json!({ "configure": "", "write": ".*", "read": "" }),
        );
        broker
    }

    /// Kills the broker and starts it again on what it had written.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process.run();
    }

    /// Gives `caster` another password.
    pub fn password(&self, password: &str) {
        let user = json!({ "password": password, "tags": "" });
        self.call("PUT", "/api/users/caster", &user);
    }

    /// A topic exchange and a queue of the same name that takes everything from it.
    pub fn topic(&self, name: &str) {
        let durable = json!({ "durable": true, "type": "topic" });
        self.call("PUT", &format!("/api/exchanges/%2F/{name}"), &durable);
        self.queue(name, &json!({}));
        self.bind(name, name, "#");
    }

    /// A durable queue with arguments.
    pub fn queue(&self, name: &str, arguments: &Value) {
        let queue = json!({ "durable": true, "arguments": arguments });
        self.call("PUT", &format!("/api/queues/%2F/{name}"), &queue);
    }

    /// Removes a queue.
    pub fn remove_queue(&self, name: &str) {
        self.call("DELETE", &format!("/api/queues/%2F/{name}"), &Value::Null);
    }

    /// What goes from an exchange to a queue; its pattern needs no escapes but `#`.
    pub fn bind(&self, exchange: &str, queue: &str, pattern: &str) {
        self.call(
            "POST",
            &format!("/api/bindings/%2F/e/{exchange}/q/{queue}"),
            &json!({ "routing_key": pattern }),
        );
    }

    /// Undoes `bind`.
    pub fn unbind(&self, exchange: &str, queue: &str, pattern: &str) {
        let pattern = pattern.replace('#', "%23");
        self.call(
            "DELETE",
            &format!("/api/bindings/%2F/e/{exchange}/q/{queue}/{pattern}"),
            &Value::Null,
        );
    }

    /// The messages of a queue, in their order; they stay there.
    pub fn messages(&self, queue: &str) -> Vec<Value> {
        let wanted = json!({ "count": 10_000, "ackmode": "ack_requeue_true", "encoding": "auto" });
        let answer = self.call("POST", &format!("/api/queues/%2F/{queue}/get"), &wanted);
        answer.as_array().cloned().unwrap_or_default()
    }

    /// Calls the management interface.
    ///
    /// # Panics
    /// It refuses the call.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.management)).expect("connect to rabbitmq");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        // admin:admin
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic YWRtaW46YWRtaW4=\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .expect("call rabbitmq");
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .expect("an answer of rabbitmq");
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path}: {text}");
        let body = if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            joined(body)
        } else {
            body.to_owned()
        };
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }
}

/// A body that came in pieces, each after its length.
fn joined(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        out.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    out
}
