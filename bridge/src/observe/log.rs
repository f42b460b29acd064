//! Where log lines go: short ones for a person on a terminal, JSON lines otherwise, always to
//! standard error.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::terminal;

/// What is said by default. The client library's own lines repeat what the source says in its
/// words, and call a normal close an error.
const DEFAULT: &str = "info,rdkafka=off,librdkafka=off";

/// Starts logging, once in a process; `filter` is a level or directives.
pub fn start(filter: Option<&str>) {
    let filter = filter.filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT);
    let (filter, wrong) = match EnvFilter::try_new(filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    // A logger that is there already was set by a test, and is as good.
    let _ = match terminal::is_live() {
        true => {
            let colors = std::env::var_os("NO_COLOR").is_none();
            // Our own colours; those of the library would stand inside of span fields.
            let logs = logs.with_ansi(false).event_format(Human { colors });
            logs.with_writer(AboveStatus).try_init()
        }
        false => logs.json().flatten_event(true).with_writer(io::stderr).try_init(),
    };
    if let Some(error) = wrong {
        tracing::warn!("the log filter is not understood ({error}); using `info`");
    }
}

/// `warn  readings: message key=value`.
struct Human {
    colors: bool,
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (name, color) = match *event.metadata().level() {
            Level::ERROR => ("error", "\x1b[31m"),
            Level::WARN => ("warn", "\x1b[33m"),
            Level::INFO => ("info", "\x1b[32m"),
            Level::DEBUG => ("debug", "\x1b[2m"),
            Level::TRACE => ("trace", "\x1b[2m"),
        };
        match self.colors {
            true => write!(writer, "{color}{name}\x1b[0m{:1$} ", "", 5 - name.len())?,
            false => write!(writer, "{name:5} ")?,
        }
        let mut line = Line::default();
        event.record(&mut line);
        for span in context.event_scope().into_iter().flatten().filter(|s| s.name() == "pipeline") {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                let value = fields.fields.split_once('=').map_or("", |(_, value)| value);
                line.pipeline = value.trim_matches('"').to_owned();
            }
        }
        if !line.pipeline.is_empty() {
            write!(writer, "{}: ", line.pipeline)?;
        }
        writeln!(writer, "{}{}", line.message, line.rest)
    }
}

/// An event's fields, sorted for a person.
#[derive(Default)]
struct Line {
    pipeline: String,
    message: String,
    rest: String,
}

impl Line {
    fn put(&mut self, field: &Field, value: &dyn fmt::Display) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            "pipeline" => write!(self.pipeline, "{value}"),
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.rest, " {name}={value}"),
        };
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format_args!("{value:?}"));
    }
}

/// Lines appear above the status lines.
struct AboveStatus;

impl<'a> MakeWriter<'a> for AboveStatus {
    type Writer = AboveStatus;

    fn make_writer(&'a self) -> AboveStatus {
        AboveStatus
    }
}

impl io::Write for AboveStatus {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        terminal::write_above(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no one panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_for_people() {
        let kept = Kept::default();
        let writer = kept.clone();
        let logs = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Human { colors: false })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(logs, || {
            tracing::warn!(pipeline = "readings", "questdb is not answering");
            tracing::info!(rows = 3, "stored");
            let _span = tracing::info_span!("pipeline", name = "events").entered();
            tracing::info!("going on");
        });
        let text = String::from_utf8(kept.0.lock().expect("no one panics with it").clone());
        assert_eq!(
            text.as_deref(),
            Ok("warn  readings: questdb is not answering\ninfo  stored rows=3\n\
                info  events: going on\n")
        );
    }
}
