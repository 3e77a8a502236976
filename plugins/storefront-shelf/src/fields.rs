//! Fields that another plugin asks for: a gateway's, or a campaign's. What they are called and how they behave is in
//! one place, so that each has a label, a place for its error, and the right keyboard.

use maud::{Markup, html};

use crate::text::{Texts, fill};

/// One field, ready to be drawn.
pub struct Asked<'a> {
    /// Its name in the form.
    pub name: &'a str,
    /// What people read.
    pub label: &'a str,
    /// The other plugin's word for what is filled in: `email`, `textarea`, `checkbox`, …
    pub kind: &'a str,
    /// Must it be filled in?
    pub required: bool,
    /// What it is used for.
    pub help: &'a str,
    /// What stands in it already.
    pub value: &'a str,
    /// What was wrong with it.
    pub wrong: Option<&'a str>,
}

/// Draws a field.
pub fn input(t: &Texts, asked: &Asked) -> Markup {
    let Asked { name, label, kind, required, help, value, wrong } = asked;
    let id = id_of(name);
    let help_id = format!("{id}-help");
    let wrong_id = format!("{id}-wrong");
    let described = match (help.is_empty(), wrong.is_some()) {
        (true, false) => None,
        (false, false) => Some(help_id.clone()),
        (true, true) => Some(wrong_id.clone()),
        (false, true) => Some(format!("{help_id} {wrong_id}")),
    };
    let invalid = wrong.map(|_| "true");
    let notes = html! {
        @if !help.is_empty() { span.help id=(help_id) { (help) } }
        @if let Some(wrong) = wrong { span.wrong id=(wrong_id) { (fill(t.form_wrong, &[wrong])) } }
    };
    if is_box(kind) {
        return html! {
            div.field.box {
                input type="checkbox" id=(id) name=(name) value="yes" checked[!value.is_empty()] required[*required]
                    aria-describedby=[described] aria-invalid=[invalid];
                label for=(id) { (label) (mark(t, *required)) }
                (notes)
            }
        };
    }
    html! {
        div.field {
            label for=(id) { (label) (mark(t, *required)) }
            @if matches!(*kind, "textarea" | "text-long" | "message") {
                textarea id=(id) name=(name) rows="12" required[*required] aria-describedby=[described] aria-invalid=[invalid] { "\n" (value) }
            } @else {
                input id=(id) name=(name) type=(type_of(kind)) value=(value) required[*required] autocomplete=(autocomplete_of(kind, name))
                    spellcheck=[matches!(*kind, "code" | "voucher" | "email").then_some("false")]
                    aria-describedby=[described] aria-invalid=[invalid];
            }
            (notes)
        }
    }
}

fn mark(t: &Texts, required: bool) -> Markup {
    html! { " " span.mark { "(" (if required { t.required } else { t.optional }) ")" } }
}

/// Is a field of this kind a box to tick?
pub fn is_box(kind: &str) -> bool {
    matches!(kind, "checkbox" | "consent" | "bool" | "boolean")
}

/// Names of other plugins' fields as ids: what an id cannot hold becomes a hyphen.
fn id_of(name: &str) -> String {
    let safe = name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
    std::iter::once('f').chain(std::iter::once('-')).chain(safe).collect()
}

fn type_of(kind: &str) -> &'static str {
    match kind {
        "email" | "mail" => "email",
        "tel" | "phone" => "tel",
        "number" => "number",
        "url" => "url",
        "date" => "date",
        "password" | "secret" | "pin" => "password",
        _ => "text",
    }
}

fn autocomplete_of(kind: &str, name: &str) -> &'static str {
    match (kind, name) {
        ("email" | "mail", _) | (_, "email" | "mail") => "email",
        ("tel" | "phone", _) => "tel",
        ("postcode", _) | (_, "postcode") => "postal-code",
        ("country", _) | (_, "country") => "country",
        ("name", _) | (_, "name") => "name",
        (_, "address") => "street-address",
        (_, "city") => "address-level2",
        _ => "off",
    }
}

/// What was filled in under a name.
pub fn value_of<'a>(given: &'a [(String, String)], name: &str) -> &'a str {
    given.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
}

/// Is an error's text about this field? The only field of a form is meant in any case.
pub fn is_about(why: &str, name: &str, label: &str, fields: usize) -> bool {
    let why = why.to_lowercase();
    fields == 1 || why.contains(&name.to_lowercase()) || why.contains(&label.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ENGLISH;

    #[test]
    fn an_error_is_tied_to_its_field() {
        let asked = Asked {
            name: "code\"x",
            label: "Code",
            kind: "text",
            required: true,
            help: "h",
            value: "<",
            wrong: Some("used up"),
        };
        let html = input(&ENGLISH, &asked).into_string();
        assert!(html.contains("aria-describedby=\"f-code-x-help f-code-x-wrong\""), "{html}");
        assert!(html.contains("aria-invalid=\"true\"") && html.contains("id=\"f-code-x-wrong\""), "{html}");
        assert!(html.contains("name=\"code&quot;x\"") && html.contains("value=\"&lt;\""), "{html}");
    }

    #[test]
    fn knows_which_field_an_error_speaks_of() {
        assert!(is_about("anything", "a", "B", 1));
        assert!(is_about("the Code is used up", "code", "Voucher", 2));
        assert!(!is_about("no such thing", "code", "Voucher", 2));
    }
}
