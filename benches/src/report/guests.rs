//! Languages side by side in the sandbox, against what was aimed at; and what the fence costs.

use serde_json::Value;

use super::axis::short;
use super::bars::{Bar, bars};
use super::file::{ResultFile, spread};
use super::page::{escape, section as part, table};

/// A column of the table: its heading, where its figure lies, and what is aimed at for Rust, C,
/// Zig and AssemblyScript, and for Go.
struct Figure {
    heading: &'static str,
    of: fn(&Value) -> Option<f64>,
    aim: [&'static str; 2],
}

const FIGURES: [Figure; 7] = [
    Figure { heading: "keep, ns", of: |guest| stage(guest, "sandbox keep"), aim: ["30", "40"] },
    Figure { heading: "drop, ns", of: |guest| stage(guest, "sandbox drop"), aim: ["30", "40"] },
    Figure {
        heading: "computed column, ns",
        of: |guest| stage(guest, "sandbox computed column"),
        aim: ["40", "55"],
    },
    Figure { heading: "1:3, ns", of: |guest| stage(guest, "sandbox 1:3"), aim: ["", ""] },
    Figure {
        heading: "load, ms",
        of: |guest| Some(spread(&guest["load_ms"])?.median),
        aim: ["1", "1"],
    },
    Figure {
        heading: "new instance, µs",
        of: |guest| Some(spread(&guest["instance_us"])?.median),
        aim: ["50", "500"],
    },
    Figure {
        heading: "memory of one, KiB",
        of: |guest| guest["instance_kib"].as_f64(),
        aim: ["64", ""],
    },
];

pub fn section(files: &[&ResultFile]) -> String {
    let body: String = files.iter().map(|file| of(file)).collect();
    let said = "A record of sensors in the sandbox, everything included: copying in, the call, \
                reading and checking what came back. Loading is of a module whose machine code \
                was kept; memory is what 64 instances added, by the instance.";
    part("Transforms by language", said, &body)
}

fn stage(guest: &Value, name: &str) -> Option<f64> {
    let stages = guest["stages"].as_array()?;
    let found = stages.iter().find(|stage| stage["stage"] == name)?;
    Some(spread(&found["ns"])?.median)
}

fn of(file: &ResultFile) -> String {
    let array = |name: &str| file.value[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut heading = vec!["language"];
    heading.extend(FIGURES.iter().map(|figure| figure.heading));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for guest in array("guests") {
        let mut cells = vec![file.link().around(guest["language"].as_str().unwrap_or("?"))];
        cells.extend(FIGURES.iter().map(|figure| (figure.of)(guest).map_or("".into(), short)));
        rows.push(cells);
    }
    for (at, who) in ["at most", "at most, Go"].into_iter().enumerate() {
        let mut cells = vec![format!("<em>{}</em>", escape(who))];
        cells.extend(FIGURES.iter().map(|figure| format!("<em>{}</em>", figure.aim[at])));
        rows.push(cells);
    }
    let bar = |stage: &Value| {
        let name = stage["stage"].as_str().unwrap_or("?").to_owned();
        Some(Bar { name, from: file.link(), spread: spread(&stage["ns"])?, series: 0 })
    };
    let fence: Vec<Bar> = array("fence").iter().filter_map(bar).collect();
    if fence.is_empty() && rows.len() == 2 {
        return String::new();
    }
    table(&heading, &[], &rows) + &bars("What the fence costs a record", "ns", &fence)
}
