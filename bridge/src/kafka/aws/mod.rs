//! Tokens by which Amazon MSK knows who comes (IAM): a request signed by an access key, that is
//! never sent but shown. `sign` is how it is signed, `found` where the key is from.

mod found;
mod sign;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::config::security::IamPlan;
use crate::door::{Door, Failed};
use sign::{EMPTY, Request, presigned};

/// What brokers take, and what AWS's own signers say.
const LIFE: Duration = Duration::from_secs(900);

/// A token for the brokers of a region, and until when it is good. `door` is for where keys are
/// found.
pub async fn token(plan: &IamPlan, door: &Door) -> Result<(String, SystemTime), Failed> {
    let key = found::key(plan, door).await?;
    let now = Timestamp::now();
    let by_key = key.until.unwrap_or(SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into()));
    let until = (SystemTime::from(now) + LIFE).min(by_key);
    Ok((signed(plan, &key.key, now), until))
}

fn signed(plan: &IamPlan, key: &sign::Key, now: Timestamp) -> String {
    let url = presigned(
        &Request {
            host: &format!("kafka.{}.amazonaws.com", plan.region),
            path: "/",
            query: &[("Action", "kafka-cluster:Connect")],
            region: &plan.region,
            service: "kafka-cluster",
            payload: EMPTY,
            life: LIFE,
            at: now.strftime("%Y%m%dT%H%M%SZ").to_string(),
        },
        key,
    );
    // The signature does not cover who signed.
    URL_SAFE_NO_PAD.encode(format!("{url}&User-Agent=bridge"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::questdb::options::Secret;

    #[test]
    fn a_token_is_a_signed_address() {
        let plan = IamPlan { region: "eu-central-1".to_owned(), key: None };
        let key = sign::Key {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret("hush".to_owned()),
            session: Some(Secret("a/b=".to_owned())),
        };
        let now: Timestamp = "2026-11-22T09:03:00Z".parse().expect("a time");
        let token = signed(&plan, &key, now);
        let url = URL_SAFE_NO_PAD.decode(token).expect("base64");
        let url = String::from_utf8(url).expect("text");
        let begin = "https://kafka.eu-central-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
                     &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261122%2F\
                     eu-central-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261122T090300Z\
                     &X-Amz-Expires=900&X-Amz-Security-Token=a%2Fb%3D&X-Amz-SignedHeaders=host\
                     &X-Amz-Signature=";
        let rest = url.strip_prefix(begin).unwrap_or_else(|| panic!("{url}"));
        let (signature, agent) = rest.split_once('&').expect("more after the signature");
        assert!(signature.len() == 64 && agent == "User-Agent=bridge", "{url}");
        assert!(!url.contains("hush"));
    }
}
