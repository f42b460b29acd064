//! Structs as rows (`#[derive(Row)]`), in the sandbox: the example `dew_point`.

use super::*;
use crate::modules;

#[test]
fn structs_are_read_and_written() {
    let mut bench = Bench::new(modules::DEW_POINT, "config = { muggy_above = 16.0 }");
    let humid = ("humidity", Said::F64(100.0));
    let rows = [
        vec![("sensor", Said::Text("a")), ("temperature", Said::F64(20.0)), humid.clone()],
        vec![("temperature", Said::F64(20.0))],
        vec![("temperature", Said::Text("warm")), humid.clone()],
        vec![humid.clone(), ("feels", Said::Text("?")), ("temperature", Said::F64(10.0))],
        vec![("humidity", Said::Text("much")), ("temperature", Said::F64(10.0))],
    ];
    let lines = bench.run(&rows).expect("runs");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let dew = |line: &str| {
        let (_, dew) = line.split_once("dew_point=").expect("it is set");
        dew.split(' ').next().and_then(|dew| dew.parse::<f64>().ok()).expect("a number")
    };
    assert!((dew(&lines[0]) - 20.0).abs() < 1e-9 && (dew(&lines[2]) - 10.0).abs() < 1e-9);
    assert!(lines[0].starts_with("0.0 - sensor=\"a\" temperature=20 humidity=100 "), "{lines:?}");
    assert!(lines[0].contains("feels=Symbol(\"muggy\")"), "{lines:?}");
    assert_eq!(lines[1], "1.0 - temperature=20");
    assert!(lines[2].contains("feels=Symbol(\"dry\")"), "{lines:?}");
    let refused = bench.refused();
    let said: Vec<_> = refused.iter().map(|(at, reason, why)| (*at, *reason, &**why)).collect();
    let reason = Reason::RefusedByTransform;
    assert_eq!(
        said,
        [
            (2, reason, "column `temperature` is text, and must be a number"),
            (4, reason, "column `humidity` is text, and must be a number"),
        ]
    );
}
