//! Compiles the BPF programs of the generator, the sink and the reflectors with clang.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // <linux/types.h> includes <asm/types.h>, which Debian keeps in the directory of the architecture.
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for program in ["generator", "sink", "reflect"] {
        let source = format!("bpf/{program}.bpf.c");
        let status = Command::new("clang")
            .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", "-c", &source])
            .arg(format!("-I/usr/include/{arch}-linux-gnu"))
            .arg("-o")
            .arg(folder.join(format!("{program}.bpf.o")))
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => {
                panic!(
                    "clang could not compile {source}: {status} (is libbpf-dev installed? try `make deps`)"
                )
            }
            Err(error) => panic!("clang could not be run: {error} (install clang, or run `make deps`)"),
        }
    }
}
