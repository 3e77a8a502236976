//! The page that visitors get while no storefront answers: plain, with the shop's name and looks, and made of nothing
//! but the brand, so that no plugin can keep it from being shown. Programs get the same as problem details.

use std::time::Duration;

use fondaco_market::Market;
use fondaco_runtime::{CallError, Health};
use http::{HeaderMap, StatusCode, header};

use crate::answer::{Answer, plain, problem, set};
use crate::language::Language;

/// What programs are told.
const DETAIL: &str = "The shop's pages are out of order for the moment. Files and purchases are not affected.";
/// What visitors are told.
const ENGLISH: &str = "The shop's pages are out of order for the moment. Files and purchases are not affected. Please come \
                       back in a moment.";
const FRENCH: &str = "Les pages de la boutique sont momentanément indisponibles. Vos fichiers et vos achats ne sont pas \
                      concernés. Revenez dans un instant.";

/// The answer to a request that the storefront did not answer: 503, and when to try again.
pub(crate) fn page(market: &Market, headers: &HeaderMap, kind: &str, again: Duration) -> Answer {
    let mut answer = if wants_html(headers) {
        let looks = market.looks();
        let page = html(&looks.brand.name, looks.theme.logo.is_some(), Language::of(headers));
        let mut page = plain("text/html; charset=utf-8", page);
        *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        set(page.headers_mut(), header::CACHE_CONTROL, "no-store");
        page
    } else {
        problem(StatusCode::SERVICE_UNAVAILABLE, kind, DETAIL)
    };
    set(answer.headers_mut(), header::RETRY_AFTER, &again.as_secs().max(1).to_string());
    answer
}

/// When a visitor may find the storefront working again.
pub(crate) fn again(error: &CallError) -> Duration {
    match error {
        CallError::Unavailable { health: Health::Open(wait), .. } => *wait,
        CallError::Unavailable { health: Health::Quarantined, .. } => Duration::from_hours(1),
        CallError::Overloaded { .. } => Duration::from_secs(2),
        _ => Duration::from_secs(10),
    }
}

/// Is it a person's browser that asks?
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("text/html")))
}

fn html(name: &str, has_logo: bool, language: Language) -> String {
    let (name, lang, text) = (escaped(name), language.tag(), language.pick(ENGLISH, FRENCH));
    let logo = if has_logo { "<p><img src=\"/theme/logo\" alt=\"\" height=\"64\"></p>\n" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"stylesheet\" href=\"/theme/tokens.css\">\n<link rel=\"stylesheet\" href=\"/-/desk.css\">\n</head>\n<body>\n<main>\n{logo}<h1>{name}</h1>\n\
         <p>{text}</p>\n</main>\n</body>\n</html>\n"
    )
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_do_not() {
        let accept = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, http::HeaderValue::from_static(value));
            wants_html(&headers)
        };
        assert!(accept("text/html,application/xhtml+xml;q=0.9"));
        assert!(!accept("application/json") && !accept("*/*") && !wants_html(&HeaderMap::new()));
    }

    #[test]
    fn a_brand_cannot_break_out_of_the_page() {
        let page = html("<script>alert(1)</script> & \"Sons\"", true, Language::French);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("/theme/logo") && page.contains("lang=\"fr\"") && page.contains("Revenez"), "{page}");
        let page = html("x", false, Language::English);
        assert!(!page.contains("<img") && page.contains("lang=\"en\"") && page.contains("come back"), "{page}");
    }
}
