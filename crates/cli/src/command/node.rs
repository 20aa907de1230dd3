//! The commands that need Node: this program parses their words, and Node does the rest.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use malloc_backend_launch::{Code, Launch, Refusal, changed_entries, entries, environment};
use serde::Serialize;

use super::answer::misused;
use super::system::become_program;

/// The Node that started this program and the folder of the commands that need Node. src/cli/main.ts sets both.
const NODE: &str = "MALLOC_BACKEND_NODE";
const COMMANDS: &str = "MALLOC_BACKEND_COMMANDS";

/// Becomes Node with the parsed options, for `src/cli/<script>.ts`. Returns only where that failed.
pub fn become_node(command: &str, script: &str, options: &impl Serialize, program: Vec<OsString>) -> Refusal {
    if let Some(word) = program.iter().find(|word| word.to_str().is_none()) {
        return misused(format!("the argument {word:?} is not UTF-8; {command} needs UTF-8"));
    }
    let (Some(node), Some(commands)) = (std::env::var_os(NODE), std::env::var_os(COMMANDS)) else {
        let message = format!(
            "{command} needs Node, and this program was started without Node; write: npx malloc-backend {command} …"
        );
        return Refusal::new(Code::ExecFailed, message);
    };
    let options = match serde_json::to_string(options) {
        Ok(options) => options,
        Err(error) => return misused(format!("the options cannot be passed on: {error}")),
    };
    let script = PathBuf::from(commands).join(format!("{script}.cjs")).into_os_string();
    let arguments = [node.clone(), script, options.into()].into_iter().chain(program).collect();
    let launch = Launch { file: node.into(), arguments };
    let entries = entries();
    let before = environment(&entries);
    let mut after = before.clone();
    for name in [NODE, COMMANDS] {
        after.remove(OsString::from(name).into_vec().as_slice());
    }
    become_program(&launch, changed_entries(entries, &before, &after))
}
