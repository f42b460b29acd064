//! `/metrics`, `/healthz`, `/readyz`, `/status`, and orders where they are taken. One task holds
//! the listener and its few connections, so that whoever owns this future owns them all.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::admin::{Admin, Outcome, Refused, order_of};
use super::{Meters, page, prometheus};
use crate::blame::Fault;

/// More than a monitoring system and a few probes ever open at once.
const CONNECTIONS_MAX: usize = 16;

/// A scrape takes milliseconds; whoever holds a connection longer makes room for others.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(10);
/// An order takes what compiling a module takes. Where orders are taken, silent connections may
/// stay as long.
const ORDER_AGE_MAX: Duration = Duration::from_secs(120);

/// What the endpoint serves.
#[derive(Clone)]
pub struct Served {
    /// What is counted.
    pub meters: Meters,
    /// The way of orders.
    pub admin: Admin,
}

/// Opens the listener.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::operator(format!("listening on {address} for metrics: {error}"))
            .hint("change `listen` under [http]")
    })
}

/// Serves on a listener until `stop` turns true.
pub async fn serve_on(listener: TcpListener, served: Served, mut stop: watch::Receiver<bool>) {
    let mut service = Service { listener, served: Arc::new(served), connections: Vec::new() };
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
    served: Arc<Served>,
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
                Poll::Ready(Ok((stream, from))) => {
                    let served = Arc::clone(&self.served);
                    self.connections.push(Box::pin(converse(stream, from.ip(), served)));
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

async fn converse(stream: TcpStream, from: IpAddr, served: Arc<Served>) {
    let takes_orders = served.admin.admit(Some(from), false).is_ok();
    let service = service_fn(|request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, Infallible>(answer(&request, from, &served).await) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let age_max = if takes_orders { ORDER_AGE_MAX } else { CONNECTION_AGE_MAX };
    // Whoever broke the connection knows, or does not care.
    let _ = tokio::time::timeout(age_max, connection).await;
}

async fn answer(
    request: &Request<Incoming>,
    from: IpAddr,
    served: &Served,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if request.method() == Method::POST {
        let is_of_a_page = request.headers().contains_key(ORIGIN);
        return match served.admin.admit(Some(from), is_of_a_page).and_then(|()| order_of(path)) {
            Ok((wish, pipeline)) => carried_out(served.admin.give(wish, pipeline)).await,
            Err(Refused::Forbidden(why)) => text(StatusCode::FORBIDDEN, format!("{why}\n")),
            Err(Refused::Unknown) => text(StatusCode::NOT_FOUND, ORDERS.to_owned()),
        };
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let only = "only GET is answered, and POST of orders\n".to_owned();
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, only);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        return response;
    }
    match path {
        "/metrics" => text(StatusCode::OK, prometheus::render(&served.meters, SystemTime::now())),
        "/healthz" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" => readiness(&served.meters),
        "/status" => json(page::status(&served.meters)),
        "/" => text(StatusCode::OK, "/metrics\n/healthz\n/readyz\n/status\n".into()),
        _ => {
            let there = "there are /metrics, /healthz, /readyz and /status\n";
            text(StatusCode::NOT_FOUND, there.into())
        }
    }
}

const ORDERS: &str =
    "there are /reload, /rollback and /promote, and all of them under /pipelines/NAME\n";

/// Waits for what becomes of an order.
async fn carried_out(
    order: Option<tokio::sync::oneshot::Receiver<Outcome>>,
) -> Response<Full<Bytes>> {
    let Some(order) = order else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many orders wait\n".into());
    };
    match order.await {
        Ok(Outcome { well: true, words }) => text(StatusCode::OK, words),
        Ok(Outcome { well: false, words }) => text(StatusCode::CONFLICT, words),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the bridge stops\n".into()),
    }
}

fn readiness(meters: &Meters) -> Response<Full<Bytes>> {
    let (mut troubles, mut remarks) = (String::new(), String::new());
    for (name, meter) in meters {
        let remark = meter.remark.lock().expect("no one panics with it");
        if !remark.is_empty() {
            remarks.push_str(&format!("{name}: {remark}\n"));
        }
        for (transform, meter) in &*meter.transforms.lock().expect("no one panics with it") {
            let module = meter.module.lock().expect("no one panics with it");
            if let Some(refused) = &module.refused {
                let first = refused.lines().next().unwrap_or_default();
                remarks.push_str(&format!("{name}: the new {transform} was refused: {first}\n"));
            }
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
    of_kind("text/plain; version=0.0.4; charset=utf-8", status, body)
}

fn json(body: serde_json::Value) -> Response<Full<Bytes>> {
    of_kind("application/json", StatusCode::OK, format!("{body:#}\n"))
}

fn of_kind(kind: &'static str, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::observe::PipelineMeter;
    use crate::observe::admin::{Admission, Heard, Wish};

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    }

    async fn post(address: SocketAddr, path: &str, more: &str) -> String {
        let lines = format!("host: x\r\ncontent-length: 0\r\n{more}");
        ask(address, &format!("POST {path} HTTP/1.1\r\n{lines}\r\n")).await
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn the_paths_answer() {
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
            let answer = get(address, "/status").await;
            assert!(answer.contains("\"trouble\": \"questdb is not answering\""), "{answer}");
            assert!(post(address, "/reload", "").await.starts_with("HTTP/1.1 403"));
            stop.send(true).expect("it is served");
        };
        let (orders, _heard) = std::sync::mpsc::sync_channel(1);
        let admin = Admin { admission: Admission::Off, orders };
        tokio::join!(serve_on(listener, Served { meters, admin }, stopped), client);
    }

    #[tokio::test]
    async fn orders_are_carried_out_and_answered() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("port 0");
        let address = listener.local_addr().expect("it is bound");
        let (orders, heard) = std::sync::mpsc::sync_channel(2);
        let admin = Admin { admission: Admission::Loopback, orders };
        let (stop, stopped) = watch::channel(false);
        let client = async {
            let answer = post(address, "/reload", "origin: http://x\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            assert!(post(address, "/explode", "").await.starts_with("HTTP/1.1 404"));
            assert!(heard.try_recv().is_err(), "neither is an order");
            let carries_out = async {
                loop {
                    if let Ok(Heard::Order(order)) = heard.try_recv() {
                        assert_eq!((order.wish, order.pipeline.as_deref()), WISHED);
                        let outcome = Outcome { well: false, words: "nothing there\n".into() };
                        assert!(order.outcome.send(outcome).is_ok());
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            const WISHED: (Wish, Option<&str>) = (Wish::Rollback, Some("p"));
            let order = post(address, "/pipelines/p/rollback", "");
            let (answer, ()) = tokio::join!(order, carries_out);
            assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
            assert!(answer.ends_with("nothing there\n"), "{answer}");
            stop.send(true).expect("it is served");
        };
        tokio::join!(serve_on(listener, Served { meters: Vec::new(), admin }, stopped), client);
    }
}
