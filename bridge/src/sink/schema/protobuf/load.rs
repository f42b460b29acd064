//! A `.proto` file's message, by its text. Google's own files are known; others cannot be imported.

use prost_reflect::MessageDescriptor;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// What the file is called: it has no name in a registry.
const NAME: &str = "schema.proto";

/// Brackets within one another: more than a person writes, and the compiler goes into each.
const DEPTH_MAX: usize = 100;
/// Larger than any file that a person wrote.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The only file that there is.
struct Only(String);

impl FileResolver for Only {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name == NAME {
            true => File::from_source(name, &self.0),
            false => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A message by its name, with its package or without, or the first one.
pub fn message(text: &str, wanted: Option<&str>) -> Result<MessageDescriptor, String> {
    bounded(text)?;
    let mut resolver = ChainFileResolver::new();
    resolver.add(Only(text.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    // Its other form names the line and the column.
    compiler.open_file(NAME).map_err(|error| format!("{error:?}"))?;
    let pool = compiler.descriptor_pool();
    let file = pool.get_file_by_name(NAME).ok_or_else(|| "the file is not there".to_owned())?;
    let Some(wanted) = wanted else {
        let first = file.messages().next();
        return first.ok_or_else(|| "the file has no message".to_owned());
    };
    let package = file.package_name();
    let found = pool.get_message_by_name(wanted);
    let found = found.or_else(|| pool.get_message_by_name(&format!("{package}.{wanted}")));
    found.filter(|found| found.parent_file() == file).ok_or_else(|| {
        let names: Vec<String> =
            file.messages().map(|message| message.full_name().to_owned()).collect();
        format!("the file has no message `{wanted}`, but {}", names.join(", "))
    })
}

/// Refuses what would take the compiler too far down. Brackets in texts count, too.
fn bounded(text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("{} bytes are more than a schema has", text.len()));
    }
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested deeper than {DEPTH_MAX}"));
        }
    }
    Ok(())
}
