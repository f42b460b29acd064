//! A listener for who has a ticket of Kerberos: SASL with GSSAPI.

use anyhow::Result;

use crate::kerberos::Tickets;
use crate::port::Port;

/// The listener's port, and what it takes tickets by.
pub(super) struct Ticketed {
    port: Port,
    tickets: Tickets,
}

impl Ticketed {
    pub(super) fn create(tickets: &Tickets) -> Result<Self> {
        Ok(Self { port: Port::free()?, tickets: tickets.clone() })
    }

    /// By a name: tickets are for the host of that name.
    pub(super) fn address(&self) -> String {
        format!("localhost:{}", self.port.number())
    }

    /// `,TICKETED://localhost:1`
    pub(super) fn listener(&self) -> String {
        format!(",TICKETED://{}", self.address())
    }

    /// `,TICKETED:SASL_PLAINTEXT`
    pub(super) fn protocol() -> &'static str {
        ",TICKETED:SASL_PLAINTEXT"
    }

    /// Lines of `server.properties`.
    pub(super) fn properties(&self) -> String {
        let Tickets { principal, keytab, .. } = &self.tickets;
        format!(
            "listener.name.ticketed.sasl.enabled.mechanisms=GSSAPI\n\
             listener.name.ticketed.sasl.kerberos.service.name=kafka\n\
             listener.name.ticketed.gssapi.sasl.jaas.config=\
             com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true \
             keyTab=\"{}\" principal=\"{principal}\";\n",
            keytab.display()
        )
    }

    /// How Java is told where tickets come from.
    pub(super) fn java_option(&self) -> String {
        format!("-Djava.security.krb5.conf={}", self.tickets.configuration.display())
    }
}
