//! From who the bridge is, and whom it trusts, to properties of the client library. Files are read
//! here, or looked at: one that is missing is told by its key.

use std::fs::File;
use std::path::Path;

use super::refusal::Keys;
use crate::blame::Fault;
use crate::config::security::{Identity, KafkaTls, Mechanism, SaslPlan, SecurityPlan};
use crate::sink::questdb::options::Held;
use crate::sink::questdb::server::reveal;

/// A property, and the key that says it.
pub struct Said {
    /// The library's name.
    pub property: &'static str,
    /// What it is set to.
    pub value: String,
    /// The key, for messages.
    pub key: String,
}

/// The properties that a plan comes to.
pub fn properties(plan: &SecurityPlan) -> Result<Vec<Said>, Fault> {
    let mut all = Collected(Vec::new());
    for (property, value) in plan.preset.iter().flat_map(|preset| preset.properties()) {
        all.say(property, *value, "kafka.preset");
    }
    if plan.tls.is_some() || plan.sasl.is_some() {
        all.say("security.protocol", plan.protocol(), "kafka.tls");
    }
    if let Some(tls) = &plan.tls {
        all.tls(tls)?;
    }
    if let Some(sasl) = &plan.sasl {
        all.sasl(sasl)?;
    }
    Ok(all.0)
}

struct Collected(Vec<Said>);

impl Collected {
    fn say(&mut self, property: &'static str, value: impl Into<String>, key: &str) {
        self.0.push(Said { property, value: value.into(), key: key.to_owned() });
    }

    fn file(&mut self, property: &'static str, path: &Path, key: &str) -> Result<(), Fault> {
        File::open(path).map_err(|error| {
            Fault::operator(format!("reading {key} {}: {error}", path.display()))
        })?;
        self.say(property, path.to_string_lossy(), key);
        Ok(())
    }

    fn secret(&mut self, property: &'static str, held: &Held, key: &str) -> Result<(), Fault> {
        let key = match held {
            Held::Here(_) => key.to_owned(),
            Held::File(_) => format!("{key}_file"),
        };
        let value = reveal(held, &key)?;
        self.say(property, value, &key);
        Ok(())
    }

    fn tls(&mut self, tls: &KafkaTls) -> Result<(), Fault> {
        match &tls.ca {
            Some(ca) => self.file("ssl.ca.location", ca, "kafka.tls_ca")?,
            // Where distributions have the system's; what the library was built with knows none.
            None => self.say("ssl.ca.location", "probe", "kafka.tls_ca"),
        }
        if !tls.verify {
            self.say("enable.ssl.certificate.verification", "false", "kafka.tls_verify");
        }
        match &tls.identity {
            None => {}
            Some(Identity::Pem { cert, key, password }) => {
                self.file("ssl.certificate.location", cert, "kafka.tls_cert")?;
                self.file("ssl.key.location", key, "kafka.tls_key")?;
                if let Some(password) = password {
                    self.secret("ssl.key.password", password, "kafka.tls_key_password")?;
                }
            }
            Some(Identity::Keystore { path, password }) => {
                self.file("ssl.keystore.location", path, "kafka.tls_keystore")?;
                if let Some(password) = password {
                    let key = "kafka.tls_keystore_password";
                    self.secret("ssl.keystore.password", password, key)?;
                }
            }
        }
        Ok(())
    }

    fn sasl(&mut self, sasl: &SaslPlan) -> Result<(), Fault> {
        let (mechanism, key) = ("sasl.mechanism", "kafka.sasl.mechanism");
        match sasl {
            SaslPlan::Password { mechanism: by, username, password } => {
                self.say(mechanism, by.name(), key);
                self.say("sasl.username", username, "kafka.sasl.username");
                self.secret("sasl.password", password, "kafka.sasl.password")?;
            }
            SaslPlan::Oauth { .. } | SaslPlan::Iam(_) => {
                self.say(mechanism, Mechanism::Oauthbearer.name(), key);
            }
            SaslPlan::Kerberos { service, principal, keytab } => {
                self.say(mechanism, Mechanism::Gssapi.name(), key);
                self.say("sasl.kerberos.service.name", service, "kafka.sasl.service");
                if let Some(principal) = principal {
                    self.say("sasl.kerberos.principal", principal, "kafka.sasl.principal");
                }
                match keytab {
                    Some(keytab) => {
                        self.file("sasl.kerberos.keytab", keytab, "kafka.sasl.keytab")?
                    }
                    // Somebody else keeps the tickets: the library is not to ask for any.
                    None => self.say("sasl.kerberos.min.time.before.relogin", "0", "kafka.sasl"),
                }
            }
        }
        Ok(())
    }
}

/// The library has two names for it, and takes either.
fn canonical(property: &str) -> String {
    match property {
        "sasl.mechanisms" => "sasl.mechanism".to_owned(),
        other => other.to_owned(),
    }
}

/// Whether a user's own properties say one of the plan.
pub fn is_said(property: &str, own: &[(String, String)]) -> bool {
    own.iter().any(|(key, _)| canonical(key) == property)
}

/// What says which property: the user's own come first. `said` are those of the plan.
pub fn keys(said: &[Said], own: &[(String, String)], plan: &SecurityPlan) -> Keys {
    let of_user = own
        .iter()
        .map(|(property, _)| (canonical(property), format!("kafka.properties.{property}")));
    let of_plan = said.iter().map(|said| (said.property.to_owned(), said.key.clone()));
    // No property of the library: tokens are given by ourselves.
    let is_token = matches!(plan.sasl, Some(SaslPlan::Oauth { .. } | SaslPlan::Iam(_)));
    let of_token = is_token.then(|| ("sasl.token".to_owned(), "kafka.sasl".to_owned()));
    Keys::new(of_user.chain(of_plan).chain(of_token).collect())
}
