//! Where an access key is from, in the order of AWS's own programs: the configuration, the
//! environment, a web identity (EKS), a container's service (ECS, EKS), the machine's (EC2). Their
//! files in the home folder are not looked at.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::sign::Key;
use crate::blame::Fault;
use crate::config::security::{AccessKey, IamPlan};
use crate::door::{Address, Ask, Body, Door, Failed, escaped, header};
use crate::sink::questdb::options::Secret;
use crate::sink::questdb::server::reveal;

/// The machine's own service ("Instance metadata", EC2's manual).
const MACHINE: &str = "http://169.254.169.254";
/// The service of a task of ECS.
const CONTAINER: &str = "http://169.254.170.2";
/// The roles of a machine.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// A key, and until when it is good.
pub struct Found {
    /// The key.
    pub key: Key,
    /// Its end, if it has one.
    pub until: Option<SystemTime>,
}

/// The key to sign with.
pub async fn key(plan: &IamPlan, door: &Door) -> Result<Found, Failed> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(AccessKey { id, secret, session }) = &plan.key {
        let secret = reveal(secret, "kafka.sasl.secret_access_key_file").map_err(Failed::Stop)?;
        let session = session.as_ref().map(|held| reveal(held, "kafka.sasl.session_token"));
        let session = session.transpose().map_err(Failed::Stop)?.map(Secret);
        let key = Key { id: id.clone(), secret: Secret(secret), session };
        return Ok(Found { key, until: None });
    }
    if let (Some(id), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        let session = set("AWS_SESSION_TOKEN").map(Secret);
        return Ok(Found { key: Key { id, secret: Secret(secret), session }, until: None });
    }
    if let (Some(file), Some(role)) = (set("AWS_WEB_IDENTITY_TOKEN_FILE"), set("AWS_ROLE_ARN")) {
        return of_web_identity(plan, &file, &role, door).await;
    }
    let relative = set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let container = relative.map(|path| format!("{CONTAINER}{path}"));
    if let Some(url) = container.or_else(|| set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        let token = match set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read(&file)?),
            None => set("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        return of_container(&url, token, door).await;
    }
    of_machine(door).await
}

async fn of_web_identity(
    plan: &IamPlan,
    file: &str,
    role: &str,
    door: &Door,
) -> Result<Found, Failed> {
    let to = address(&format!("https://sts.{}.amazonaws.com", plan.region))?;
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=bridge&RoleArn={}\
         &WebIdentityToken={}",
        escaped(role),
        escaped(&read(file)?)
    );
    let body = ask(door, &to, "/", Some(Body::Form(form)), Vec::new()).await?;
    parse(&to, &body, "SessionToken")
}

async fn of_container(url: &str, token: Option<String>, door: &Door) -> Result<Found, Failed> {
    let to = address(url)?;
    let mut headers = Vec::new();
    if let Some(token) = token {
        headers.push((AUTHORIZATION, header(token).map_err(Failed::Stop)?));
    }
    let body = ask(door, &to, "", None, headers).await?;
    parse(&to, &body, "Token")
}

async fn of_machine(door: &Door) -> Result<Found, Failed> {
    let to = address(MACHINE)?;
    let ttl = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    let headers = vec![(ttl, HeaderValue::from_static("300"))];
    let asked = ask(door, &to, "/latest/api/token", Some(Body::Put), headers).await;
    let session = asked.map_err(|failed| match failed {
        Failed::Away(why) => {
            let help = "write `kafka.sasl.access_key_id` and `kafka.sasl.secret_access_key`, or \
                        set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            Failed::Away(format!(
                "no access key is found, and this machine has none ({why}): {help}"
            ))
        }
        stop => stop,
    })?;
    let session = header(text(&session)?.to_owned()).map_err(Failed::Stop)?;
    let name = HeaderName::from_static("x-aws-ec2-metadata-token");
    let with = || vec![(name.clone(), session.clone())];
    let roles = ask(door, &to, ROLES, None, with()).await?;
    let role = text(&roles)?.lines().next().unwrap_or_default().to_owned();
    let body = ask(door, &to, &format!("{ROLES}{}", escaped(&role)), None, with()).await?;
    parse(&to, &body, "Token")
}

async fn ask(
    door: &Door,
    to: &Address,
    path: &str,
    body: Option<Body>,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<Bytes, Failed> {
    let asked = door.ask(Ask { to, path, authorization: None, body, headers }).await;
    let doing = format!("asking {to} for an access key");
    let (status, body) = asked.map_err(|why| Failed::Away(format!("{doing}: {why}")))?;
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND => {
            let fault = Fault::operator(format!("{doing}: it answers {status}"));
            Err(Failed::Stop(fault.hint("see which role the bridge may take")))
        }
        status => Err(Failed::Away(format!("{doing}: it answers {status}"))),
    }
}

fn address(url: &str) -> Result<Address, Failed> {
    let wrong = || Failed::Stop(Fault::operator(format!("`{url}` is no address to ask for keys")));
    Address::parse(url).ok_or_else(wrong)
}

fn read(file: &str) -> Result<String, Failed> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failed::Away(format!("reading {file}: {error}")))?;
    Ok(text.trim().to_owned())
}

fn text(body: &Bytes) -> Result<&str, Failed> {
    std::str::from_utf8(body).map_err(|_| Failed::Away("an answer that is no text".to_owned()))
}

/// Reads a key out of an answer, in JSON or XML; `session` is what its token is called there.
fn parse(to: &Address, body: &Bytes, session: &str) -> Result<Found, Failed> {
    let text = text(body)?;
    let lacks = || Failed::Away(format!("asking {to} for an access key: its answer holds none"));
    let said = |name: &str| said(text, name);
    let (id, secret) = said("AccessKeyId").zip(said("SecretAccessKey")).ok_or_else(lacks)?;
    let until = said("Expiration").and_then(|text| moment(&text));
    let session = said(session).map(Secret);
    Ok(Found { key: Key { id, secret: Secret(secret), session }, until })
}

/// `<name>value</name>` or `"name": "value"`: none of these values has a mark within it.
fn said(text: &str, name: &str) -> Option<String> {
    if let Some((_, after)) = text.split_once(&format!("<{name}>")) {
        return after.split('<').next().map(|value| value.trim().to_owned());
    }
    let (_, after) = text.split_once(&format!("\"{name}\""))?;
    let value = after.trim_start_matches([':', ' ', '\n', '\r', '\t', '"']);
    let value = value.split(['"', ',', '}', '\n']).next()?.trim();
    (!value.is_empty()).then(|| value.replace("\\/", "/"))
}

/// `2026-11-22T09:03:00Z`, or seconds since 1970.
fn moment(text: &str) -> Option<SystemTime> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since = Duration::try_from_secs_f64(seconds).ok()?;
        return SystemTime::UNIX_EPOCH.checked_add(since);
    }
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &'static str, session: &str) -> Result<Found, Failed> {
        let to = Address::parse("http://keys").expect("an address");
        parse(&to, &Bytes::from_static(body.as_bytes()), session)
    }

    #[test]
    fn answers_of_all_services_are_read() {
        let check = |body, session| {
            let found = parsed(body, session).unwrap_or_else(|_| panic!("{body}"));
            assert_eq!((&*found.key.id, &*found.key.secret.0), ("ASIA1", "a/b+c"), "{body}");
            assert_eq!(found.key.session, Some(Secret("t/o=".to_owned())), "{body}");
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_338_180);
            assert_eq!(found.until, Some(until), "{body}");
        };
        let machine = "{\n  \"Code\" : \"Success\",\n  \"AccessKeyId\" : \"ASIA1\",\n  \
                       \"SecretAccessKey\" : \"a/b+c\",\n  \"Token\" : \"t/o=\",\n  \
                       \"Expiration\" : \"2026-11-22T09:03:00Z\"\n}";
        check(machine, "Token");
        let xml = "<AssumeRoleWithWebIdentityResponse><Credentials><SessionToken>t/o=\
                   </SessionToken>\
                   <SecretAccessKey>a/b+c</SecretAccessKey><Expiration>2026-11-22T09:03:00Z\
                   </Expiration><AccessKeyId>ASIA1</AccessKeyId></Credentials>";
        check(xml, "SessionToken");
        let json = "{\"Credentials\":{\"SessionToken\":\"t\\/o=\",\"SecretAccessKey\":\"a/b+c\",\
                    \"Expiration\":1.79533818E9,\"AccessKeyId\":\"ASIA1\"}}";
        check(json, "SessionToken");
        assert!(matches!(parsed("{}", "Token"), Err(Failed::Away(_))));
        assert!(["1e19", "-1", "inf", "NaN", "soon"].iter().all(|text| moment(text).is_none()));
    }
}
