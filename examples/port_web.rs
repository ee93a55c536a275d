//! A web handler on a pool: the first of the ports in docs/porting-from-go.md.
//!
//! ```text
//! cargo run --example port_web
//! ```
//!
//! Environment: `REDIS_URL`, for example `redis://127.0.0.1:6379`; if unset, the program starts a private
//! redis-server. It stores an article, serves it on a free port, requests it twice and ends.

use std::env;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use oxhttp::Server;
use oxhttp::model::{Body, Request, Response, StatusCode};
use redigo::scan::scan_struct;
use redigo::testing::TempServer;
use redigo::{Context, Dialer, Pool, check};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Article {
    title: String,
    author: String,
    #[serde(default)]
    views: i64,
}

fn new_pool(url: &str) -> redigo::Result<Pool> {
    let dialer = Dialer::url(url)?
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(1));
    Pool::builder(dialer)
        .max_active(16)
        .wait(true)
        .idle_timeout(Duration::from_secs(240))
        .test_on_borrow(check::ping_if_idle(Duration::from_secs(60)))
        .build()
}

fn load_article(pool: &Pool, id: &str) -> redigo::Result<Option<Article>> {
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let mut conn = pool.get_context(&ctx)?; // dropping it returns it to the pool

    let key = format!("article:{id}");
    let article = scan_struct(conn.call_context(&ctx, "HGETALL", &key))?;
    let Some(mut article): Option<Article> = article else { return Ok(None) };
    article.views = conn.call_context(&ctx, "HINCRBY", (&key, "views", 1))?.convert()?;
    Ok(Some(article))
}

fn show_article(pool: &Pool, request: &Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    let (status, body) = match load_article(pool, path.trim_start_matches("/articles/")) {
        Ok(Some(article)) => (StatusCode::OK, serde_json::json!(article).to_string()),
        Ok(None) => (StatusCode::NOT_FOUND, "no such article".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    // Kept until the end of the program: dropping it stops the server.
    let mut private_redis = None;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => private_redis.insert(TempServer::start()?).url(),
    };
    let pool = new_pool(&redis_url)?;
    let stored = ("article:port", "title", "Porting", "author", "Ada");
    pool.acquire()?.call("HSET", stored)?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redigo::testing::unused_port()?));
    let handlers = pool.clone();
    let _serving =
        Server::new(move |request| show_article(&handlers, request)).bind(address).spawn()?;
    for views in 1..=2 {
        let mut response = ureq::get(format!("http://{address}/articles/port")).call()?;
        let body = response.body_mut().read_to_string()?;
        println!("{body}");
        assert_eq!(serde_json::from_str::<Article>(&body)?.views, views);
    }
    let missing = ureq::get(format!("http://{address}/articles/none")).call();
    assert!(matches!(missing, Err(ureq::Error::StatusCode(404))), "{missing:?}");
    pool.acquire()?.call("DEL", "article:port")?;
    Ok(())
}
