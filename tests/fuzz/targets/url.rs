//! Fuzzes URLs: no panic, and no part of the credentials in messages.

use redigo::Dialer;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let description = describe(text);
    // Other credentials must give the same message.
    let other = with_other_credentials(text);
    assert_eq!(describe(&other), description, "{text:?} and {other:?}");
    // Addresses are parsed by the same rules.
    let _ = format!("{:?}", Dialer::tcp(text));
}

fn describe(url: &str) -> String {
    match Dialer::url(url) {
        Ok(dialer) => format!("{dialer:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

/// Returns the URL with other letters between `//` and the last `@`. Hexadecimal digits stay, because
/// they can be part of an encoded byte.
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
