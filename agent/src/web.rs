//! The HTTP endpoint: metrics for Prometheus, health for load balancers. It only reads.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::status::Status;

/// Connections that are served at the same time; others wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may last, used or not.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address} (control.metrics): is another process there, and is it an address of this host?")]
pub struct Error {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// What the endpoint shows; asked anew for each request.
pub trait Source: Send + Sync + 'static {
    fn status(&self) -> Arc<Status>;
    /// The text of [`metrics`].
    fn metrics(&self) -> Result<String, std::fmt::Error>;
    /// Whether the election thread turns.
    fn alive(&self) -> bool;
}

/// The listening side.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Binds; needs a tokio runtime with I/O and time.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.map_err(|source| Error { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the task is dropped.
    pub async fn serve(self, source: Arc<dyn Source>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection at the metrics endpoint");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let source = Arc::clone(&source);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let answer = answer(request.method(), request.uri().path(), request.uri().query(), &*source);
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(16 << 10);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                match tokio::time::timeout(CONNECTION_DEADLINE, connection).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a client of the metrics endpoint went away"),
                    Err(_) => tracing::debug!("a client of the metrics endpoint stayed too long"),
                }
                drop(place);
            });
        }
    }
}

fn answer(method: &Method, path: &str, query: Option<&str>, source: &dyn Source) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this endpoint only reads: use GET\n".into());
        refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => match source.metrics() {
            Ok(text) => respond(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        "/healthz" => {
            let (code, text) = health(query, source);
            respond(code, TEXT, text)
        }
        "/" => respond(StatusCode::OK, TEXT, source.status().to_string()),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "there is /metrics, /healthz, /healthz?role=any and /\n".into()),
    }
}

/// 200 where clients may be sent: on the host that serves; with `role=any` wherever the agent is alive.
fn health(query: Option<&str>, source: &dyn Source) -> (StatusCode, String) {
    if !source.alive() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the election thread does not answer\n".to_owned());
    }
    let status = source.status();
    let mut text = String::new();
    for router in &status.virtual_routers {
        let serving = if router.serving { "serving" } else { "not serving" };
        text += &format!("{}: {}, {serving}\n", router.name, router.state);
    }
    let any = match query {
        None | Some("" | "role=active") => false,
        Some("role=any") => true,
        Some(_) => return (StatusCode::BAD_REQUEST, "role=active or role=any is wanted\n".to_owned()),
    };
    let serving = !status.virtual_routers.is_empty() && status.virtual_routers.iter().all(|router| router.serving);
    let code = if any || serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text)
}

fn respond(code: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Fixed {
        status: Arc<Status>,
        alive: bool,
    }

    impl Source for Fixed {
        fn status(&self) -> Arc<Status> {
            Arc::clone(&self.status)
        }

        fn metrics(&self) -> Result<String, std::fmt::Error> {
            Ok("vipd_active 1\n# EOF\n".to_owned())
        }

        fn alive(&self) -> bool {
            self.alive
        }
    }

    async fn ask(request: &str, serving: bool, alive: bool) -> String {
        let mut status = crate::status::example();
        status.virtual_routers[0].serving = serving;
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = server.address().unwrap();
        let task = tokio::spawn(server.serve(Arc::new(Fixed { status: Arc::new(status), alive })));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        task.abort();
        text
    }

    #[tokio::test]
    async fn metrics_come_in_the_type_that_prometheus_asks_for() {
        let answer = ask("GET /metrics", true, true).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_load_balancer_is_sent_to_the_host_that_serves() {
        assert!(ask("GET /healthz", true, true).await.starts_with("HTTP/1.1 200 "));
        assert!(ask("GET /healthz", false, true).await.starts_with("HTTP/1.1 503 "));
        assert!(ask("GET /healthz?role=any", false, true).await.starts_with("HTTP/1.1 200 "));
        assert!(ask("GET /healthz?role=any", true, false).await.starts_with("HTTP/1.1 503 "));
        assert!(ask("GET /healthz?role=x", true, true).await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn nothing_can_be_changed_and_what_is_not_there_says_what_is() {
        assert!(ask("POST /metrics", true, true).await.starts_with("HTTP/1.1 405 "));
        let answer = ask("GET /etc/passwd", true, true).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/metrics"), "{answer}");
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_key() {
        let first = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = first.address().unwrap();
        let error = Server::bind(address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("control.metrics"), "{error}");
    }
}
