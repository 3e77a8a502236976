//! The tools that a plugin of any kind may have for its operator.

use fondaco_runtime::Plugin;
use fondaco_runtime::wit::types::Error;

use crate::common::{Done, answered};
use crate::report::Report;

/// Are they described, and do they refuse what they cannot do?
pub(crate) async fn check(plugin: &Plugin, report: &mut Report) {
    const NAME: &str = "operator/tools";
    const ABOUT: &str = "its tools are described, and refuse what is wrong";
    let tools = plugin.tools().await;
    if matches!(&tools, Ok(tools) if tools.is_empty()) {
        return report.skip(NAME, ABOUT, "it has no tools for the operator");
    }
    let mut draft = report.begin(NAME, ABOUT);
    match tools {
        Err(error) => answered(&mut draft, &[Done::of("tools()", Err::<(), _>(error))]),
        Ok(tools) => {
            for tool in tools {
                draft.expect(!tool.summary.trim().is_empty(), || format!("the tool {:?} has no summary", tool.name));
                if tool.parameters.iter().any(|p| p.required) {
                    // A node checks names and what is required; a tool that is called some other way must, too.
                    let call = format!("run({:?}) without what it needs", tool.name);
                    match plugin.run_tool(tool.name.clone(), vec![]).await {
                        Ok(Ok(_)) => draft.fail(format!("{call} gave a document: answer `invalid`")),
                        answer => answered(&mut draft, &[Done::of(call, answer)]),
                    }
                }
            }
            match plugin.run_tool("kit-no-such-tool".into(), vec![("a".into(), "b".into())]).await {
                Ok(Ok(_)) => draft.fail("run(\"kit-no-such-tool\") gave a document: answer `not-found`"),
                Ok(Err(Error::Internal(why))) => {
                    draft.fail(format!("run(\"kit-no-such-tool\") answered internal ({why}): answer `not-found`"));
                }
                answer => answered(&mut draft, &[Done::of("run(\"kit-no-such-tool\")", answer)]),
            }
        }
    }
    report.end(draft);
}
