//! Who is let in, with a right secret and with a wrong one; whom the bridge trusts; and answers
//! that no registry gives: each is bounded, told with the key to change, and tells no secret.

use std::path::Path;

use super::fake::{Clients, Fake, Reply};
use super::tests::{doors, fault, registry, text, trouble};
use super::*;
use crate::blame::Blame;

/// A secret that must show nowhere.
const WRONG: &str = "hush-hush";

/// A file of the authority of these tests.
fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schemas/tls");
    folder.join(name).display().to_string()
}

/// Asked with these keys beside the address, a registry that has one schema lets the bridge in.
#[track_caller]
fn let_in(fake: &Fake, url: &str, keys: &str) {
    fake.put("/schemas/ids/1", Reply::schema("\"int\""));
    let keys = keys.trim_start_matches(", ");
    let comma = if keys.is_empty() { "" } else { ", " };
    assert_eq!(text(registry(&format!("url = \"{url}\"{comma}{keys}")).by_id(1)), "\"int\"");
}

/// It does not, and says why; no secret is told.
#[track_caller]
fn kept_out(url: &str, keys: &str, blame: Blame, words: &[&str]) {
    let comma = if keys.is_empty() { "" } else { ", " };
    let registry = registry(&format!("url = \"{url}\"{comma}{keys}"));
    let fault = fault(registry.by_id(1));
    let said = fault.to_string();
    assert_eq!(fault.blame, blame, "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "no {word:?} in {said}"));
    let shown = format!("{said} {fault:?} {registry:?}");
    assert!(!shown.contains(WRONG), "{shown}");
}

#[test]
fn users_and_passwords() {
    let fake = Fake::start();
    // user:right
    fake.wants("Basic dXNlcjpyaWdodA==");
    let (url, place) = (fake.url(), fake.address());
    let in_url = |pair: &str| format!("http://{pair}@{place}");
    let keys = |password: &str| format!("username = \"user\", password = \"{password}\"");
    let_in(&fake, &url, &keys("right"));
    let_in(&fake, &in_url("user:right"), "");
    let words = ["401", "set `registry.username` and `registry.password`"];
    kept_out(&url, &keys(WRONG), Blame::Operator, &words);
    let words = ["401", "set user and password in `registry.url`"];
    kept_out(&in_url(&format!("user:{WRONG}")), "", Blame::Operator, &words);
    let words = ["401", "`registry.username`", "`registry.token`", "`registry.oauth`"];
    kept_out(&url, "", Blame::Operator, &words);
    // The keys come before what the address says.
    let_in(&fake, &in_url(&format!("other:{WRONG}")), &keys("right"));
}

#[test]
fn secrets_in_files() {
    let folder = std::env::temp_dir().join(format!("bridge-registry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("secret").display().to_string();
    std::fs::write(&path, "right\n").expect("a file");
    let fake = Fake::start();
    fake.wants("Bearer right");
    let_in(&fake, &fake.url(), &format!("token_file = \"{path}\""));
    std::fs::write(&path, WRONG).expect("a file");
    let words = ["401", "set `registry.token`"];
    kept_out(&fake.url(), &format!("token_file = \"{path}\""), Blame::Operator, &words);
    std::fs::remove_dir_all(&folder).expect("it was there");
    let keys = format!("username = \"user\", password_file = \"{path}\"");
    kept_out(&fake.url(), &keys, Blame::Operator, &["registry.password_file", "secret"]);
}

#[test]
fn bearer_tokens() {
    let fake = Fake::start();
    fake.wants("Bearer right");
    let_in(&fake, &fake.url(), "token = \"right\"");
    let words = ["401", "set `registry.token`"];
    kept_out(&fake.url(), &format!("token = \"{WRONG}\""), Blame::Operator, &words);
    let words = ["characters that cannot stand in a header"];
    kept_out(&fake.url(), &format!("token = \"{WRONG}\\n\""), Blame::Operator, &words);
}

/// Keys of OAuth with this secret; tokens come from this place.
fn oauth(tokens: &Fake, secret: &str) -> String {
    let url = tokens.url();
    format!(
        "oauth = {{ token_url = \"{url}/token\", client_id = \"bridge\", \
         client_secret = \"{secret}\" }}"
    )
}

#[test]
fn tokens_for_the_client_s_credentials() {
    let (fake, tokens) = (Fake::start(), Fake::start());
    fake.wants("Bearer right");
    let (url, given) = (fake.url(), |token: &str| {
        Reply::Json(200, format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"}}"))
    });
    tokens.put("/token", given("right"));
    let_in(&fake, &url, &oauth(&tokens, "right"));
    // The service does not know the secret.
    tokens.put("/token", Reply::Json(401, r#"{"error":"invalid_client"}"#.into()));
    let words = ["for a token: it answers 401", "set `registry.oauth`", "client_secret"];
    kept_out(&url, &oauth(&tokens, WRONG), Blame::Operator, &words);
    // The registry does not take the token, nor the next one.
    tokens.put("/token", given(WRONG));
    let words = ["401", "set `registry.oauth`"];
    kept_out(&url, &oauth(&tokens, "right"), Blame::Operator, &words);
    // The service has trouble: it may come back.
    for (reply, words) in [
        (Reply::Json(500, String::new()), "it answers 500"),
        (Reply::Json(200, "{}".into()), "its answer holds none"),
        (Reply::Json(200, "<html>".into()), "its answer holds none"),
        (Reply::HangUp, "for a token"),
        (Reply::Huge(5 << 20), "for a token"),
    ] {
        tokens.put("/token", reply);
        kept_out(&url, &oauth(&tokens, WRONG), Blame::World, &[words]);
    }
    tokens.put("/token", Reply::Json(200, "{\"access_token\":\"a\\nb\"}".into()));
    let words = ["characters that cannot stand in a header"];
    kept_out(&url, &oauth(&tokens, WRONG), Blame::Operator, &words);
}

#[test]
fn authorities_that_are_trusted_and_such_that_are_not() {
    let fake = Fake::start_tls(Clients::Any);
    let (url, port) = (fake.url(), fake.address().port());
    let ca = |name: &str| format!("tls_ca = \"{}\"", file(name));
    let_in(&fake, &url, &ca("ca.pem"));
    let_in(&fake, &format!("https://localhost:{port}"), &ca("ca.pem"));
    let_in(&fake, &url, "tls_verify = false");
    let words = ["certificate", "`registry.tls_ca` says whom to trust"];
    kept_out(&url, "", Blame::World, &words);
    kept_out(&url, &ca("other.pem"), Blame::World, &words);
    // The certificate is for other names.
    let other = Fake::start_tls_at("127.0.0.2:0", Clients::Any);
    kept_out(&other.url(), &ca("ca.pem"), Blame::World, &words);
    kept_out(&url, &ca("none.pem"), Blame::Operator, &["tls_ca", "none.pem"]);
    kept_out(&url, &ca("server.key"), Blame::Operator, &["tls_ca", "no certificate in it"]);
    // Who speaks no TLS is told so by a broken connection, and waits.
    let plain = format!("http://127.0.0.1:{port}");
    kept_out(&plain, "", Blame::World, &["asking the registry"]);
}

#[test]
fn certificates_of_the_bridge_s_own() {
    let fake = Fake::start_tls(Clients::Known);
    let url = fake.url();
    let keys = |cert: &str, key: &str| {
        let (ca, cert, key) = (file("ca.pem"), file(cert), file(key));
        format!("tls_ca = \"{ca}\", tls_cert = \"{cert}\", tls_key = \"{key}\"")
    };
    let_in(&fake, &url, &keys("client.pem", "client.key"));
    let words = ["it wants `registry.tls_cert` and `registry.tls_key`"];
    kept_out(&url, &format!("tls_ca = \"{}\"", file("ca.pem")), Blame::World, &words);
    kept_out(&url, &keys("stranger.pem", "stranger.key"), Blame::World, &words);
    let wrong = |cert: &str, key: &str, words: &str| {
        kept_out(&url, &keys(cert, key), Blame::Operator, &[words]);
    };
    wrong("client.pem", "stranger.key", "registry.tls_cert");
    wrong("none.pem", "client.key", "registry.tls_cert");
    wrong("client.pem", "none.key", "registry.tls_key");
    wrong("client.pem", "client.pem", "no private key in it");
    let unchecked = format!("{}, tls_verify = false", keys("client.pem", "client.key"));
    kept_out(&url, &unchecked, Blame::Operator, &["tls_verify"]);
}

#[test]
fn a_pipeline_waits_for_a_certificate_that_is_not_trusted_yet() {
    let fake = Fake::start_tls(Clients::Any);
    let registry = registry(&format!("url = \"{}\"", fake.url()));
    let (doors, meter, abandon) = doors();
    registry.open(doors).expect("nothing to read");
    std::thread::scope(|scope| {
        let lane = scope.spawn(|| fault(registry.by_id(1)));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !trouble(&meter).contains("`registry.tls_ca`") {
            assert!(Instant::now() < deadline, "{}", trouble(&meter));
            std::thread::yield_now();
        }
        abandon.send_replace(true);
        assert_eq!(lane.join().expect("whole").blame, Blame::World);
    });
}

#[test]
fn answers_that_no_registry_gives_are_bounded() {
    let fake = Fake::start();
    let check = |reply: Reply, words: &str| {
        fake.script([reply]);
        kept_out(&fake.url(), "request_timeout = \"60s\"", Blame::World, &[words]);
    };
    check(Reply::Huge(5 << 20), "length limit exceeded");
    check(Reply::Json(200, "{\"schema\":1}".into()), "holds no schema");
    check(Reply::Json(200, "[".repeat(100_000)), "holds no schema");
    check(Reply::Json(200, String::new()), "holds no schema");
    check(Reply::Json(503, "x".repeat(1_000)), "it answers 503");
    check(Reply::Raw("SSH-2.0-x\r\n".into()), "asking the registry");
    check(
        Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into()),
        "asking the registry",
    );
    // Of chunks that take no time to read, also where the machine has little of it.
    let endless = format!("400\r\n{}\r\n", "x".repeat(1 << 10)).repeat(6 << 10);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(Reply::Raw(format!("{chunked}{endless}")), "length limit exceeded");
    let heads = "x: y\r\n".repeat(100_000);
    check(Reply::Raw(format!("HTTP/1.1 200 OK\r\n{heads}\r\n")), "asking the registry");
    fake.script([Reply::Silence]);
    let words = ["no answer within 0.5 s"];
    kept_out(&fake.url(), "request_timeout = \"500ms\"", Blame::World, &words);
}

#[test]
fn nobody_is_sent_elsewhere() {
    let (fake, elsewhere) = (Fake::start(), Fake::start());
    fake.wants("Bearer right");
    let to = elsewhere.url();
    for status in [301, 302, 307, 308] {
        let head = format!("HTTP/1.1 {status} moved\r\nlocation: {to}/schemas/ids/1\r\n");
        fake.script([Reply::Raw(format!("{head}content-length: 0\r\n\r\n"))]);
        let words = [&*status.to_string(), "set `registry.url`"];
        kept_out(&fake.url(), "token = \"right\"", Blame::Operator, &words);
    }
    assert_eq!(elsewhere.requests().len(), 0, "a token is shown to nobody else");
}

#[test]
fn references_are_counted() {
    let fake = Fake::start();
    let with = |subject: String| {
        let references = [serde_json::json!({ "name": "x", "subject": subject, "version": 1 })];
        let answer = serde_json::json!({ "schema": "\"int\"", "references": references });
        Reply::Json(200, answer.to_string())
    };
    fake.put("/schemas/ids/1", with("s0".to_owned()));
    for number in 0..300 {
        let path = format!("/subjects/s{number}/versions/1");
        fake.put(&path, with(format!("s{}", number + 1)));
    }
    match registry(&format!("url = \"{}\"", fake.url())).by_id(1) {
        Err(Missing::Unknown(why)) => assert!(why.contains("more than 200 schemas"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked().len(), 201);
}
