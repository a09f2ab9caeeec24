//! Object stores of one's own: moto for S3, azurite for Azure. `cargo xtask test` installs them in
//! the target folder.
//!
//! A server ends with the process that started it. A missing one is an error with the install line,
//! never a skip.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The account that azurite knows.
pub const AZURE_ACCOUNT: &str = "devstoreaccount1";
/// Its key, which everybody knows.
pub const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// moto wants a login and believes any.
const S3_LOGIN: &str = "Authorization: AWS4-HMAC-SHA256 Credential=any/20240229/us-east-1/s3/aws4_request, \
     SignedHeaders=host, Signature=any\r\n";

/// The folder in Cargo's target folder where `cargo xtask test` puts the programs.
pub const FOLDER: &str = "object-stores";

/// A running store.
#[derive(Debug)]
pub struct ObjectServer {
    address: SocketAddr,
    azure: bool,
    watcher: Child,
}

/// Where the programs are: beside the folder of the running test.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own file");
    let found = test
        .ancestors()
        .map(|place| place.join(FOLDER))
        .find(|place| place.is_dir());
    found.unwrap_or_else(|| {
        panic!("no {FOLDER} in the target folder; install it: cargo xtask test objects")
    })
}

impl ObjectServer {
    /// moto, which speaks S3.
    pub fn s3() -> Self {
        let program = folder().join("python/bin/moto_server");
        Self::start(program, &["-H", "127.0.0.1", "-p", "0"], false)
    }

    /// azurite, which speaks Azure's blobs and verifies signatures.
    pub fn azure() -> Self {
        let program = folder().join("node/node_modules/.bin/azurite-blob");
        let arguments = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
        ];
        Self::start(program, &arguments, true)
    }

    /// Python with DuckDB, to read what was written with another library than ours.
    pub fn python() -> Command {
        Command::new(folder().join("python/bin/python3"))
    }

    fn start(program: PathBuf, arguments: &[&str], azure: bool) -> Self {
        assert!(
            program.exists(),
            "{} is missing; install it: cargo xtask test objects",
            program.display()
        );
        let script = r#""$@" </dev/null 2>&1 & p=$!; cat >/dev/null; kill -KILL $p; wait $p"#;
        let mut watcher = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start an object store");
        let mut said = BufReader::new(watcher.stdout.take().expect("a pipe"));
        let mut all = String::new();
        let address = loop {
            let mut line = String::new();
            let read = said.read_line(&mut line).expect("read what it says");
            assert!(read > 0, "the object store did not start: {all}");
            let address = line
                .rsplit_once("http://")
                .and_then(|(_, address)| address.trim().parse().ok());
            if let Some(address) = address {
                break address;
            }
            all.push_str(&line);
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self {
            address,
            azure,
            watcher,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket, or a container that anybody may read.
    pub fn bucket(&self, name: &str) {
        self.make(name, "x-ms-blob-public-access:container\n");
    }

    /// Makes a container that nobody may read without the key.
    pub fn private_container(&self, name: &str) {
        self.make(name, "");
    }

    fn make(&self, name: &str, access: &str) {
        let (status, body) = if self.azure {
            let date = "Thu, 29 Feb 2024 12:00:00 GMT";
            let headers = format!("{access}x-ms-date:{date}\nx-ms-version:2021-08-06");
            let text = format!(
                "PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}\n/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\n\
                 restype:container"
            );
            let key = STANDARD.decode(AZURE_KEY).expect("a key");
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
            mac.update(text.as_bytes());
            let signature = STANDARD.encode(mac.finalize().into_bytes());
            let headers = headers.replace('\n', "\r\n");
            let login = format!("Authorization: SharedKey {AZURE_ACCOUNT}:{signature}");
            let path = format!("/{AZURE_ACCOUNT}/{name}?restype=container");
            self.request("PUT", &path, &format!("{headers}\r\n{login}\r\n"))
        } else {
            self.request("PUT", &format!("/{name}"), S3_LOGIN)
        };
        assert!(status < 300, "{status}: {}", String::from_utf8_lossy(&body));
    }

    /// Names of a bucket's objects, sorted.
    pub fn names(&self, bucket: &str) -> Vec<String> {
        let (path, tag) = if self.azure {
            let path = format!("/{AZURE_ACCOUNT}/{bucket}?restype=container&comp=list");
            (path, "Name")
        } else {
            (format!("/{bucket}?list-type=2"), "Key")
        };
        let mut names = self.tags(&path, tag);
        names.sort();
        names
    }

    /// Ids of a bucket's uploads that are not complete (S3).
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        self.tags(&format!("/{bucket}?uploads"), "UploadId")
    }

    /// The bytes of an object.
    pub fn object(&self, bucket: &str, name: &str) -> Vec<u8> {
        let path = if self.azure {
            format!("/{AZURE_ACCOUNT}/{bucket}/{name}")
        } else {
            format!("/{bucket}/{name}")
        };
        let (status, body) = self.request("GET", &path, self.login());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        body
    }

    fn tags(&self, path: &str, tag: &str) -> Vec<String> {
        let (status, body) = self.request("GET", path, self.login());
        let body = String::from_utf8(body).expect("XML");
        assert_eq!(status, 200, "{body}");
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let parts = body.split(&open).skip(1);
        parts
            .filter_map(|part| part.split_once(&close))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    fn login(&self) -> &'static str {
        if self.azure { "" } else { S3_LOGIN }
    }

    fn request(&self, method: &str, path: &str, headers: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).expect("connect to the object store");
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: 0\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).expect("ask it");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("read its answer");
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (status.expect("a status"), answer[end + 4..].to_vec())
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}
