use std::path::PathBuf;

/// Why a forge can't be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    #[error("cannot read the secret in {}", .path.display())]
    Secret { path: PathBuf, source: std::io::Error },
    #[error("the secret in {} can't be used: {reason}", .path.display())]
    BadSecret { path: PathBuf, reason: &'static str },
    #[error("the certificates in {} can't be used: {reason}", .path.display())]
    Certificates { path: PathBuf, reason: String },
    #[error("forge: {0}")]
    Settings(String),
    #[error("the forge can't be reached: {asked}: {reason}")]
    Unreachable { asked: String, reason: String },
    #[error("the forge refused {message}")]
    Refused { status: u16, message: String },
    #[error("the forge's answer can't be understood: {0}")]
    Answer(&'static str),
}
