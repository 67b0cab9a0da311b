//! The private key that a connection over ssh logs in with: OpenSSH's own form, PKCS#1, PKCS#8 or SEC1, without a
//! passphrase.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair};
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{HashAlg, PrivateKey, decode_secret_key};
use russh::{SendError, Signer};

/// A key. No `Debug`: it is a secret.
pub(super) struct Key {
    pub(super) key: Arc<PrivateKey>,
    /// Of an RSA key.
    pub(super) rsa: Option<Rsa>,
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// What is wrong with the file, as the end of a sentence that begins with "it".
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Some(problem) = key_problem(text) {
            return Err(problem.to_owned());
        }
        // Spaces at the ends of lines, and what stands before the key (`openssl pkcs12` writes attributes there).
        let lines: Vec<_> =
            text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----")).collect();
        let key = decode_secret_key(&lines.join("\n"), None)
            .map_err(|_| "holds a private key that can't be read; is it cut off?".to_owned())?;
        let rsa = match key.key_data() {
            KeypairData::Rsa(pair) => Some(Rsa::of(pair)?),
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => None,
            _ => {
                let kind = key.algorithm();
                return Err(format!(
                    "is a key of the type {kind}, which is not supported; ed25519, ecdsa and rsa are"
                ));
            }
        };
        Ok(Self { key: Arc::new(key), rsa })
    }

    /// What the server's administrators see of it, e.g. `ssh-ed25519 SHA256:...`.
    pub(super) fn shown(&self) -> String {
        let public = self.key.public_key();
        format!("{} {}", public.algorithm(), public.fingerprint(HashAlg::Sha256))
    }
}

/// Signs with RSA through ring, whose time does not depend on the key: RUSTSEC-2023-0071 is about the crate that russh
/// would use for it.
pub(super) struct Rsa(RsaKeyPair);

impl Rsa {
    fn of(pair: &RsaKeypair) -> Result<Self, String> {
        let damaged = || "holds an RSA key whose numbers don't fit each other".to_owned();
        let number = |number: Option<&[u8]>| number.map(BigUint::from_bytes_be).ok_or_else(damaged);
        let (public, private) = (pair.public(), pair.private());
        let components = components(
            number(public.n().as_positive_bytes())?,
            number(public.e().as_positive_bytes())?,
            number(private.d().as_positive_bytes())?,
            number(private.p().as_positive_bytes())?,
            number(private.q().as_positive_bytes())?,
        );
        let bits = BigUint::from_bytes_be(public.n().as_positive_bytes().unwrap_or_default()).bits();
        if !(2_048..=4_096).contains(&bits) {
            return Err(format!("holds an RSA key of {bits} bits; 2048 to 4096 can be used, or ed25519"));
        }
        let components = components.ok_or_else(damaged)?;
        Ok(Self(RsaKeyPair::from_components(&components).map_err(|_| damaged())?))
    }

    /// A signature as SSH wants it (RFC 8332): the algorithm's name and the number.
    pub(super) fn sign(&self, hash: HashAlg, message: &[u8]) -> Option<Vec<u8>> {
        let (name, padding) = match hash {
            HashAlg::Sha256 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
            _ => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
        };
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
        let mut inner = Vec::new();
        string(name.as_bytes(), &mut inner)?;
        string(&signature, &mut inner)?;
        Some(inner)
    }
}

/// The numbers that ring asks for. It wants the larger prime first, which keys that were made by Go do not have.
fn components(
    n: BigUint,
    e: BigUint,
    d: BigUint,
    p: BigUint,
    q: BigUint,
) -> Option<KeyPairComponents<Vec<u8>>> {
    let (p, q) = if p < q { (q, p) } else { (p, q) };
    let one = BigUint::from(1u8);
    if q <= one || p == q {
        return None;
    }
    let (d_p, d_q, q_inverse) = (&d % (&p - &one), &d % (&q - &one), q.modinv(&p)?);
    let bytes = |number: BigUint| number.to_bytes_be();
    Some(KeyPairComponents {
        public_key: PublicKeyComponents { n: bytes(n), e: bytes(e) },
        d: bytes(d),
        p: bytes(p),
        q: bytes(q),
        dP: bytes(d_p),
        dQ: bytes(d_q),
        qInv: bytes(q_inverse),
    })
}

/// Puts a length and the bytes (RFC 4251, "string").
fn string(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

/// Signs a login.
pub(super) struct Login<'k>(pub(super) &'k Rsa);

/// Why no signature was made or sent.
pub(super) struct NotSigned;

impl From<SendError> for NotSigned {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl Signer for Login<'_> {
    type Error = NotSigned;

    /// Gives what is to be signed with the signature at its end.
    async fn auth_sign(
        &mut self,
        _: &russh::keys::agent::AgentIdentity,
        hash: Option<HashAlg>,
        mut message: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        let signature = self.0.sign(hash.ok_or(NotSigned)?, &message).ok_or(NotSigned)?;
        string(&signature, &mut message).ok_or(NotSigned)?;
        Ok(message)
    }
}

/// Why a file is no private key that can be used; none for one that can.
fn key_problem(text: &str) -> Option<&'static str> {
    const PASSPHRASE: &str = "has a passphrase: it can't be used without a person; make a key without one ('ssh-keygen -p -f \
         FILE' takes it away), and let nobody else read the file";
    let text = text.trim_start();
    if text.starts_with("PuTTY-User-Key-File") {
        return Some("is a key of PuTTY's own form; 'puttygen FILE -O private-openssh' writes OpenSSH's");
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        return Some("is a public key; name the private one, which has no .pub at its end");
    }
    if text.contains("KEY-----\\n") {
        return Some("has the ends of its lines written out as \\n; it must have lines");
    }
    if !text.contains("PRIVATE KEY-----") {
        return Some("holds no private key in PEM (-----BEGIN ... PRIVATE KEY-----)");
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Some(PASSPHRASE);
    }
    (text.contains("BEGIN OPENSSH PRIVATE KEY") && cipher(text).is_some_and(|cipher| cipher != b"none"))
        .then_some(PASSPHRASE)
}

/// The cipher that a key in OpenSSH's form is encrypted with (PROTOCOL.key).
fn cipher(text: &str) -> Option<Vec<u8>> {
    let body: String =
        text.lines().skip(1).take_while(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = STANDARD.decode(body).ok()?;
    let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some(rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go's crypto/rsa makes keys whose first prime is the smaller one; ring takes none of those as they are.
    #[test]
    fn the_order_of_an_rsa_keys_primes_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-t", "rsa", "-b", "2048", "-f"]).arg(&file);
        assert!(command.status().unwrap().success());
        let key = Key::read(&std::fs::read_to_string(&file).unwrap()).ok().unwrap();
        let KeypairData::Rsa(pair) = key.key.key_data() else { panic!("no RSA key") };
        let number = |number: Option<&[u8]>| BigUint::from_bytes_be(number.unwrap());
        let (public, private) = (pair.public(), pair.private());
        let (n, e) = (number(public.n().as_positive_bytes()), number(public.e().as_positive_bytes()));
        let d = number(private.d().as_positive_bytes());
        let (p, q) = (number(private.p().as_positive_bytes()), number(private.q().as_positive_bytes()));
        for (p, q) in [(p.clone(), q.clone()), (q.clone(), p.clone())] {
            let parts = components(n.clone(), e.clone(), d.clone(), p, q).unwrap();
            let key = Rsa(RsaKeyPair::from_components(&parts).unwrap());
            assert!(
                key.sign(HashAlg::Sha256, b"text").unwrap().starts_with(b"\0\0\0\x0crsa-sha2-256\0\0\x01\0")
            );
        }
        assert!(components(n.clone(), e.clone(), d.clone(), p.clone(), p.clone()).is_none());
        assert!(components(n, e, d, p, BigUint::default()).is_none());
    }
}
