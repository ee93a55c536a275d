//! A small web service whose routes share one pool. `web.rs` serves it, `demo.rs` loads it.
//!
//! | request | response |
//! |---|---|
//! | `GET /users/ID` | the user as JSON; 404 if it does not exist |
//! | `PUT /users/ID` | stores the user, `{"name": "Ada", "email": "ada@example.org", "logins": 1}` |
//! | `GET /healthz` | 200 and the duration of a PING; 503 if Redis does not answer |
//! | `GET /stats` | the pool's statistics |
//!
//! Errors are JSON as well. While Redis is unreachable the routes return 503; they recover when it is back.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use oxhttp::model::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use oxhttp::model::{Body, Method, Request, Response, StatusCode};
use oxhttp::{ListeningServer, Server};
use redigo::{CloseReason, Dialer, Pool};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The maximum of connections to Redis. If all are in use, requests wait, first come, first served.
const MAX_REDIS_CONNECTIONS: usize = 4;

/// The maximum of HTTP connections, each with its own thread.
const MAX_HTTP_CONNECTIONS: usize = 64;

/// The timeout for a silent HTTP client.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum size of a body, in bytes.
const MAX_BODY: u64 = 16 * 1024;

/// A user, stored as JSON under `user:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    #[serde(default)]
    pub(crate) logins: u64,
}

/// Builds the pool. It dials on first use, so the service starts even if Redis is down.
pub(crate) fn pool(redis_url: &str) -> redigo::Result<Pool> {
    // Each step has a timeout, so no request hangs if Redis does.
    let dialer = Dialer::url(redis_url)?
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(1))
        .client_name("redigo-example");
    Pool::builder(dialer)
        .max_active(MAX_REDIS_CONNECTIONS)
        .wait(true)
        .wait_timeout(Duration::from_secs(1))
        .idle_timeout(Duration::from_secs(240))
        // Finds idle connections that the server has closed, without a round trip.
        .peek_after(Duration::from_secs(1))
        .build()
}

/// Serves on `address` from background threads. `join` on the result waits forever.
pub(crate) fn serve(pool: Pool, address: SocketAddr) -> io::Result<ListeningServer> {
    Server::new(move |request| respond(&pool, request))
        .bind(address)
        .with_max_concurrent_connections(MAX_HTTP_CONNECTIONS)
        .with_global_timeout(HTTP_TIMEOUT)
        .spawn()
}

fn respond(pool: &Pool, request: &mut Request<Body>) -> Response<Body> {
    let mut response = match route(pool, request) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    // A client expects no body after HEAD, and would read it as the next response.
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

fn route(pool: &Pool, request: &mut Request<Body>) -> Result<Response<Body>, Problem> {
    let path = request.uri().path().to_owned();
    match (path.as_str(), request.method()) {
        ("/healthz", &Method::GET) => health(pool),
        ("/stats", &Method::GET) => Ok(stats(pool)),
        ("/healthz" | "/stats", _) => Err(Problem::Method("GET")),
        (path, method) => {
            let id = path.strip_prefix("/users/").ok_or(Problem::NotFound)?;
            let key = user_key(id)?;
            match *method {
                Method::GET => get_user(pool, &key),
                Method::PUT => put_user(pool, &key, request.body_mut()),
                _ => Err(Problem::Method("GET, PUT")),
            }
        }
    }
}

fn get_user(pool: &Pool, key: &str) -> Result<Response<Body>, Problem> {
    // Dropping `conn` returns the connection to the pool, also after an error.
    let mut conn = pool.acquire()?;
    let user: Option<String> = conn.query("GET", key)?;
    Ok(json_response(StatusCode::OK, user.ok_or(Problem::NotFound)?))
}

fn put_user(pool: &Pool, key: &str, body: &mut Body) -> Result<Response<Body>, Problem> {
    // Reads the body before the checkout: a slow client holds a thread, but no connection to Redis.
    let user: User = serde_json::from_slice(&read_body(body)?)
        .map_err(|error| Problem::BadRequest(format!("not a user: {error}")))?;
    let json = json!(user).to_string();

    let mut conn = pool.acquire()?;
    conn.call("SET", (key, &json))?;
    Ok(json_response(StatusCode::OK, json))
}

fn health(pool: &Pool) -> Result<Response<Body>, Problem> {
    let start = Instant::now();
    pool.acquire()?.call("PING", ())?;
    let ping_ms = milliseconds(start.elapsed());
    let body = json!({ "status": "ok", "ping_ms": ping_ms });
    Ok(json_response(StatusCode::OK, body.to_string()))
}

fn stats(pool: &Pool) -> Response<Body> {
    let stats = pool.stats();
    let body = json!({
        "max_active": stats.max_active,
        "open": stats.open,
        "idle": stats.idle,
        "in_use": stats.in_use,
        "dialing": stats.dialing,
        "waiting": stats.waiting,
        "hits": stats.hits,
        "misses": stats.misses,
        "dials": stats.dialed.total(),
        "dial_errors": stats.dial_errors,
        "wait_count": stats.wait_count,
        "wait_ms": milliseconds(stats.wait_duration),
        "wait_timeouts": stats.wait_timeouts,
        "closed_idle_timeout": stats.closed.of(CloseReason::IdleTimeout),
        "closed_test": stats.closed.of(CloseReason::Health),
        "closed_broken": stats.closed.of(CloseReason::Io),
    });
    json_response(StatusCode::OK, body.to_string())
}

/// Returns the Redis key of a user. Rejects anything but a plain id.
fn user_key(id: &str) -> Result<String, Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        Ok(format!("user:{id}"))
    } else {
        let message = "an id has 1 to 64 of the characters a-z, A-Z, 0-9, - and _";
        Err(Problem::BadRequest(message.to_owned()))
    }
}

fn read_body(body: &mut Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    // Reads one byte more than allowed, because a declared length can be wrong.
    match body.take(MAX_BODY + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > MAX_BODY => Err(Problem::TooLarge),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Problem::BadRequest(format!("cannot read the body: {error}"))),
    }
}

fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The reason for an error response.
#[derive(Debug)]
enum Problem {
    BadRequest(String),
    NotFound,
    /// Carries the allowed methods.
    Method(&'static str),
    TooLarge,
    Redis(redigo::Error),
}

impl From<redigo::Error> for Problem {
    fn from(error: redigo::Error) -> Self {
        Self::Redis(error)
    }
}

impl Problem {
    fn into_response(self) -> Response<Body> {
        let (status, message, allowed) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, message, None),
            Self::NotFound => (StatusCode::NOT_FOUND, "not found".to_owned(), None),
            Self::TooLarge => {
                let message = format!("a body has at most {MAX_BODY} bytes");
                (StatusCode::PAYLOAD_TOO_LARGE, message, None)
            }
            Self::Method(allowed) => {
                let message = format!("allowed methods: {allowed}");
                (StatusCode::METHOD_NOT_ALLOWED, message, Some(allowed))
            }
            Self::Redis(error) => (status_of(&error), format!("redis: {error}"), None),
        };
        let mut response = json_response(status, json!({ "error": message }).to_string());
        if let Some(allowed) = allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

/// 503 asks the client to retry, which helps unless Redis holds data that this service cannot read.
fn status_of(error: &redigo::Error) -> StatusCode {
    let unreadable = match error.as_server() {
        Some(reply) => reply.code() == "WRONGTYPE",
        None => matches!(error, redigo::Error::Convert(_)),
    };
    match unreadable {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
