//! Makes drawings and tables of what is in bench/results/*.csv, or in the folder that is its argument: `*.svg`, and README.md.

use std::path::PathBuf;

use shunt_bench::plot::{Results, drawings, tables};
use shunt_bench::report::{read, results};

const HEAD: &str = "# Results\n\n\
    Made by `target/release/plot` of the `*.csv` in this folder; [what each number means](../README.md).\n";

/// Files, in the order of their tables; others follow by name. Files of a look (`quick-*`) are nobody's business.
const ORDER: [&str; 3] = ["memory.csv", "veth.csv", "instructions.csv"];

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(results, PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .filter(|path| !name(path).starts_with("quick-"))
        .collect();
    files.sort_by_key(|path| {
        (ORDER.iter().position(|known| *known == name(path)).unwrap_or(ORDER.len()), name(path))
    });
    let mut all = Results::default();
    for file in &files {
        all.0.extend(read(file)?);
    }
    let drawings = drawings(&all);
    let mut page = HEAD.to_owned();
    for (name, drawing) in &drawings {
        std::fs::write(folder.join(name), drawing)?;
        page += &format!("\n![{}]({name})\n", name.trim_end_matches(".svg"));
        println!("{}", folder.join(name).display());
    }
    page += &tables::all(&all);
    std::fs::write(folder.join("README.md"), page)?;
    println!("{}", folder.join("README.md").display());
    Ok(())
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
