//! A configuration on its way to a daemon: the text of a file and of all that it includes, read by whoever asks. The daemon
//! may have fewer rights than he has, other folders (`PrivateTmp=`), and another moment; so it reads what he read, and opens
//! no path that it was told.
//!
//! *Invariants*: what a daemon makes of a bundle is what its maker made of the files; what is not in it is not looked for
//! anywhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::files::Entry;
use super::{Faults, Files, Loaded, Options, Source, load_source};

/// A file, and what it includes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Where it is, absolute: faults call it so, and what it includes was looked for from there.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
    /// What `@NAME` at the beginning of a line of a keepalived.conf was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_id: Option<String>,
    /// What was asked of the file system, and answered, on the way through its includes.
    #[serde(default, skip_serializing_if = "Trace::is_empty")]
    pub included: Trace,
}

/// Questions to a file system, and its answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    entries: BTreeMap<PathBuf, Entry>,
    matches: BTreeMap<String, Vec<PathBuf>>,
    texts: BTreeMap<PathBuf, String>,
    identities: BTreeMap<PathBuf, PathBuf>,
}

impl Bundle {
    /// Reads `file` and what it includes.
    ///
    /// # Errors
    /// All that is wrong with it; what only the daemon's host can say is not.
    pub fn read(file: &Path, options: &Options) -> Result<Bundle, Faults> {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let source = Source::read(&absolute)?;
        let text = source.text().to_owned();
        let trace = Arc::new(Mutex::new(Trace::default()));
        let options = Options { files: Files::Traced(trace.clone()), ..options.clone() };
        load_source(source, &options)?;
        let included = trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Bundle { file: absolute, text, config_id: Some(options.config_id), included })
    }

    /// What it means to a daemon that reads its own file with `options`.
    ///
    /// # Errors
    /// All that is wrong with it; that it was read for another host.
    pub fn load(self, options: &Options) -> Result<Loaded, Faults> {
        let name = self.file.display().to_string();
        if let Some(id) = self.config_id.filter(|id| *id != options.config_id) {
            let message = format!("was read as of {id:?}, and this director is {:?}", options.config_id);
            return Err(Faults::of_file(&name, message, "give the same --config-id to both"));
        }
        let source = Source::from_bytes(&name, self.text.into_bytes())?;
        load_source(source, &Options { files: Files::Sent(self.included.into()), ..options.clone() })
    }
}

impl Trace {
    fn is_empty(&self) -> bool {
        *self == Trace::default()
    }

    pub(super) fn entry(&self, path: &Path) -> Entry {
        let unknown = || Entry::Unfit("was not sent along".to_owned());
        self.entries.get(path).cloned().unwrap_or_else(unknown)
    }

    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        self.matches.get(pattern).cloned().ok_or_else(|| "was not sent along".to_owned())
    }

    pub(super) fn read(&self, path: &Path) -> Result<Source, Faults> {
        let name = path.display().to_string();
        match self.texts.get(path) {
            Some(text) => Source::part(&name, text.clone().into_bytes()),
            None => Err(Faults::of_file(&name, "was not sent along", "send what was read of it")),
        }
    }

    pub(super) fn identity(&self, path: &Path) -> PathBuf {
        self.identities.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    pub(super) fn note_entry(&mut self, path: &Path, entry: &Entry) {
        self.entries.insert(path.to_owned(), entry.clone());
    }

    pub(super) fn note_matching(&mut self, pattern: &str, paths: &[PathBuf]) {
        self.matches.insert(pattern.to_owned(), paths.to_vec());
    }

    pub(super) fn note_read(&mut self, path: &Path, source: &Source) {
        self.texts.insert(path.to_owned(), source.text().to_owned());
    }

    pub(super) fn note_identity(&mut self, path: &Path, identity: &Path) {
        self.identities.insert(path.to_owned(), identity.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SERVER: &str =
        "virtual_server 192.0.2.10 80 {\n  lb_kind DR\n  protocol TCP\n  include real/*.conf\n}\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        write(
            "main.conf",
            "include ./server.conf\nvrrp_instance V {\n  interface eth0\n  virtual_router_id 1\n  virtual_ipaddress {\n    192.0.2.10\n  }\n}\n",
        );
        write("server.conf", SERVER);
        write("real/a.conf", "real_server 192.0.2.21 80 {\n  weight 3\n}\n");
        write("real/b.conf", "real_server 192.0.2.22 80 {\n  weight 4\n}\n");
        folder
    }

    #[test]
    fn a_daemon_reads_what_was_read_and_no_file() {
        let folder = folder();
        let main = folder.path().join("main.conf");
        let here = config::load(&main).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(here.model.services[0].reals.len(), 2);
        let bundle = Bundle::read(&main, &Options::default()).unwrap();
        let sent = serde_json::to_string(&bundle).unwrap();
        drop(folder);
        let received: Bundle = serde_json::from_str(&sent).unwrap();
        assert_eq!(received, bundle);
        let there = received.load(&Options::default()).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(there.model, here.model);
    }

    #[test]
    fn what_was_not_sent_is_a_fault_whatever_is_on_the_disk() {
        let folder = folder();
        let main = folder.path().join("main.conf");
        let full = Bundle::read(&main, &Options::default()).unwrap();
        let drops: [fn(&mut Trace); 3] =
            [|trace| trace.entries.clear(), |trace| trace.matches.clear(), |trace| trace.texts.clear()];
        for drop in drops {
            let mut bundle = full.clone();
            drop(&mut bundle.included);
            let faults = bundle.load(&Options::default()).unwrap_err();
            assert!(faults.to_string().contains("was not sent along"), "{faults}");
        }
    }

    #[test]
    fn a_bundle_of_another_host_is_refused() {
        let folder = folder();
        let bundle = Bundle::read(&folder.path().join("main.conf"), &Options::default()).unwrap();
        let options = Options { config_id: "another".to_owned(), ..Options::default() };
        let faults = bundle.load(&options).unwrap_err().to_string();
        assert!(faults.contains("this director is \"another\""), "{faults}");
    }
}
