//! A server of a project over real connections and a real database, whose every answer is held
//! against the description of the API.

#![allow(dead_code)] // each test file takes what it needs

mod described;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use rowcast_app::serve::{ServeOptions, Service};
use rowcast_server::{Rate, Server};
use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) token: String,
    stop: CancellationToken,
    pub(crate) crm: Api,
    pub(crate) database: Database,
    pub(crate) folder: tempfile::TempDir,
    running: Option<tokio::task::JoinHandle<()>>,
    /// Routes that gave what was asked, `get /api/v1/syncs`.
    pub(crate) walked: Mutex<BTreeSet<String>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl World {
    /// A server of a project that sends forty customers to a service; nothing runs before `begin`.
    pub(crate) async fn open(name: &str) -> Self {
        Self::open_as(name, |_| {}).await
    }

    /// The same, with other options; the files are there when these are chosen.
    pub(crate) async fn open_as(name: &str, choose: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::open_with(name, choose, |server| server).await
    }

    /// The same, with another server.
    pub(crate) async fn open_with(
        name: &str,
        choose: impl FnOnce(&mut ServeOptions),
        with: impl FnOnce(Server) -> Server,
    ) -> Self {
        let database = Cluster::shared().database(name);
        Cluster::shared().psql(
            &database.name,
            "CREATE TABLE customers (id int PRIMARY KEY, email text);
             INSERT INTO customers SELECT n, n || '@example.com' FROM generate_series(1, 40) n",
        );
        let crm = Api::start();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        write(dir, "rowcast.yml", "project: shop\nversion: 1\n");
        write(
            dir,
            "sources/shop.yml",
            &format!(
                "source: shop\nurl: {}\nsslmode: disable\nallow_superuser: true\n",
                database.url()
            ),
        );
        write(
            dir,
            "models/customers.yml",
            "model: customers\nsource: shop\ntable: customers\nprimary_key: [id]\nsensitive: [email]\n",
        );
        write(
            dir,
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: http\nsettings: {{ url: \"{}\" }}\n\
                 batch: {{ max_records: 20 }}\nallow_addresses: [127.0.0.0/8]\n",
                crm.url("/customers")
            ),
        );
        write(
            dir,
            "syncs/crm.yml",
            "sync: crm\nmodel: customers\ndestination: crm\nobject: customer\nfields: { email: email }\n\
             schedule: { cron: \"0 6 1 1 *\", timezone: Europe/Paris }\nlog: all\n",
        );
        let mut options = ServeOptions {
            dir: dir.to_owned(),
            env: None,
            database: None,
            jobs: 4,
            git: false,
        };
        choose(&mut options);
        let service = Service::open(options).await.unwrap();
        let stop = CancellationToken::new();
        let server = Server::bind(service.clone(), ([127, 0, 0, 1], 0).into(), &stop)
            .await
            .unwrap();
        let address = server.address().unwrap();
        // The walks over all routes come with many wrong tokens.
        let server = server.with_wrong_tokens(Rate {
            requests: 100_000,
            ..Rate::default()
        });
        tokio::spawn(with(server).serve());
        let token = service.first_token().await.unwrap().unwrap();
        assert!(service.first_token().await.unwrap().is_none());
        Self {
            service,
            address,
            token: token.reveal().clone(),
            stop,
            crm,
            database,
            folder,
            running: None,
            walked: Mutex::default(),
        }
    }

    pub(crate) fn begin(&mut self) {
        let (service, stop) = (self.service.clone(), self.stop.clone());
        self.running = Some(tokio::spawn(async move { service.run(&stop).await }));
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        if let Some(running) = self.running {
            running.await.unwrap();
        }
    }

    pub(crate) async fn ask_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> = authorization.as_deref().into_iter().collect();
        self.ask_with(&headers, method, path, body).await
    }

    /// With headers, and the first token.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        let mut all = vec![authorization.as_str()];
        all.extend(headers);
        self.ask_with(&all, method, path, body).await
    }

    /// With these headers and no others.
    pub(crate) async fn ask_with(
        &self,
        headers: &[&str],
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!(
            "{} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            method.to_uppercase(),
            body.len()
        );
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            request.push_str("Host: localhost\r\n");
        }
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        request.push_str(&format!("\r\n{body}"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        };
        if let Some(route) = described::hold(method, path, &answer) {
            self.walked.lock().unwrap().insert(route);
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask_as(Some(&self.token), "get", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask_as(Some(&self.token), "post", path, body).await
    }

    /// Follows a job to its end.
    pub(crate) async fn ended(&self, job: i64) -> String {
        self.get(&format!("/api/v1/jobs/{job}/events"))
            .await
            .expect(200)
            .body
    }
}

/// A path with something in place of its parameters.
pub(crate) fn filled(path: &str) -> String {
    path.replace("{name}", "crm")
        .replace("{run}", "1")
        .replace("{job}", "1")
        .replace("{id}", "999")
        .replace("{code}", "E0904")
}
