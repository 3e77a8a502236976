//! Who is visiting: one cookie, which the node alone reads, and the token that every form must carry.

use fondaco_market::{Cookie, Market};
use fondaco_runtime::Visitor;
use http::{HeaderMap, Uri, header};
use std::sync::Arc;

/// `__Host-` binds the cookie to this host, to HTTPS (or localhost) and to the whole site.
const COOKIE: &str = "__Host-fondaco";

/// Who asks, as far as the cookie itself says, and the cookie to set where they are new.
pub(crate) struct Guest {
    pub cookie: Cookie,
    pub set_cookie: Option<String>,
}

/// A guest whose visit is about something of their own.
pub(crate) struct Session {
    pub visitor: Arc<Visitor>,
    pub csrf: String,
    /// There was no cookie, so no page of theirs came before.
    pub is_new: bool,
}

/// Reads the cookie, or makes one. It costs next to nothing.
pub(crate) fn greet(market: &Market, headers: &HeaderMap) -> Guest {
    let known = cookies(headers).find(|(name, _)| *name == COOKIE).and_then(|(_, value)| market.read_cookie(value));
    let (cookie, is_new) = known.map_or_else(|| (market.new_cookie(), true), |cookie| (cookie, false));
    let set_cookie = is_new.then(|| header_of(market, &cookie));
    Guest { cookie, set_cookie }
}

/// Derives what follows from the cookie.
pub(crate) fn open(market: &Market, guest: &Guest) -> Session {
    let (visitor, csrf) = (Arc::new(market.visitor(&guest.cookie)), market.csrf_token(&guest.cookie));
    Session { visitor, csrf, is_new: guest.set_cookie.is_some() }
}

/// The `Set-Cookie` header's value.
pub(crate) fn header_of(market: &Market, cookie: &Cookie) -> String {
    format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=31536000", market.write_cookie(cookie))
}

/// Pair by pair: a neighbour's cookie may hold any bytes, and must not make the visitor a new one, whose cookie would take
/// the library's place.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|v| v.as_bytes().split(|b| *b == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok().filter(|p| p.is_ascii()))
        .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
}

/// Why a form is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forged {
    /// The browser says that another site sent it.
    CrossSite,
    /// No session, or no token, or another one's.
    Token,
    /// A script sent it, and this is for a person to do.
    Script,
}

/// Did a person press a button? A script's own request says another mode or destination, and cannot say these (forbidden
/// request-headers of the Fetch standard). Who says nothing is no browser of today.
pub(crate) fn is_pressed(headers: &HeaderMap) -> bool {
    let pressed = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    pressed.into_iter().all(|(name, value)| headers.get(name).is_none_or(|said| said == value))
}

/// May this form be taken in? The browser's own word first (`Sec-Fetch-Site`, `Origin`), then the token in the form.
/// `public` is the site's own address: a front server may have put another `Host` in.
pub(crate) fn check_form(
    headers: &HeaderMap,
    uri: &Uri,
    public: &str,
    session: &Session,
    form: &[u8],
) -> Result<(), Forged> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Forged::CrossSite);
    }
    if let Some(origin) = text("origin") {
        let host = text("host").or_else(|| uri.host()).unwrap_or_default();
        let origin_host = origin.split_once("://").map_or(origin, |(_, h)| h);
        let public_host = public.split_once("://").map_or(public, |(_, h)| h);
        if origin_host != host && origin_host != public_host {
            return Err(Forged::CrossSite);
        }
    }
    let token = form_field(form, "csrf").unwrap_or_default();
    if session.is_new || !same(token.as_bytes(), session.csrf.as_bytes()) {
        return Err(Forged::Token);
    }
    Ok(())
}

/// Constant in time for texts of one length.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// The first value of a field of `application/x-www-form-urlencoded`.
pub(crate) fn form_field(form: &[u8], name: &str) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// Undoes percent-encoding and `+` (WHATWG URL §5.1).
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        rest = match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                after.get(2..).unwrap_or_default()
            }
            (b'+', _) => {
                out.push(b' ');
                after
            }
            _ => {
                out.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_form_fields() {
        assert_eq!(form_field(b"a=1&csrf=x%2By+z&csrf=2", "csrf").as_deref(), Some("x+y z"));
        assert_eq!(form_field(b"csr%66=1", "csrf").as_deref(), Some("1"));
        assert_eq!(form_field(b"a=%", "a").as_deref(), Some("%"));
        assert_eq!(form_field(b"", "csrf"), None);
    }

    #[test]
    fn a_neighbours_cookie_hides_nothing() {
        let mut headers = HeaderMap::new();
        let sent = b"n=Zo\xc3\xab; __Host-fondaco=x; \xe2\x80\x80__Host-fondaco=y";
        headers.insert(header::COOKIE, http::HeaderValue::from_bytes(sent).unwrap());
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), [("__Host-fondaco", "x")]);
    }

    #[test]
    fn refuses_forged_forms() {
        let visitor = Visitor {
            handle: String::new(),
            cookie_hash: [0; 32],
            brought: None,
            own: fondaco_runtime::LazyHolder::new(Box::new(|| None)),
            led_on: Arc::default(),
        };
        let mut session = Session { visitor: Arc::new(visitor), csrf: "token".into(), is_new: false };
        let uri = Uri::from_static("/buy");
        let check = |session: &Session, pairs: &[(&'static str, &'static str)], form: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "shop.example".parse().unwrap());
            for (k, v) in pairs {
                headers.insert(*k, v.parse().unwrap());
            }
            check_form(&headers, &uri, "https://public.example", session, form)
        };
        let good = b"csrf=token".as_slice();
        assert_eq!(check(&session, &[], good), Ok(()));
        assert_eq!(
            check(&session, &[("origin", "https://shop.example"), ("sec-fetch-site", "same-origin")], good),
            Ok(())
        );
        assert_eq!(check(&session, &[("origin", "https://public.example")], good), Ok(()), "behind a front server");
        for cross in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(check(&session, &[cross], good), Err(Forged::CrossSite), "{cross:?}");
        }
        for form in [b"".as_slice(), b"csrf=", b"csrf=tokem", b"csrf=token2", b"other=token"] {
            assert_eq!(check(&session, &[], form), Err(Forged::Token));
        }
        session.is_new = true;
        assert_eq!(check(&session, &[], good), Err(Forged::Token), "a form cannot come before its page");
    }
}
