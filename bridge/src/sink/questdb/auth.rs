//! ECDSA authentication of line protocol over TCP: the client names its key, the server sends a
//! challenge (also to a key that it does not know), the client signs it. There is no positive
//! answer: success is that the connection stays open, so a wrong key is only seen as a connection
//! that ends at once.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::blame::Fault;

/// The server sends 512 bytes and a newline; more is not this protocol.
const CHALLENGE_BYTES_MAX: usize = 4096;
/// Bytes of a P-256 scalar.
const SCALAR_BYTES: usize = 32;

/// A key that proves who is writing.
pub struct Key {
    id: String,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// A key from its id, its secret scalar and its public point, as QuestDB writes them
    /// (base64url: `d`, `x`, `y` of a JSON web key).
    pub fn new(id: &str, private: &str, public_x: &str, public_y: &str) -> Result<Key, Fault> {
        let d = scalar("auth_private_key", private)?;
        let mut point = vec![4_u8];
        point.extend(scalar("auth_public_key_x", public_x)?);
        point.extend(scalar("auth_public_key_y", public_y)?);
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, &point, &random)
            .map_err(|error| {
                Fault::operator(format!("reading the key `{id}` for line protocol: {error}"))
                    .hint("auth_private_key, auth_public_key_x and auth_public_key_y are d, x and y of one P-256 key")
            })?;
        Ok(Key { id: id.to_owned(), pair, random })
    }

    /// Answers the server's challenge; how long the server took to send it.
    pub async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
    ) -> std::io::Result<Duration> {
        let asked = Instant::now();
        stream.write_all(format!("{}\n", self.id).as_bytes()).await?;
        stream.flush().await?;
        let challenge = challenge(stream).await?;
        let took = asked.elapsed();
        let signature = self
            .pair
            .sign(&self.random, &challenge)
            .map_err(|_| std::io::Error::other("signing the server's challenge"))?;
        let answer = format!("{}\n", STANDARD.encode(signature.as_ref()));
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        Ok(took)
    }
}

/// Waits so long for the server to hang up on what it was told.
pub async fn refusal<S: AsyncRead + Unpin>(
    stream: &mut S,
    patience: Duration,
) -> std::io::Result<()> {
    let mut told = [0; 1];
    let refused = |what| Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, what));
    match tokio::time::timeout(patience, stream.read(&mut told)).await {
        Err(_still_open) => Ok(()),
        Ok(Ok(0) | Err(_)) => refused("the server hung up on the key's signature"),
        Ok(Ok(_)) => refused("the server answered the key's signature, which it never does"),
    }
}

/// Reads up to the newline, which is not part of what is signed.
async fn challenge<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let mut chunk = [0_u8; 1024];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            let what = "the server hung up on the key's id: does it want a key at all?";
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, what));
        }
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.ends_with(b"\n") {
            bytes.pop();
            return Ok(bytes);
        }
        if bytes.len() > CHALLENGE_BYTES_MAX {
            return Err(std::io::Error::other("the server's challenge is not one"));
        }
    }
}

/// Reads a scalar, left-padded to its full length: leading zeros are often left out.
fn scalar(key: &str, text: &str) -> Result<Vec<u8>, Fault> {
    let wrong = || {
        Fault::operator(format!("{key} is not a P-256 number in base64url"))
            .hint("take d, x and y from the JSON web key that was made for QuestDB")
    };
    let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let bytes = if bytes.len() == SCALAR_BYTES + 1 && bytes[0] == 0 { &bytes[1..] } else { &bytes };
    if bytes.is_empty() || bytes.len() > SCALAR_BYTES {
        return Err(wrong());
    }
    let mut padded = vec![0; SCALAR_BYTES - bytes.len()];
    padded.extend_from_slice(bytes);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    // The example key of QuestDB's documentation.
    const D: &str = "5UjEMuA0Pj5pjK8a-fa24dyIf-Es5mYny3oE_Wmus48";
    const X: &str = "fLKYEaoEb9lrn3nkwLDA-M_xnuFOdSt9y0Z7_vWSHLU";
    const Y: &str = "Dt5tbS1dEDMSYfym3fgMv0B99szno-dFc1rYF9t0aac";

    #[tokio::test]
    async fn the_challenge_is_signed_with_the_key() {
        let key = Key::new("testUser1", D, X, Y).expect("a key");
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let challenge = [b'c'; 512];
        let server = async {
            let mut hello = [0; 10];
            theirs.read_exact(&mut hello).await.expect("the key's id");
            assert_eq!(&hello, b"testUser1\n");
            // In two parts, as a network may do it.
            theirs.write_all(&challenge[..100]).await.expect("sent");
            theirs.write_all(&challenge[100..]).await.expect("sent");
            theirs.write_all(b"\n").await.expect("sent");
            let mut answer = vec![0; 89];
            theirs.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(answer.pop(), Some(b'\n'));
            STANDARD.decode(answer).expect("base64")
        };
        let (proved, signature) = tokio::join!(key.prove(&mut ours), server);
        proved.expect("the challenge was answered");
        let mut point = vec![4];
        point.extend(scalar("x", X).expect("a number"));
        point.extend(scalar("y", Y).expect("a number"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(&challenge, &signature)
            .expect("our signature of the challenge");
    }

    #[tokio::test]
    async fn silence_is_consent() {
        let (mut ours, theirs) = tokio::io::duplex(4096);
        refusal(&mut ours, Duration::from_millis(1)).await.expect("nobody hung up");
        let refused = refusal(&mut ours, Duration::from_secs(60));
        let (refused, ()) = tokio::join!(refused, async { drop(theirs) });
        let kind = refused.expect_err("they hung up").kind();
        assert_eq!(kind, std::io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_an_error() {
        let key = Key::new("nobody", D, X, Y).expect("a key");
        let (mut ours, theirs) = tokio::io::duplex(4096);
        let server = async move {
            let mut theirs = theirs;
            let mut hello = [0; 7];
            theirs.read_exact(&mut hello).await.expect("the key's id");
        };
        let (proved, ()) = tokio::join!(key.prove(&mut ours), server);
        assert!(proved.is_err());
    }

    #[test]
    fn wrong_keys_are_refused_in_words() {
        let fault = Key::new("id", "!!", X, Y).expect_err("not base64");
        assert!(fault.message.contains("auth_private_key"), "{fault}");
        let fault = Key::new("id", D, X, X).expect_err("no point of the curve");
        assert!(fault.message.contains("`id`"), "{fault}");
        assert!(!format!("{:?}", Key::new("id", D, X, Y)).contains(D));
    }
}
