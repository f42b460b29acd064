//! A registry that misbehaves: who waits, who is told, and how often it is asked.

use super::fake::{Fake, Reply};
use super::*;
use crate::blame::Blame;
use crate::config::Section;

pub fn registry(registry: &str) -> Registry {
    Registry::new(plan_of(registry))
}

pub fn plan_of(registry: &str) -> RegistryPlan {
    #[derive(serde::Deserialize)]
    struct Value {
        registry: RegistryOptions,
    }
    let text = format!("registry = {{ {registry} }}");
    let section = Section::new("value", text.parse().expect("it is TOML"));
    let value: Value = section.options().unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let plan = value.registry.plan(&section, "registry");
    plan.unwrap_or_else(|mistake| panic!("{}", mistake.message))
}

fn at(fake: &Fake) -> Registry {
    registry(&format!("url = \"{}\"", fake.url()))
}

/// Doors, what they tell, and the means to close them.
pub fn doors() -> (Doors, Arc<PipelineMeter>, watch::Sender<bool>) {
    let meter = Arc::<PipelineMeter>::default();
    let (abandon, abandoned) = watch::channel(false);
    (Doors { pipeline: "p".into(), meter: Arc::clone(&meter), abandoned }, meter, abandon)
}

pub fn trouble(meter: &PipelineMeter) -> String {
    meter.trouble.lock().expect("whole").clone()
}

pub fn text(schema: Result<Arc<Registered>, Missing>) -> String {
    schema.map(|schema| schema.text.clone()).unwrap_or_else(|missing| panic!("{missing:?}"))
}

pub fn fault(schema: Result<Arc<Registered>, Missing>) -> Fault {
    match schema {
        Err(Missing::Fault(fault)) => fault,
        other => panic!("{other:?} is no fault"),
    }
}

#[test]
fn one_request_for_an_id_whoever_asks() {
    let fake = Fake::start();
    fake.put("/schemas/ids/7", Reply::schema("\"int\""));
    let registry = at(&fake);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..8).map(|_| scope.spawn(|| text(registry.by_id(7)))).collect();
        lanes.into_iter().for_each(|lane| assert_eq!(lane.join().expect("whole"), "\"int\""));
    });
    assert_eq!(fake.asked(), ["/schemas/ids/7"]);
}

#[test]
fn a_registry_with_trouble_makes_its_askers_wait() {
    let fake = Fake::start();
    fake.put("/schemas/ids/1", Reply::schema("\"int\""));
    fake.script([
        Reply::Json(500, String::new()),
        Reply::Json(429, "slower".into()),
        Reply::HangUp,
        Reply::Json(200, "<html>".into()),
        Reply::Huge(5 << 20),
        Reply::Json(503, String::new()),
    ]);
    let registry = at(&fake);
    let (doors, meter, _abandon) = doors();
    registry.open(doors).expect("nothing to read");
    assert_eq!(text(registry.by_id(1)), "\"int\"");
    assert_eq!(fake.asked().len(), 7);
    assert_eq!(trouble(&meter), "");
}

#[test]
fn a_registry_that_is_gone_is_waited_for_until_it_is_back() {
    let gone = Fake::start();
    let (address, registry) = (gone.address(), at(&gone));
    drop(gone);
    let (doors, meter, _abandon) = doors();
    registry.open(doors).expect("nothing to read");
    std::thread::scope(|scope| {
        let lane = scope.spawn(|| text(registry.by_id(1)));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !trouble(&meter).contains("is not answering (connection refused)") {
            assert!(Instant::now() < deadline, "{}", trouble(&meter));
            std::thread::yield_now();
        }
        let back = Fake::start_at(address);
        back.put("/schemas/ids/1", Reply::schema("\"int\""));
        assert_eq!(lane.join().expect("whole"), "\"int\"");
    });
    assert_eq!(trouble(&meter), "");
}

#[test]
fn who_waits_is_let_go_when_all_is_over() {
    let gone = Fake::start();
    let registry = at(&gone);
    drop(gone);
    let (doors, meter, abandon) = doors();
    registry.open(doors).expect("nothing to read");
    std::thread::scope(|scope| {
        let lanes = [1, 1, 2].map(|id| {
            let registry = &registry;
            scope.spawn(move || fault(registry.by_id(id)))
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while trouble(&meter).is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        abandon.send_replace(true);
        for lane in lanes {
            let fault = lane.join().expect("whole");
            assert_eq!(
                (fault.blame, &*fault.message),
                (Blame::World, "stopped while a schema was waited for")
            );
        }
    });
}

#[test]
fn where_nobody_waits_it_is_told_at_once() {
    let gone = Fake::start();
    let registry = at(&gone);
    drop(gone);
    let fault = fault(registry.by_id(1));
    assert_eq!(fault.blame, Blame::World);
    assert!(fault.message.contains("connection refused"), "{fault}");
}

#[test]
fn what_is_not_there_is_not_asked_for_again() {
    let fake = Fake::start();
    let registry = at(&fake);
    for _ in 0..3 {
        match registry.by_id(4) {
            Err(Missing::Unknown(why)) => assert_eq!(why, "the registry says: Schema 4 not found"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn what_only_a_person_can_change_is_told_with_its_key() {
    let fake = Fake::start();
    let registry = at(&fake);
    let check = |reply: Reply, id: u32, hint: &str| {
        fake.script([reply]);
        let fault = fault(registry.by_id(id));
        assert_eq!(fault.blame, Blame::Operator, "{fault}");
        assert!(fault.hint.as_ref().is_some_and(|text| text.contains(hint)), "{fault}");
    };
    check(Reply::Json(401, String::new()), 1, "registry.username");
    check(Reply::error(403, 40301, "no"), 2, "registry.token");
    check(Reply::Json(404, "<html>".into()), 3, "registry.url");
    check(Reply::Json(301, String::new()), 4, "registry.url");
}

#[test]
fn references_come_before_what_needs_them() {
    let fake = Fake::start();
    let with = |schema: &str, subjects: &[&str]| {
        let references: Vec<_> = subjects
            .iter()
            .map(|subject| {
                let name = format!("{schema}/{subject}");
                serde_json::json!({ "name": name, "subject": subject, "version": 1 })
            })
            .collect();
        let answer = serde_json::json!({ "schema": schema, "references": references });
        Reply::Json(200, answer.to_string())
    };
    fake.put("/schemas/ids/1", with("top", &["a", "b"]));
    fake.put("/subjects/a/versions/1", with("A", &["c"]));
    fake.put("/subjects/b/versions/1", with("B", &["c", "a"]));
    fake.put("/subjects/c/versions/1", with("C", &["c"]));
    let schema = at(&fake).by_id(1).expect("it is there");
    let told = schema.references.iter().map(|one| format!("{}: {:?}", one.text, one.names));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [r#"C: ["A/c", "C/c", "B/c"]"#, r#"A: ["top/a", "B/a"]"#, r#"B: ["top/b"]"#]
    );
    assert_eq!(fake.asked().len(), 4);
}

#[test]
fn the_bridge_says_who_it_is_in_every_way() {
    let fake = Fake::start();
    fake.put("/schemas/ids/1", Reply::schema("\"int\""));
    let place = fake.address();
    let basic = "Basic dTpo";
    let check = |keys: &str, header: Option<&str>| {
        assert_eq!(text(registry(keys).by_id(1)), "\"int\"");
        let last = fake.requests().pop().expect("one");
        assert_eq!(last.authorization.as_deref(), header, "{keys}");
    };
    check(&format!("url = \"http://{place}\""), None);
    check(&format!("url = \"http://u:h@{place}/\""), Some(basic));
    check(&format!("url = \"http://{place}\", username = \"u\", password = \"h\""), Some(basic));
    check(&format!("url = \"http://{place}\", token = \"t\""), Some("Bearer t"));
    fake.put("/token", Reply::Json(200, r#"{"access_token":"x","expires_in":3600}"#.into()));
    let oauth = format!(
        "url = \"http://{place}\", oauth = {{ token_url = \"http://{place}/token\", \
         client_id = \"u\", client_secret = \"h\", scope = \"a b\" }}"
    );
    check(&oauth, Some("Bearer x"));
    let asked = fake.requests().into_iter().find(|request| request.path == "/token").expect("one");
    assert_eq!(asked.authorization.as_deref(), Some(basic));
    assert_eq!(asked.body, "grant_type=client_credentials&scope=a%20b");
}

#[test]
fn a_token_that_ended_early_is_asked_for_again() {
    let fake = Fake::start();
    fake.put("/schemas/ids/1", Reply::schema("\"int\""));
    fake.put("/schemas/ids/2", Reply::schema("\"long\""));
    let (place, given) = (fake.address(), r#"{"access_token":"x"}"#.to_owned());
    fake.put("/token", Reply::Json(200, given.clone()));
    let registry = registry(&format!(
        "url = \"http://{place}\", oauth = {{ token_url = \"http://{place}/token\", \
         client_id = \"u\", client_secret = \"h\" }}"
    ));
    assert_eq!(text(registry.by_id(1)), "\"int\"");
    fake.script([Reply::Json(401, String::new())]);
    assert_eq!(text(registry.by_id(2)), "\"long\"");
    let paths = ["/token", "/schemas/ids/1", "/schemas/ids/2", "/token", "/schemas/ids/2"];
    assert_eq!(fake.asked(), paths);
}

#[test]
fn the_next_address_is_asked_when_one_is_away() {
    let (gone, fake) = (Fake::start(), Fake::start());
    fake.put("/schemas/ids/1", Reply::schema("\"int\""));
    let registry = registry(&format!("url = [\"{}\", \"{}\"]", gone.url(), fake.url()));
    drop(gone);
    let (doors, _, _abandon) = doors();
    registry.open(doors).expect("nothing to read");
    assert_eq!(text(registry.by_id(1)), "\"int\"");
}

#[test]
fn a_registry_is_told_without_its_secrets() {
    let check = |keys: &str, words: &str| {
        assert_eq!(plan_of(keys).in_words(), words);
    };
    check("url = \"http://r\"", "http://r:80");
    check("url = [\"http://r\", \"http://u:hush@s\"]", "http://r:80, http://s:80, as u");
    check("url = \"http://r\", username = \"u\", password = \"hush\"", "http://r:80, as u");
    check("url = \"http://r\", token = \"hush\"", "http://r:80, with a token");
    check(
        "url = \"https://r\", tls_ca = \"ca.pem\", tls_cert = \"c.pem\", tls_key = \"k\"",
        "https://r:443, by the certificate c.pem, trusted by ca.pem",
    );
    check("url = \"https://r\", tls_verify = false", "https://r:443, its certificate not checked");
    check(
        "url = \"http://r\", oauth = { token_url = \"http://t/x\", client_id = \"c\", \
         client_secret = \"hush\" }",
        "http://r:80, with tokens of http://t:80/x for c",
    );
}

#[test]
fn secrets_do_not_show() {
    let keys = "url = \"http://u:hush@r\", username = \"u\", password = \"hush\"";
    let text = format!("registry = {{ {keys} }}");
    #[derive(serde::Deserialize)]
    struct Value {
        registry: RegistryOptions,
    }
    let section = Section::new("value", text.parse().expect("it is TOML"));
    let value: Value = section.options().unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let plan = value.registry.plan(&section, "registry");
    let plan = plan.unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let shown =
        format!("{:?} {plan:?} {:?} {}", value.registry, Registry::new(plan.clone()), plan.shown());
    assert!(!shown.contains("hush"), "{shown}");
    let wrong = "registry = { url = \"hush\" }";
    let section = Section::new("value", wrong.parse().expect("it is TOML"));
    let value: Value = section.options().unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let mistake = value.registry.plan(&section, "registry").expect_err("it is one");
    assert!(!mistake.message.contains("hush"));
}

#[tokio::test]
async fn a_schema_is_registered_looked_up_and_refused() {
    let fake = Fake::start();
    let registry = at(&fake);
    let schema = |text| Proposed { kind: "AVRO", text };
    assert_eq!(registry.newest("a/b", Version::Latest).await.expect("no fault"), None);
    assert_eq!(registry.id_of("a/b", schema("\"int\"")).await.expect("no fault"), None);
    // The address of a subject is escaped.
    assert!(fake.asked().contains(&"/subjects/a%2Fb".to_owned()), "{:?}", fake.asked());
    assert_eq!(registry.register("s", schema("\"int\"")).await.expect("no fault"), 1);
    assert_eq!(registry.register("s", schema("\"int\"")).await.expect("no fault"), 1);
    assert_eq!(registry.register("s", schema("\"long\"")).await.expect("no fault"), 2);
    let fault = registry.register("s", schema("\"string\"")).await.expect_err("incompatible");
    assert_eq!(fault.blame, Blame::Operator);
    assert!(fault.message.contains("incompatible with an earlier schema"), "{fault}");
    assert_eq!(registry.id_of("s", schema("\"int\"")).await.expect("no fault"), Some(1));
    let newest = registry.newest("s", Version::Latest).await.expect("no fault").expect("one");
    let kind = "AVRO".to_owned();
    let expected = Newest { id: 2, version: 2, kind, text: "\"long\"".into(), refers: false };
    assert_eq!(newest, expected);
    let first = registry.newest("s", Version::Number(1)).await.expect("no fault").expect("one");
    assert_eq!((first.id, first.version), (1, 1));
    assert_eq!(registry.newest("s", Version::Number(3)).await.expect("no fault"), None);
}

#[tokio::test]
async fn a_registry_that_is_away_keeps_who_registers_waiting() {
    let fake = Fake::start();
    fake.script([Reply::Json(503, String::new()), Reply::HangUp, Reply::Json(200, "{}".into())]);
    let registry = at(&fake);
    let schema = Proposed { kind: "JSON", text: "{}" };
    let fault = registry.register("s", schema).await.expect_err("nobody opened it: told at once");
    assert_eq!(fault.blame, Blame::World);
    let (doors, meter, abandon) = doors();
    registry.open(doors).expect("nothing to read");
    assert_eq!(registry.register("s", schema).await.expect("it is back"), 1);
    assert_eq!(trouble(&meter), "");
    assert_eq!(registry.trouble(), None);
    let posted = fake.requests().pop().expect("it was asked");
    assert_eq!(posted.body, r#"{"schemaType":"JSON","schema":"{}"}"#);
    assert_eq!(posted.content, "application/vnd.schemaregistry.v1+json");
    // Whoever stops is not kept.
    fake.script((0..100).map(|_| Reply::HangUp));
    abandon.send_replace(true);
    let fault = registry.register("s", schema).await.expect_err("stopped");
    assert!(fault.message.contains("stopped"), "{fault}");
}
