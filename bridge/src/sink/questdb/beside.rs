//! Tables whose rows are stored in transactions, over QuestDB's PostgreSQL protocol, beside all
//! others, which stay on line protocol: where that port is, and who the bridge is there.

use std::sync::Arc;

use super::endpoint::{Endpoint, endpoints};
use super::options::{Credentials, Held, Options, PG_PORT, PG_USER, QuestDbPlan, Secret, held};
use super::options::{PG_TLS, PG_TLS_HELP, Transport};
use super::pg::{Pg, Sql};
use super::server::ExecError;
use super::sink::finding;
use crate::config::{Mistake, Section};
use crate::sink::Finding;

/// Where rows go that are stored in transactions, beside those by line protocol.
#[derive(Clone, PartialEq, Debug)]
pub struct Beside {
    /// Addresses of the PostgreSQL protocol; never empty.
    pub addresses: Vec<Endpoint>,
    /// How the bridge says there who it is.
    pub credentials: Credentials,
}

impl Beside {
    /// Connections for each lane: few tables go this way.
    pub const CONNECTIONS: usize = 1;

    /// Reads its keys; `hosts` are those of the sink.
    pub fn of(options: &Options, hosts: &[Endpoint], section: &Section) -> Result<Beside, Mistake> {
        options.check_beside(section)?;
        let at = |host: &Endpoint| Endpoint { host: host.host.clone(), port: PG_PORT, tls: false };
        let addresses = match &options.pg_address {
            None => hosts.iter().map(at).collect(),
            Some(list) => endpoints(section, "pg_address", list, PG_PORT, false)?,
        };
        if addresses.iter().any(|endpoint| endpoint.tls) {
            return Err(section.mistake("pg_address", PG_TLS).help(PG_TLS_HELP));
        }
        let (here, file) = (options.pg_password.as_ref(), options.pg_password_file.as_ref());
        let password = held(section, "pg_password", here, file)?;
        let password = password.unwrap_or_else(|| Held::Here(Secret(PG_USER.1.into())));
        let user = options.pg_username.clone().unwrap_or_else(|| PG_USER.0.into());
        Ok(Beside { addresses, credentials: Credentials::Basic(user, password) })
    }
}

/// Knocks on the door of transactional tables.
pub async fn knock(pg: &Pg) -> Finding {
    let name = format!("questdb {}", pg.door.server.endpoint());
    let sql = Sql::new(Arc::clone(&pg.door));
    match sql.exec("SELECT 1").await {
        Ok(_) => Finding::ok("sink", name, "PostgreSQL protocol, for transactional tables"),
        Err(ExecError::Denied(why)) => {
            finding("sink", &name, format!("refuses the bridge ({why})"))
                .fix("`pg_username` and `pg_password` of the sink: `pg.user` of its server.conf")
        }
        Err(error) => {
            finding("sink", &name, error.to_string()).fix("`pg_address` of the sink").away()
        }
    }
}

impl Options {
    fn check_beside(&self, section: &Section) -> Result<(), Mistake> {
        let given = [
            ("pg_address", self.pg_address.is_some()),
            ("pg_username", self.pg_username.is_some()),
            ("pg_password", self.pg_password.is_some()),
            ("pg_password_file", self.pg_password_file.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given && self.transport == Transport::Pg) {
            None => Ok(()),
            Some((key, _)) => {
                let own = key.trim_start_matches("pg_");
                let message =
                    format!("with `transport = \"pg\"` all rows go that way: say `{own}`");
                Err(section.mistake(key, message))
            }
        }
    }
}

impl QuestDbPlan {
    /// The plan of the way over the PostgreSQL protocol, where some rows or all of them go it.
    pub fn over_pg(&self) -> Option<QuestDbPlan> {
        match self.transport {
            Transport::Pg => Some(self.clone()),
            Transport::Http | Transport::Tcp if self.transacts => {
                let Beside { addresses, credentials } = self.beside.clone();
                Some(QuestDbPlan {
                    transport: Transport::Pg,
                    addresses,
                    credentials,
                    ..self.clone()
                })
            }
            Transport::Http | Transport::Tcp => None,
        }
    }

    /// Connections of each lane.
    pub fn connections(&self) -> usize {
        self.connections_per_lane + self.connections_beside()
    }

    /// Connections of each lane that carry transactions only.
    pub fn connections_beside(&self) -> usize {
        match self.transport {
            Transport::Http | Transport::Tcp if self.transacts => Beside::CONNECTIONS,
            Transport::Http | Transport::Tcp | Transport::Pg => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<QuestDbPlan, Mistake> {
        QuestDbPlan::parse(&Section::new("sink", toml.parse().expect("it is TOML")))
    }

    #[test]
    fn the_way_beside_is_on_the_same_hosts() {
        let mut plan =
            parse("address = [\"a:1\", \"https://b\"]\nusername = \"u\"\npassword = \"p\"")
                .expect("fine");
        assert!(plan.over_pg().is_none() && plan.connections_beside() == 0);
        plan.transacts = true;
        let beside = plan.over_pg().expect("some rows go there");
        let shown: Vec<String> = beside.addresses.iter().map(Endpoint::to_string).collect();
        assert_eq!(shown, ["a:8812", "b:8812"]);
        assert!(beside.addresses.iter().all(|endpoint| !endpoint.tls));
        let default = Held::Here(Secret("quest".into()));
        assert_eq!(beside.credentials, Credentials::Basic("admin".into(), default));
        let mut plan = parse("pg_address = \"c\"\npg_username = \"u\"\npg_password_file = \"f\"")
            .expect("fine");
        plan.rebase(std::path::Path::new("/etc"));
        let file = Held::File("/etc/f".into());
        assert_eq!(plan.beside.credentials, Credentials::Basic("u".into(), file));
        assert_eq!(plan.beside.addresses[0].to_string(), "c:8812");
    }

    #[test]
    fn contradictions_name_their_key() {
        let check = |toml: &str, key: &str| {
            let mistake = parse(toml).expect_err(toml);
            assert!(mistake.path.ends_with(key), "{toml}: {mistake:?}");
        };
        check("transport = \"pg\"\npg_address = \"a\"", "pg_address");
        check("pg_address = \"https://a\"", "pg_address");
        check("pg_password = \"a\"\npg_password_file = \"b\"", "pg_password");
    }
}
