//! Files that everybody imports and nobody hands over: Protobuf's own types, Google's common ones,
//! and those that Confluent's converters write.

const KNOWN: &[(&str, &str)] = &[
    ("google/protobuf/any.proto", include_str!("known/any.proto")),
    ("google/protobuf/duration.proto", include_str!("known/duration.proto")),
    ("google/protobuf/empty.proto", include_str!("known/empty.proto")),
    ("google/protobuf/field_mask.proto", include_str!("known/field_mask.proto")),
    ("google/protobuf/struct.proto", include_str!("known/struct.proto")),
    ("google/protobuf/timestamp.proto", include_str!("known/timestamp.proto")),
    ("google/protobuf/wrappers.proto", include_str!("known/wrappers.proto")),
    ("google/type/date.proto", include_str!("known/date.proto")),
    ("google/type/dayofweek.proto", include_str!("known/dayofweek.proto")),
    ("google/type/decimal.proto", include_str!("known/google_decimal.proto")),
    ("google/type/latlng.proto", include_str!("known/latlng.proto")),
    ("google/type/money.proto", include_str!("known/money.proto")),
    ("google/type/month.proto", include_str!("known/month.proto")),
    ("google/type/timeofday.proto", include_str!("known/timeofday.proto")),
    ("confluent/type/decimal.proto", include_str!("known/confluent_decimal.proto")),
];

/// The text of such a file.
pub(super) fn text(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_have_types() {
        for (name, text) in KNOWN {
            let types = super::super::Types::of_texts(&[(name, text)], |_| Ok(None));
            let types = types.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            assert!(!types.messages.is_empty() || !types.enums.is_empty(), "{name}");
        }
    }
}
