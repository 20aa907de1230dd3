use clap::{Args, Command};
use clap_complete::{generate, shells};

use super::answer::{Answer, misused};
use super::arguments::OneOf;

const SHELLS: OneOf = OneOf(&["bash", "zsh", "fish"]);

/// Print the completions of a shell
#[derive(Args)]
#[command(
    override_usage = "malloc-backend completions <shell>",
    after_help = "\
Examples:
  eval \"$(malloc-backend completions bash)\"                                   # in ~/.bashrc
  malloc-backend completions zsh > ~/.zfunc/_malloc-backend                   # a folder of $fpath
  malloc-backend completions fish > ~/.config/fish/completions/malloc-backend.fish"
)]
pub struct Completions {
    /// bash, zsh or fish
    #[arg(value_name = "shell", value_parser = SHELLS, hide_possible_values = true)]
    shell: String,
}

/// `command` is the whole program's.
pub fn main(asked: &Completions, command: &Command) -> Answer {
    let (name, mut script) = ("malloc-backend", Vec::new());
    let mut command = visible(command);
    match asked.shell.as_str() {
        "bash" => {
            generate(shells::Bash, &mut command, name, &mut script);
            // A hyphen in the program's name breaks the script: its cases have other names than its words lead to
            // (clap-rs/clap#6421).
            script =
                String::from_utf8_lossy(&script).replace("malloc__subcmd__backend", "malloc__backend").into();
        }
        "zsh" => generate(shells::Zsh, &mut command, name, &mut script),
        "fish" => generate(shells::Fish, &mut command, name, &mut script),
        other => {
            return Err(
                misused(format!("unknown shell {other:?}; it must be one of: bash, zsh, fish")).into()
            );
        }
    }
    Ok(script)
}

/// The command without its hidden subcommands: clap_complete offers these, too.
fn visible(command: &Command) -> Command {
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    Command::new("malloc-backend")
        .disable_version_flag(true)
        .args(command.get_arguments().cloned())
        .subcommands(subcommands.cloned())
}
