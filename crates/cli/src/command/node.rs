use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::{env, fs};

use malloc_backend_launch::{Code, Context, Launch, Refusal, entries, find_program};

use super::Answer;
use super::system::{become_program, own_folder};

/// Where the rest of the command lies, by the name of the folder that the platform's package is in: in the package beside
/// it, and in a checkout above it.
const SCRIPTS: [(&str, &str); 2] =
    [("@malloc-backend", "../malloc-backend/dist/cli/main.cjs"), ("npm", "../dist/cli/main.cjs")];

/// Becomes Node, for a command that is in JavaScript.
pub fn main(words: &[OsString]) -> Answer {
    let (script, node) = (script()?, node()?);
    let words = [OsString::from("node"), script.into()].into_iter().chain(words.to_vec());
    Err(become_program(&Launch { file: node, arguments: words.collect() }, entries()).into())
}

fn script() -> Result<PathBuf, Refusal> {
    let own = own_folder();
    let around = own.parent().unwrap_or(&own);
    let script = SCRIPTS.into_iter().find(|(name, _)| around.file_name() == Some(OsStr::new(name)));
    match script.map(|(_, script)| around.join(script)).filter(|script| script.exists()) {
        Some(script) => Ok(script),
        None => {
            Err(missing(&format!("the package malloc-backend is not beside this one, in {}", own.display())))
        }
    }
}

fn node() -> Result<PathBuf, Refusal> {
    let context = Context { search: env::var_os("PATH"), ..Context::default() };
    let node =
        find_program(OsStr::new("node"), &context, "Node").map_err(|refusal| missing(&refusal.message))?;
    // By another name this would start itself for ever.
    let is_this = fs::canonicalize(&node).is_ok_and(|node| env::current_exe().is_ok_and(|own| own == node));
    if is_this { Err(missing(&format!("{} is no Node", node.display()))) } else { Ok(node) }
}

fn missing(why: &str) -> Refusal {
    let message = format!(
        "of its commands only run, env, path and doctor need nothing else ({why}); malloc-backend run --help tells more"
    );
    Refusal::new(Code::ProgramNotFound, message)
}
