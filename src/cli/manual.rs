//! `manual` (hidden): manual pages and the shells' completions, for whoever makes a package.
//!
//! Why in the program: a package then holds the pages of the very binary it ships, out of one build.

use std::path::{Path, PathBuf};

use clap_complete::Shell;

use super::{Failure, output};

#[derive(clap::Args)]
pub(super) struct ManualArgs {
    /// Où écrire · Where to write
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(args: &ManualArgs, command: clap::Command) -> Result<(), Failure> {
    write(&args.folder, command).map_err(|fault| {
        output::complain(&format_args!("{}: {fault}", args.folder.display()));
        Failure::Failed
    })
}

fn write(folder: &Path, mut command: clap::Command) -> std::io::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    std::fs::create_dir_all(&pages)?;
    std::fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "auditshield", &completions)?;
    }
    clap_mangen::generate_to(command, &pages)
}
