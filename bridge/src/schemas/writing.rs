//! What whoever writes asks of a registry: the newest version of a subject, the id of a schema,
//! and that one be registered (Confluent, "Schema Registry API Reference": `POST
//! /subjects/{subject}/versions`, `POST /subjects/{subject}`). As patient as reading is; nothing is
//! remembered here, for whoever asks keeps what it was told.

use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Failed, path_of};
use super::{Missing, Registry, Version};
use crate::blame::Fault;
use crate::door::{Body, escaped};

/// A schema that somebody wants to write with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proposed<'a> {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub kind: &'a str,
    /// The schema.
    pub text: &'a str,
}

/// A version of a subject.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Newest {
    /// Stands before each value that is written with it.
    pub id: u32,
    /// Its number in the subject.
    pub version: u32,
    /// `AVRO`, `PROTOBUF` or `JSON`.
    #[serde(rename = "schemaType", default = "avro")]
    pub kind: String,
    /// The schema.
    #[serde(rename = "schema")]
    pub text: String,
    /// Whether it refers to others.
    #[serde(rename = "references", default, deserialize_with = "is_any")]
    pub refers: bool,
}

/// The registry leaves it out.
fn avro() -> String {
    "AVRO".to_owned()
}

fn is_any<'de, D: serde::Deserializer<'de>>(listed: D) -> Result<bool, D::Error> {
    let listed = Option::<Vec<serde::de::IgnoredAny>>::deserialize(listed)?;
    Ok(listed.is_some_and(|listed| !listed.is_empty()))
}

/// The answer to what is posted.
#[derive(Deserialize)]
struct Numbered {
    id: u32,
}

impl Registry {
    /// What keeps it from answering just now, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.doors.get().and_then(|(_, trouble)| trouble.words())
    }

    /// Nobody minds any more what is wrong with it, or again.
    pub fn rest(&self, rests: bool) {
        if let Some((_, trouble)) = self.doors.get() {
            trouble.rest(rests);
        }
    }

    /// A version of a subject; `None` if there is no such subject, or version.
    pub async fn newest(&self, subject: &str, version: Version) -> Result<Option<Newest>, Fault> {
        let client = self.client()?;
        let path = path_of(subject, &version.to_string());
        found(self.patiently(async || client.get::<Newest>(&path).await).await)
    }

    /// The id of a schema in its subject; `None` if it is not there.
    pub async fn id_of(&self, subject: &str, schema: Proposed<'_>) -> Result<Option<u32>, Fault> {
        let client = self.client()?;
        let path = format!("/subjects/{}", escaped(subject));
        let answer = self.patiently(async || client.post::<Numbered>(&path, schema).await).await;
        Ok(found(answer)?.map(|numbered| numbered.id))
    }

    /// Registers a schema, if it is not there yet; its id.
    pub async fn register(&self, subject: &str, schema: Proposed<'_>) -> Result<u32, Fault> {
        let client = self.client()?;
        let path = format!("/subjects/{}/versions", escaped(subject));
        let answer = self.patiently(async || client.post::<Numbered>(&path, schema).await).await;
        match answer {
            Ok(numbered) => Ok(numbered.id),
            Err(Missing::Fault(fault)) => Err(fault),
            Err(Missing::Unknown(why)) => {
                let message = format!("registering a schema under {subject}: {why}");
                Err(Fault::operator(message).hint("set `subject`, or `registry.url`"))
            }
        }
    }
}

/// What the registry does not have is no fault here.
fn found<T>(answer: Result<T, Missing>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Missing::Unknown(_)) => Ok(None),
        Err(Missing::Fault(fault)) => Err(fault),
    }
}

impl Client {
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        read(path, &self.send(path, None).await?)
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        Proposed { kind, text }: Proposed<'_>,
    ) -> Result<T, Failed> {
        let body = match kind {
            // As every registry takes it, the oldest too.
            "AVRO" => json!({ "schema": text }),
            kind => json!({ "schemaType": kind, "schema": text }),
        };
        read(path, &self.send(path, Some(Body::Json(body.to_string()))).await?)
    }
}

/// An answer that makes no sense is as good as none.
fn read<T: serde::de::DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(body)
        .map_err(|_| Failed::Away(format!("the answer to {path} is none of a registry")))
}
