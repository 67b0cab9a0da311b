//! The store as tasks see it: one thread that writes, and handles to it.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::record::Write;
use super::{Records, Store, StoreError};

/// Requests that wait in the channel before senders do.
const QUEUE: usize = 1024;

/// Groups written in one transaction at most; bounds how long the first waits for the last.
const MAX_BATCH: usize = 256;

type ReadJob = Box<dyn FnOnce(&Records) + Send>;

enum Job {
    Write(Vec<Write>, oneshot::Sender<Result<(), StoreError>>),
    Read(ReadJob),
    Stop,
}

/// Sends to the store's thread. Clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
}

/// The store's thread, for the one who stops it.
#[derive(Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Writes all of them or none; back when they are on the disk. Writes of one task are carried out in order,
    /// and still are when the returned future is dropped after it was first polled to wait for the answer.
    pub async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Write(writes, answer)).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// Reads what all writes that were sent before have left: `handle.read(Records::fleets)`.
    pub async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Records) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // Nobody may be waiting for the answer any more, which is fine.
        let job: ReadJob = Box::new(move |records| drop(answer.send(question(records))));
        self.jobs.send(Job::Read(job)).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Writer {
    /// Carries out what was sent before, closes the file and gives up the lock; blocks until then. Later requests get
    /// [`StoreError::Stopped`].
    pub fn stop(self) {
        // A closed channel means that the thread has ended already.
        let _closed = self.jobs.blocking_send(Job::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl Store {
    /// Gives the store a thread of its own. It ends with [`Writer::stop`], or when the writer and all handles are gone.
    pub fn spawn(self) -> Result<(Handle, Writer), StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(self, queue))
            .map_err(StoreError::io("start the thread of", std::path::Path::new("the store")))?;
        Ok((Handle { jobs: jobs.clone() }, Writer { jobs, thread }))
    }
}

fn serve(mut store: Store, mut queue: mpsc::Receiver<Job>) {
    let mut next = queue.blocking_recv();
    while let Some(job) = next.take() {
        match job {
            Job::Stop => return,
            Job::Read(read) => read(store.records()),
            Job::Write(writes, answer) => next = write_batch(&mut store, &mut queue, writes, answer),
        }
        if next.is_none() {
            next = queue.blocking_recv();
        }
    }
}

/// Writes what waits in the queue in one transaction; hands back the first job that is not a write.
fn write_batch(
    store: &mut Store,
    queue: &mut mpsc::Receiver<Job>,
    writes: Vec<Write>,
    answer: oneshot::Sender<Result<(), StoreError>>,
) -> Option<Job> {
    let (mut groups, mut answers, mut next) = (vec![writes], vec![answer], None);
    while groups.len() < MAX_BATCH {
        match queue.try_recv() {
            Ok(Job::Write(writes, answer)) => {
                groups.push(writes);
                answers.push(answer);
            }
            Ok(other) => {
                next = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    let results = store.write_groups(groups.iter().map(Vec::as_slice));
    for (answer, result) in answers.into_iter().zip(results) {
        if let Err(error) = &result {
            tracing::error!(%error, "the store could not write");
        }
        // Nobody may be waiting for the answer any more, which is fine.
        let _unheard = answer.send(result);
    }
    next
}
