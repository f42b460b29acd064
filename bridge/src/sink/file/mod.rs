//! Files of text, one for each table. A receipt is sent when the rows and the file's name are on
//! the disk. A file is called `.part` until it is ended, by size, by age or by a stop; what a
//! killed process left is put right at the next start.
//!
//! ```text
//! lane ──encode──▶ Payload ──▶ courier ──write, fsync──▶ TABLE.NUMBER.ndjson.part ──▶ Receipt
//!                              keeper ──── of age ─────▶ TABLE.NUMBER.ndjson
//! ```

mod courier;
mod left;
mod place;
mod store;
#[cfg(test)]
mod tests;
mod whole;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use self::courier::{FileCourier, Shared, keep};
use self::place::{Pattern, name_fault};
use self::store::{Failed, Rotation, Store, make_folder};
use self::whole::Lines;
use super::retry::Trouble;
use super::text::{Encoders, TextPlan, Timestamps, Written, csv_mistake, rehearse};
use super::{
    BoxFuture, Courier, Encoder, Finding, FindingState, Rehearsal, Sink, SinkContext, SinkPlan,
};
use crate::blame::{Blame, Fault};
use crate::config::units::{Bytes, Span, show_bytes, show_duration};
use crate::config::{Mistake, Section};
use crate::kind::{self, Kind};
use crate::shape::Shape;

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "file",
    summary: "files of NDJSON, CSV or line protocol: one a table, rotated, synced before a commit",
    example: "kind = \"file\"\npath = \"rows/{table}\"\nencode = \"ndjson\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(FilePlan::parse(section)?)),
};

/// A file's size, where none is given.
const ROTATE_BYTES: usize = 128 << 20;
/// A file's age, where none is given.
const ROTATE_AFTER: Duration = Duration::from_secs(3_600);

/// What a row becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// A JSON object a line.
    #[default]
    Ndjson,
    /// A CSV record; a header once in each file.
    Csv,
    /// Line protocol version 1.
    LineProtocol,
}

/// Files of text, one for each table.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where files lie and how their names begin, relative to the configuration file; `{table}`
    /// stands for the table's name: `"rows/{table}"`. Needed.
    path: String,
    /// What a row becomes: `ndjson` (default), `csv` or `line-protocol`.
    encode: Encode,
    /// A file is ended before it would be larger; default `"128MiB"`.
    rotate_bytes: Option<Bytes>,
    /// A file is ended at this age; default `"1h"`.
    rotate_after: Option<Span>,
    /// How timestamps are written: `iso` (default; ISO 8601 in UTC), or integers since 1970 in
    /// `s`, `ms`, `us` or `ns`. Line protocol has its own way.
    timestamps: Option<Timestamps>,
    /// For `csv`: what stands for a value that is null or missing; default `""`.
    null: Option<String>,
    /// For `csv`: these columns in this order, others are left out. By default all, as they are
    /// met; each new one begins a new file.
    columns: Option<Vec<String>>,
}

/// The options, checked.
#[derive(Clone, Debug)]
pub struct FilePlan {
    pattern: Pattern,
    encode: Encode,
    rotation: Rotation,
    text: TextPlan,
}

impl FilePlan {
    fn parse(section: &Section) -> Result<FilePlan, Mistake> {
        let options: Options = kind::options(section)?;
        if !section.has("path") {
            let mistake = section.mistake("", "the sink `file` needs a `path`");
            return Err(mistake.help("such as path = \"rows/{table}\""));
        }
        let written = match options.encode {
            Encode::Ndjson => Written::Json,
            Encode::LineProtocol => Written::LineProtocol,
            Encode::Csv => Written::Csv {
                null: options.null.clone().unwrap_or_default(),
                columns: options.columns.clone(),
            },
        };
        csv_mistake(section, &written)?;
        if options.encode == Encode::LineProtocol && options.timestamps.is_some() {
            let mistake = section.mistake("timestamps", "line protocol has timestamps of its own");
            return Err(mistake.help("take it out, or encode = \"ndjson\""));
        }
        let ending = match options.encode {
            Encode::Ndjson => ".ndjson",
            Encode::Csv => ".csv",
            Encode::LineProtocol => ".ilp",
        };
        let pattern = Pattern::parse(&options.path, ending).map_err(|message| {
            section.mistake("path", message).help("such as path = \"rows/{table}\"")
        })?;
        let rotation = Rotation {
            bytes: options.rotate_bytes.map_or(ROTATE_BYTES, |bytes| bytes.0) as u64,
            after: options.rotate_after.map_or(ROTATE_AFTER, |span| span.0),
        };
        for (key, zero) in
            [("rotate_bytes", rotation.bytes == 0), ("rotate_after", rotation.after.is_zero())]
        {
            if zero {
                let mistake = section.mistake(key, "no row would have room in such a file");
                return Err(mistake.help("more than nothing"));
            }
        }
        let text = TextPlan { written, timestamps: options.timestamps.unwrap_or_default() };
        Ok(FilePlan { pattern, encode: options.encode, rotation, text })
    }

    fn lines(&self) -> Lines {
        match self.encode {
            Encode::Ndjson => Lines::Plain,
            Encode::Csv => Lines::Quoted,
            Encode::LineProtocol => Lines::Escaped,
        }
    }
}

impl SinkPlan for FilePlan {
    fn keeps_text(&self) -> bool {
        true
    }

    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let encoders = Encoders::new(self.text.clone(), &context, name_fault);
        let header = Box::new(encoders.header());
        let store = Store::new(self.pattern.clone(), self.rotation, header);
        let name = format!("files {}", self.pattern.shown());
        let (pipeline, meter) = (Arc::clone(&context.pipeline), Arc::clone(&context.meter));
        let trouble = Trouble::new(pipeline, name, Arc::clone(&meter)).that("cannot be written");
        let shared = Arc::new(Shared { store: Mutex::new(store), trouble, meter });
        Ok(Arc::new(Files { plan: self.clone(), context, encoders, shared }))
    }

    fn rebase(&mut self, base: &Path) {
        self.pattern.rebase(base);
    }

    fn complete(&self, _: &mut Shape) {}

    fn rehearse(&self, context: &SinkContext) -> Rehearsal {
        rehearse(self.text.clone(), context, name_fault)
    }

    fn couriers_per_lane(&self) -> usize {
        1
    }

    fn explain(&self) -> Vec<String> {
        let (bytes, after) = (self.rotation.bytes as usize, self.rotation.after);
        vec![
            format!("one file a table: {}, .part while it is written", self.pattern.shown()),
            format!("ended before {} or at {}", show_bytes(bytes), show_duration(after)),
            "stored means: the rows and the file's name are on the disk (fsync)".to_owned(),
        ]
    }
}

struct Files {
    plan: FilePlan,
    context: SinkContext,
    encoders: Encoders,
    shared: Arc<Shared>,
}

impl Files {
    /// Looks at the folder; makes it and puts right what was left behind, if it may.
    fn look(&self, prepare: bool) -> Finding {
        let (pattern, folder) = (&self.plan.pattern, self.plan.pattern.folder());
        let name = format!("file {}", pattern.shown());
        let there = nearest(&folder);
        if !there.is_dir() || !may_write(&there) {
            let note = match there.is_dir() {
                true => format!("{} is not ours to write to", there.display()),
                false => format!("{} is no folder", there.display()),
            };
            let (state, blame) = (FindingState::Fail, Blame::Operator);
            let fix = Some("`path` of the sink: a folder that the bridge may write to".to_owned());
            return Finding { subject: "sink", name, state, blame, note, fix };
        }
        let left = if prepare {
            make_folder(&folder).and_then(|()| self.mend())
        } else {
            left::parts(pattern, &folder, pattern.depth()).map(drop)
        };
        match left {
            Ok(()) => Finding::ok("sink", name, "its folder can be written to"),
            Err(Failed(why)) => Finding::failed("sink", name, &Fault::world(why)),
        }
    }
}

impl Files {
    /// Puts right what was left behind, and says so.
    fn mend(&self) -> Result<(), Failed> {
        let mended = left::mend(&self.plan.pattern, self.plan.lines())?;
        if mended.files > 0 {
            let (pipeline, files) = (&self.context.pipeline, mended.files);
            let cut = mended.bytes_cut;
            tracing::info!("{pipeline}: ended {files} files left behind, cut {cut} bytes of them");
        }
        Ok(())
    }
}

/// The folder, or what there is of the way to it.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|above| above.exists());
    match there {
        Some(there) if !there.as_os_str().is_empty() => there.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether the system lets this process make files in a folder.
fn may_write(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a C string that outlives the call, which keeps nothing of it.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

impl Sink for Files {
    fn check(&self, prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move { vec![self.look(prepare)] })
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        self.encoders.lane(self.plan.couriers_per_lane() as u32)
    }

    fn courier(&self, index: usize) -> Box<dyn Courier> {
        Box::new(FileCourier::new(Arc::clone(&self.shared), index))
    }

    fn keeper(&self, stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(keep(Arc::clone(&self.shared), self.plan.rotation.after, stop))
    }

    fn abandon(&self) {}

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.words()
    }

    fn rest(&self, rests: bool) {
        self.shared.trouble.rest(rests);
    }
}
