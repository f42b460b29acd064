//! Values that begin with the id of their schema in a registry, as Confluent's serializers write
//! them: a zero byte and the id (4 bytes, big-endian). And the plans that one lane has made of the
//! schemas that it met.

use std::collections::HashMap;

use super::Refused;
use super::walk::Stopped;
use crate::reject::Reason;

/// Plans of one lane. More schemas than that come from one who invents them.
const PLANS_MAX: usize = 4_096;
/// What stands before a schema's id.
const MAGIC: u8 = 0;

/// The schema's id, and what is behind it. Messages call it `called`: the value, or the key.
#[inline]
pub(super) fn framed<'v>(value: &'v [u8], called: &str) -> Result<(u32, &'v [u8]), Refused> {
    match value {
        [MAGIC, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => Err(unframed(value, called)),
    }
}

#[cold]
fn unframed(value: &[u8], called: &str) -> Refused {
    let message = match value {
        [] => return (Reason::Empty, format!("{called} has no bytes")),
        [MAGIC, ..] => format!("{} bytes are too few for a schema's id", value.len()),
        [b'{' | b'[', ..] => {
            format!("{called} begins with no schema id, but with a bracket: is it JSON?")
        }
        [first, ..] => format!(
            "{called} begins with {first:#04x} and not with 0 and a schema's id: does its \
             producer use a registry? (framing = \"bare\")"
        ),
    };
    (Reason::Malformed, message)
}

/// The plans of one lane, by numbers that stand for their schemas.
pub(super) struct Plans<P> {
    plans: Vec<Result<P, Refused>>,
    places: HashMap<u64, usize, foldhash::fast::FixedState>,
    /// The one that was last asked for, for most are the same.
    last: Option<(u64, usize)>,
}

impl<P> Default for Plans<P> {
    fn default() -> Plans<P> {
        Plans { plans: Vec::new(), places: HashMap::default(), last: None }
    }
}

impl<P> Plans<P> {
    /// The plan of a schema, which `learn` makes if nobody has.
    #[inline]
    pub(super) fn get(
        &mut self,
        key: u64,
        learn: impl FnOnce() -> Result<Result<P, Refused>, Stopped>,
    ) -> Result<&P, Stopped> {
        let at = match self.last {
            Some((last, at)) if last == key => at,
            _ => self.place(key, learn)?,
        };
        self.plans[at].as_ref().map_err(|refused| Stopped::Record(refused.clone()))
    }

    #[cold]
    fn place(
        &mut self,
        key: u64,
        learn: impl FnOnce() -> Result<Result<P, Refused>, Stopped>,
    ) -> Result<usize, Stopped> {
        let at = match self.places.get(&key) {
            Some(at) => *at,
            None => {
                let plan = learn()?;
                if self.plans.len() >= PLANS_MAX {
                    self.plans.clear();
                    self.places.clear();
                }
                self.plans.push(plan);
                self.places.insert(key, self.plans.len() - 1);
                self.plans.len() - 1
            }
        };
        self.last = Some((key, at));
        Ok(at)
    }
}
