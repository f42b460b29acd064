//! The command line: what may be asked, and who answers. Exit status 0 is well, 1 a fault, 2 a
//! mistake in the configuration or in the command itself, 3 a table that is not as declared, 4
//! records that a dry run found to be dead letters.

mod aside;
mod bench;
mod check;
mod components;
mod demo;
mod dry;
mod explain;
mod grid;
mod import;
mod infer;
mod inspect;
mod module;
mod order;
mod produce;
mod query;
mod replay;
mod run;
mod tables;
mod test;
mod transform;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::blame::Fault;
use crate::config::{self, Mistakes, Overrides, Plan, Start, Until};
use crate::observe::log;
use crate::trial::Subject;

/// Said at the end of the help of what runs for long or in scripts.
const EXIT_STATUS: &str = "Exit status:
  0  well: stopped as told, what was taken is stored and committed
  1  a fault, or something that `check` or `test` found to fail: it is said what; `produce`: a
     record is not known to be delivered
  2  a mistake in the configuration or in the command
  3  `tables` only: a table is not as it is declared
  4  `run --dry-run` only: records would be rejected";

/// Kafka records through sandboxed WebAssembly transforms into QuestDB.
#[derive(Parser, Debug)]
#[command(name = "bridge", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub struct Command {
    /// What is logged: a level, or directives such as `info,bridge::kafka=debug`.
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run the pipelines of a file until interrupted.
    #[command(after_help = EXIT_STATUS)]
    Run {
        /// The configuration.
        file: PathBuf,
        /// Start partitions here, this once, whatever was committed: earliest, latest, a time,
        /// "6h ago", "1000 before end", or offsets such as "0=120,1=77".
        #[arg(long, value_name = "PLACE", value_parser = Start::parse)]
        from: Option<Start>,
        /// Read up to here, store all of it, and end: now, or a time.
        #[arg(long, value_name = "END", value_parser = Until::parse)]
        until: Option<Until>,
        /// Tells processes of one pipeline on one host apart.
        #[arg(long, env = "BRIDGE_INSTANCE", value_name = "ID")]
        instance: Option<String>,
        #[command(flatten)]
        dry: dry::DryArgs,
    },
    /// Read a file and knock on every door that it names; changes nothing.
    #[command(after_help = EXIT_STATUS)]
    Check {
        /// The configuration.
        file: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what a file would do, with every bound and the memory they add up to.
    Explain {
        /// The configuration.
        file: PathBuf,
    },
    /// Compare the tables that a file declares with those that are there.
    #[command(after_help = EXIT_STATUS)]
    Tables {
        #[command(subcommand)]
        verb: TablesVerb,
    },
    /// Try pipelines by cases in files: records in, lines out. Asks no server, stores nothing.
    #[command(after_help = EXIT_STATUS)]
    Test {
        #[command(flatten)]
        cases: CasesArgs,
    },
    /// Begin a transform of your own, make a module of it, try it, and change modules of a running
    /// bridge.
    Transform {
        #[command(subcommand)]
        verb: TransformVerb,
    },
    /// Propose a table from a sample of a topic: kinds of columns, timestamp, symbols.
    Infer {
        #[command(flatten)]
        asked: infer::Asked,
    },
    /// Send the lines of a file or a pipe as records of a topic, as they are or written in a
    /// format, with a schema if it has one.
    #[command(after_help = EXIT_STATUS)]
    Produce {
        #[command(flatten)]
        asked: Box<produce::Asked>,
    },
    /// Send dead letters back to the topics that their records came from, each once, or through
    /// their pipeline.
    #[command(after_help = EXIT_STATUS)]
    Replay {
        #[command(flatten)]
        asked: Box<replay::Asked>,
    },
    /// Read a topic like a table: rows for which a condition is true, without a group.
    Query {
        #[command(flatten)]
        asked: query::Asked,
    },
    /// Make a configuration of the properties of a sink connector of Kafka Connect (QuestDB's, or
    /// JDBC into PostgreSQL).
    Import {
        /// The properties, or the JSON of Connect's REST interface; `-` for standard input.
        file: PathBuf,
    },
    /// Show the whole road on this machine, with nothing installed.
    Demo {
        /// How long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// One JSON object at the end in place of words.
        #[arg(long)]
        json: bool,
    },
    /// List every kind of source, format, transform and sink, with all options.
    Components {
        /// In JSON.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// As docs/reference.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Print the JSON Schema of configuration files, for editors.
    Schema,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man,
}

#[derive(Subcommand, Debug)]
enum TablesVerb {
    /// Show the difference as SQL; changes nothing.
    #[command(after_help = EXIT_STATUS)]
    Plan {
        /// The configuration.
        file: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the difference, statement by statement, without asking.
    #[command(after_help = EXIT_STATUS)]
    Apply {
        /// The configuration.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct CasesArgs {
    /// Files of cases; or folders, and all that is called cases.toml or cases.json below them.
    #[arg(required = true, value_name = "FILE OR FOLDER")]
    files: Vec<PathBuf>,
    /// Write what came out into the files, where it is not what was expected.
    #[arg(long)]
    update: bool,
}

#[derive(Args, Debug)]
struct ModuleArgs {
    /// Path of the module, or `builtin:NAME`.
    module: String,
    /// What it is configured with: a table in JSON, or keys in TOML, `min_celsius = 15.0`.
    #[arg(long, value_name = "TEXT")]
    config: Option<String>,
}

#[derive(Subcommand, Debug)]
enum TransformVerb {
    /// Make a folder with a small transform, and the SDK of its language.
    New {
        /// The language that it is written in.
        #[arg(long, value_parser = transform::languages())]
        lang: String,
        /// Its name: small letters, digits and `_`. The folder and the module are called so.
        name: String,
    },
    /// Compile the transform in a folder, with the compiler of its language.
    Build {
        /// The folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Run a module over records, and show them before and after it.
    Run {
        #[command(flatten)]
        module: ModuleArgs,
        #[command(flatten)]
        asked: aside::Asked,
    },
    /// Measure what a module costs on this machine, beside doing nothing.
    Bench {
        #[command(flatten)]
        module: ModuleArgs,
        /// A file with a record's value in each line; made-up readings of sensors, if not given.
        #[arg(long, value_name = "FILE")]
        records: Option<PathBuf>,
    },
    /// Show a module as the bridge sees it, and everything that it would be refused for.
    #[command(after_help = EXIT_STATUS)]
    Inspect {
        #[command(flatten)]
        module: ModuleArgs,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try transforms by cases in files: records in, rows out.
    #[command(after_help = EXIT_STATUS)]
    Test {
        #[command(flatten)]
        cases: CasesArgs,
    },
    /// Tell the bridge that runs a file to take modules that have changed.
    Reload {
        /// The configuration that it runs.
        file: PathBuf,
        /// In this pipeline only.
        pipeline: Option<String>,
    },
    /// Tell the bridge that runs a file to let modules in the shadow take over.
    Promote {
        /// The configuration that it runs.
        file: PathBuf,
        /// In this pipeline only.
        pipeline: Option<String>,
    },
    /// Tell the bridge that runs a file to undo its last change of modules.
    Rollback {
        /// The configuration that it runs.
        file: PathBuf,
        /// In this pipeline only.
        pipeline: Option<String>,
    },
}

/// Why a command did not do what it was asked.
enum Failure {
    /// The configuration is wrong.
    Mistakes(Box<Mistakes>),
    /// A fault on the way.
    Fault(Fault),
    /// It was said already.
    Said,
    /// It was said already: a table is not as it is declared.
    Different,
    /// It was said already: records would be rejected.
    Refused,
}

impl std::convert::From<Box<Mistakes>> for Failure {
    fn from(mistakes: Box<Mistakes>) -> Failure {
        Failure::Mistakes(mistakes)
    }
}

impl std::convert::From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

impl std::convert::From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            // Whoever reads has seen enough: `bridge components | head`.
            io::ErrorKind::BrokenPipe => Failure::Said,
            _ => Failure::Fault(Fault::world(format!("writing to standard output: {error}"))),
        }
    }
}

/// Does what the command line asks.
pub fn main() -> ExitCode {
    let command = Command::parse();
    log::start(command.log.as_deref());
    match answer(command.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Mistakes(mistakes)) => {
            eprint!("{mistakes}");
            ExitCode::from(2)
        }
        Err(Failure::Fault(fault)) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(Failure::Different) => ExitCode::from(3),
        Err(Failure::Refused) => ExitCode::from(4),
    }
}

fn answer(verb: Verb) -> Result<(), Failure> {
    let mut out = io::stdout();
    match verb {
        Verb::Run { file, from, until, instance, dry } => {
            let overrides = Overrides { from, until, instance };
            let plan = Plan::load(&file, &overrides)?;
            match dry.dry_run {
                true => dry::run(&plan, &dry, &mut out),
                false => Ok(run::run(plan)?),
            }
        }
        Verb::Check { file, json } => check::check(&file, json, &mut out),
        Verb::Explain { file } => {
            let plan = Plan::load(&file, &Overrides::default())?;
            Ok(out.write_all(explain::explain(&plan).as_bytes())?)
        }
        Verb::Tables { verb: TablesVerb::Plan { file, json } } => {
            tables::plan(&file, json, &mut out)
        }
        Verb::Tables { verb: TablesVerb::Apply { file } } => tables::apply(&file, &mut out),
        Verb::Test { cases } => test::test(&cases.files, Subject::Pipeline, cases.update, &mut out),
        Verb::Infer { asked } => infer::infer(&asked, &mut out),
        Verb::Produce { asked } => produce::produce(&asked, &mut out),
        Verb::Replay { asked } => replay::replay(&asked, &mut out),
        Verb::Import { file } => import::import(&file, &mut out),
        Verb::Transform { verb } => answer_transform(verb, &mut out),
        Verb::Query { asked } => query::query(&asked, &mut out),
        Verb::Demo { seconds, json } => demo::demo(seconds, json, &mut out),
        Verb::Components { json: true, .. } => Ok(writeln!(out, "{:#}", components::json())?),
        Verb::Components { markdown: true, .. } => {
            Ok(out.write_all(components::markdown().as_bytes())?)
        }
        Verb::Components { .. } => Ok(out.write_all(components::text().as_bytes())?),
        Verb::Schema => Ok(writeln!(out, "{:#}", config::file_schema())?),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Command::command(), "bridge", &mut text);
            Ok(out.write_all(&text)?)
        }
        Verb::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Command::command()).render(&mut text)?;
            Ok(out.write_all(&text)?)
        }
    }
}

fn answer_transform(verb: TransformVerb, out: &mut dyn Write) -> Result<(), Failure> {
    match verb {
        TransformVerb::New { lang, name } => transform::new(&lang, &name, out),
        TransformVerb::Build { folder } => transform::build(&folder, out),
        TransformVerb::Run { module: ModuleArgs { module, config }, asked } => {
            aside::run(&module, config.as_deref(), &asked, out)
        }
        TransformVerb::Bench { module: ModuleArgs { module, config }, records } => {
            bench::bench(&module, config.as_deref(), records.as_deref(), out)
        }
        TransformVerb::Inspect { module: ModuleArgs { module, config }, json } => {
            inspect::inspect(&module, config.as_deref(), json, out)
        }
        TransformVerb::Test { cases } => {
            test::test(&cases.files, Subject::Transform, cases.update, out)
        }
        TransformVerb::Reload { file, pipeline } => {
            order::give("reload", &file, pipeline.as_deref(), out)
        }
        TransformVerb::Promote { file, pipeline } => {
            order::give("promote", &file, pipeline.as_deref(), out)
        }
        TransformVerb::Rollback { file, pipeline } => {
            order::give("rollback", &file, pipeline.as_deref(), out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn the_help_says_the_exit_status() {
        let mut command = Command::command();
        let mut helps = vec![command.render_help().to_string()];
        for verb in ["run", "check"] {
            let verb = command.find_subcommand_mut(verb).expect("it is there");
            helps.push(verb.render_help().to_string());
        }
        assert!(helps.iter().all(|help| help.contains(EXIT_STATUS)), "{helps:?}");
    }
}
