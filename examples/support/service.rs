//! A small web service whose routes share one pool: `web.rs` serves it, `demo.rs` puts it under load.
//!
//! | request | answer |
//! |---|---|
//! | `GET /users/ID` | the user as JSON; 404 if there is none |
//! | `PUT /users/ID` | stores the user, `{"name": "Ada", "email": "ada@example.org", "logins": 1}` |
//! | `GET /healthz` | 200 and the time of a PING; 503 if Redis does not answer |
//! | `GET /stats` | the pool's statistics |
//!
//! Every error is JSON as well. While Redis is out of reach the routes answer 503, and the service goes on as before
//! when it is back.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use oxhttp::model::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use oxhttp::model::{Body, Method, Request, Response, StatusCode};
use oxhttp::{ListeningServer, Server};
use redigo::{CloseReason, Dialer, Pool, check};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most connections to Redis; the requests that find all of them lent wait for one, first come, first served.
const MAX_REDIS_CONNECTIONS: usize = 4;

/// The most HTTP connections, each served by a thread of its own.
const MAX_HTTP_CONNECTIONS: usize = 64;

/// How long an HTTP client may be silent.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest body that is read, in bytes.
const MAX_BODY: u64 = 16 * 1024;

/// What is stored under `user:<id>`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    #[serde(default)]
    pub(crate) logins: u64,
}

/// The one pool of the process. It dials nothing yet, so the service starts whether or not Redis is up.
pub(crate) fn pool(redis_url: &str) -> redigo::Result<Pool> {
    // No request may hang because Redis does: each step has its limit.
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
        // Looks whether the server has closed an idle connection, without asking it: costs no round trip.
        .test_on_borrow(check::peek())
        .build()
}

/// Serves on `address` from threads of its own; `join` on the result waits for ever.
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
    // The client expects none, and would take it for the next response.
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
    // The connection goes back to the pool where `conn` ends, on the way of an error as well.
    let mut conn = pool.acquire()?;
    let user: Option<String> = conn.query("GET", key)?;
    Ok(json_response(StatusCode::OK, user.ok_or(Problem::NotFound)?))
}

fn put_user(pool: &Pool, key: &str, body: &mut Body) -> Result<Response<Body>, Problem> {
    // The body is read and checked first: a slow client holds a thread, but no connection to Redis.
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

/// The key of a user in Redis. Only what is surely an id gets into a key.
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
    // One byte more than is allowed tells a body that is too long, whatever length it gave itself.
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

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
enum Problem {
    BadRequest(String),
    NotFound,
    /// With the methods that are allowed.
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
                let message = format!("allowed here: {allowed}");
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

/// 503 asks the client to come again. That is right for all but data that Redis has and this service cannot read.
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
