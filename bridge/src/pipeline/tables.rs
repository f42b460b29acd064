//! The tables that a file declares, without a ring: only sinks are built, and asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::run::runtime;
use crate::blame::Fault;
use crate::config::Plan;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::sink::{Migration, Sink, SinkContext};

/// A table that was altered shows it when its log was applied: soon, on a server that is well.
const APPLIED: Duration = Duration::from_secs(10);
/// Between two looks until then.
const LOOK: Duration = Duration::from_millis(100);

/// The sinks of a file, and who asks them.
pub struct Tables {
    sinks: Vec<(Arc<str>, Arc<dyn Sink>)>,
    runtime: Runtime,
}

impl Tables {
    /// Builds the sinks; connects to nothing.
    pub fn of(plan: &Plan) -> Result<Tables, Fault> {
        let runtime = runtime()?;
        let mut sinks = Vec::new();
        for pipeline in &plan.pipelines {
            let context = SinkContext {
                pipeline: Arc::clone(&pipeline.name),
                names: Arc::new(Names::default()),
                shape: Arc::new(pipeline.shape.clone()),
                delivery: pipeline.delivery,
                meter: Arc::new(PipelineMeter::default()),
                runtime: runtime.handle().clone(),
            };
            sinks.push((Arc::clone(&pipeline.name), pipeline.sink.build(context)?));
        }
        Ok(Tables { sinks, runtime })
    }

    /// The pipelines, by number.
    pub fn pipelines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.sinks.iter().map(|(name, _)| &**name).enumerate()
    }

    /// How the tables of a pipeline differ from those that are there.
    pub fn differences(&self, pipeline: usize) -> Result<Vec<Migration>, Fault> {
        self.runtime.block_on(self.sinks[pipeline].1.migrations())
    }

    /// The same, once nothing differs or some time has passed.
    pub fn settled(&self, pipeline: usize) -> Result<Vec<Migration>, Fault> {
        let settle = async {
            let deadline = tokio::time::Instant::now() + APPLIED;
            loop {
                let all = self.sinks[pipeline].1.migrations().await?;
                let is_settled = all.iter().all(|migration| migration.statements.is_empty());
                if is_settled || tokio::time::Instant::now() >= deadline {
                    return Ok(all);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        self.runtime.block_on(settle)
    }

    /// Runs one statement.
    pub fn run(&self, pipeline: usize, statement: &str) -> Result<(), Fault> {
        self.runtime.block_on(self.sinks[pipeline].1.migrate(statement))
    }
}
