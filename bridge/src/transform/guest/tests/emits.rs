//! Records for topics: taken over where they have somewhere to go, refused where not, and gone
//! with an answer that is not believed.

use super::*;

/// Sends each record on to the topic `copies`, as it lies in the input, and keeps it. `more` stands
/// between the two for record `$i`; `$a` is where its emit was written.
fn sends_on(more: &str) -> String {
    format!(
        r#"(module
          (import "bridge" "topic" (func $topic (param i32 i32) (result i32)))
          (memory (export "memory") 18)
          (data (i32.const 16) "copies")
          (global $copies (mut i32) (i32.const 0))
          (func (export "bridge_abi") (result i32) (i32.const 1))
          (func (export "bridge_alloc") (param i32) (result i32) (i32.const 0x20000))
          (func (export "bridge_init") (param i32 i32) (result i32)
            (global.set $copies (call $topic (i32.const 16) (i32.const 6)))
            (i32.const 7))
          (func (export "bridge_batch") (param $b i32) (result i64)
            (local $i i32) (local $a i32)
            (loop $next
              (i32.store offset=44 (local.get $b) (local.get $i))
              (local.set $a (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 32))))
              (i32.store8 offset=0 (local.get $a) (i32.const 5))
              (i32.store16 offset=2 (local.get $a) (global.get $copies))
              (i32.store offset=4 (local.get $a) (local.get $i))
              (i32.store offset=8 (local.get $a) (i32.add (i32.load offset=12 (local.get $b))
                (i32.mul (local.get $i) (i32.const 64))))
              (i32.store offset=12 (local.get $a) (i32.const 64))
              {more}
              (i32.store8 offset=16 (local.get $a) (i32.const 1))
              (i32.store offset=20 (local.get $a) (local.get $i))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.load offset=8 (local.get $b)))))
            (i64.or (i64.const 0x400_00000000)
              (i64.extend_i32_u (i32.mul (local.get $i) (i32.const 2))))))"#
    )
}

fn bench(module: &str, emits: bool) -> Bench {
    let names = Arc::new(Names::default());
    let section = Section::new("pipeline.p.transform", "module = 'm.wasm'".parse().expect("TOML"));
    let context = LoadContext { emits, ..context(&names) };
    let module = wat::parse_str(module).expect("the test's module");
    let loaded = load_bytes(&section, &module, &context).expect("loads");
    let meter = Arc::new(TransformMeter::default());
    let transform = loaded.instance(Arc::clone(&meter)).expect("starts");
    Bench { names, loaded, meter, transform, rejects: Rejects::default() }
}

fn run(bench: &mut Bench, count: usize) -> RowBatch {
    let rows: Vec<_> = (0..count).map(|n| vec![("n", Said::F64(n as f64))]).collect();
    let mut batch = bench.rows(&rows);
    bench.transform.apply(&records(count), &mut batch, &mut bench.rejects).expect("goes on");
    bench.rejects.prune(&mut batch);
    batch
}

/// What is emitted: source, key, value.
fn emitted(batch: &RowBatch) -> Vec<(u32, String, String)> {
    let text = |range: &Option<std::ops::Range<usize>>| {
        let bytes = &batch.arena[range.clone().expect("it is not null")];
        String::from_utf8(bytes.to_vec()).expect("text")
    };
    batch.emitted.iter().map(|one| (one.source, text(&one.key), text(&one.value))).collect()
}

fn copies(sources: &[u32]) -> Vec<(u32, String, String)> {
    sources.iter().map(|n| (*n, n.to_string(), format!("value {n}"))).collect()
}

#[test]
fn a_record_is_sent_on_as_it_lies_in_the_input() {
    let mut bench = bench(&sends_on(""), true);
    let batch = run(&mut bench, 3);
    assert_eq!(batch.rows.len(), 3);
    assert_eq!(emitted(&batch), copies(&[0, 1, 2]));
    let second = &batch.emitted[1];
    assert_eq!(bench.names.topics.name(second.topic).as_deref(), Some("copies"));
    assert_eq!((second.partition, second.timestamp_ms), (Some(3), Some(1_001)));
    let header = |(name, value): &crate::batch::EmittedHeader| {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8(batch.arena[range].to_vec()).expect("text")
        };
        (text(name.clone()), value.clone().map(text))
    };
    let headers: Vec<_> = batch.headers[second.headers.clone()].iter().map(header).collect();
    assert_eq!(headers, [("index".to_owned(), Some("1".to_owned())), ("empty".to_owned(), None)]);
    assert_eq!(bench.meter.emitted.get(), 3);
    assert!(bench.refused().is_empty());
}

#[test]
fn without_a_topic_to_go_to_the_record_is_refused() {
    let mut bench = bench(&sends_on(""), false);
    let batch = run(&mut bench, 2);
    assert!(batch.rows.is_empty() && batch.emitted.is_empty());
    let refused = bench.refused();
    let said = |(_, reason, detail): &(u32, Reason, String)| {
        *reason == Reason::BadAnswer && detail.contains("emit needs the sink `kafka`")
    };
    assert!(refused.len() == 2 && refused.iter().all(said), "{refused:?}");
}

#[test]
fn what_is_not_believed_leaves_nothing() {
    // Record 1 asks for a topic that nobody has; what it was called with goes again without it.
    let forged = "(if (i32.eq (i32.load offset=0 (i32.load offset=8 (local.get $a))) (i32.const 1))
        (then (i32.store16 offset=2 (local.get $a) (i32.const 999))))";
    let mut bench = bench(&sends_on(forged), true);
    let batch = run(&mut bench, 4);
    let mut found = emitted(&batch);
    found.sort();
    assert_eq!(found, copies(&[0, 2, 3]));
    assert_eq!(batch.headers.len(), 6);
    let refused = bench.refused();
    assert!(refused[0].2.contains("unknown topic id 999"), "{refused:?}");
    assert_eq!((refused.len(), refused[0].0, bench.meter.emitted.get()), (1, 1, 3));
}
