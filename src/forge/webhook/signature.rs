//! Whether a delivery is the forge's. Nothing here parses the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::hmac;

use crate::forge::api::Delivery;

/// How far the time of a signed delivery may be off, in seconds.
const TOLERANCE: i64 = 300;
/// Marks a key of the Standard Webhooks' kind; what follows is Base64.
pub const SIGNING_KEY: &str = "whsec_";
/// In which the generic webhook carries its signature.
const OWN: &str = "x-fairlead-signature-256";
const HUB: &str = "x-hub-signature-256";

/// The generic webhook's: `sha256=<hex of HMAC-SHA256 over the body>`.
pub(super) fn is_generic(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    [OWN, HUB].into_iter().any(|name| {
        let given = single(headers, name).and_then(|value| value.strip_prefix("sha256="));
        given.is_some_and(|hex| hmac_sha256_hex(secret, hex, body))
    })
}

/// Compares digests, in constant time whatever the lengths.
pub fn is_same_secret(given: &str, secret: &str) -> bool {
    blake3::hash(given.as_bytes()) == blake3::hash(secret.as_bytes())
}

/// A header that is there just once.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

/// Whether a text is the hex of HMAC-SHA256 over the body.
pub fn hmac_sha256_hex(secret: &str, given: &str, body: &[u8]) -> bool {
    let Some(tag) = from_hex(given) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body, &tag).is_ok()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let bytes: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// The signature of the Standard Webhooks: HMAC-SHA256 over `<id>.<timestamp>.<body>`; several while keys are exchanged.
/// `key` is what follows [`SIGNING_KEY`].
pub fn standard_webhook(key: &str, Delivery { headers, body, now }: Delivery<'_>) -> bool {
    let parts = (|| {
        let id = single(headers, "webhook-id")?;
        let time = single(headers, "webhook-timestamp")?;
        Some((id, time, single(headers, "webhook-signature")?, STANDARD.decode(key).ok()?))
    })();
    let Some((id, time, signatures, key)) = parts else { return false };
    let fresh = |time: i64| now.as_second().abs_diff(time) <= TOLERANCE.unsigned_abs();
    if !time.parse().is_ok_and(fresh) {
        return false;
    }
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| {
        STANDARD.decode(signature).is_ok_and(|tag| hmac::verify(&key, &message, &tag).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use jiff::Timestamp;

    use super::*;
    use crate::forge::ForgeKind;
    use crate::forge::webhook::is_signed;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    /// GitHub's own test vector.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn each_forge_signs_in_its_own_way_and_nothing_else_passes() {
        use ForgeKind::{Forgejo, Generic, Gitea, Github, Gitlab};
        let hub = format!("sha256={HEX}");
        let wrong = format!("sha256={}", HEX.replace('7', "8"));
        let short = &hub[..hub.len() - 2];
        let longer = format!("{hub}00");
        type Headers<'h> = &'h [(&'static str, &'h str)];
        let cases: &[(ForgeKind, &str, Headers<'_>, bool)] = &[
            (Github, SECRET, &[("x-hub-signature-256", &hub)], true),
            (Generic, SECRET, &[("x-hub-signature-256", &hub)], true),
            (Generic, SECRET, &[("x-fairlead-signature-256", &hub)], true),
            (Gitea, SECRET, &[("x-gitea-signature", HEX)], true),
            (Gitea, SECRET, &[("x-hub-signature-256", &hub)], true),
            (Forgejo, SECRET, &[("x-forgejo-signature", HEX)], true),
            (Gitlab, SECRET, &[("x-gitlab-token", SECRET)], true),
            (Github, SECRET, &[], false),
            (Github, SECRET, &[("x-hub-signature-256", "")], false),
            (Github, SECRET, &[("x-hub-signature-256", "sha256=")], false),
            (Github, SECRET, &[("x-hub-signature-256", &wrong)], false),
            (Github, SECRET, &[("x-hub-signature-256", short)], false),
            (Github, SECRET, &[("x-hub-signature-256", &longer)], false),
            (Github, SECRET, &[("x-hub-signature-256", HEX)], false),
            (Github, SECRET, &[("x-hub-signature-256", &hub), ("x-hub-signature-256", &wrong)], false),
            (Github, "another secret", &[("x-hub-signature-256", &hub)], false),
            (Github, SECRET, &[("x-gitea-signature", HEX)], false),
            (Gitea, SECRET, &[("x-gitea-signature", "")], false),
            (Gitlab, SECRET, &[("x-gitlab-token", "")], false),
            (Gitlab, SECRET, &[("x-gitlab-token", "It's a Secret to Everybodx")], false),
            (Gitlab, SECRET, &[("x-hub-signature-256", &hub)], false),
        ];
        for (kind, secret, given, good) in cases {
            let headers = headers(given);
            let delivery = Delivery { headers: &headers, body: BODY, now: Timestamp::UNIX_EPOCH };
            let found = is_signed(*kind, secret, delivery);
            assert_eq!(found, *good, "{kind:?} {given:?}");
        }
    }

    #[test]
    fn a_signing_key_signs_the_id_and_the_time_too() {
        let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let sign = |id: &str, time: i64, body: &[u8]| {
            let message = [format!("{id}.{time}.").as_bytes(), body].concat();
            let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
            format!("v1,{}", STANDARD.encode(hmac::sign(&key, &message)))
        };
        let good = |id: &str, time: i64, signature: &str| {
            let time = time.to_string();
            let given = [("webhook-id", id), ("webhook-timestamp", &time), ("webhook-signature", signature)];
            is_signed(ForgeKind::Gitlab, &secret, Delivery { headers: &headers(&given), body: BODY, now: at })
        };
        let time = at.as_second();
        let right = sign("a", time, BODY);
        assert!(good("a", time, &right));
        assert!(good("a", time, &format!("v1,AAAA v0,AAAA {right}")), "one of several");
        assert!(!good("b", time, &right), "another id");
        assert!(!good("a", time + 1, &right), "another time");
        assert!(!good("a", time, &sign("a", time, b"else")), "another body");
        assert!(!good("a", time - 301, &sign("a", time - 301, BODY)), "too old");
        assert!(!good("a", time, ""), "empty");
        let token = [("x-gitlab-token", secret.as_str())];
        let headers = headers(&token);
        let delivery = Delivery { headers: &headers, body: BODY, now: at };
        assert!(!is_signed(ForgeKind::Gitlab, &secret, delivery), "the key as a token");
    }
}
