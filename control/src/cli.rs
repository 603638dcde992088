//! The words of the command line: what they do is in `main`, what is said of them in man pages and completions comes from
//! here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use shunt::admin::protocol::{DEFAULT_LIMIT, What};
use shunt::{capture, doctor, edit, explain, logging, plan, top};

/// A layer-4 director: direct server return over AF_XDP, with health checks and VIP ownership, in one program.
///
/// Exit codes: 0 done, 1 the answer is no, 2 usage.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub daemon: Daemon,
    /// Which lines with `@ID` of a keepalived.conf count [default: the host's name up to the first dot]
    #[arg(long, short = 'i', global = true, value_name = "ID")]
    pub config_id: Option<String>,
}

#[derive(Args, Default)]
pub struct Daemon {
    /// The daemon's admin socket [env: SHUNT_SOCKET] [default: /run/shunt/shunt.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the director in the foreground
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Who reads the log [env: SHUNT_LOG names what is logged, `info` unless set]
        #[arg(long, value_enum, default_value_t)]
        log: logging::Format,
        /// Let scripts become more than their user (sudo, setuid programs) and, as root, all that root is; without this they
        /// have no right that shunt itself has not kept
        #[arg(long)]
        scripts_gain_rights: bool,
    },
    /// Validate a configuration: every fault as FILE:LINE:COLUMN: message
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the native configuration that means the same as a keepalived.conf, or as what `ipvsadm-save -n` prints
    Convert {
        /// The file, in any format
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON schema of the native format, for editors
    Schema,
    /// Show what a running director does
    Show {
        /// What to show
        #[arg(value_enum)]
        what: What,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Most flows listed
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Watch what a running director does: rates, workers, health, routers, what changes
    Top(top::Top),
    /// Speak to a running director as ipvsadm does; a link called ipvsadm, ipvsadm-save or ipvsadm-restore does so, too
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// ipvsadm's own options; -h lists them
        #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    #[command(flatten)]
    Edit(edit::command::Command),
    #[command(flatten)]
    Plan(plan::command::Command),
    /// Explain where a packet goes and why, without sending it
    Explain(explain::command::Arguments),
    /// Capture frames as received and as sent, with their verdicts; or show what the flight recorder has of the last seconds
    Capture(capture::command::Arguments),
    /// Look for what is wrong with this host and, with a configuration, with its network: each line ok, warn or fail, and
    /// the command that mends it. Exit code 1 if one fails
    Doctor(doctor::Words),
    /// Make a running director read its configuration again
    Reload,
    /// Wait for the end of the director that has started this, and take its addresses away if it was killed
    #[command(name = shunt::guard::WORD, hide = true)]
    Guard,
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// It exists
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print what completes the words of this program in a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Announce the addresses of active virtual routers (gratuitous ARP, neighbour advertisements)
    Announce {
        /// Its name [default: all]
        #[arg(value_name = "ROUTER")]
        router: Option<String>,
    },
}

impl Daemon {
    /// What is said, or else the environment's, or else the usual one.
    pub fn socket(self) -> PathBuf {
        self.socket
            .or_else(|| std::env::var_os("SHUNT_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/run/shunt/shunt.sock"))
    }
}
