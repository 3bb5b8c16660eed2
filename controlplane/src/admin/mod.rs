//! The admin port: health, readiness, metrics.
//!
//! Owns its own thread and runtime; reads the data path's counters and waits for none of
//! its threads but for a moment's copy of a histogram.

pub mod exposition;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// What the admin port shows; the binary implements it over the data path.
pub trait Source: Send + Sync + 'static {
    /// Whether clients are served.
    fn ready(&self) -> bool;
    /// The metrics page in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// Serves on a thread of its own until the process ends.
///
/// # Errors
/// When the listener or the thread cannot be set up.
pub fn spawn(listener: TcpListener, source: Arc<dyn Source>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // With its clock: axum rests where the process has no descriptor left for a connection.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router(source)).await
            })
            .unwrap_or_else(|error| tracing::error!(%error, "the admin port has failed"));
    })?;
    Ok(())
}

fn router(source: Arc<dyn Source>) -> Router {
    let ready = source.clone();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                if ready.ready() {
                    (StatusCode::OK, "ready\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let kind = [(header::CONTENT_TYPE, exposition::CONTENT_TYPE)];
                (kind, source.metrics()).into_response()
            }),
        )
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "not found; here are /healthz, /readyz and /metrics\n")
        })
}
