//! A time of day that jumps, for one program: setting the clock of the machine would jump it for everybody.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::privilege::SYSTEM_PATH;

/// The time of day of one program.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    ahead: PathBuf,
}

impl Clock {
    /// Compiles in `folder` what stands between the program and the kernel. The clock is right until [`Clock::jump`].
    #[track_caller]
    pub fn make(folder: &Path) -> Clock {
        let [source, library, ahead] = ["clock.c", "clock.so", "clock"].map(|name| folder.join(name));
        std::fs::write(&source, include_str!("clock.c")).expect("the lab's folder is ours");
        std::fs::write(&ahead, 0i64.to_ne_bytes()).expect("the lab's folder is ours");
        let mut cc = Command::new("cc");
        cc.env("PATH", SYSTEM_PATH).args(["-shared", "-fPIC", "-Wall", "-Werror", "-O", "-o"]);
        let output = cc.arg(&library).arg(&source).output().expect("cc starts");
        assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
        Clock { library, ahead }
    }

    /// The lines of a shell script after which a program has this clock.
    pub fn script(&self) -> String {
        let [library, ahead] = [&self.library, &self.ahead].map(|path| path.display());
        format!("export LD_PRELOAD='{library}' SHUNT_LAB_CLOCK='{ahead}'\n")
    }

    /// It is as many seconds ahead of the machine's from now on.
    #[track_caller]
    pub fn jump(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        // In place, in one piece: the program has the file mapped.
        let file = std::fs::OpenOptions::new().write(true).open(&self.ahead).expect("it was made");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("there is room for eight bytes");
    }
}
