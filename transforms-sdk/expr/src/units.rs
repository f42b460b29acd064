//! Units of measure for `convert(value, 'from', 'to')`: each is a factor and an offset to its
//! dimension's first unit. Factors are exact by definition where one exists (BIPM's SI brochure,
//! the international yard and pound of 1959); `mmhg` is 133.322387415 Pa, `hp` 550 foot-pounds a
//! second.

use crate::error::closest;

/// A unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Unit {
    /// How it is written.
    pub name: &'static str,
    /// What it measures.
    pub dimension: &'static str,
    /// In the dimension's first unit: `value * factor + offset`.
    factor: f64,
    offset: f64,
}

const fn unit(name: &'static str, dimension: &'static str, factor: f64) -> Unit {
    Unit { name, dimension, factor, offset: 0.0 }
}

/// All units.
pub const UNITS: &[Unit] = &[
    Unit { name: "kelvin", dimension: "temperature", factor: 1.0, offset: 0.0 },
    Unit { name: "celsius", dimension: "temperature", factor: 1.0, offset: 273.15 },
    Unit { name: "fahrenheit", dimension: "temperature", factor: 5.0 / 9.0, offset: 459.67 / 1.8 },
    unit("m", "length", 1.0),
    unit("mm", "length", 0.001),
    unit("cm", "length", 0.01),
    unit("km", "length", 1_000.0),
    unit("in", "length", 0.0254),
    unit("ft", "length", 0.3048),
    unit("yd", "length", 0.9144),
    unit("mi", "length", 1_609.344),
    unit("nmi", "length", 1_852.0),
    unit("kg", "mass", 1.0),
    unit("g", "mass", 0.001),
    unit("mg", "mass", 0.000_001),
    unit("t", "mass", 1_000.0),
    unit("lb", "mass", 0.453_592_37),
    unit("oz", "mass", 0.028_349_523_125),
    unit("pa", "pressure", 1.0),
    unit("hpa", "pressure", 100.0),
    unit("kpa", "pressure", 1_000.0),
    unit("mpa", "pressure", 1_000_000.0),
    unit("mbar", "pressure", 100.0),
    unit("bar", "pressure", 100_000.0),
    unit("psi", "pressure", 6_894.757_293_168_361),
    unit("atm", "pressure", 101_325.0),
    unit("mmhg", "pressure", 133.322_387_415),
    unit("m/s", "speed", 1.0),
    unit("km/h", "speed", 1.0 / 3.6),
    unit("mph", "speed", 0.447_04),
    unit("kn", "speed", 1_852.0 / 3_600.0),
    unit("ft/s", "speed", 0.3048),
    unit("j", "energy", 1.0),
    unit("kj", "energy", 1_000.0),
    unit("mj", "energy", 1_000_000.0),
    unit("wh", "energy", 3_600.0),
    unit("kwh", "energy", 3_600_000.0),
    unit("mwh", "energy", 3_600_000_000.0),
    unit("kcal", "energy", 4_184.0),
    unit("w", "power", 1.0),
    unit("kw", "power", 1_000.0),
    unit("mw", "power", 1_000_000.0),
    unit("hp", "power", 745.699_871_582_270_2),
    unit("l", "volume", 1.0),
    unit("ml", "volume", 0.001),
    unit("m3", "volume", 1_000.0),
    unit("gal", "volume", 3.785_411_784),
    unit("ft3", "volume", 28.316_846_592),
    unit("rad", "angle", 1.0),
    unit("deg", "angle", std::f64::consts::PI / 180.0),
    unit("s", "time", 1.0),
    unit("ns", "time", 0.000_000_001),
    unit("us", "time", 0.000_001),
    unit("ms", "time", 0.001),
    unit("min", "time", 60.0),
    unit("h", "time", 3_600.0),
    unit("d", "time", 86_400.0),
    unit("byte", "storage", 1.0),
    unit("bit", "storage", 0.125),
    unit("kb", "storage", 1_000.0),
    unit("mb", "storage", 1_000_000.0),
    unit("gb", "storage", 1_000_000_000.0),
    unit("kib", "storage", 1_024.0),
    unit("mib", "storage", 1_048_576.0),
    unit("gib", "storage", 1_073_741_824.0),
];

/// From one unit to another: `value * multiply / divide + add`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Linear {
    multiply: f64,
    divide: f64,
    add: f64,
}

impl Linear {
    /// The value in the other unit. A factor and a divisor, for many quotients of two factors are
    /// whole numbers that their inverses are not.
    pub(crate) fn of(self, value: f64) -> f64 {
        value * self.multiply / self.divide + self.add
    }
}

/// A unit by its name.
pub(crate) fn named(name: &str) -> Result<&'static Unit, String> {
    let lower = name.to_lowercase();
    UNITS.iter().find(|unit| unit.name == lower).ok_or_else(|| {
        match closest(name, UNITS.iter().map(|unit| unit.name)) {
            Some(meant) => format!("did you mean '{meant}'?"),
            None => "docs/expressions.md lists all units".to_owned(),
        }
    })
}

/// From one unit to another of the same dimension.
pub(crate) fn between(from: &Unit, to: &Unit) -> Linear {
    match (from.name, to.name) {
        // Written as everybody knows them, so that round numbers stay round.
        ("celsius", "fahrenheit") => Linear { multiply: 9.0, divide: 5.0, add: 32.0 },
        ("fahrenheit", "celsius") => Linear { multiply: 5.0, divide: 9.0, add: -160.0 / 9.0 },
        _ => {
            let add = (from.offset - to.offset) / to.factor;
            Linear { multiply: from.factor, divide: to.factor, add }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, from: &str, to: &str, expected: f64) {
        let linear = between(named(from).expect("a unit"), named(to).expect("a unit"));
        let found = linear.of(value);
        assert!((found - expected).abs() <= expected.abs() * 1e-14 + 1e-11, "{from} {to}: {found}");
    }

    #[test]
    fn known_values() {
        check(100.0, "celsius", "fahrenheit", 212.0);
        check(-40.0, "fahrenheit", "celsius", -40.0);
        check(0.0, "celsius", "kelvin", 273.15);
        check(32.0, "fahrenheit", "kelvin", 273.15);
        check(300.0, "kelvin", "fahrenheit", 80.33);
        check(36.0, "km/h", "m/s", 10.0);
        check(1.0, "mi", "km", 1.609_344);
        check(1.0, "bar", "psi", 14.503_773_773_020_923);
        check(180.0, "deg", "rad", std::f64::consts::PI);
        check(1.0, "gib", "mb", 1_073.741_824);
    }

    #[test]
    fn there_and_back_for_all() {
        for from in UNITS {
            for to in UNITS.iter().filter(|to| to.dimension == from.dimension) {
                let back = between(to, from).of(between(from, to).of(21.5));
                assert!((back - 21.5).abs() < 1e-9, "{} {}: {back}", from.name, to.name);
            }
        }
    }

    #[test]
    fn a_unit_that_is_not_there() {
        assert_eq!(named("celcius"), Err("did you mean 'celsius'?".to_owned()));
        assert!(named("parsec of old").is_err());
    }
}
