//! Man pages and shell completions, made from the definition of the command line: so they say what the program does.
//!
//! *Invariant*: a word that is hidden from `--help` is in no page.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Writes a page for the program, `shunt.8`, and one for each of its words, `shunt-WORD.8`, into a folder that exists.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_pages(command: Command, folder: &Path) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write(command, folder)
}

fn write(command: Command, folder: &Path) -> io::Result<()> {
    for word in command.get_subcommands().filter(|word| !word.is_hide_set()) {
        write(word.clone(), folder)?;
    }
    let page = Man::new(command).section("8").manual("shunt");
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(folder.join(page.get_filename()), text)
}

/// What the shell reads.
pub fn completions(mut command: Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    String::from_utf8(text).unwrap_or_else(|_| unreachable!("all words of the command line are text"))
}
