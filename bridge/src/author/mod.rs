//! What authors of transforms are given: a project in their language, with the SDK beside their
//! own file, and the command that makes a module of it. Nothing of this runs in a pipeline.
//!
//! ```text
//! Language ─new─▶ a folder ─build (tools)─▶ NAME.wasm
//! ```

mod build;
mod languages;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::build::build;
pub use self::languages::{LANGUAGES, Language};
pub use self::tools::Tools;
use crate::blame::Fault;

/// The project's name, where a template wants it.
const NAME: &str = "NAME";

/// Puts a project into a new folder `name` below `parent`; the paths of its files, the author's
/// own first.
pub fn new(language: &Language, name: &str, parent: &Path) -> Result<Vec<PathBuf>, Fault> {
    check_name(name)?;
    let folder = parent.join(name);
    fs::create_dir(&folder).map_err(|error| {
        Fault::operator(format!("making the folder {}: {error}", folder.display()))
            .hint("choose another name, or stand in another folder")
    })?;
    let mut written = Vec::new();
    let template = language.template.iter().map(|(path, text)| (path, text.replace(NAME, name)));
    let sdk = language.sdk.iter().map(|(path, text)| (path, (*text).to_owned()));
    for (path, text) in template.chain(sdk) {
        let path = folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .map_err(|error| Fault::operator(format!("writing {}: {error}", path.display())))?;
        written.push(path);
    }
    Ok(written)
}

/// A name that is good for a folder, a crate and a package alike.
fn check_name(name: &str) -> Result<(), Fault> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if first && name.len() <= 64 && name.chars().all(good) {
        return Ok(());
    }
    Err(Fault::operator(format!("`{name}` is no name for a transform"))
        .hint("small letters, digits and `_`, a letter first, such as `drop_cold`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn names_are_good_everywhere() {
        for good in ["a", "drop_cold", "v2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "2v", "Drop", "a-b", "a b", "../a", "ä", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_compiler_is_named_and_how_to_get_it() {
        let parent = Folder::new("author-tools");
        let compilers = [
            ("rust", "`cargo`", "rustup target add"),
            ("c", "`zig` or `clang` with `wasm-ld`", "pip install ziglang"),
            ("go", "`go`", "Go 1.24"),
            ("assemblyscript", "`asc`", "npm install"),
            ("zig", "`zig`", "pip install ziglang"),
        ];
        assert_eq!(compilers.len(), LANGUAGES.len());
        for (name, program, help) in compilers {
            let language = Language::named(name).expect("a language");
            new(language, name, &parent.0).expect("a project");
            let fault = build(&parent.0.join(name), &Tools::nowhere()).expect_err("no compiler");
            let hint = fault.hint.unwrap_or_default();
            assert!(
                fault.message.starts_with(&format!("{program} is missing")),
                "{}",
                fault.message
            );
            assert!(hint.contains(help), "{name}: {hint}");
        }
        let fault = build(&parent.0, &Tools::nowhere()).expect_err("no project");
        assert!(fault.message.contains("is no project of a transform"), "{fault}");
    }

    #[test]
    fn a_project_has_its_name_and_no_other_mark() {
        let parent = Folder::new("author-new");
        let parent = &parent.0;
        for language in LANGUAGES {
            let name = format!("try_{}", language.name);
            let written = new(language, &name, parent).expect("a project");
            assert!(written[0].ends_with(language.main), "the author's file comes first");
            let main = fs::read_to_string(&written[0]).expect("it was written");
            assert!(main.contains(&name) && !main.contains(NAME), "{main}");
            let found = Language::of(&parent.join(&name)).expect("a project");
            assert_eq!(found.name, language.name);
            let again = new(language, &name, parent).expect_err("it is there");
            assert!(again.message.contains(&name), "{again}");
        }
    }
}
