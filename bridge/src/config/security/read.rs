//! What `[kafka]` says of security, checked: every key belongs to what is wanted, and what is
//! wanted has its keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AccessKey, IamPlan, Identity, KafkaTls, Mechanism, Preset, SaslPlan, SecurityPlan};
use crate::config::reach::{KafkaDraft, SaslDraft};
use crate::config::{Mistake, Section, Surroundings};
use crate::door::{OauthKeys, OauthOptions, Terms};
use crate::sink::questdb::options::{Held, held};
use crate::sink::questdb::tls::TlsPlan;

/// The keys of `[kafka]` that are read here.
pub const KEYS: &[&str] = &[
    "preset",
    "tls",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "tls_key_password",
    "tls_key_password_file",
    "tls_keystore",
    "tls_keystore_password",
    "tls_keystore_password_file",
    "tls_verify",
    "sasl",
];

/// Those of them that say who the bridge is by a certificate: a pipeline's own replace them all.
const IDENTITY: &[&str] = &[
    "tls_cert",
    "tls_key",
    "tls_key_password",
    "tls_key_password_file",
    "tls_keystore",
    "tls_keystore_password",
    "tls_keystore_password_file",
];

/// What a token's service may take to answer.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The section that says it for a pipeline: its own, filled up by what is said for all; that for
/// all, if it says nothing itself.
pub fn section_of(own: &Section, shared: &Section) -> Section {
    if !KEYS.iter().any(|key| own.has(key)) {
        return shared.clone().only(KEYS);
    }
    let has_identity = IDENTITY.iter().any(|key| own.has(key));
    own.clone().only(KEYS).with_keys_of(shared, |key| {
        KEYS.contains(&key) && !(has_identity && IDENTITY.contains(&key))
    })
}

/// Checks a section's keys. `brokers` are the addresses, if any are said.
pub fn plan(
    section: &Section,
    brokers: Option<&str>,
    with: &Surroundings<'_>,
) -> Result<SecurityPlan, Mistake> {
    let draft: KafkaDraft = section.read()?;
    if let (Some(preset), None) = (draft.preset, brokers) {
        let message = format!("`{}` is not on this machine: where are the brokers?", preset.name());
        return Err(section.mistake("preset", message).help("write `brokers`"));
    }
    let sasl = sasl(section, &draft, brokers, with)?;
    let tls = tls(section, &draft, sasl.as_ref())?;
    let has_identity = tls.as_ref().is_some_and(|tls| tls.identity.is_some());
    if let (Some(preset), None, false) = (draft.preset, &sasl, has_identity) {
        let message = format!("`{}` wants to know who you are", preset.name());
        let help = match preset {
            Preset::Aiven => "tls_cert and tls_key, or sasl = { username = …, password_file = … }",
            Preset::AzureEventHubs => {
                "sasl = { password_file = … }: it holds the connection string"
            }
            _ => "sasl = { username = \"…\", password_file = \"…\" }",
        };
        return Err(section.mistake("preset", message).help(help));
    }
    let mut plan = SecurityPlan { preset: draft.preset, tls, sasl };
    plan.rebase(with.base);
    Ok(plan)
}

/// The same below `kafka` of a sink's section; paths stay as they are written.
pub fn of_sink(section: &Section, brokers: Option<&str>) -> Result<SecurityPlan, Mistake> {
    if brokers.is_none() {
        let message = "those that are read from are reached as the pipeline says";
        return Err(section.mistake("kafka", message).help("write `brokers`, or take it out"));
    }
    let own = section.below("kafka");
    if let Some(key) = own.keys().find(|key| !KEYS.contains(key)) {
        let message = format!("`{key}` is said beside `kafka`, or not at all");
        let help = format!("the keys of security are {}", KEYS.join(", "));
        return Err(section.mistake(&format!("kafka.{key}"), message).help(help));
    }
    let env = |name: &str| std::env::var(name).ok();
    let with = Surroundings { env: &env, host: String::new(), base: Path::new("") };
    plan(&own, brokers, &with)
}

/// Encryption, as it is said or as it goes without saying.
fn tls(
    section: &Section,
    draft: &KafkaDraft,
    sasl: Option<&SaslPlan>,
) -> Result<Option<KafkaTls>, Mistake> {
    let given = KEYS.iter().find(|key| key.starts_with("tls_") && section.has(key));
    let is_iam = matches!(sasl, Some(SaslPlan::Iam(_)));
    match (draft.tls, given) {
        (Some(false), Some(key)) => {
            let message = format!("`{key}` is for TLS, and `tls = false` leaves it out");
            return Err(section.mistake(key, message).help("take one of them out"));
        }
        (Some(false), None) if is_iam => {
            let message = "signatures are taken over TLS only";
            return Err(section.mistake("tls", message).help("take `tls = false` out"));
        }
        (Some(true), _) | (None, Some(_)) => {}
        (None, None) if is_iam || draft.preset.is_some() => {}
        _ => return Ok(None),
    }
    Ok(Some(KafkaTls {
        ca: draft.tls_ca.clone(),
        verify: draft.tls_verify.unwrap_or(true),
        identity: identity(section, draft)?,
    }))
}

fn identity(section: &Section, draft: &KafkaDraft) -> Result<Option<Identity>, Mistake> {
    let secret = |key, here, file| held(section, key, here, file);
    let of_key = secret(
        "tls_key_password",
        draft.tls_key_password.as_ref(),
        draft.tls_key_password_file.as_ref(),
    )?;
    let of_store = secret(
        "tls_keystore_password",
        draft.tls_keystore_password.as_ref(),
        draft.tls_keystore_password_file.as_ref(),
    )?;
    let wrong = |key, message: &str, help: &str| Err(section.mistake(key, message).help(help));
    match (&draft.tls_cert, &draft.tls_key, &draft.tls_keystore) {
        (None, None, None) if of_key.is_some() => {
            wrong("tls_key_password", "a password of which key?", "write `tls_key`")
        }
        (None, None, None) if of_store.is_some() => {
            wrong("tls_keystore_password", "a password of which file?", "write `tls_keystore`")
        }
        (None, None, None) => Ok(None),
        (Some(cert), Some(key), None) if of_store.is_none() => {
            let (cert, key) = (cert.clone(), key.clone());
            Ok(Some(Identity::Pem { cert, key, password: of_key }))
        }
        (None, None, Some(path)) if of_key.is_none() => {
            Ok(Some(Identity::Keystore { path: path.clone(), password: of_store }))
        }
        (Some(_), None, None) => {
            wrong("tls_cert", "a certificate needs its key", "write `tls_key`")
        }
        (None, Some(_), None) => {
            wrong("tls_key", "a key needs its certificate", "write `tls_cert`")
        }
        _ => {
            let message = "`tls_cert` and `tls_key`, or `tls_keystore`: one of these";
            wrong("tls_keystore", message, "with `tls_key_password` or `tls_keystore_password`")
        }
    }
}

fn sasl(
    section: &Section,
    draft: &KafkaDraft,
    brokers: Option<&str>,
    with: &Surroundings<'_>,
) -> Result<Option<SaslPlan>, Mistake> {
    let said = draft.sasl.clone();
    let has_certificate = draft.tls_cert.is_some() || draft.tls_keystore.is_some();
    let sasl = match (said, draft.preset) {
        (Some(said), _) => said,
        // The one that says nothing: the key is found.
        (None, Some(Preset::AwsMsk)) if !has_certificate => SaslDraft::default(),
        (None, _) => return Ok(None),
    };
    let has_user = sasl.username.is_some();
    let by_preset = draft.preset.map(|preset| preset.mechanism(has_user));
    let Some(mechanism) = sasl.mechanism.or(by_preset) else {
        let help = "such as mechanism = \"SCRAM-SHA-512\"";
        return Err(section.mistake("sasl", "`sasl` needs `mechanism`").help(help));
    };
    let own = section.below("sasl");
    let strange = own.keys().find(|key| *key != "mechanism" && !mechanism.keys().contains(key));
    if let Some(key) = strange {
        let message = format!("`{key}` means nothing to {}", mechanism.name());
        let help = format!("its keys are {}", mechanism.keys().join(", "));
        return Err(section.mistake(&format!("sasl.{key}"), message).help(help));
    }
    match mechanism {
        Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
            password(section, &sasl, mechanism, draft.preset)
        }
        Mechanism::Oauthbearer => oauth(section, sasl),
        Mechanism::AwsMskIam => iam(section, sasl, brokers, with),
        Mechanism::Gssapi => kerberos(section, sasl),
    }
    .map(Some)
}

fn password(
    section: &Section,
    sasl: &SaslDraft,
    mechanism: Mechanism,
    preset: Option<Preset>,
) -> Result<SaslPlan, Mistake> {
    let file = sasl.password_file.as_ref();
    let password = held(section, "sasl.password", sasl.password.as_ref(), file)?;
    let by_preset = preset.and_then(Preset::username).map(str::to_owned);
    match (sasl.username.clone().or(by_preset), password) {
        (Some(username), Some(password)) => {
            Ok(SaslPlan::Password { mechanism, username, password })
        }
        (None, _) => {
            let message = format!("{} needs a `username`", mechanism.name());
            Err(section.mistake("sasl", message).help("username and password, or password_file"))
        }
        (_, None) => {
            let message = format!("{} needs a `password`", mechanism.name());
            Err(section.mistake("sasl", message).help("or password_file = \"…\""))
        }
    }
}

fn oauth(section: &Section, sasl: SaslDraft) -> Result<SaslPlan, Mistake> {
    let options = OauthOptions {
        token_url: sasl.token_url,
        client_id: sasl.client_id,
        client_secret: sasl.client_secret,
        client_secret_file: sasl.client_secret_file,
        scope: sasl.scope,
        audience: sasl.audience,
    };
    let tokens = options.plan(section, &OauthKeys { at: "sasl", shown: "kafka.sasl" })?;
    let terms = Terms {
        tls: TlsPlan { ca: sasl.tls_ca, verify: true },
        identity: None,
        request_timeout: TOKEN_TIMEOUT,
        section: "kafka.sasl",
    };
    Ok(SaslPlan::Oauth { tokens: Box::new(tokens), terms })
}

fn iam(
    section: &Section,
    sasl: SaslDraft,
    brokers: Option<&str>,
    with: &Surroundings<'_>,
) -> Result<SaslPlan, Mistake> {
    let of_brokers = || brokers.and_then(region_of).map(str::to_owned);
    let of_environment = || ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(with.env);
    let region = sasl.region.or_else(of_brokers).or_else(of_environment).ok_or_else(|| {
        let message = "AWS_MSK_IAM needs a `region`: the brokers' names do not say it";
        section.mistake("sasl", message).help("such as region = \"eu-central-1\"")
    })?;
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        let mistake = section.mistake("sasl.region", "this is no region");
        return Err(mistake.help("such as \"eu-central-1\""));
    }
    let file = sasl.secret_access_key_file.as_ref();
    let key = "sasl.secret_access_key";
    let secret = held(section, key, sasl.secret_access_key.as_ref(), file)?;
    let key = match (sasl.access_key_id, secret) {
        (None, None) if sasl.session_token.is_some() => {
            let mistake = section.mistake("sasl.session_token", "a token of which key's session?");
            return Err(mistake.help("write `access_key_id` and `secret_access_key`"));
        }
        (None, None) => None,
        (Some(id), Some(secret)) => {
            Some(AccessKey { id, secret, session: sasl.session_token.map(Held::Here) })
        }
        _ => {
            let message = "`access_key_id` and `secret_access_key` go together";
            return Err(section.mistake("sasl", message).help("or neither: then they are found"));
        }
    };
    Ok(SaslPlan::Iam(IamPlan { region, key }))
}

/// `b-1.plant.abc.c2.kafka.eu-central-1.amazonaws.com:9098` says its region.
fn region_of(brokers: &str) -> Option<&str> {
    let host = brokers.split([',', ':']).next()?.trim();
    let (before, _) = host.split_once(".amazonaws.com")?;
    let (service, region) = before.rsplit_once('.')?;
    let service = service.rsplit('.').next()?;
    (service == "kafka" || service == "kafka-serverless").then_some(region)
}

fn kerberos(section: &Section, sasl: SaslDraft) -> Result<SaslPlan, Mistake> {
    if !cfg!(feature = "gssapi") {
        let message = "this bridge was built without Kerberos";
        let mistake = section.mistake("sasl.mechanism", message);
        return Err(mistake.help("build it with `cargo build --release --features gssapi`"));
    }
    let service = sasl.service.unwrap_or_else(|| "kafka".to_owned());
    let (principal, keytab) = (sasl.principal, sasl.keytab);
    if keytab.is_some() && principal.is_none() {
        let message = "`keytab` needs `principal`";
        return Err(section.mistake("sasl", message).help("write whose keys they are"));
    }
    // Both become part of a command for a shell, the path in double quotes.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@".contains(c);
    let is_name = |name: &String| name.chars().all(is_plain) && !name.starts_with('-');
    if principal.as_ref().is_some_and(|name| !is_name(name)) {
        let mistake = section.mistake("sasl.principal", "this is no principal");
        return Err(mistake.help("write NAME@REALM or NAME/HOST@REALM"));
    }
    let says_more = |path: &PathBuf| path.to_string_lossy().contains(['"', '$', '`', '\\', '\n']);
    if keytab.as_ref().is_some_and(says_more) {
        let message = "a shell would read more than a path in this";
        let mistake = section.mistake("sasl.keytab", message);
        return Err(mistake.help("leave out quotes, `$`, backquotes and backslashes"));
    }
    Ok(SaslPlan::Kerberos { service, principal, keytab })
}
