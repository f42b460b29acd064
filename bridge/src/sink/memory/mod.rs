//! A sink that keeps nothing: rows become line protocol as they would for QuestDB, are counted and
//! dropped. It shows how fast the bridge alone is on a machine, and needs no server in tests.
//!
//! ```text
//! lane ──encode──▶ Payload ──▶ courier: counted, dropped ──▶ Receipt
//!      └──none───▶ counted in the lane; no payload
//! ```

mod tables;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

pub use self::tables::Imagined;
use super::questdb::{IlpEncoder, NEWEST};
use super::text::rehearse_line_protocol;
use super::{
    BoxFuture, Courier, CourierDoors, Encoder, Finding, Rehearsal, Sink, SinkContext, SinkPlan,
};
use crate::batch::{Receipt, RecordBatch, RowBatch, Verdict};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::kind::{self, Kind};
use crate::observe::PipelineMeter;
use crate::outbox::Outbox;
use crate::reject::Rejects;
use crate::shape::Shape;

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "memory",
    summary: "nowhere: rows are encoded, counted and dropped, to see how fast the bridge alone is",
    example: "kind = \"memory\"\nencode = \"line-protocol\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(MemoryPlan::parse(section)?)),
};

/// What becomes of rows before they are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// Line protocol, as for QuestDB: the cost is that of the bridge's whole road.
    #[default]
    LineProtocol,
    /// Nothing: they are dropped as they leave the transforms.
    None,
}

/// A sink that counts and drops.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What becomes of rows before they are dropped: `line-protocol` (default), or `none`.
    encode: Encode,
    /// Line protocol version, 1 or 2 (default).
    protocol: Option<u8>,
}

/// The options, checked.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPlan {
    encode: Encode,
    protocol: u8,
}

impl MemoryPlan {
    fn parse(section: &Section) -> Result<MemoryPlan, Mistake> {
        let options: Options = kind::options(section)?;
        match options.protocol.unwrap_or(NEWEST) {
            protocol @ 1..=NEWEST => Ok(MemoryPlan { encode: options.encode, protocol }),
            other => {
                let message = format!("there is no version {other} of line protocol");
                Err(section.mistake("protocol", message).help("1 or 2"))
            }
        }
    }
}

impl SinkPlan for MemoryPlan {
    fn keeps_text(&self) -> bool {
        true
    }

    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let tables = Arc::new(Imagined::new(Arc::clone(&context.shape)));
        Ok(Arc::new(Memory { plan: *self, context, tables }))
    }

    fn complete(&self, _: &mut Shape) {}

    fn rehearse(&self, context: &SinkContext) -> Rehearsal {
        rehearse_line_protocol(context)
    }

    fn couriers_per_lane(&self) -> usize {
        1
    }

    fn explain(&self) -> Vec<String> {
        vec![match self.encode {
            Encode::LineProtocol => {
                format!("rows become line protocol v{}, are counted and dropped", self.protocol)
            }
            Encode::None => "rows are counted and dropped".to_owned(),
        }]
    }
}

struct Memory {
    plan: MemoryPlan,
    context: SinkContext,
    tables: Arc<Imagined>,
}

impl Sink for Memory {
    fn check(&self, _prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![Finding::ok("sink", "memory", "rows are counted and dropped")] })
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let SinkContext { shape, names, meter, .. } = &self.context;
        match self.plan.encode {
            Encode::None => Box::new(Dropping { meter: Arc::clone(meter) }),
            Encode::LineProtocol => Box::new(IlpEncoder::new(
                Arc::clone(shape),
                Arc::clone(names),
                Arc::clone(&self.tables) as Arc<_>,
                self.plan.protocol,
                self.plan.couriers_per_lane() as u32,
            )),
        }
    }

    fn courier(&self, _index: usize) -> Box<dyn Courier> {
        Box::new(Counting { meter: Arc::clone(&self.context.meter) })
    }

    fn keeper(&self, mut stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            // A sender that is gone has nothing left to stop.
            let _ = stop.wait_for(|stop| *stop).await;
            Ok(())
        })
    }

    fn abandon(&self) {}
}

/// Drops rows in the lane: the ticket goes home with the batch.
struct Dropping {
    meter: Arc<PipelineMeter>,
}

impl Encoder for Dropping {
    fn encode(
        &mut self,
        _: &RecordBatch,
        rows: &RowBatch,
        _: &mut Rejects,
        _: &mut Outbox,
    ) -> Result<(), Fault> {
        self.meter.rows_stored.add(rows.rows.len() as u64);
        Ok(())
    }
}

/// Counts payloads and gives their buffers back.
struct Counting {
    meter: Arc<PipelineMeter>,
}

impl Counting {
    async fn run(self, mut doors: CourierDoors) -> Result<(), Fault> {
        while let Some(payload) = doors.inbox.recv().await {
            let rows = payload.buffers.lines.len() as u64;
            self.meter.bytes_stored.add(payload.buffers.bytes.len() as u64);
            self.meter.stored.record(payload.opened.elapsed(), rows);
            doors.pool.put(payload.buffers);
            let (shares, verdict) = (payload.shares, Verdict::Stored);
            doors.home.send(Receipt { shares, verdict, rows }).await;
        }
        Ok(())
    }
}

impl Courier for Counting {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(Counting::run(*self, doors))
    }
}
