//! URLs with a password in the right place and in wrong ones, also in place of an address.

use redigo::{Dialer, Pool};

use crate::capture::{listen, log_so_far};
use crate::support::errors::shown;

/// `{}` stands for the password, in the right place or in a wrong one.
const WITH_A_PASSWORD: [&str; 44] = [
    // Valid URLs.
    "redis://:{}@127.0.0.1:1",
    "redis://{}@127.0.0.1:1/3",
    "redis://user:{}@127.0.0.1:1?db=3",
    "redis://{}:word@127.0.0.1:1",
    "redis://:pass%40{}@127.0.0.1:1",
    "redis://:pass@{}@127.0.0.1:1",
    "rediss://:{}@127.0.0.1:1",
    "unix://:{}@/nonexistent/redis.sock",
    "unix://user:{}@/nonexistent/redis.sock?db=3",
    // Invalid in another part.
    "redis://:{}@127.0.0.1:bad",
    "redis://:{}@127.0.0.1:99999",
    "redis://:{}@::1",
    "redis://:{}@[::1",
    "redis://:{}@[::1]x",
    "redis://:{}@weird host",
    "redis://:{}@h/abc",
    "redis://:{}@h?db=abc",
    "redis://:{}@h?nonsense",
    "redis://:{}@h/1?db=2",
    "redis://:{}@h#fragment",
    "unix://:{}@",
    "unix://:{}@host/path",
    "http://:{}@h",
    "redis:user:{}@h",
    "redis:/user:{}@h",
    // Not encoded, so the password seems to end early.
    "redis://:pa/{}@h",
    "redis://:pa?{}@h",
    "redis://:pa#{}@h",
    "redis://:pa {}@h",
    "redis://:pa%{}@h",
    "redis://:pa%ff{}@h",
    "redis://:{}/pa@h",
    "redis://:{}?pa@h",
    "redis://:{}[pa@h",
    "unix://:pa/{}@/path",
    // Without the parts around the password.
    "redis://:{}",
    "redis://user:{}",
    "redis://user:{}:127.0.0.1:1",
    "redis://:{}:127.0.0.1:1",
    "redis://:{}/0",
    "user:{}@h",
    ":{}@h",
    "{}@h:6379",
    "{}",
];

#[test]
fn no_output_shows_a_password_of_a_url() {
    const PASSWORD: &str = "hunter2";
    let _alone = listen();
    for template in WITH_A_PASSWORD {
        let url = template.replace("{}", PASSWORD);
        let from_url = Dialer::url(&url);
        let mut texts = vec![shown(&from_url)];
        if let Ok(dialer) = from_url {
            texts.push(shown(&dialer.dial()));
            let pool = Pool::builder(dialer).build();
            texts.push(shown(&pool));
            texts.push(shown(&pool.and_then(|pool| pool.acquire())));
        }
        // In place of an address. A bare word there is a host and is shown.
        if url != PASSWORD {
            let from_address = Dialer::tcp(&url);
            texts.push(shown(&from_address.dial()));
            texts.push(format!("{from_address:?}"));
        }
        for text in texts {
            assert!(!text.contains(PASSWORD), "{template}: {text}");
        }
    }
    let lines = log_so_far();
    assert!(lines.contains("redigo::pool dialing failed: "), "{lines}");
    assert!(!lines.contains(PASSWORD), "{lines}");
}
