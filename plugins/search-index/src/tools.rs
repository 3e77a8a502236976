//! What the operator may ask: how big the index is, and why a query finds what it finds.

use fondaco_sdk::{Document, Error, Parameter, Result, Tool};
use serde_json::{Value, json};

use crate::field::{Field, Settings};
use crate::meta::Meta;
use crate::query::{How, MAX_QUERY_BYTES, Plan};

/// What there is.
pub fn tools() -> Vec<Tool> {
    let text = Parameter { name: "text".into(), summary: "what a person would type".into(), required: true };
    vec![
        Tool { name: "stats".into(), summary: "How many works and words are indexed".into(), parameters: Vec::new() },
        Tool { name: "explain".into(), summary: "Which words a query stands for".into(), parameters: vec![text] },
    ]
}

/// Runs one.
pub fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
    let answer = match tool {
        "stats" => stats()?,
        "explain" => {
            let text = input.iter().find(|(name, _)| name == "text").map(|(_, text)| text.as_str());
            explain(text.ok_or_else(|| Error::Invalid("explain needs text=…".into()))?)?
        }
        _ => return Err(Error::NotFound),
    };
    let body = serde_json::to_vec_pretty(&answer).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Document { media_type: "application/json".into(), file_name: format!("{tool}.json"), body })
}

fn stats() -> Result<Value> {
    let (meta, _) = Meta::load()?;
    let lengths: serde_json::Map<_, _> =
        Field::ALL.iter().zip(meta.means()).map(|(field, mean)| (field.name().to_owned(), json!(mean))).collect();
    Ok(json!({ "works": meta.works, "words": meta.terms, "mean-length": lengths }))
}

fn explain(text: &str) -> Result<Value> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::Invalid(format!("the text is {} bytes long: write at most {MAX_QUERY_BYTES}", text.len())));
    }
    let (meta, _) = Meta::load()?;
    let plan = Plan::make(text, &meta, &Settings::load()?)?;
    let how = |how| match how {
        How::Exact => "exact",
        How::Begins => "begins",
        How::Resembles => "resembles",
    };
    let groups = plan.groups.iter().map(|group| {
        let of = |c: &crate::query::Candidate| json!({ "word": c.word, "how": how(c.how), "works": c.works });
        let candidates: Vec<_> = group.candidates.iter().map(of).collect();
        json!({ "asked": group.word, "required": group.required, "stands-for": candidates })
    });
    Ok(json!({ "words": groups.collect::<Vec<_>>(), "matches": plan.matches(&meta)?.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn answer(tool: &str, input: &[(&str, &str)]) -> Value {
        let input: Vec<_> = input.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        serde_json::from_slice(&run(tool, &input).unwrap().body).unwrap()
    }

    #[test]
    fn tells_the_operator_what_it_holds_and_how_it_reads_a_query() {
        let _host = testing::indexed([testing::by("k/a", "Moonlight", &["Beethoven"])]);
        assert_eq!(answer("stats", &[])["works"], 1);
        assert_eq!(answer("stats", &[])["mean-length"]["title"], 1.0);
        let explained = answer("explain", &[("text", "bethoven moon")]);
        assert_eq!(
            explained["words"][0]["stands-for"][0],
            json!({"word": "beethoven", "how": "resembles", "works": 1})
        );
        assert_eq!(explained["words"][1]["stands-for"][0]["how"], "begins");
        assert_eq!(explained["matches"], 1);
        assert_eq!(run("nothing", &[]), Err(Error::NotFound));
    }
}
