//! The deployment's looks: design tokens as CSS custom properties, and the logo.

use fondaco_market::Market;
use http::{StatusCode, header};

use crate::answer::{Answer, plain, problem, set};

pub(crate) fn tokens(market: &Market) -> Answer {
    let mut answer = plain("text/css; charset=utf-8", market.looks().theme.css.clone());
    set(answer.headers_mut(), header::CACHE_CONTROL, "public, max-age=300");
    answer
}

pub(crate) fn logo(market: &Market) -> Answer {
    let looks = market.looks();
    let Some(logo) = &looks.theme.logo else {
        return problem(StatusCode::NOT_FOUND, "not-found", "This shop has no logo.");
    };
    let mut answer = plain("application/octet-stream", logo.bytes.clone());
    set(answer.headers_mut(), header::CONTENT_TYPE, &logo.media_type);
    set(answer.headers_mut(), header::CACHE_CONTROL, "public, max-age=300");
    set(answer.headers_mut(), header::CONTENT_SECURITY_POLICY, crate::answer::FILE_POLICY);
    answer
}
