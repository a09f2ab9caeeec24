//! Objects that appear whole or not at all.
//!
//! A large file goes up in parts that nobody sees; a small one is one request. Only when everything
//! of a run is up are the parts joined. What fails before leaves nothing: uploads that were begun
//! are aborted. What a killed process leaves are parts that nobody sees; see the connectors' pages.

use std::error::Error as StdError;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStore, ObjectStoreExt as _, PutPayload};
use rowcast_core::{Applied, Code, Fault, Reason, killpoint};

use crate::client::Failed;

/// Bytes of a part; above the 5 MiB that S3 asks of all parts but the last.
const PART_BYTES: u64 = 8 << 20;
/// Parts of one object; S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;
/// Parts in flight together: what bounds memory.
const CONCURRENCY: usize = 4;

/// A store that joins objects of parts.
pub(crate) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// An object that is up and not yet seen.
enum Ready {
    /// Small enough for one request, which is still to be made.
    Whole(Path, Arc<File>, u64),
    Parts(Path, MultipartId, Vec<PartId>),
}

/// Makes objects of files, all or, where it can be helped, none. `place` is what people call the
/// store.
pub(crate) async fn publish(
    store: &dyn Store,
    place: &str,
    files: Vec<(Path, File)>,
) -> Result<(), Fault> {
    let mut ready = Vec::with_capacity(files.len());
    for (path, file) in files {
        match upload(store, &path, file).await {
            Ok(object) => ready.push(object),
            Err(error) => {
                abandon(store, &ready).await;
                return Err(Fault::fatal(explain(&error, "write", &path, place)));
            }
        }
    }
    killpoint::reach("objects-uploaded");
    for (position, object) in ready.iter().enumerate() {
        if let Err(error) = complete(store, object).await {
            abandon(store, &ready[position..]).await;
            let applied = if position == 0 && is_refused(&error) {
                Applied::No
            } else {
                Applied::Unknown
            };
            let reason = explain(&error, "write", object.path(), place);
            return Err(Fault::Fatal { applied, reason });
        }
    }
    Ok(())
}

impl Ready {
    fn path(&self) -> &Path {
        match self {
            Self::Whole(path, ..) | Self::Parts(path, ..) => path,
        }
    }
}

async fn upload(store: &dyn Store, path: &Path, file: File) -> Result<Ready, Error> {
    let size = file.metadata().map_err(local)?.len();
    let file = Arc::new(file);
    if size <= PART_BYTES {
        return Ok(Ready::Whole(path.clone(), file, size));
    }
    let id = store.create_multipart(path).await?;
    let part = PART_BYTES.max(size.div_ceil(PARTS_MAX));
    let (id, file) = (&id, &file);
    let parts = futures::stream::iter(0..size.div_ceil(part))
        .map(|number| async move {
            let start = number * part;
            let bytes = read(Arc::clone(file), start, part.min(size - start)).await?;
            store
                .put_part(path, id, number as usize, PutPayload::from(bytes))
                .await
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await;
    match parts {
        Ok(parts) => Ok(Ready::Parts(path.clone(), id.clone(), parts)),
        Err(error) => {
            abort(store, path, id).await;
            Err(error)
        }
    }
}

async fn complete(store: &dyn Store, object: &Ready) -> Result<(), Error> {
    match object {
        Ready::Whole(path, file, size) => {
            let bytes = read(Arc::clone(file), 0, *size).await?;
            store.put(path, PutPayload::from(bytes)).await?;
        }
        Ready::Parts(path, id, parts) => {
            store.complete_multipart(path, id, parts.clone()).await?;
        }
    }
    Ok(())
}

async fn abandon(store: &dyn Store, objects: &[Ready]) {
    for object in objects {
        if let Ready::Parts(path, id, _) = object {
            abort(store, path, id).await;
        }
    }
}

/// Ends an upload. Where that fails too, the store's rule for incomplete uploads does it later, and
/// the first failure is the one to tell.
async fn abort(store: &dyn Store, path: &Path, id: &MultipartId) {
    if let Err(error) = store.abort_multipart(path, id).await {
        tracing::warn!(%path, %error, "an upload that failed could not be aborted");
    }
}

async fn read(file: Arc<File>, start: u64, length: u64) -> Result<Bytes, Error> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, start)
            .map(|()| Bytes::from(bytes))
    });
    match read.await {
        Ok(read) => read.map_err(local),
        Err(error) => Err(Error::JoinError { source: error }),
    }
}

/// A failure of the local disk, as one of the library's errors.
fn local(error: std::io::Error) -> Error {
    let reason = Reason::new(
        Code::FileUnwritable,
        "the draft of a file can't be read back",
    )
    .detail(error.to_string());
    Error::Generic {
        store: "local disk",
        source: Box::new(Failed(Fault::fatal(reason))),
    }
}

/// Whether the store certainly did nothing. Where a request was tried again, a refusal for another
/// reason may be the answer to a repetition of what had taken effect.
fn is_refused(error: &Error) -> bool {
    matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    ) || own(error).is_some_and(|fault| matches!(fault, Fault::Fatal { .. }))
}

/// Our own fault among an error's causes.
fn own(error: &Error) -> Option<&Fault> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(Failed(fault)) = error.downcast_ref() {
            return Some(fault);
        }
        next = error.source();
    }
    None
}

/// A store's error as people see it. `what` was attempted on the object of a path.
pub(crate) fn explain(error: &Error, what: &str, path: &Path, place: &str) -> Reason {
    if let Some(fault) = own(error) {
        return fault.reason().clone();
    }
    let mut last: &dyn StdError = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let (code, hint) = match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (
            Code::DestinationAuth,
            "check the credentials, and that they may read, write and abort uploads under this path",
        ),
        Error::NotFound { .. } => (
            Code::DestinationObject,
            "make the bucket or container first, or correct its name; rowcast does not make it",
        ),
        _ => (
            Code::DestinationBusy,
            "nothing of this run was acknowledged; the next run writes it again",
        ),
    };
    Reason::new(code, format!("can't {what} {path} in {place}"))
        .detail(last.to_string())
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use object_store::memory::InMemory;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[tokio::test]
    async fn a_large_file_is_joined_of_its_parts_in_order() {
        let store = InMemory::new();
        let bytes: Vec<u8> = (0..PART_BYTES as usize * 2 + 17)
            .map(|at| (at % 251) as u8)
            .collect();
        let files = vec![
            (Path::from("large"), file(&bytes)),
            (Path::from("small"), file(b"small")),
        ];
        publish(&store, "memory", files).await.unwrap();
        let read = async |name: &str| store.get(&Path::from(name)).await.unwrap().bytes().await;
        assert!(read("large").await.unwrap() == bytes);
        assert_eq!(read("small").await.unwrap(), "small");
    }
}
