//! Any text as a URL: no panic, and nothing of the credentials in what is said about it.

use redigo::Dialer;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let said = say(text);
    // Whoever has another user and another password is told the very same.
    let other = with_other_credentials(text);
    assert_eq!(say(&other), said, "{text:?} and {other:?}");
    // An address is read by the same rules.
    let _ = format!("{:?}", Dialer::tcp(text));
}

fn say(url: &str) -> String {
    match Dialer::url(url) {
        Ok(dialer) => format!("{dialer:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

/// The same URL with other letters between `//` and the last `@`. Those of hexadecimal digits stay,
/// as they may be part of an encoded byte.
fn with_other_credentials(url: &str) -> String {
    let Some(from) = url.find("//").map(|at| at + 2) else { return url.to_owned() };
    let Some(to) = url.rfind('@').filter(|to| *to > from) else { return url.to_owned() };
    let changed = url[from..to].chars().map(|c| match c {
        'z' => 'g',
        'Z' => 'G',
        'g'..='y' | 'G'..='Y' => char::from(c as u8 + 1),
        other => other,
    });
    format!("{}{}{}", &url[..from], changed.collect::<String>(), &url[to..])
}
