//! `bridge import`: the properties of a connector as a configuration.

use std::io::{Read as _, Write};
use std::path::Path;

use super::Failure;
use crate::blame::Fault;
use crate::config::{Overrides, Plan, Surroundings};
use crate::import;

/// Writes the configuration; what is to be done with it goes to standard error.
pub fn import(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let doing = format!("importing {}", file.display());
    let text = read(file).map_err(|error| Fault::operator(format!("{doing}: {error}")))?;
    let imported = import::import(&text).map_err(|why| {
        Fault::operator(format!("{doing}: {why}"))
            .hint("give the properties of a sink connector, as a file or as JSON")
    })?;
    out.write_all(imported.toml.as_bytes())?;
    out.flush()?;
    let (translated, left) = (imported.translated, imported.left);
    eprintln!("{translated} properties found their place");
    if left > 0 {
        eprintln!("{left} did not: they stand at the end of the file, with what to do instead");
    }
    // Secrets come from the environment of whoever runs it.
    let env = |_: &str| Some("it-is-set".to_owned());
    let with = Surroundings { env: &env, host: "host".to_owned(), base: Path::new(".") };
    if let Err(mistakes) = Plan::parse("bridge.toml", &imported.toml, &with, &Overrides::default())
    {
        eprint!("this is still to be put right:\n{mistakes}");
    }
    eprintln!(
        "next: save it as bridge.toml, do what its first lines say, bridge check bridge.toml"
    );
    Ok(())
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
