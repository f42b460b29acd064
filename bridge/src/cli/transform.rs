//! `bridge transform`: the author's side. `new` puts a project into a folder, `build` makes a
//! module of it; neither reads a configuration.

use std::io::Write;
use std::path::Path;

use clap::builder::PossibleValuesParser;

use super::Failure;
use crate::author::{self, LANGUAGES, Language, Tools};
use crate::blame::Fault;

/// What `--lang` takes.
pub(super) fn languages() -> PossibleValuesParser {
    PossibleValuesParser::new(LANGUAGES.iter().map(|language| language.name))
}

/// Makes a project below the folder that one stands in.
pub(super) fn new(lang: &str, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let language = Language::named(lang).ok_or_else(|| Fault::us("a language nobody knows"))?;
    let here = Path::new("");
    author::new(language, name, here)?;
    let folder = here.join(name);
    writeln!(out, "{}  what the transform does", folder.join(language.main).display())?;
    let cases = folder.join("cases.toml");
    writeln!(out, "{}  what is to become of which records", cases.display())?;
    writeln!(out, "{}  how it is built and used", folder.join("README.md").display())?;
    let compiler = match language.name {
        "assemblyscript" => format!("npm install --prefix {name}, then "),
        _ => String::new(),
    };
    let (build, test) = ("bridge transform build", "bridge transform test");
    writeln!(out, "next: {compiler}{build} {name}, then {test} {name}")?;
    Ok(())
}

/// Compiles the project in a folder.
pub(super) fn build(folder: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let module = author::build(folder, &Tools::of_the_path(&[]))?;
    let bytes = std::fs::metadata(&module)?.len();
    let name = module.file_name().unwrap_or_default();
    writeln!(out, "{}  {} KB", folder.join(name).display(), bytes.div_ceil(1024))?;
    Ok(())
}
