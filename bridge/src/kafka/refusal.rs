//! What the client library says when a broker and the bridge do not get on, and which key of the
//! configuration says otherwise. Words in, words out.

use std::sync::Arc;

use crate::blame::Blame;

/// Ends what is said of a token that nobody could give just now.
pub const AGAIN: &str = "it is asked for again";

/// How properties of the client library were said, for messages: (property, key).
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<[(String, String)]>);

/// Why a broker and the bridge do not get on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The broker does not know the user, or not by this password.
    Credentials,
    /// The broker does not have this way of saying who one is.
    Mechanism,
    /// Whoever gives tokens refuses one; the words say what to change.
    NoToken,
    /// Nobody could give a token just now.
    TokenAway,
    /// There is no ticket of Kerberos, or nobody could give one just now.
    NoTicket,
    /// The broker's certificate is not trusted.
    Authority,
    /// The broker does not like the bridge's certificate, or there is none.
    OwnCertificate,
    /// There may be no TLS at that port.
    NoTls,
    /// There may be TLS at that port.
    Tls,
    /// The broker may want to know who asks.
    WantsSasl,
    /// The broker may want a certificate of the bridge, or not like the one it got.
    WantsCertificate,
    /// The connection broke while the broker was about to answer: it did not refuse.
    Broken,
}

impl Keys {
    /// Of these properties.
    pub fn new(pairs: Vec<(String, String)>) -> Keys {
        Keys(pairs.into())
    }

    fn has(&self, property: &str) -> bool {
        self.0.iter().any(|(known, _)| known == property)
    }

    /// The key that says a property; where nothing does, the one that would.
    fn of(&self, property: &str) -> String {
        let said = self.0.iter().find(|(known, _)| known == property);
        let would = || match property {
            "security.protocol" => "kafka.tls".to_owned(),
            "ssl.ca.location" => "kafka.tls_ca".to_owned(),
            "ssl.certificate.location" => "kafka.tls_cert".to_owned(),
            "ssl.key.location" => "kafka.tls_key".to_owned(),
            other => format!("kafka.{other}"),
        };
        said.map_or_else(would, |(_, key)| key.clone())
    }
}

/// Parts of what the library says, in small letters; the first that is found counts.
const SAID: &[(&str, Refusal)] = &[
    (AGAIN, Refusal::TokenAway),
    ("failed to acquire sasl oauthbearer token", Refusal::NoToken),
    ("there is no token available", Refusal::NoToken),
    ("cannot contact any kdc", Refusal::NoTicket),
    ("no kerberos credentials", Refusal::NoTicket),
    ("no credentials cache", Refusal::NoTicket),
    ("ticket expired", Refusal::NoTicket),
    ("connecting to a ssl listener", Refusal::Tls),
    // The first bytes of an alert of TLS (0x1503…), read as a length.
    ("invalid response size 35251", Refusal::Tls),
    ("connecting to a plaintext broker listener", Refusal::NoTls),
    ("wrong version number", Refusal::NoTls),
    ("packet length too long", Refusal::NoTls),
    ("broker might require sasl", Refusal::WantsSasl),
    ("mechanism handshake failed", Refusal::Mechanism),
    ("unsupported sasl mechanism", Refusal::Mechanism),
    ("unsupported mechanism", Refusal::Mechanism),
    ("client ssl authentication might be required", Refusal::OwnCertificate),
    ("alert certificate required", Refusal::OwnCertificate),
    ("alert certificate expired", Refusal::OwnCertificate),
    ("alert certificate revoked", Refusal::OwnCertificate),
    ("alert certificate unknown", Refusal::OwnCertificate),
    ("alert bad certificate", Refusal::OwnCertificate),
    ("alert unsupported certificate", Refusal::OwnCertificate),
    ("alert unknown ca", Refusal::OwnCertificate),
    ("alert access denied", Refusal::OwnCertificate),
    ("alert decrypt error", Refusal::OwnCertificate),
    ("alert handshake failure", Refusal::OwnCertificate),
    ("certificate verify failed", Refusal::Authority),
    ("failed to verify broker certificate", Refusal::Authority),
    ("broker certificate could not be verified", Refusal::Authority),
    ("authentication error", Refusal::Credentials),
    ("authentication failed", Refusal::Credentials),
    ("authentication failure", Refusal::Credentials),
    ("sasl handshake failed", Refusal::Credentials),
    ("failed to initialize sasl", Refusal::Credentials),
];

/// Where the library reports a connection that broke as an answer. What it says of its own
/// troubles begins with `Local`.
const BROKEN: &[&str] = &[
    "saslauthenticaterequest failed",
    "mechanism handshake failed: local:",
    "ssl transport error",
];

/// A connection that ends so soon after everything seemed well was ended by the first question, in
/// milliseconds; what the library itself goes by.
const SOON_MS: u32 = 2_000;

/// What the words mean, if they mean that.
pub fn read(words: &str) -> Option<Refusal> {
    let words = words.to_ascii_lowercase();
    if BROKEN.iter().any(|part| words.contains(part)) {
        return Some(Refusal::Broken);
    }
    let said = SAID.iter().find(|(part, _)| words.contains(part));
    said.map(|(_, refusal)| *refusal).or_else(|| hung_up(&words))
}

/// What a broker may have meant that hung up without a word: by how far the connection had come.
fn hung_up(words: &str) -> Option<Refusal> {
    let (_, after) = words.split_once(": disconnected")?;
    let (_, after) = after.split_once("(after ")?;
    let (ms, state) = after.split_once("ms in state ")?;
    let has_tls = words.contains("ssl://");
    if state.starts_with("apiversion_query") {
        return Some(if has_tls { Refusal::WantsCertificate } else { Refusal::Tls });
    }
    let is_soon = ms.parse::<u32>().is_ok_and(|ms| ms < SOON_MS);
    let is_asked = words.contains("sasl_");
    (state.starts_with("up") && is_soon && !is_asked).then_some(Refusal::WantsSasl)
}

impl Refusal {
    /// Who must act. What is only guessed at is also what a broker looks like that stops.
    pub fn blame(self) -> Blame {
        match self {
            Refusal::Credentials
            | Refusal::Mechanism
            | Refusal::NoToken
            | Refusal::Authority
            | Refusal::OwnCertificate => Blame::Operator,
            Refusal::TokenAway
            | Refusal::NoTicket
            | Refusal::NoTls
            | Refusal::Tls
            | Refusal::WantsSasl
            | Refusal::WantsCertificate
            | Refusal::Broken => Blame::World,
        }
    }

    /// The key that says otherwise; nothing where the words have it already.
    fn advice(self, words: &str, keys: &Keys) -> Option<String> {
        let (cert, key) = (keys.of("ssl.certificate.location"), keys.of("ssl.key.location"));
        Some(match self {
            Refusal::NoToken | Refusal::TokenAway | Refusal::Broken => return None,
            Refusal::NoTicket => {
                "set `kafka.sasl`: principal and keytab, if the one is not in the other".to_owned()
            }
            Refusal::Credentials if keys.has("sasl.token") => {
                format!("set `{}`, or what its client may do", keys.of("sasl.token"))
            }
            Refusal::Credentials if keys.has("sasl.kerberos.service.name") => {
                "set `kafka.sasl`: service, principal and keytab".to_owned()
            }
            Refusal::Credentials => {
                format!("set `{}` and `{}`", keys.of("sasl.username"), keys.of("sasl.password"))
            }
            Refusal::Mechanism => {
                format!("set `{}` to one that the brokers have", keys.of("sasl.mechanism"))
            }
            Refusal::Authority => format!(
                "`{}` says whom to trust, unless the broker's certificate has expired or bears \
                 another name",
                keys.of("ssl.ca.location")
            ),
            Refusal::OwnCertificate if keys.has("ssl.keystore.location") => {
                own(words, &format!("`{}`", keys.of("ssl.keystore.location")))
            }
            Refusal::OwnCertificate if keys.has("ssl.certificate.location") => {
                own(words, &format!("`{cert}`"))
            }
            Refusal::OwnCertificate => {
                format!("it wants a certificate of the bridge: set `{cert}` and `{key}`")
            }
            Refusal::NoTls => {
                format!("is there TLS at that port? `{}` wants it", keys.of("security.protocol"))
            }
            Refusal::Tls => {
                format!("set `{}`, if there is TLS at that port", keys.of("security.protocol"))
            }
            Refusal::WantsCertificate => {
                format!("set `{cert}` and `{key}`, if the broker wants a certificate")
            }
            Refusal::WantsSasl => "set `kafka.sasl`, if the broker asks who comes".to_owned(),
        })
    }
}

/// What is said where the bridge has a certificate that the broker does not like. Java's brokers do
/// not say why: to them, one that has expired is unknown.
fn own(words: &str, key: &str) -> String {
    match words.contains("expired") {
        true => format!("{key} has expired: set it to one that is valid"),
        false => format!(
            "the broker does not take {key}: set it to one that it trusts and that has not expired"
        ),
    }
}

/// What the library said, without what must not be shown, and with the key to change.
pub fn told(words: &str, keys: &Keys) -> String {
    // Both are made of the password: who has them can try passwords at leisure.
    let words = match words.split_once("ServerSignature mismatch") {
        Some((before, _)) => format!("{before}ServerSignature mismatch"),
        None => words.to_owned(),
    };
    let advice = read(&words).and_then(|refusal| refusal.advice(&words, keys));
    match advice {
        Some(advice) => format!("{words}; {advice}"),
        None => words,
    }
}

/// The properties that the library names where it takes none of a file, and the keys that say them;
/// words that hold one get it.
pub fn of_files(words: &str, keys: &Keys) -> String {
    const FILES: &[(&str, &str)] = &[
        ("ssl.ca.location", "ssl.ca.location"),
        ("ssl.certificate.location", "ssl.certificate.location"),
        ("ssl.key.location", "ssl.key.location"),
        ("ssl.keystore.location", "ssl.keystore.location"),
        ("Private key check failed", "ssl.key.location"),
    ];
    let Some((_, property)) = FILES.iter().find(|(part, _)| words.contains(part)) else {
        return words.to_owned();
    };
    let password = match *property {
        "ssl.key.location" => "ssl.key.password",
        "ssl.keystore.location" => "ssl.keystore.password",
        _ => return format!("{words}; set `{}`", keys.of(property)),
    };
    match keys.has(password) {
        true => format!("{words}; set `{}` and `{}`", keys.of(property), keys.of(password)),
        false => format!("{words}; set `{}`, or its password", keys.of(property)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "sasl_plaintext://b:1/bootstrap: SASL authentication error: \
                           Authentication failed: Invalid username or password";
    const UNTRUSTED: &str = "ssl://b:1/bootstrap: SSL handshake failed: error:0A000086:SSL \
                             routines::certificate verify failed: broker certificate could not be \
                             verified, verify that ssl.ca.location is correctly configured";
    const ALERT: &str = "ssl://b:1/bootstrap: Receive failed: error:0A000415:SSL routines::ssl/tls \
                         alert certificate expired";
    const PLAIN: &str = "b:1/bootstrap: Disconnected: requesting ApiVersion: might be caused by \
                         incorrect security.protocol configuration (connecting to a SSL \
                         listener?) or broker version is < 0.10";

    fn keys(pairs: &[(&str, &str)]) -> Keys {
        Keys::new(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn words_name_the_key_to_change() {
        let check = |words: &str, pairs: &[(&str, &str)], blame: Blame, named: &[&str]| {
            let told = told(words, &keys(pairs));
            assert_eq!(read(&told).map(Refusal::blame), Some(blame), "{told}");
            named.iter().for_each(|key| assert!(told.contains(key), "{told}"));
        };
        let file = ("sasl.password", "kafka.sasl.password_file");
        check(REFUSED, &[], Blame::Operator, &["`kafka.sasl.username`", "`kafka.sasl.password`"]);
        check(REFUSED, &[file], Blame::Operator, &["`kafka.sasl.password_file`"]);
        let raw = ("sasl.password", "kafka.properties.sasl.password");
        check(REFUSED, &[raw], Blame::Operator, &["`kafka.properties.sasl.password`"]);
        let token = ("sasl.token", "kafka.sasl");
        check(REFUSED, &[token], Blame::Operator, &["set `kafka.sasl`"]);
        check(UNTRUSTED, &[], Blame::Operator, &["`kafka.tls_ca` says whom to trust"]);
        check(ALERT, &[], Blame::Operator, &["`kafka.tls_cert`", "`kafka.tls_key`"]);
        let cert = ("ssl.certificate.location", "kafka.tls_cert");
        check(ALERT, &[cert], Blame::Operator, &["`kafka.tls_cert` has expired"]);
        let store = ("ssl.keystore.location", "kafka.tls_keystore");
        check(ALERT, &[store], Blame::Operator, &["`kafka.tls_keystore` has expired"]);
        let unknown = ALERT.replace("expired", "unknown: SSL alert number 46");
        check(&unknown, &[store], Blame::Operator, &["does not take `kafka.tls_keystore`"]);
        check(PLAIN, &[], Blame::World, &["set `kafka.tls`"]);
        let raw = ("security.protocol", "kafka.properties.security.protocol");
        check(PLAIN, &[raw], Blame::World, &["`kafka.properties.security.protocol`"]);
        let soon = "b:1/bootstrap: Disconnected: connection closed by peer (after 3ms in state UP)";
        check(soon, &[], Blame::World, &["`kafka.sasl`"]);
        let asked = "b:1/bootstrap: Disconnected: connection reset by peer (after 3ms in state \
                     APIVERSION_QUERY, 2 identical error(s) suppressed)";
        check(asked, &[], Blame::World, &["`kafka.tls`"]);
        let within = format!("ssl://{asked}");
        check(&within, &[], Blame::World, &["`kafka.tls_cert`"]);
        let away = format!("Failed to acquire SASL OAUTHBEARER token: connection refused; {AGAIN}");
        check(&away, &[], Blame::World, &[AGAIN]);
    }

    #[test]
    fn a_ticket_that_nobody_gives_is_waited_for() {
        let kerberos = keys(&[("sasl.kerberos.service.name", "kafka.sasl.service")]);
        let failed = |why: &str| {
            format!(
                "sasl_ssl://b:1/1: Failed to initialize SASL authentication: SASL handshake failed \
                 (start (-1)): SASL(-1): generic failure: GSSAPI Error: {why}"
            )
        };
        for (why, refusal, advice) in [
            ("(Cannot contact any KDC for realm 'X')", Refusal::NoTicket, "principal and keytab"),
            ("(No Kerberos credentials available)", Refusal::NoTicket, "principal and keytab"),
            ("(Server kafka/b@X not found)", Refusal::Credentials, "service, principal"),
        ] {
            let words = failed(why);
            assert_eq!(read(&words), Some(refusal), "{words}");
            let told = told(&words, &kerberos);
            assert!(told.contains("`kafka.sasl`") && told.contains(advice), "{told}");
        }
        assert_eq!(Refusal::NoTicket.blame(), Blame::World);
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for words in [
            "b:1/1: Disconnected: connection closed by peer (after 2000ms in state UP)",
            "sasl_ssl://b:1/1: Disconnected: connection closed by peer (after 5ms in state UP)",
            "b:1/1: Disconnected (after x",
            "sasl_ssl://b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        ] {
            assert_eq!((read(words), &*told(words, &Keys::default())), (None, words));
        }
    }

    #[test]
    fn a_broker_that_breaks_off_refuses_nothing() {
        for words in [
            "sasl_ssl://b:1/1: SASL authentication error: SaslAuthenticateRequest failed: Local: \
             Broker transport failure (after 3ms in state AUTH_REQ)",
            "sasl_ssl://b:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport \
             failure: broker's supported mechanisms: (n/a) (after 3ms in state AUTH_HANDSHAKE)",
            "ssl://b:1/1: SSL handshake failed: SSL transport error: Broken pipe",
        ] {
            let known = (read(words), &*told(words, &Keys::default()));
            assert_eq!(known, (Some(Refusal::Broken), words));
        }
        let lacks = "b:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL \
                     mechanism: broker's supported mechanisms: GSSAPI";
        assert_eq!(read(lacks), Some(Refusal::Mechanism));
    }

    #[test]
    fn what_is_made_of_a_password_is_not_told() {
        let words = "SASL SCRAM authentication failed: ServerSignature mismatch (server's a= != \
                     ours b=)";
        let told = told(words, &Keys::default());
        assert!(!told.contains("a=") && !told.contains("b="), "{told}");
    }

    #[test]
    fn files_are_named_by_their_keys() {
        let words = "Failed to parse ssl.keystore.location PKCS#12 file: /x.p12: ";
        let pairs = [
            ("ssl.keystore.location", "kafka.tls_keystore"),
            ("ssl.keystore.password", "kafka.tls_keystore_password"),
        ];
        let told = of_files(words, &keys(&pairs));
        let named = "`kafka.tls_keystore` and `kafka.tls_keystore_password`";
        assert!(told.contains(named), "{told}");
        let told = of_files("ssl.ca.location failed: ", &Keys::default());
        assert!(told.ends_with("set `kafka.tls_ca`"), "{told}");
        assert_eq!(of_files("other", &Keys::default()), "other");
    }
}
