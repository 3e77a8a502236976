//! `fondaco plugin run`: a plugin's own tools.

use std::path::Path;

use fondaco_schemas::PluginId;

use crate::fail::{Done, Fail};
use crate::folder::replace;
use crate::node::Node;
use crate::out::{Out, Said};

/// Runs a tool; without one, lists them.
pub async fn run_tool(
    node: &Node,
    id: &PluginId,
    tool: Option<String>,
    input: &[String],
    file: Option<&Path>,
    json: bool,
    out: &Out,
) -> Done {
    let plugin = node.market.plugin(id.as_str()).ok_or_else(|| Fail::unavailable(format!("{id} is not running")))?;
    let tools = plugin.tools().await?;
    let Some(name) = tool else {
        for tool in &tools {
            let parameters: Vec<String> = tool
                .parameters
                .iter()
                .map(|p| format!("\n      {}{} {}", p.name, if p.required { "" } else { " (optional)" }, p.summary))
                .collect();
            out.result(
                json,
                || serde_json::json!({ "tool": tool.name, "summary": tool.summary, "parameters": tool.parameters.iter().map(|p| &p.name).collect::<Vec<_>>() }),
                || format!("  {} – {}{}", tool.name, tool.summary, parameters.concat()),
            );
        }
        if tools.is_empty() && !json {
            out.note(format!("{id} has no tools"));
        }
        return Ok(());
    };
    let known: Vec<&str> = tools.iter().map(|t| t.name.as_str()).collect();
    let tool = tools.iter().find(|t| t.name == name);
    let tool =
        tool.ok_or_else(|| Fail::not_found(format!("{id} has no tool {name:?}; it has: {}", known.join(", "))))?;
    let mut pairs = Vec::new();
    for pair in input {
        let (key, value) = pair.split_once('=').ok_or_else(|| Fail::usage(format!("write {pair:?} as name=value")))?;
        if !tool.parameters.iter().any(|p| p.name == key) {
            let names: Vec<&str> = tool.parameters.iter().map(|p| p.name.as_str()).collect();
            return Err(Fail::usage(format!("{name} has no parameter {key:?}; it has: {}", names.join(", "))));
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    if let Some(missing) = tool.parameters.iter().find(|p| p.required && !pairs.iter().any(|(k, _)| *k == p.name)) {
        return Err(Fail::usage(format!("{name} needs {}=…: {}", missing.name, missing.summary)));
    }
    let made = plugin.run_tool(name, pairs).await?;
    let document = made.map_err(|e| Fail::failed(format!("{id}: {}", fondaco_market::words(&e))))?;
    match file {
        Some(path) => {
            replace(path, &document.body, 0o600)?;
            out.result(
                json,
                || serde_json::json!({ "file": path, "media-type": document.media_type }),
                || format!("wrote {} ({})", path.display(), document.media_type),
            );
        }
        None => out.say(Said::Bytes(document.body)),
    }
    Ok(())
}
