//! URLs with a password in the right place and in all the wrong ones, and the same in the place of an
//! address.

use redigo::{Dialer, Pool};

use crate::capture::{listen, log_so_far};
use crate::support::errors::shown;

/// One `{}` stands where a password is, or where a slip of the pen has put it.
const WITH_A_PASSWORD: [&str; 44] = [
    // Good ones.
    "redis://:{}@127.0.0.1:1",
    "redis://{}@127.0.0.1:1/3",
    "redis://user:{}@127.0.0.1:1?db=3",
    "redis://{}:word@127.0.0.1:1",
    "redis://:pass%40{}@127.0.0.1:1",
    "redis://:pass@{}@127.0.0.1:1",
    "rediss://:{}@127.0.0.1:1",
    "unix://:{}@/nonexistent/redis.sock",
    "unix://user:{}@/nonexistent/redis.sock?db=3",
    // Wrong elsewhere.
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
    // Not encoded, so that it seems to end too early.
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
    // Without what belongs around it.
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
fn no_error_no_debug_and_no_log_line_shows_a_password() {
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
        // In the place of an address. A bare word there is a host, and shown as one.
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
    assert!(lines.contains("redigo::pool dialling failed: "), "{lines}");
    assert!(!lines.contains(PASSWORD), "{lines}");
}
