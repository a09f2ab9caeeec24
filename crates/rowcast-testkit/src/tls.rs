//! TLS before a plain server: it presents a certificate and passes on what comes out of it.
//!
//! The certificate can be exchanged while it runs, as a service does that renews one. It runs on
//! threads of its own and ends with the test's process.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// What a connection meets.
#[derive(Clone)]
enum Face {
    Tls(Arc<ServerConfig>),
    Plain,
}

/// The running front. Connections that stand keep the certificate that they were shown.
pub struct Front {
    address: SocketAddr,
    face: Arc<Mutex<Face>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test must not hide its message behind a poisoned lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    /// Listens on a loopback port for `target`, with a certificate (or chain) and its key, PEM.
    ///
    /// # Panics
    /// No loopback port is free, or the certificate is none.
    pub fn to(target: SocketAddr, certificate: &str, key: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let face = Arc::new(Mutex::new(face(certificate, key)));
        let shown = Arc::clone(&face);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let face = lock(&shown).clone();
                std::thread::spawn(move || serve(stream, target, face));
            }
        });
        Self { address, face }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections are shown this certificate.
    ///
    /// # Panics
    /// The certificate is none.
    pub fn present(&self, certificate: &str, key: &str) {
        *lock(&self.face) = face(certificate, key);
    }

    /// New connections meet a server that does not speak TLS: it answers 400 in clear.
    pub fn without_tls(&self) {
        *lock(&self.face) = Face::Plain;
    }
}

fn face(certificate: &str, key: &str) -> Face {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates in PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key in PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is the certificate's");
    Face::Tls(Arc::new(config))
}

fn serve(mut client: TcpStream, target: SocketAddr, face: Face) {
    let Face::Tls(config) = face else {
        // As servers do that expect a request in clear and read a handshake.
        let _greeting = client.read(&mut [0; 4096]);
        let _told = client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        return;
    };
    let Ok(session) = ServerConnection::new(config) else {
        return;
    };
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    let session = Mutex::new(session);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = up(&client, &server, &session);
            let _gone = server.shutdown(Shutdown::Write);
        });
        let _ended = down(&client, &server, &session);
        let _gone = client.shutdown(Shutdown::Both);
        let _gone = server.shutdown(Shutdown::Both);
    });
}

/// Requests. Reading from the network happens outside the lock: the other direction needs it.
fn up(
    mut client: &TcpStream,
    mut server: &TcpStream,
    session: &Mutex<ServerConnection>,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut plain = Vec::new();
        let mut coded = &buffer[..read];
        let mut session = lock(session);
        while !coded.is_empty() {
            session.read_tls(&mut coded)?;
            let processed = session.process_new_packets();
            // Also an alert that says why it is over.
            while session.wants_write() {
                session.write_tls(&mut client)?;
            }
            let ready = processed.map_err(std::io::Error::other)?;
            let mut part = vec![0; ready.plaintext_bytes_to_read()];
            session.reader().read_exact(&mut part)?;
            plain.extend(part);
        }
        drop(session);
        server.write_all(&plain)?;
    }
}

/// Answers.
fn down(
    mut client: &TcpStream,
    mut server: &TcpStream,
    session: &Mutex<ServerConnection>,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = server.read(&mut buffer)?;
        let mut session = lock(session);
        if read == 0 {
            session.send_close_notify();
        }
        session.writer().write_all(&buffer[..read])?;
        while session.wants_write() {
            session.write_tls(&mut client)?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}
