use std::os::unix::ffi::OsStringExt;

use clap::Args;
use malloc_backend_launch::{Code, Refusal};

use super::answer::Answer;
use super::system::folder;

/// Print where this program lies, which needs no Node
#[derive(Args)]
#[command(
    override_usage = "malloc-backend path [options]",
    after_help = "\
The folder is all that the commands need. Copy it to a place without Node.

Examples:
  cp -R \"$(npx malloc-backend path --folder)\" /opt/malloc-backend"
)]
pub struct Path {
    /// Print the folder
    #[arg(long)]
    folder: bool,
}

pub fn main(asked: &Path) -> Answer {
    let folder = folder();
    let program = folder.join("malloc-backend");
    if !program.is_file() {
        let message = format!("the program {} does not exist; install the package again", program.display());
        return Err(Refusal::new(Code::ProgramNotFound, message).into());
    }
    let path = if asked.folder { folder } else { program };
    Ok([path.into_os_string().into_vec(), b"\n".to_vec()].concat())
}
