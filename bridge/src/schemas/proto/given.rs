//! Types that the configuration gives: in text, in files, or in a descriptor set.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{TEXT_BYTES_MAX, Types, Wrong};
use crate::blame::Fault;

/// Where types are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given {
    /// Written in the configuration; imports are looked for in these folders.
    Here(Arc<str>, Vec<PathBuf>),
    /// In files; what they import as well, or else in the folder of the first.
    Files(Vec<PathBuf>, Vec<PathBuf>),
    /// In a file that a compiler wrote.
    DescriptorSet(PathBuf),
}

impl Given {
    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        let rebase = |path: &mut PathBuf| *path = base.join(&*path);
        match self {
            Given::Here(_, folders) => folders.iter_mut().for_each(rebase),
            Given::Files(files, folders) => files.iter_mut().chain(folders).for_each(rebase),
            Given::DescriptorSet(file) => rebase(file),
        }
    }

    /// Where they are, for a person.
    pub fn in_words(&self) -> String {
        match self {
            Given::Here(..) => "the schema that is given".to_owned(),
            Given::Files(files, _) => {
                let files: Vec<String> =
                    files.iter().map(|file| file.display().to_string()).collect();
                files.join(", ")
            }
            Given::DescriptorSet(file) => format!("the descriptor set {}", file.display()),
        }
    }

    /// Reads them.
    pub fn types(&self) -> Result<Types, Fault> {
        match self {
            Given::Here(text, folders) => {
                let types = Types::of_texts(&[("", text)], |name| import(folders, name));
                types.map_err(|wrong| Fault::operator(format!("reading `schema`: {wrong}")))
            }
            Given::Files(files, folders) => of_files(files, folders),
            Given::DescriptorSet(file) => {
                let wrong = |why: String| {
                    let message = format!("reading the descriptor set {}: {why}", file.display());
                    Fault::operator(message).hint(
                        "set `descriptor_set` to what protoc --include_imports \
                         --descriptor_set_out writes",
                    )
                };
                let bytes = bytes(file).map_err(wrong)?;
                Types::of_descriptor_set(&bytes).map_err(wrong)
            }
        }
    }
}

fn of_files(files: &[PathBuf], folders: &[PathBuf]) -> Result<Types, Fault> {
    let own = files.first().and_then(|file| file.parent()).map(Path::to_owned);
    let folders = if folders.is_empty() { own.as_slice() } else { folders };
    let mut texts = Vec::new();
    for file in files {
        let text = text(file).map_err(|why| {
            let message = format!("reading the schema {}: {why}", file.display());
            Fault::operator(message).hint("set `files`")
        })?;
        // As others import it.
        let below = folders.iter().find_map(|folder| file.strip_prefix(folder).ok());
        let name = below.unwrap_or(file).to_string_lossy().into_owned();
        texts.push((name, text));
    }
    let named: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let types = Types::of_texts(&named, |name| import(folders, name));
    types.map_err(|wrong| {
        let message = format!("reading the schema: {wrong}");
        Fault::operator(message).hint("`include` says in which folders imports are")
    })
}

/// The text of an import, if one of the folders has it.
fn import(folders: &[PathBuf], name: &str) -> Result<Option<Arc<str>>, Wrong> {
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let Some(path) = found else { return Ok(None) };
    let text = text(&path).map_err(|why| format!("reading {}: {why}", path.display()))?;
    Ok(Some(text.into()))
}

fn text(path: &Path) -> Result<String, Wrong> {
    String::from_utf8(bytes(path)?).map_err(|_| "it is not UTF-8".to_owned())
}

fn bytes(path: &Path) -> Result<Vec<u8>, Wrong> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // One more than it may have.
    let read = file.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    match bytes.len() > TEXT_BYTES_MAX {
        true => Err(format!("it has more than {TEXT_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}
