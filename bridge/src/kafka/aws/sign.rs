//! Addresses signed by an access key: AWS Signature Version 4, all of it in the query ("Signature
//! Version 4 for API requests", AWS's manual of IAM).

use std::time::Duration;

use ring::{digest, hmac};

use crate::door::escaped;
use crate::sink::questdb::options::Secret;

/// The hash of no payload.
pub const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An access key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// The key.
    pub secret: Secret,
    /// The token of the session that it is of.
    pub session: Option<Secret>,
}

/// What is signed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Whose it is.
    pub host: &'a str,
    /// Begins with a slash.
    pub path: &'a str,
    /// What is asked, not escaped.
    pub query: &'a [(&'a str, &'a str)],
    /// Where.
    pub region: &'a str,
    /// Of which service.
    pub service: &'a str,
    /// The hash of what is sent, or words that stand for none.
    pub payload: &'a str,
    /// How long it is good.
    pub life: Duration,
    /// The time, such as `20130524T000000Z`.
    pub at: String,
}

/// The address of a GET, with its signature.
pub fn presigned(request: &Request<'_>, key: &Key) -> String {
    let Request { host, path, region, service, payload, at, .. } = request;
    let date = at.split('T').next().unwrap_or_default();
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let credential = format!("{}/{scope}", key.id);
    let life = request.life.as_secs().to_string();
    let mut query: Vec<(&str, &str)> = request.query.to_vec();
    query.extend([
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", &*credential),
        ("X-Amz-Date", &**at),
        ("X-Amz-Expires", &*life),
        ("X-Amz-SignedHeaders", "host"),
    ]);
    query.extend(key.session.as_ref().map(|session| ("X-Amz-Security-Token", &*session.0)));
    let mut parts: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    parts.sort_unstable();
    let query = parts.join("&");
    let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{payload}");
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{hash}");
    let mut by = format!("AWS4{}", key.secret.0).into_bytes();
    for part in [date, region, service, "aws4_request"] {
        by = mac(&by, part);
    }
    format!("https://{host}{path}?{query}&X-Amz-Signature={}", hex(&mac(&by, &text)))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Authenticating Requests: Using Query Parameters", the example of S3's manual.
    #[test]
    fn the_manuals_example_is_signed_as_there() {
        let key = Key {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session: None,
        };
        let request = Request {
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: &[],
            region: "us-east-1",
            service: "s3",
            payload: "UNSIGNED-PAYLOAD",
            life: Duration::from_secs(86_400),
            at: "20130524T000000Z".to_owned(),
        };
        let url = presigned(&request, &key);
        let expected = "https://examplebucket.s3.amazonaws.com/test.txt\
                        ?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
                        aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400\
                        &X-Amz-SignedHeaders=host&X-Amz-Signature=\
                        aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert_eq!(url, expected);
    }

    #[test]
    fn the_empty_payload_has_this_hash() {
        assert_eq!(hex(digest::digest(&digest::SHA256, b"").as_ref()), EMPTY);
    }
}
