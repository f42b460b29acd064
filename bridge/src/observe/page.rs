//! `/status`: how every pipeline goes and which modules it runs, in JSON. Meters tell how much;
//! this tells what.

use serde_json::{Value, json};

use super::{Meters, PipelineMeter, TransformMeter};

/// All pipelines, by name.
pub fn status(meters: &Meters) -> Value {
    let pipelines = meters.iter().map(|(name, meter)| ((**name).to_owned(), pipeline(meter)));
    json!({ "pipelines": pipelines.collect::<serde_json::Map<_, _>>() })
}

fn pipeline(meter: &PipelineMeter) -> Value {
    let transforms = meter.transforms.lock().expect("no one panics with it");
    let transforms = transforms.iter().map(|(name, meter)| transform(name, meter));
    json!({
        "trouble": *meter.trouble.lock().expect("no one panics with it"),
        "remark": *meter.remark.lock().expect("no one panics with it"),
        "transforms": transforms.collect::<Vec<Value>>(),
    })
}

fn transform(name: &str, meter: &TransformMeter) -> Value {
    let module = meter.module.lock().expect("no one panics with it");
    json!({
        "name": name,
        "module": module.from,
        "sha256": module.sha256,
        "since_ms": module.since_ms,
        "reloads": meter.reloads.get(),
        "refused": module.refused,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_page_says_which_module_runs() {
        let meter = Arc::new(PipelineMeter::default());
        let own = Arc::new(TransformMeter::default());
        own.module.lock().expect("whole").from = "warm.wasm".to_owned();
        own.reloads.add(2);
        meter.transforms.lock().expect("whole").push(("warm".to_owned(), own));
        let page = status(&vec![("p".into(), meter)]);
        let transform = &page["pipelines"]["p"]["transforms"][0];
        assert_eq!(transform["module"], "warm.wasm");
        assert_eq!((&transform["reloads"], &transform["refused"]), (&json!(2), &Value::Null));
    }
}
