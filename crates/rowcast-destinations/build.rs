//! Puts the manifests of `connectors/` into the program, so that a new one needs no registration.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = root.join("../../connectors");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut text = String::from("static BUILT_IN: &[BuiltIn] = &[\n");
    for folder in sorted(&root)? {
        let manifest = folder.join("manifest.yml");
        if !manifest.is_file() {
            continue;
        }
        let name = file_name(&folder);
        let _ = writeln!(
            text,
            "BuiltIn {{ name: {name:?}, manifest: {}, fixtures: &[",
            include(&manifest)?
        );
        for fixture in sorted(&folder.join("fixtures"))? {
            let _ = writeln!(text, "({:?}, {}),", file_name(&fixture), include(&fixture)?);
        }
        text.push_str("] },\n");
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("connectors.rs"), text)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn include(path: &Path) -> io::Result<String> {
    let path = fs::canonicalize(path)?;
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(format!("include_str!({:?})", path.display().to_string()))
}
