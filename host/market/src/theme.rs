//! The deployment's looks. Design tokens (DTCG format, `theme/tokens.json`) and the brand's colours become CSS custom
//! properties; everything that is not a plain value is left out, so that no token breaks out of its declaration.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use fondaco_schemas::deployment::Brand;

/// What the gateway serves under `/theme`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// `:root { --color-brand: … }`.
    pub css: String,
    /// The brand's logo.
    pub logo: Option<Logo>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    /// Its media type.
    pub media_type: String,
    /// The file.
    pub bytes: Bytes,
}

const MAX_FILE: u64 = 1 << 20;

impl Theme {
    /// Reads a deployment's theme. What is wrong with it is said and left out: a shop with plain looks is still a shop.
    pub fn read(folder: &Path, brand: &Brand) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut css = String::from(":root {\n");
        for (name, color) in &brand.colors {
            declare(&mut css, &format!("color-{name}"), color.as_str());
        }
        let tokens = folder.join("theme/tokens.json");
        match small_file(&tokens) {
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(tokens) => collect(&mut css, "", &tokens, 0),
                Err(e) => problems.push(format!("{}: {e}", tokens.display())),
            },
            Ok(None) => {}
            Err(e) => problems.push(format!("{}: {e}", tokens.display())),
        }
        css.push_str("}\n");
        let logo = brand.logo.as_ref().and_then(|name| {
            let path = folder.join("theme").join(name);
            match small_file(&path) {
                Ok(Some(bytes)) => Some(Logo { media_type: crate::media::of_path(name).into(), bytes: bytes.into() }),
                Ok(None) => {
                    problems.push(format!("{}: there is no such logo", path.display()));
                    None
                }
                Err(e) => {
                    problems.push(format!("{}: {e}", path.display()));
                    None
                }
            }
        });
        (Self { css, logo }, problems)
    }
}

fn small_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_FILE => Err(std::io::Error::other("the file is larger than 1 MiB")),
        Ok(_) => std::fs::read(path).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Walks a DTCG tree: an object with `$value` is a token, another object is a group.
fn collect(css: &mut String, name: &str, node: &serde_json::Value, depth: u8) {
    let Some(map) = node.as_object().filter(|_| depth < 8) else { return };
    if let Some(value) = map.get("$value") {
        match value {
            serde_json::Value::String(text) => declare(css, name, text),
            serde_json::Value::Number(number) => declare(css, name, &number.to_string()),
            serde_json::Value::Array(list) => {
                let names: Vec<&str> = list.iter().filter_map(|v| v.as_str()).collect();
                declare(css, name, &names.join(", "));
            }
            serde_json::Value::Object(dimension) => {
                if let (Some(value), Some(unit)) =
                    (dimension.get("value"), dimension.get("unit").and_then(|u| u.as_str()))
                {
                    declare(css, name, &format!("{value}{unit}"));
                }
            }
            _ => {}
        }
        return;
    }
    for (key, child) in map.iter().filter(|(k, _)| !k.starts_with('$')) {
        let name = if name.is_empty() { key.clone() } else { format!("{name}-{key}") };
        collect(css, &name, child, depth + 1);
    }
}

fn declare(css: &mut String, name: &str, value: &str) {
    let plain_name =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let plain = |c: char| c.is_alphanumeric() || " #.,%-()/'\"_+".contains(c);
    // No `url(`: a token never makes a browser fetch something.
    let harmless = value.len() <= 256 && value.chars().all(plain) && !value.to_ascii_lowercase().contains("url(");
    let quotes = value.matches('"').count().is_multiple_of(2) && value.matches('\'').count().is_multiple_of(2);
    if plain_name && harmless && quotes && !value.contains("/*") {
        let _ = writeln!(css, "  --{name}: {value};");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_custom_properties_and_nothing_else() {
        let tokens = serde_json::json!({
            "color": { "brand": { "$value": "#b3001b", "$type": "color" }, "$description": "x" },
            "font": { "body": { "$value": ["Inter", "sans-serif"] } },
            "radius": { "$value": { "value": 4, "unit": "px" } },
            "evil": { "$value": "red; } body { display: none" },
            "fetch": { "$value": "url(https://evil.example)" },
            "open": { "$value": "\"" },
            "a b": { "$value": "1" },
        });
        let mut css = String::new();
        collect(&mut css, "", &tokens, 0);
        let mut lines: Vec<_> = css.lines().map(str::trim).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["--color-brand: #b3001b;", "--font-body: Inter, sans-serif;", "--radius: 4px;"]);
    }
}
