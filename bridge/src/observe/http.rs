//! `/metrics`, `/healthz` and `/readyz`. One task holds the listener and its few connections, so
//! that whoever owns this future owns them all.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Meters, prometheus};
use crate::blame::Fault;

/// More than a monitoring system and a few probes ever open at once.
const CONNECTIONS_MAX: usize = 16;

/// A scrape takes milliseconds; whoever holds a connection longer makes room for others.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10);

/// Opens the listener.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::operator(format!("listening on {address} for metrics: {error}"))
            .hint("change `listen` under [http]")
    })
}

/// Serves until `stop` turns true.
pub async fn serve(
    address: SocketAddr,
    meters: Meters,
    stop: watch::Receiver<bool>,
) -> Result<(), Fault> {
    serve_on(bind(address).await?, meters, stop).await;
    Ok(())
}

/// Serves on a listener until `stop` turns true.
pub async fn serve_on(listener: TcpListener, meters: Meters, mut stop: watch::Receiver<bool>) {
    let mut service = Service { listener, meters: Arc::new(meters), connections: Vec::new() };
    let mut stopped = pin!(async move {
        // A sender that is gone has stopped as well.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    poll_fn(|context| {
        service.poll(context);
        stopped.as_mut().poll(context)
    })
    .await;
}

struct Service {
    listener: TcpListener,
    meters: Arc<Meters>,
    connections: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Service {
    /// Moves every connection on, and takes new ones while there is room.
    fn poll(&mut self, context: &mut Context<'_>) {
        loop {
            self.connections.retain_mut(|one| one.as_mut().poll(context).is_pending());
            if self.connections.len() >= CONNECTIONS_MAX {
                return;
            }
            match self.listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) => {
                    let meters = Arc::clone(&self.meters);
                    self.connections.push(Box::pin(converse(stream, meters)));
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!("accepting a connection for metrics: {error}");
                    return;
                }
                Poll::Pending => return,
            }
        }
    }
}

async fn converse(stream: TcpStream, meters: Arc<Meters>) {
    let service = service_fn(|request| {
        let response = answer(&request, &meters);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Whoever broke the connection knows, or does not care.
    let _ = tokio::time::timeout(CONNECTION_AGE_MAX, connection).await;
}

fn answer(request: &Request<Incoming>, meters: &Meters) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".into());
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, prometheus::render(meters, SystemTime::now())),
        "/healthz" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" => readiness(meters),
        "/" => text(StatusCode::OK, "/metrics\n/healthz\n/readyz\n".into()),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".into()),
    }
}

fn readiness(meters: &Meters) -> Response<Full<Bytes>> {
    let (mut troubles, mut remarks) = (String::new(), String::new());
    for (name, meter) in meters {
        let remark = meter.remark.lock().expect("no one panics with it");
        if !remark.is_empty() {
            remarks.push_str(&format!("{name}: {remark}\n"));
        }
        let trouble = meter.trouble.lock().expect("no one panics with it");
        if !trouble.is_empty() {
            troubles.push_str(&format!("{name}: {trouble}\n"));
        }
    }
    match troubles.is_empty() {
        true => text(StatusCode::OK, format!("ready\n{remarks}")),
        false => text(StatusCode::SERVICE_UNAVAILABLE, troubles + &remarks),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::observe::PipelineMeter;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn the_three_paths_answer() {
        let meter = Arc::new(PipelineMeter::default());
        let meters = vec![("readings".into(), Arc::clone(&meter))];
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("port 0");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = watch::channel(false);
        let client = async {
            // Connections that say nothing are in nobody's way.
            let _silent = TcpStream::connect(address).await.expect("it listens");
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
            assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
            assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
            assert!(get(address, "/metrics").await.contains("bridge_records_in_total"));
            meter.set_remark("rows go to the fallback");
            let answer = get(address, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.ends_with("ready\nreadings: rows go to the fallback\n"), "{answer}");
            meter.set_remark("");
            meter.set_trouble("questdb is not answering");
            let answer = get(address, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.ends_with("readings: questdb is not answering\n"), "{answer}");
            stop.send(true).expect("it is served");
        };
        tokio::join!(serve_on(listener, meters, stopped), client);
    }
}
