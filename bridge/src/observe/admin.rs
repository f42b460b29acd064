//! What may be asked of running pipelines from outside, and who may ask: `POST` to the endpoint
//! that also serves `/metrics`. Off unless configured; whoever may ask can change which code runs.

use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::oneshot;

/// Orders that wait while one is carried out. Nobody gives more by hand.
pub const ORDERS_MAX: usize = 8;

/// Who may give orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Nobody.
    #[default]
    Off,
    /// Processes of the same machine.
    Loopback,
    /// Everybody who reaches the address.
    Anyone,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Take modules that have changed.
    Reload,
    /// Undo the last change of modules.
    Rollback,
    /// Let modules in the shadow take the place of those that run.
    Promote,
}

/// What became of an order: a line for each pipeline.
pub struct Outcome {
    /// Whether all of it was done.
    pub well: bool,
    /// In words.
    pub words: String,
}

/// An order, and where its outcome is waited for.
pub struct Order {
    /// What is to be done.
    pub wish: Wish,
    /// In which pipeline; `None` is all of them.
    pub pipeline: Option<String>,
    /// Nobody may be waiting any more.
    pub outcome: oneshot::Sender<Outcome>,
}

/// What the one who carries out orders hears.
pub enum Heard {
    /// Do this.
    Order(Order),
    /// It is over.
    Stop,
}

/// The way to the one who carries out orders.
#[derive(Clone)]
pub struct Admin {
    /// Who may ask.
    pub admission: Admission,
    /// To whom.
    pub orders: SyncSender<Heard>,
}

/// A request for an order that is not given.
#[derive(PartialEq, Eq, Debug)]
pub enum Refused {
    /// Orders are not taken from there.
    Forbidden(&'static str),
    /// There is no such order.
    Unknown,
}

impl Admin {
    /// Whether someone may give orders: `from` there, and not a page in a browser.
    pub fn admit(&self, from: Option<IpAddr>, is_of_a_page: bool) -> Result<(), Refused> {
        // A page of any site may send requests to the machine that its reader sits at.
        if is_of_a_page {
            return Err(Refused::Forbidden("no orders are taken from pages in a browser"));
        }
        match self.admission {
            Admission::Off => {
                Err(Refused::Forbidden("no orders are taken: admin = \"loopback\" under [http]"))
            }
            Admission::Loopback if !from.is_some_and(|from| from.to_canonical().is_loopback()) => {
                Err(Refused::Forbidden("orders are taken from this machine only"))
            }
            _ => Ok(()),
        }
    }

    /// Gives an order; `None` if too many wait, or all is over.
    pub fn give(&self, wish: Wish, pipeline: Option<String>) -> Option<oneshot::Receiver<Outcome>> {
        let (outcome, heard) = oneshot::channel();
        match self.orders.try_send(Heard::Order(Order { wish, pipeline, outcome })) {
            Ok(()) => Some(heard),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

/// The order of a path: `/reload` for all pipelines, `/pipelines/NAME/reload` for one.
pub fn order_of(path: &str) -> Result<(Wish, Option<String>), Refused> {
    let (pipeline, verb) = match path.strip_prefix("/pipelines/") {
        Some(rest) => {
            let (name, verb) = rest.split_once('/').ok_or(Refused::Unknown)?;
            (Some(name.to_owned()), verb)
        }
        None => (None, path.trim_start_matches('/')),
    };
    match verb {
        "reload" => Ok((Wish::Reload, pipeline)),
        "rollback" => Ok((Wish::Rollback, pipeline)),
        "promote" => Ok((Wish::Promote, pipeline)),
        _ => Err(Refused::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_orders() {
        assert_eq!(order_of("/reload"), Ok((Wish::Reload, None)));
        assert_eq!(order_of("/pipelines/a/rollback"), Ok((Wish::Rollback, Some("a".into()))));
        for path in ["/", "/pipelines/a", "/pipelines/a/b/reload", "/pipelines/reload", "/explode"]
        {
            assert_eq!(order_of(path), Err(Refused::Unknown), "{path}");
        }
    }

    #[test]
    fn orders_are_taken_from_few() {
        let admit = |admission, from: &str, is_of_a_page| {
            let (orders, _heard) = std::sync::mpsc::sync_channel(1);
            let from = from.parse().expect("an address");
            Admin { admission, orders }.admit(Some(from), is_of_a_page).is_ok()
        };
        assert!(!admit(Admission::Off, "127.0.0.1", false));
        assert!(admit(Admission::Loopback, "127.0.0.1", false));
        assert!(admit(Admission::Loopback, "::1", false));
        assert!(admit(Admission::Loopback, "::ffff:127.0.0.1", false));
        assert!(!admit(Admission::Loopback, "10.0.0.1", false));
        assert!(!admit(Admission::Loopback, "127.0.0.1", true));
        assert!(admit(Admission::Anyone, "10.0.0.1", false));
        assert!(!admit(Admission::Anyone, "10.0.0.1", true));
    }

    #[test]
    fn orders_wait_up_to_a_bound() {
        let (orders, heard) = std::sync::mpsc::sync_channel(1);
        let admin = Admin { admission: Admission::Off, orders };
        assert!(admin.give(Wish::Reload, None).is_some());
        assert!(admin.give(Wish::Reload, None).is_none(), "one waits");
        drop(heard);
        assert!(admin.give(Wish::Reload, None).is_none(), "it is over");
    }
}
