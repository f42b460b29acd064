//! Modules over HTTPS, from a server of the test's own: believed by their hash only, asked for
//! once, and bounded.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use super::*;
use crate::folder::Folder;
use crate::transform::guest::origin::sha256;

/// Its own authority; a pair that the tests of sinks have as well.
const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/sink/questdb/tests/localhost.pem");
const KEY: &[u8] = include_bytes!("../../../sink/questdb/tests/localhost.key");

fn acceptor() -> TlsAcceptor {
    let pem = std::fs::read(CERTIFICATE).expect("it is in the tree");
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    let key = rustls_pemfile::private_key(&mut &KEY[..]).expect("pem").expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("its protocols")
        .with_no_client_auth()
        .with_single_cert(chain.expect("pem"), key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

/// Serves `module` while `play` runs with the port; the paths that were asked for.
fn serve(module: &[u8], play: impl FnOnce(u16)) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("port 0");
    let port = listener.local_addr().expect("it is bound").port();
    let (stop, mut stopped) = oneshot::channel::<()>();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            runtime.block_on(async {
                let (acceptor, mut asked) = (acceptor(), Vec::new());
                loop {
                    tokio::select! {
                        taken = listener.accept() => {
                            let (stream, _) = taken.expect("a connection");
                            asked.extend(answer(&acceptor, stream, module).await);
                        }
                        // Said, or dropped by a test that fails.
                        _ = &mut stopped => return asked,
                    }
                }
            })
        });
        play(port);
        drop(stop);
        server.join().expect("the server ends")
    })
}

/// The path that was asked for; `None` if whoever came does not trust us.
async fn answer(
    acceptor: &TlsAcceptor,
    stream: tokio::net::TcpStream,
    module: &[u8],
) -> Option<String> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).expect("a request is text");
    let path = request.split(' ').nth(1).expect("a path").to_owned();
    let (status, length) = match path.as_str() {
        "/moved.wasm" => ("302 Found\r\nlocation: /m.wasm", 0),
        "/large.wasm" => ("200 OK", 1 << 40),
        _ => ("200 OK", module.len()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
    // Whoever has enough hangs up.
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut left = length;
    while path == "/large.wasm" && stream.write_all(&[0; 1 << 16]).await.is_ok() {
        left -= 1 << 16;
        assert!(left > 0, "it takes all of it");
    }
    if length == module.len() {
        stream.write_all(module).await.ok()?;
    }
    let _ = stream.shutdown().await;
    Some(path)
}

fn load_from(
    address: &str,
    sha256: &str,
    ca: bool,
    cache: Option<&Path>,
) -> Result<Arc<dyn Loaded>, Fault> {
    let ca = if ca { format!("tls_ca = '{CERTIFICATE}'") } else { String::new() };
    let text = format!("module = '{address}'\nsha256 = '{sha256}'\n{ca}");
    let section = Section::new("t", text.parse().expect("TOML"));
    let plan = (super::super::KIND.parse)(&section).expect("a plan");
    let context = LoadContext { cache: cache.map(Path::to_owned), ..context(&Arc::default()) };
    let loaded: Arc<dyn Loaded> = plan.load(&context)?.into();
    assert_eq!(plan.looks(&context), None, "it never changes");
    assert!(plan.load_changed(&context, &loaded)?.is_none(), "it never changes");
    Ok(loaded)
}

#[test]
fn a_module_is_fetched_once_and_believed_by_its_hash() {
    let module = wat::parse_str(keeps("", "")).expect("the test's module");
    let (hash, other) = (sha256(&module), sha256(b"another"));
    let folder = Folder::new("fetched");
    // It is made when it is first needed.
    let cache = folder.0.join("cache");
    let asked = serve(&module, |port| {
        let at = |path: &str| format!("https://localhost:{port}{path}");
        let fails = |path: &str, sha256: &str, ca: bool, says: &str| {
            let fault = load_from(&at(path), sha256, ca, Some(&cache)).err().expect("refused");
            let text = fault.to_string();
            assert!(text.contains(says) && text.contains("fetching transform https://"), "{text}");
        };
        fails("/m.wasm", &other, true, &format!("its sha256 is {hash}"));
        fails("/m.wasm", &hash, false, "certificate");
        fails("/moved.wasm", &hash, true, "302");
        fails("/large.wasm", &hash, true, "length limit exceeded");
        for _ in 0..2 {
            let loaded = load_from(&at("/m.wasm?v=1"), &hash, true, Some(&cache));
            assert_eq!(loaded.expect("loads").from(), "m.wasm");
        }
        // What is kept and damaged is fetched again.
        std::fs::write(cache.join(format!("{hash}.wasm")), b"\0asm").expect("written");
        load_from(&at("/m.wasm"), &hash.to_uppercase(), true, Some(&cache)).expect("loads");
        load_from(&at("/m.wasm"), &hash, true, None).expect("loads");
    });
    let expected = ["/m.wasm", "/moved.wasm", "/large.wasm", "/m.wasm?v=1", "/m.wasm", "/m.wasm"];
    assert_eq!(asked, expected);
}
