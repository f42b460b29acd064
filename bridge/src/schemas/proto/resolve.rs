//! Names of types in file descriptors, found as Protobuf's scopes have them: from the innermost
//! message outwards to the package and its parents. How many names there are and how long is
//! bounded before anything is made of them.

use std::collections::{HashMap, HashSet};

use prost_types::field_descriptor_proto::{Label as Theirs, Type};
use prost_types::uninterpreted_option::NamePart;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FieldOptions, FileDescriptorProto,
};

use super::{Enum, Field, Label, Message, Of, Scalar, Types, Wrong};

/// Messages, fields, `oneof`s and enums' values of one schema.
const ITEMS_MAX: usize = 20_000;
/// Bytes of a type's name, with all that is around it.
const NAME_BYTES_MAX: usize = 1_024;
/// Messages within one another.
const DEPTH_MAX: usize = 64;
/// The highest number that a field may have.
const NUMBER_MAX: i32 = (1 << 29) - 1;

/// What a name stands for, and in which file.
#[derive(Clone, Copy)]
struct Named {
    file: usize,
    of: Of,
}

/// A message whose fields are to be resolved.
struct Open<'a> {
    file: usize,
    at: usize,
    descriptor: &'a DescriptorProto,
}

/// All types of these files; nobody gave the files that are `missing`.
pub(super) fn resolve(files: &[FileDescriptorProto], missing: &[String]) -> Result<Types, Wrong> {
    let mut reader = Reader {
        types: Types::default(),
        names: HashMap::new(),
        visible: visible(files),
        open: Vec::new(),
        left: ITEMS_MAX,
        missing,
    };
    for (index, file) in files.iter().enumerate() {
        reader.file(index, file).map_err(|wrong| placed(file, &wrong))?;
    }
    for Open { file, at, descriptor } in std::mem::take(&mut reader.open) {
        let proto3 = files[file].syntax() == "proto3";
        let fields = reader.fields(file, at, descriptor, proto3);
        reader.types.messages[at].fields = fields.map_err(|wrong| placed(&files[file], &wrong))?;
    }
    let messages = reader.names.into_iter().filter_map(|(name, named)| match named.of {
        Of::Message(at) => Some((name, at)),
        _ => None,
    });
    Ok(Types { names: messages.collect(), ..reader.types })
}

fn placed(file: &FileDescriptorProto, wrong: &str) -> Wrong {
    if file.name().is_empty() { wrong.to_owned() } else { format!("{}: {wrong}", file.name()) }
}

/// What each file sees: itself, its imports, and what these import for others.
fn visible(files: &[FileDescriptorProto]) -> Vec<HashSet<usize>> {
    let names = files.iter().enumerate().map(|(index, file)| (file.name(), index));
    let places: HashMap<&str, usize> = names.collect();
    let public = |file: &FileDescriptorProto| -> Vec<usize> {
        let imports = file.public_dependency.iter().filter_map(|at| usize::try_from(*at).ok());
        let imports = imports.filter_map(|at| file.dependency.get(at));
        imports.filter_map(|name| places.get(name.as_str()).copied()).collect()
    };
    let seen_by = |(index, file): (usize, &FileDescriptorProto)| {
        let mut seen = HashSet::from([index]);
        let mut waiting: Vec<usize> =
            file.dependency.iter().filter_map(|name| places.get(name.as_str()).copied()).collect();
        while let Some(next) = waiting.pop() {
            if seen.insert(next) {
                waiting.extend(public(&files[next]));
            }
        }
        seen
    };
    files.iter().enumerate().map(seen_by).collect()
}

struct Reader<'a> {
    types: Types,
    names: HashMap<Box<str>, Named>,
    visible: Vec<HashSet<usize>>,
    open: Vec<Open<'a>>,
    left: usize,
    missing: &'a [String],
}

impl<'a> Reader<'a> {
    fn spend(&mut self, count: usize) -> Result<(), Wrong> {
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| format!("the schema has more than {ITEMS_MAX} fields and types"))?;
        Ok(())
    }

    /// Notes the types of a file.
    fn file(&mut self, index: usize, file: &'a FileDescriptorProto) -> Result<(), Wrong> {
        if !matches!(file.syntax(), "" | "proto2" | "proto3") {
            return Err(format!("`{}` is neither proto2 nor proto3", file.syntax()));
        }
        for descriptor in &file.message_type {
            let at = self.message(index, file.package(), descriptor, 0)?;
            if index == 0 {
                self.types.first.push(at);
            }
        }
        for descriptor in &file.enum_type {
            self.enumeration(index, file.package(), descriptor)?;
        }
        Ok(())
    }

    /// Notes a message and all within it.
    fn message(
        &mut self,
        file: usize,
        scope: &str,
        descriptor: &'a DescriptorProto,
        depth: usize,
    ) -> Result<usize, Wrong> {
        if depth > DEPTH_MAX {
            return Err(format!("messages are nested deeper than {DEPTH_MAX}"));
        }
        let (fields, oneofs) = (descriptor.field.len(), descriptor.oneof_decl.len());
        self.spend(1 + fields + oneofs)?;
        let name = full_name(scope, descriptor.name())?;
        let at = self.types.messages.len();
        let is_entry = descriptor.options.as_ref().is_some_and(|options| options.map_entry());
        let fields = Vec::new();
        let message = Message { name: name.as_str().into(), fields, inner: Vec::new(), is_entry };
        self.types.messages.push(message);
        self.define(&name, Named { file, of: Of::Message(at) })?;
        self.open.push(Open { file, at, descriptor });
        for inner in &descriptor.nested_type {
            let index = self.message(file, &name, inner, depth + 1)?;
            let is_group = descriptor.field.iter().any(|field| {
                field.r#type == Some(Type::Group as i32)
                    && field.type_name().rsplit('.').next() == Some(inner.name())
            });
            if !self.types.messages[index].is_entry && !is_group {
                self.types.messages[at].inner.push(index);
            }
        }
        for inner in &descriptor.enum_type {
            self.enumeration(file, &name, inner)?;
        }
        Ok(at)
    }

    fn enumeration(
        &mut self,
        file: usize,
        scope: &str,
        descriptor: &EnumDescriptorProto,
    ) -> Result<(), Wrong> {
        self.spend(1 + descriptor.value.len())?;
        let name = full_name(scope, descriptor.name())?;
        let first = descriptor.value.first();
        let first = first.ok_or_else(|| format!("the enum `{name}` has no values"))?;
        let mut values = Vec::with_capacity(descriptor.value.len());
        for value in &descriptor.value {
            if value.name().is_empty() || value.name().len() > NAME_BYTES_MAX {
                return Err(format!("a value of the enum `{name}` has no name, or a long one"));
            }
            values.push((value.number(), value.name().into()));
        }
        // Of several names for a number the first one stays.
        values.sort_by_key(|(number, _)| *number);
        values.dedup_by_key(|(number, _)| *number);
        let at = self.types.enums.len();
        let default = first.number();
        self.types.enums.push(Enum { name: name.as_str().into(), values, default });
        self.define(&name, Named { file, of: Of::Enum(at) })
    }

    fn define(&mut self, name: &str, named: Named) -> Result<(), Wrong> {
        match self.names.insert(name.into(), named) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` is defined twice")),
        }
    }

    fn fields(
        &self,
        file: usize,
        at: usize,
        descriptor: &DescriptorProto,
        proto3: bool,
    ) -> Result<Vec<Field>, Wrong> {
        let message = &self.types.messages[at];
        let (mut numbers, mut fields) = (HashSet::new(), Vec::new());
        for field in &descriptor.field {
            let wrong = |why: &str| format!("`{}` of `{}`: {why}", field.name(), message.name);
            let number = field.number();
            if !(1..=NUMBER_MAX).contains(&number) || !numbers.insert(number) {
                return Err(wrong(&format!("its number {number} is none, or another field's")));
            }
            if field.name().is_empty() || field.name().len() > NAME_BYTES_MAX {
                return Err(wrong("its name is empty, or too long"));
            }
            let of = self.of(file, &message.name, field).map_err(|why| wrong(&why))?;
            fields.push(read(field, of, proto3));
        }
        if message.is_entry && !is_entry(&fields) {
            return Err(format!("`{}` is no entry of a map", message.name));
        }
        Ok(fields)
    }

    /// What a field holds.
    fn of(&self, file: usize, scope: &str, field: &FieldDescriptorProto) -> Result<Of, Wrong> {
        let kind = field.r#type.map(Type::try_from);
        if let Some(Ok(kind)) = kind
            && let Some(scalar) = scalar(kind)
        {
            return Ok(Of::Scalar(scalar));
        }
        let name = field.type_name();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err("its type has no name, or a long one".to_owned());
        }
        match (self.find(file, scope, name), kind) {
            (Some(Of::Message(at)), Some(Ok(Type::Group))) => Ok(Of::Group(at)),
            (Some(of), _) => Ok(of),
            (None, _) => {
                let hint = match self.missing {
                    [] => String::new(),
                    missing => {
                        let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
                        format!(" (nobody gave {})", missing.join(", "))
                    }
                };
                Err(format!("there is no type `{name}`{hint}"))
            }
        }
    }

    /// What a name stands for in a scope.
    fn find(&self, file: usize, scope: &str, name: &str) -> Option<Of> {
        if let Some(full) = name.strip_prefix('.') {
            return self.names.get(full).map(|named| named.of);
        }
        let (mut scope, mut hidden) = (scope, None);
        loop {
            let named = match scope {
                "" => self.names.get(name),
                _ => self.names.get(format!("{scope}.{name}").as_str()),
            };
            match named {
                Some(named) if self.visible[file].contains(&named.file) => return Some(named.of),
                // The registry's word counts, whether or not an import says so.
                Some(named) => hidden = hidden.or(Some(named.of)),
                None => {}
            }
            if scope.is_empty() {
                return hidden;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

fn full_name(scope: &str, name: &str) -> Result<String, Wrong> {
    let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
    if name.is_empty() || full.len() > NAME_BYTES_MAX {
        return Err(format!("a type has no name, or one of more than {NAME_BYTES_MAX} bytes"));
    }
    Ok(full)
}

/// A field whose type is known.
fn read(field: &FieldDescriptorProto, of: Of, proto3: bool) -> Field {
    let is_message = matches!(of, Of::Message(_) | Of::Group(_));
    let own = field.proto3_optional();
    let oneof = field.oneof_index.filter(|_| !own).and_then(|at| u32::try_from(at).ok());
    let label = match field.label() {
        Theirs::Repeated => Label::Repeated,
        Theirs::Required => Label::Required,
        Theirs::Optional if proto3 && !own && !is_message && oneof.is_none() => Label::Implicit,
        Theirs::Optional => Label::Optional,
    };
    let packable = !matches!(of, Of::Scalar(Scalar::String | Scalar::Bytes)) && !is_message;
    let said = field.options.as_ref().and_then(packed);
    Field {
        name: field.name().into(),
        number: field.number().unsigned_abs(),
        of,
        label,
        oneof,
        default: field.default_value.as_deref().map(Into::into),
        packed: label == Label::Repeated && packable && said.unwrap_or(proto3),
    }
}

/// The option `packed`, if it is said.
fn packed(options: &FieldOptions) -> Option<bool> {
    let named = |parts: &[NamePart]| matches!(parts, [part] if part.name_part == "packed");
    let said = options.uninterpreted_option.iter().find(|option| named(&option.name));
    let said = said.and_then(|option| option.identifier_value.as_deref());
    options.packed.or_else(|| said.map(|word| word == "true"))
}

/// Whether these are the fields of a map's entry.
fn is_entry(fields: &[Field]) -> bool {
    let [key, value] = fields else { return false };
    let is_key = matches!(
        key.of,
        Of::Scalar(scalar) if !matches!(scalar, Scalar::Double | Scalar::Float | Scalar::Bytes)
    );
    let single = fields.iter().all(|field| field.label != Label::Repeated);
    is_key && key.number == 1 && value.number == 2 && single
}

fn scalar(kind: Type) -> Option<Scalar> {
    Some(match kind {
        Type::Double => Scalar::Double,
        Type::Float => Scalar::Float,
        Type::Int32 => Scalar::Int32,
        Type::Int64 => Scalar::Int64,
        Type::Uint32 => Scalar::Uint32,
        Type::Uint64 => Scalar::Uint64,
        Type::Sint32 => Scalar::Sint32,
        Type::Sint64 => Scalar::Sint64,
        Type::Fixed32 => Scalar::Fixed32,
        Type::Fixed64 => Scalar::Fixed64,
        Type::Sfixed32 => Scalar::Sfixed32,
        Type::Sfixed64 => Scalar::Sfixed64,
        Type::Bool => Scalar::Bool,
        Type::String => Scalar::String,
        Type::Bytes => Scalar::Bytes,
        Type::Group | Type::Message | Type::Enum => return None,
    })
}
