//! Control planes for tests that need no more than a namespace, or an instance, of their own.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::{ControlPlane, Options, Result};

/// The control plane of that name, which all tests of this process share; the first one starts it.
///
/// What stops or pauses a server takes `&mut`, so that a test can do it only to its own.
///
/// It belongs to no runtime (each test has its own), only to the process, at whose end its servers
/// end.
pub async fn shared(name: &'static str) -> Result<&'static ControlPlane> {
    static CELLS: LazyLock<Mutex<HashMap<&str, &OnceCell<ControlPlane>>>> = LazyLock::new(Mutex::default);
    let cell: &'static OnceCell<ControlPlane> = {
        let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(name).or_insert_with(|| Box::leak(Box::default()))
    };
    cell.get_or_try_init(|| ControlPlane::start(name, Options::default())).await
}
