//! What a plugin may call, and the rules that a request is held to. Pure: nothing here waits or sends.

use std::collections::BTreeMap;
use std::fmt;

use fondaco_fetch::{MAX_HEADER_BYTES, Reach, class};
use fondaco_schemas::{HostName, Hosts, Origin};
use http::{HeaderMap, HeaderValue};

/// A secret of the operator's. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What one plugin may call: what its manifest asks for and its operator grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpGrant {
    /// The hosts.
    pub hosts: Vec<Hosts>,
    /// Those of them whose names may lead to private addresses.
    pub allow_private: Vec<Hosts>,
    /// Bytes in a day, both directions together.
    pub daily_bytes: u64,
    /// The plugin's secrets, for headers.
    pub secrets: BTreeMap<String, Secret>,
}

/// Why the node does not send a request. The text ends with what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0} is not granted: if its manifest asks for that host, add `{1}`")]
    Host(Origin, String),
    #[error("the secret {0:?} is not set: add `secrets.{0} = \"env:NAME\"` or `\"file:path\"`")]
    NoSecret(String),
    #[error("the secret {0:?} is no header value: it has line breaks, or other bytes than ASCII")]
    BadSecret(String),
    #[error("a header value has `{{{{secret:` in it without a name and `}}}}`: write `{{{{secret:name}}}}`")]
    Placeholder,
    #[error(
        "a secret is not sent to {0} in clear: grant an https:// address, or name the host in `grant.http.allow-private`"
    )]
    Clear(Origin),
}

const OPENS: &str = "{{secret:";
const CLOSES: &str = "}}";

impl HttpGrant {
    /// Is this host granted? Which addresses it may have.
    pub(crate) fn check(&self, origin: &Origin) -> Result<Reach, Refusal> {
        let Some(granted) = self.hosts.iter().find(|h| h.contain(origin)) else {
            let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).chain([origin.to_string()]).collect();
            return Err(Refusal::Host(origin.clone(), format!("grant.http.hosts = {hosts:?}")));
        };
        if granted.exact().is_some() && granted.address().is_some() {
            return Ok(Reach::Any);
        }
        let private = self.allow_private.iter().any(|h| h.contain(origin));
        Ok(if private { Reach::Private } else { Reach::Public })
    }

    /// Puts the plugin's secrets where `{{secret:name}}` stands in the values of headers; nowhere else.
    pub(crate) fn fill(&self, headers: &mut HeaderMap, origin: &Origin, reach: Reach) -> Result<(), Refusal> {
        for value in headers.values_mut() {
            // What is not text cannot hold one, and is refused by the client.
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else { continue };
            if !text.contains(OPENS) {
                continue;
            }
            let inside = matches!(origin.host(), HostName::Address(a) if class(a).is_some());
            if origin.is_plain() && reach != Reach::Private && !inside {
                return Err(Refusal::Clear(origin.clone()));
            }
            let filled = self.fill_one(text)?;
            *value = filled;
        }
        Ok(())
    }

    fn fill_one(&self, text: &str) -> Result<HeaderValue, Refusal> {
        let (mut out, mut rest, mut last) = (String::with_capacity(text.len()), text, "");
        while let Some((before, after)) = rest.split_once(OPENS) {
            let (name, after) = after.split_once(CLOSES).ok_or(Refusal::Placeholder)?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(Refusal::Placeholder);
            }
            let secret = self.secrets.get(name).ok_or_else(|| Refusal::NoSecret(name.to_owned()))?;
            out.push_str(before);
            // A value is never read again: a secret that looks like a placeholder stays what it is.
            out.push_str(&secret.0);
            (rest, last) = (after, name);
            if out.len() > MAX_HEADER_BYTES {
                break;
            }
        }
        out.push_str(rest);
        let mut value = HeaderValue::from_str(&out).map_err(|_| Refusal::BadSecret(last.to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> HttpGrant {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        let secrets = [("key", "s3cret"), ("user.name", "ada"), ("broken", "a\r\nx: y"), ("tricky", "{{secret:key}}")];
        HttpGrant {
            hosts: parse(&[
                "https://pay.example",
                "https://*.cdn.example",
                "https://pay.lan",
                "http://127.0.0.1:9000",
                "http://old.example",
                "http://1.1.1.1",
            ]),
            allow_private: parse(&["https://pay.lan"]),
            daily_bytes: 1 << 20,
            secrets: secrets.map(|(k, v)| (k.to_owned(), Secret::new(v))).into(),
        }
    }

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_called_as_it_was_granted() {
        let check = |text: &str| grant().check(&origin(text));
        assert_eq!(check("https://pay.example"), Ok(Reach::Public));
        assert_eq!(check("https://a.b.cdn.example"), Ok(Reach::Public));
        assert_eq!(check("https://pay.lan"), Ok(Reach::Private));
        assert_eq!(check("http://127.0.0.1:9000"), Ok(Reach::Any), "an address that was written down");
        for other in [
            "http://pay.example",
            "https://pay.example:8443",
            "https://cdn.example",
            "https://evil.example",
            "http://127.0.0.1:9001",
            "http://127.0.0.1",
            "https://127.0.0.1:9000",
            "http://pay.lan",
            "https://xpay.example",
        ] {
            let refused = check(other).unwrap_err().to_string();
            assert!(
                refused.starts_with(other) && refused.contains("add `grant.http.hosts = [\"https://pay.example\""),
                "{refused}"
            );
            assert!(refused.contains(&format!("\"{other}\"]`")), "{refused}");
        }
    }

    fn fill(value: &str, to: &str) -> Result<HeaderValue, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(value).unwrap());
        let origin = origin(to);
        let reach = grant().check(&origin).unwrap();
        grant().fill(&mut headers, &origin, reach).map(|()| headers.remove("authorization").unwrap())
    }

    #[test]
    fn secrets_are_put_into_header_values() {
        let to = "https://pay.example";
        assert_eq!(fill("Bearer {{secret:key}}", to).unwrap(), "Bearer s3cret");
        assert_eq!(fill("{{secret:user.name}}:{{secret:key}};", to).unwrap(), "ada:s3cret;");
        assert!(fill("{{secret:key}}", to).unwrap().is_sensitive());
        assert_eq!(fill("{{secret:tricky}}", to).unwrap(), "{{secret:key}}", "filled once");
        assert_eq!(fill("{{ secret:key }}", to).unwrap(), "{{ secret:key }}", "one spelling only");
        assert_eq!(fill("plain", to).unwrap(), "plain");
        assert_eq!(fill("{{secret:none}}", to), Err(Refusal::NoSecret("none".into())));
        assert_eq!(fill("{{secret:broken}}", to), Err(Refusal::BadSecret("broken".into())));
        for bad in ["{{secret:", "{{secret:}}", "{{secret:a b}}", "{{secret:{{secret:key}}}}", "{{secret:key}"] {
            assert_eq!(fill(bad, to), Err(Refusal::Placeholder), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_leave_in_clear() {
        assert_eq!(fill("{{secret:key}}", "http://old.example"), Err(Refusal::Clear(origin("http://old.example"))));
        assert!(fill("{{secret:key}}", "http://1.1.1.1").is_err(), "a public address that was written down");
        assert_eq!(fill("{{secret:key}}", "http://127.0.0.1:9000").unwrap(), "s3cret", "a service on this machine");
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        assert!(!format!("{:?}", grant()).contains("s3cret"));
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(..)");
    }

    /// A value is filled no further than what may be sent: a short header cannot make the node hold a long one.
    #[test]
    fn filling_ends_where_the_headers_do() {
        let (most, half) = (MAX_HEADER_BYTES, MAX_HEADER_BYTES / 2);
        let secrets = [("most", "x".repeat(most)), ("half", "x".repeat(half)), ("none", String::new())];
        let grant = HttpGrant { secrets: secrets.map(|(k, v)| (k.to_owned(), Secret::new(v))).into(), ..grant() };
        let filled = |text: &str| grant.fill_one(text).unwrap();
        assert_eq!(filled("{{secret:most}}{{secret:none}}").len(), most, "exactly as much as may be sent");
        let long = "{{secret:half}}".repeat(100);
        assert!(filled(&long).len() <= most + half + long.len(), "the rest stays as it stands, and is refused");
    }
}
