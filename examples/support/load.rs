//! The clients of `demo.rs`: threads that load the service and check every response.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::service::User;

/// The users that each client owns. No other client writes them, so a GET has a known result.
pub(crate) const USERS_PER_CLIENT: usize = 25;

/// Longer than the service's own timeouts for Redis.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause of a client after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// The pause between two requests of the monitor.
const MONITOR_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    PutUser,
    GetUser,
    Health,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ok,
    /// The service returned another value than the stored one.
    WrongBody(String),
    /// The service returned an error, or no response.
    Error(String),
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) route: Route,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) outcome: Outcome,
}

/// One client: an HTTP connection, its users and its samples.
pub(crate) struct Client {
    agent: Agent,
    base_url: String,
    users: Vec<Record>,
    random: u64,
    samples: Vec<Sample>,
}

/// A client's knowledge about one of its users.
struct Record {
    id: String,
    /// The value of the last PUT with status 200.
    acknowledged: Option<User>,
    /// Values of later PUTs that failed. Redis may or may not have stored them.
    unsure: Vec<User>,
}

impl Client {
    pub(crate) fn new(number: usize, base_url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT));
        let record = |user| Record {
            id: format!("client{number}-user{user}"),
            acknowledged: None,
            unsure: Vec::new(),
        };
        Self {
            agent: config.build().into(),
            base_url: base_url.to_owned(),
            users: (0..USERS_PER_CLIENT).map(record).collect(),
            random: (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            samples: Vec::new(),
        }
    }

    /// Sends `requests` mixed requests, then reads each user once more. Stops early at `deadline`.
    pub(crate) fn run(
        mut self,
        requests: usize,
        deadline: Instant,
        progress: &AtomicUsize,
    ) -> Vec<Sample> {
        for serial in 0..requests + USERS_PER_CLIENT {
            if Instant::now() > deadline {
                break;
            }
            if serial >= requests {
                self.get(serial - requests);
            } else {
                let user = self.random_below(USERS_PER_CLIENT);
                match self.random_below(2) {
                    0 => self.put(user, serial as u64),
                    _ => self.get(user),
                }
            }
            progress.fetch_add(1, Ordering::Relaxed);
        }
        self.samples
    }

    /// Requests the service's health repeatedly until `done`.
    pub(crate) fn monitor(mut self, deadline: Instant, done: impl Fn() -> bool) -> Vec<Sample> {
        while !done() && Instant::now() < deadline {
            let url = format!("{}/healthz", self.base_url);
            self.request(
                Route::Health,
                |agent| agent.get(&url).call(),
                |_, status, body| expect_ok(status, &body),
            );
            thread::sleep(MONITOR_INTERVAL);
        }
        self.samples
    }

    fn put(&mut self, user: usize, logins: u64) {
        let record = &mut self.users[user];
        let url = format!("{}/users/{}", self.base_url, record.id);
        let value = User {
            name: format!("User {user}"),
            email: Some(format!("{}@example.org", record.id)),
            logins,
        };
        let json = serde_json::to_string(&value).expect("a user is JSON");
        // Without a response it may or may not be stored.
        record.unsure.push(value.clone());
        let send = |agent: &Agent| agent.put(&url).content_type("application/json").send(&json);
        self.request(Route::PutUser, send, |users, status, body| {
            let outcome = expect_ok(status, &body);
            if matches!(outcome, Outcome::Ok) {
                users[user].acknowledged = Some(value);
                users[user].unsure.clear();
            }
            outcome
        });
    }

    fn get(&mut self, user: usize) {
        let url = format!("{}/users/{}", self.base_url, self.users[user].id);
        self.request(
            Route::GetUser,
            |agent| agent.get(&url).call(),
            |users, status, body| {
                let found = match status {
                    200 => serde_json::from_str::<User>(&body).ok(),
                    404 => None,
                    _ => return expect_ok(status, &body),
                };
                let record = &users[user];
                let as_acknowledged = found == record.acknowledged;
                if as_acknowledged || found.is_some_and(|found| record.unsure.contains(&found)) {
                    Outcome::Ok
                } else {
                    Outcome::WrongBody(format!("{}: {status} {body}", record.id))
                }
            },
        );
    }

    /// Sends one request and records its outcome. `judge` gets the status and the body of the response.
    fn request(
        &mut self,
        route: Route,
        send: impl FnOnce(&Agent) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        judge: impl FnOnce(&mut [Record], u16, String) -> Outcome,
    ) {
        let start = Instant::now();
        let response = send(&self.agent).and_then(|mut response| {
            let body = response.body_mut().read_to_string()?;
            Ok((response.status().as_u16(), body))
        });
        let end = Instant::now();
        let outcome = match response {
            Ok((status, body)) => judge(&mut self.users, status, body),
            Err(error) => Outcome::Error(error.to_string()),
        };
        if matches!(outcome, Outcome::Error(_)) {
            thread::sleep(PAUSE_AFTER_ERROR);
        }
        self.samples.push(Sample { route, start, end, outcome });
    }

    /// Returns a pseudo-random number below `limit` (xorshift). The sequence is the same in every run.
    fn random_below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % limit
    }
}

fn expect_ok(status: u16, body: &str) -> Outcome {
    match status {
        200 => Outcome::Ok,
        _ => Outcome::Error(format!("{status} {body}")),
    }
}
