//! `#[derive(Row)]`: of a struct `Reading` it makes `ReadingColumns`, which has the column of each
//! field, reads a `Reading` out of a record and writes one to a patch or a row. What fields may be
//! is said by the traits of `bridge_transform::row`; what a struct may be, here.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, LitStr, Result,
    Visibility, parse_macro_input,
};

/// Makes `NameColumns` of a struct `Name` whose fields are columns, with `new`, `read` and `write`:
/// see `bridge_transform::row`.
///
/// A field is the column of its name, or of `#[bridge(rename = "…")]`; text is written as a symbol
/// with `#[bridge(symbol)]`.
#[proc_macro_derive(Row, attributes(bridge))]
pub fn row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

const NEEDS_FIELDS: &str = "a row is a struct with named fields, one for each column: \
                            `struct Reading { temperature: f64 }`";
const NEEDS_PLAIN: &str = "a row has no generics but one lifetime, for what it borrows of its \
                           record: `struct Reading<'r> { sensor: &'r str }`";
const NEEDS_KNOWN: &str = "a field takes `#[bridge(rename = \"column\")]` and `#[bridge(symbol)]`";

/// A field, and the column that it is.
struct Field<'a> {
    name: &'a Ident,
    vis: &'a Visibility,
    column: String,
    symbol: bool,
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let borrows = borrows(&input.generics)?;
    if let Some(attribute) = input.attrs.iter().find(|attribute| is_ours(attribute)) {
        return Err(Error::new_spanned(attribute, NEEDS_KNOWN));
    }
    let fields = fields(input)?;
    let (vis, row) = (&input.vis, &input.ident);
    let columns = format_ident!("{row}Columns");
    let (read, written) = match borrows {
        true => (quote!(#row<'r>), quote!(#row<'_>)),
        false => (quote!(#row), quote!(#row)),
    };
    let doc = format!("The columns of [`{row}`], by the names of its fields.");
    let members =
        fields.iter().map(|Field { name, vis, .. }| quote!(#vis #name: ::bridge_transform::Column));
    let interned =
        fields.iter().map(|Field { name, column, .. }| quote!(#name: init.column(#column)));
    let reads = fields.iter().map(|Field { name, column, .. }| {
        quote!(#name: ::bridge_transform::row::read(record, self.#name, #column)?)
    });
    let writes = fields.iter().map(|Field { name, symbol, .. }| {
        let set = match symbol {
            true => quote!(ToSymbol::set_symbol),
            false => quote!(ToColumn::set),
        };
        quote!(::bridge_transform::row::#set(&row.#name, draft, self.#name))
    });
    Ok(quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug)]
        #[allow(dead_code)]
        #vis struct #columns { #(#members),* }

        #[allow(dead_code)]
        impl #columns {
            /// Names them: records carry them from now on.
            #vis fn new(init: &mut ::bridge_transform::Init<'_>) -> Self {
                Self { #(#interned),* }
            }

            /// The row that a record is; the error names the column, and is a reason to reject.
            #[inline]
            #vis fn read<'r>(
                &self,
                record: &::bridge_transform::Record<'r>,
            ) -> ::core::result::Result<#read, ::bridge_transform::row::WrongColumn> {
                ::core::result::Result::Ok(#row { #(#reads),* })
            }

            /// Sets all columns of a patch or a new row, to null where the row has nothing.
            #[inline]
            #vis fn write<'o>(
                &self,
                row: &#written,
                draft: ::bridge_transform::Draft<'o>,
            ) -> ::bridge_transform::Draft<'o> {
                #(let draft = #writes;)*
                draft
            }
        }
    })
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("bridge")
}

/// Whether the struct has its one lifetime.
fn borrows(generics: &Generics) -> Result<bool> {
    let is_plain = |param: &GenericParam| match param {
        GenericParam::Lifetime(lifetime) => lifetime.bounds.is_empty(),
        _ => false,
    };
    let wrong = generics.params.iter().find(|param| !is_plain(param));
    match (wrong.or(generics.params.iter().nth(1)), &generics.where_clause) {
        (Some(wrong), _) => Err(Error::new_spanned(wrong, NEEDS_PLAIN)),
        (None, Some(wrong)) => Err(Error::new_spanned(wrong, NEEDS_PLAIN)),
        (None, None) => Ok(!generics.params.is_empty()),
    }
}

fn fields(input: &DeriveInput) -> Result<Vec<Field<'_>>> {
    let needs_fields = || Error::new_spanned(&input.ident, NEEDS_FIELDS);
    let Data::Struct(data) = &input.data else { return Err(needs_fields()) };
    let Fields::Named(named) = &data.fields else { return Err(needs_fields()) };
    let fields = named.named.iter().map(field).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    if let Some(twice) = fields.iter().find(|field| !seen.insert(&field.column)) {
        let message = format!("the column `{}` is a field already", twice.column);
        return Err(Error::new_spanned(twice.name, message));
    }
    match fields.is_empty() {
        true => Err(needs_fields()),
        false => Ok(fields),
    }
}

fn field(field: &syn::Field) -> Result<Field<'_>> {
    let name = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, NEEDS_FIELDS))?;
    let (mut column, mut symbol) = (name.unraw().to_string(), false);
    for attribute in field.attrs.iter().filter(|attribute| is_ours(attribute)) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                let said: LitStr = meta.value()?.parse()?;
                column = said.value();
                return match column.is_empty() {
                    true => Err(Error::new_spanned(said, "a column has a name")),
                    false => Ok(()),
                };
            }
            symbol |= meta.path.is_ident("symbol");
            match meta.path.is_ident("symbol") {
                true => Ok(()),
                false => Err(meta.error(NEEDS_KNOWN)),
            }
        })?;
    }
    Ok(Field { name, vis: &field.vis, column, symbol })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<String> {
        let input = syn::parse_str(text).expect("the test's struct");
        expand(&input).map(|made| made.to_string())
    }

    fn refused(text: &str, with: &str) {
        let error = made(text).expect_err("it is refused").to_string();
        assert!(error.contains(with), "{text}: {error:?} does not say {with:?}");
    }

    #[test]
    fn columns_are_called_as_is_said() {
        let made = made(
            "pub struct Reading<'a> { #[bridge(rename = \"a name\", symbol)] sensor: &'a str,
                pub r#type: Option<i64> }",
        );
        let made = made.expect("a row");
        for part in [
            "pub struct ReadingColumns",
            "sensor : init . column (\"a name\")",
            "r#type : init . column (\"type\")",
            "ToSymbol :: set_symbol (& row . sensor",
            "ToColumn :: set (& row . r#type",
            "Result < Reading < 'r >",
        ] {
            assert!(made.contains(part), "{made} has no {part}");
        }
    }

    #[test]
    fn what_is_no_row_is_told_what_one_is() {
        refused("struct Reading;", NEEDS_FIELDS);
        refused("struct Reading {}", NEEDS_FIELDS);
        refused("struct Reading(f64);", NEEDS_FIELDS);
        refused("enum Reading { A { b: f64 } }", NEEDS_FIELDS);
        refused("struct Reading<T> { a: T }", NEEDS_PLAIN);
        refused("struct Reading<'a, 'b> { a: &'a str, b: &'b str }", NEEDS_PLAIN);
        refused("struct Reading<const N: usize> { a: f64 }", NEEDS_PLAIN);
        refused("struct Reading<'a> where 'a: 'static { a: &'a str }", NEEDS_PLAIN);
    }

    #[test]
    fn what_a_field_cannot_be_told_is_refused() {
        refused("struct Reading { #[bridge(renamed = \"b\")] a: f64 }", NEEDS_KNOWN);
        refused("struct Reading { #[bridge(rename = \"\")] a: f64 }", "a column has a name");
        refused("struct Reading { #[bridge(rename)] a: f64 }", "expected `=`");
        refused("struct Reading { #[bridge(rename = 5)] a: f64 }", "expected string literal");
        refused("#[bridge(rename = \"b\")] struct Reading { a: f64 }", NEEDS_KNOWN);
        refused(
            "struct Reading { a: f64, #[bridge(rename = \"a\")] b: f64 }",
            "the column `a` is a field already",
        );
    }
}
