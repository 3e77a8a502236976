//! An order and its payment. The node owns every state; these pages only show it and pass on what the buyer fills in.

use fondaco_sdk::commerce::{Order, OrderState};
use fondaco_sdk::{Error, Field, FormField, Presentation, Response, Step, catalogue, commerce, encode};
use http::StatusCode;
use maud::{Markup, html};

use crate::art;
use crate::card;
use crate::fields::{self, Asked};
use crate::format;
use crate::markdown::is_safe_link;
use crate::page::{Head, Page, Section, alert, notice};
use crate::text::{Texts, fill};

/// Fields of the form that are this shop's own and not a gateway's.
const OWN_FIELDS: [&str; 2] = ["csrf", "gateway"];
/// Seconds after which an order that is under way is looked at again.
const LOOK_AGAIN: u32 = 5;
/// Schemes that a payment may be opened with in another program.
const WALLETS: [&str; 6] = ["https://", "http://", "bitcoin:", "lightning:", "ethereum:", "monero:"];

/// What a payment form is shown again with: the gateway, its fields, what was filled in and what was wrong.
struct Form<'a> {
    gateway: &'a str,
    fields: &'a [FormField],
    given: &'a [(String, String)],
    wrong: Option<&'a str>,
}

/// `GET /orders/<id>`
pub fn show(page: &Page, id: &str) -> Response {
    match commerce::get_order(page.request.session(), id) {
        Ok(order) => view(page, &order, None),
        Err(e) => page.error(&e),
    }
}

/// `POST /orders/<id>/pay`
pub fn pay(page: &Page, id: &str) -> Response {
    let session = page.request.session();
    let order = match commerce::get_order(session, id) {
        Ok(order) => order,
        Err(e) => return page.error(&e),
    };
    let Some(gateway) = page.request.field("gateway").filter(|g| !g.is_empty()) else {
        return view(page, &order, None);
    };
    let given: Vec<(String, String)> =
        page.request.form().into_iter().filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str())).collect();
    let input: Vec<Field> = given.iter().map(|(n, v)| Field { name: n.clone(), value: v.trim().to_owned() }).collect();
    match commerce::pay(session, id, &gateway, &input) {
        // The payment may have changed the order; what is shown is how it stands now.
        Ok(step) => follow(page, &commerce::get_order(session, id).unwrap_or(order), &gateway, step),
        Err(Error::Invalid(why)) => {
            // The gateway says what is wrong and not what it asks for; without input it asks again.
            let fields = match commerce::pay(session, id, &gateway, &[]) {
                Ok(Step::Ask(fields)) => fields,
                _ => Vec::new(),
            };
            let form = Form { gateway: &gateway, fields: &fields, given: &given, wrong: Some(&why) };
            view(page, &order, Some(&form)).status(StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(e) => page.error(&e),
    }
}

fn follow(page: &Page, order: &Order, gateway: &str, step: Step) -> Response {
    match step {
        Step::Done => page.see_other(&format!("/library?welcome={}", encode(&order.id))),
        Step::Redirect(url) => leave(page, order, &url),
        Step::Ask(fields) => view(page, order, Some(&Form { gateway, fields: &fields, given: &[], wrong: None })),
        Step::Present(what) => present(page, order, gateway, &what),
        Step::Wait(seconds) => wait(page, order, seconds),
    }
}

/// On to the payment service. A browser that follows a form of this shop may not be sent to another site (the page's
/// `form-action` forbids it), so a link leads there, and says where.
fn leave(page: &Page, order: &Order, url: &str) -> Response {
    let t = page.t;
    let web = ["https://", "http://"].into_iter().find_map(|s| url.strip_prefix(s));
    let Some(rest) = web.filter(|_| is_safe_link(url)) else {
        return page.problem(StatusCode::BAD_GATEWAY, t.down_title, t.pay_bad_link);
    };
    let base = page.brand.base_url.trim_end_matches('/');
    if let Some(path) = url.strip_prefix(base).filter(|p| !base.is_empty() && p.starts_with('/')) {
        return page.see_other(path);
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let content = html! {
        div.narrow {
            h1 { (t.order_title) }
            p { (fill(t.pay_leave, &[host])) }
            (summary(page, order))
            p { a.button.buy href=(url) rel="noreferrer" { (fill(t.pay_leave_go, &[host])) } }
        }
    };
    page.show(&Head::private(t.order_title, Section::Library), &content)
}

fn present(page: &Page, order: &Order, gateway: &str, what: &Presentation) -> Response {
    let t = page.t;
    let content = html! {
        div.narrow {
            h1 { (what.title) }
            p.lines { (what.text) }
            @if let Some(uri) = &what.uri {
                @if let Some(code) = art::qr(uri, t.qr_label) { (code) }
                p.uri { code { (uri) } }
                @if WALLETS.iter().any(|s| uri.starts_with(s)) {
                    p { a.button.plain href=(uri) rel="noreferrer" { (t.pay_present_open) } }
                }
            }
            @if let Some(expires) = &what.expires { p.quiet { (fill(t.pay_expires, &[expires])) } }
            (summary(page, order))
            @if matches!(order.state, OrderState::Paid | OrderState::Fulfilled) {
                p { a.button.buy href=(page.link(format!("/library?welcome={}", encode(&order.id)))) { (t.open_library) } }
            } @else { form method="post" action=(page.link(format!("/orders/{}/pay", encode(&order.id)))) {
                (page.csrf())
                input type="hidden" name="gateway" value=(gateway);
                button type="submit" { (t.pay_present_done) }
            } }
        }
    };
    page.show(&Head::private(&what.title, Section::Library), &content)
}

fn wait(page: &Page, order: &Order, seconds: u32) -> Response {
    let t = page.t;
    let path = format!("/orders/{}", encode(&order.id));
    let content = html! {
        div.narrow {
            h1 { (t.wait_title) }
            (waiting(page, order, seconds))
            (summary(page, order))
        }
    };
    let head = Head { refresh: Some((seconds.clamp(2, 60), &path)), ..Head::private(t.wait_title, Section::Library) };
    page.show(&head, &content)
}

/// What is said while a payment is under way; the script looks again from here.
fn waiting(page: &Page, order: &Order, seconds: u32) -> Markup {
    let path = format!("/orders/{}", encode(&order.id));
    html! {
        div.notice role="status" data-look-again=(seconds.clamp(2, 60)) data-state=(state_name(order.state)) data-path=(page.link(&path)) {
            p { (page.t.wait_text) }
            p { a href=(page.link(&path)) { (page.t.look_again) } }
        }
    }
}

fn view(page: &Page, order: &Order, form: Option<&Form>) -> Response {
    let t = page.t;
    let path = format!("/orders/{}", encode(&order.id));
    let payable = matches!(order.state, OrderState::Open | OrderState::Pending);
    let under_way = matches!(order.state, OrderState::Pending | OrderState::Paid) && form.is_none();
    let content = html! {
        div.narrow {
            h1 { (t.order_title) }
            @if let Some(why) = form.and_then(|f| f.wrong) { (alert("wrong", &fill(t.form_wrong, &[why]))) }
            @if under_way { (waiting(page, order, LOOK_AGAIN)) }
            (summary(page, order))
            @if order.state == OrderState::Fulfilled {
                p { a.button.buy href=(page.link("/library")) { (t.open_library) } }
                @if let Some(gateway) = &order.gateway {
                    form method="post" action=(page.link(format!("/orders/{}/pay", encode(&order.id)))) {
                        (page.csrf())
                        input type="hidden" name="gateway" value=(gateway);
                        button.plain type="submit" { (fill(t.pay_again_shown, &[&gateway_name(order, gateway)])) }
                    }
                }
            }
            @if payable {
                @if let Some(form) = form.filter(|f| !f.fields.is_empty()) { (payment_form(page, order, form)) }
                (gateways(page, order, form))
            }
        }
    };
    let refresh = under_way.then_some((LOOK_AGAIN, path.as_str()));
    page.show(&Head { refresh, ..Head::private(t.order_title, Section::Library) }, &content)
}

fn state_name(state: OrderState) -> &'static str {
    match state {
        OrderState::Open => "open",
        OrderState::Pending => "pending",
        OrderState::Paid => "paid",
        OrderState::Fulfilled => "fulfilled",
        OrderState::Refunded => "refunded",
        OrderState::Cancelled => "cancelled",
        OrderState::Expired => "expired",
    }
}

fn state_words(t: &Texts, state: OrderState) -> &'static str {
    match state {
        OrderState::Open => t.state_open,
        OrderState::Pending => t.state_pending,
        OrderState::Paid => t.state_paid,
        OrderState::Fulfilled => t.state_fulfilled,
        OrderState::Refunded => t.state_refunded,
        OrderState::Cancelled => t.state_cancelled,
        OrderState::Expired => t.state_expired,
    }
}

fn summary(page: &Page, order: &Order) -> Markup {
    let t = page.t;
    let work = catalogue::get(&order.work).ok();
    let terms = work
        .as_ref()
        .and_then(|w| w.offers.iter().find(|o| o.id == order.offer))
        .map(|o| crate::terms::sentences(t, &o.terms))
        .unwrap_or_default();
    html! {
        div.receipt data-state=(state_name(order.state)) {
            @if let Some(work) = &work {
                @let (width, height) = art::shape(work.kind);
                div.thumb { img src=(art::cover_path(work)) alt="" width=(width) height=(height); }
            }
            dl {
                dt { (t.order_work) }
                dd {
                    @if let Some(work) = &work {
                        a href=(page.link(card::path(&work.id))) { (work.title) }
                        @if !work.creators.is_empty() { br; span.quiet { (card::creators(work)) } }
                    } @else { (t.unknown_work) }
                }
                @if !terms.is_empty() {
                    dt { (t.terms) }
                    dd { ul.terms { @for sentence in &terms { li { (sentence) } } } }
                }
                dt { (t.order_total) }
                dd.total { (format::money(t, &order.total)) }
                dt { (t.order_state) }
                dd { (state_words(t, order.state)) }
                dt { (t.order_placed) }
                dd { time datetime=(order.created) { (format::date(t, &order.created)) } }
                dt { (t.order_number) }
                dd { code.hash { (order.id) } }
            }
        }
    }
}

fn payment_form(page: &Page, order: &Order, form: &Form) -> Markup {
    let t = page.t;
    let name = gateway_name(order, form.gateway);
    html! {
        form.panel method="post" action=(page.link(format!("/orders/{}/pay", encode(&order.id)))) {
            (page.csrf())
            input type="hidden" name="gateway" value=(form.gateway);
            h2 { (fill(t.pay_fields, &[&name])) }
            @for field in form.fields {
                (fields::input(t, &Asked {
                    name: &field.name, label: &field.label, kind: &field.kind, required: field.required, help: "",
                    value: fields::value_of(form.given, &field.name),
                    wrong: form.wrong.filter(|why| fields::is_about(why, &field.name, &field.label, form.fields.len())),
                }))
            }
            button.buy type="submit" { (fill(t.pay_go, &[&format::money(t, &order.total)])) }
        }
    }
}

fn gateway_name(order: &Order, gateway: &str) -> String {
    let known = commerce::gateways(&order.work, &order.offer).unwrap_or_default();
    known.into_iter().find(|g| g.id == gateway).map_or_else(|| gateway.to_owned(), |g| g.name)
}

/// The ways to pay, less the one whose form is on the page already.
fn gateways(page: &Page, order: &Order, form: Option<&Form>) -> Markup {
    let t = page.t;
    let open = form.filter(|f| !f.fields.is_empty()).map(|f| f.gateway);
    let all = commerce::gateways(&order.work, &order.offer).unwrap_or_default();
    let others: Vec<_> = all.iter().filter(|g| open != Some(g.id.as_str())).collect();
    html! {
        @if all.is_empty() {
            (notice(t.no_gateway))
        } @else if !others.is_empty() {
            section.panel aria-labelledby="ways" {
                h2 id="ways" { (if open.is_some() { t.other_way } else { t.how_to_pay }) }
                @for gateway in others {
                    form method="post" action=(page.link(format!("/orders/{}/pay", encode(&order.id)))) {
                        (page.csrf())
                        input type="hidden" name="gateway" value=(gateway.id);
                        @let again = order.state == OrderState::Pending && order.gateway.as_ref() == Some(&gateway.id);
                        button.plain[open.is_some()] type="submit" { (fill(if again { t.continue_with } else { t.pay_with }, &[&gateway.name])) }
                    }
                }
                @if order.state == OrderState::Pending { p.quiet { (t.nothing_charged) } }
            }
        }
    }
}
