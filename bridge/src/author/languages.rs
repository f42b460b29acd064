//! The languages of transforms: the files of a project, out of `transforms-sdk/`, and how projects
//! are told apart.

use std::path::Path;

use crate::blame::Fault;

/// A language that transforms are written in.
#[derive(Debug)]
pub struct Language {
    /// As it is asked for.
    pub name: &'static str,
    /// The file that an author writes.
    pub main: &'static str,
    /// (path in the project, text) of what is the author's: `NAME` becomes the project's name.
    pub template: &'static [(&'static str, &'static str)],
    /// The same for the SDK, which is copied as it is.
    pub sdk: &'static [(&'static str, &'static str)],
}

impl Language {
    /// The language of that name.
    pub fn named(name: &str) -> Option<&'static Language> {
        LANGUAGES.iter().find(|language| language.name == name)
    }

    /// The language of the project in a folder.
    pub fn of(folder: &Path) -> Result<&'static Language, Fault> {
        let found = LANGUAGES.iter().find(|language| folder.join(language.main).is_file());
        found.ok_or_else(|| {
            let mains: Vec<&str> = LANGUAGES.iter().map(|language| language.main).collect();
            let message = format!("{} is no project of a transform", folder.display());
            Fault::operator(message).hint(format!("it would have one of {}", mains.join(", ")))
        })
    }
}

/// A macro, for paths must be literals: a file of the SDKs as (path in the project, text).
macro_rules! files {
    ($($path:literal: $from:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../transforms-sdk/", $from)))),*]
    };
}

/// All of them.
pub const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        main: "src/lib.rs",
        template: files! {
            "src/lib.rs": "rust/template/lib.rs",
            "Cargo.toml": "rust/template/project.toml",
            "README.md": "rust/template/README.md",
            "cases.toml": "template/cases.toml",
        },
        sdk: files! {
            "sdk/abi/Cargo.toml": "rust/template/abi.toml",
            "sdk/derive/Cargo.toml": "rust/template/derive.toml",
            "sdk/rust/Cargo.toml": "rust/template/sdk.toml",
            "sdk/abi/src/build.rs": "abi/src/build.rs",
            "sdk/abi/src/emit.rs": "abi/src/emit.rs",
            "sdk/abi/src/layout.rs": "abi/src/layout.rs",
            "sdk/abi/src/lib.rs": "abi/src/lib.rs",
            "sdk/abi/src/read.rs": "abi/src/read.rs",
            "sdk/abi/src/validate.rs": "abi/src/validate.rs",
            "sdk/abi/src/value.rs": "abi/src/value.rs",
            "sdk/derive/src/lib.rs": "derive/src/lib.rs",
            "sdk/rust/src/draft.rs": "rust/src/draft.rs",
            "sdk/rust/src/emit.rs": "rust/src/emit.rs",
            "sdk/rust/src/guest.rs": "rust/src/guest.rs",
            "sdk/rust/src/host.rs": "rust/src/host.rs",
            "sdk/rust/src/init.rs": "rust/src/init.rs",
            "sdk/rust/src/lib.rs": "rust/src/lib.rs",
            "sdk/rust/src/output.rs": "rust/src/output.rs",
            "sdk/rust/src/record.rs": "rust/src/record.rs",
            "sdk/rust/src/row.rs": "rust/src/row.rs",
            "sdk/rust/src/run.rs": "rust/src/run.rs",
            "sdk/rust/src/testing/harness.rs": "rust/src/testing/harness.rs",
            "sdk/rust/src/testing/memory.rs": "rust/src/testing/memory.rs",
            "sdk/rust/src/testing/mod.rs": "rust/src/testing/mod.rs",
            "sdk/rust/src/testing/records.rs": "rust/src/testing/records.rs",
        },
    },
    Language {
        name: "c",
        main: "transform.c",
        template: files! {
            "transform.c": "c/template/transform.c",
            "README.md": "c/template/README.md",
            "cases.toml": "template/cases.toml",
        },
        sdk: files! {
            "bridge.h": "c/bridge.h",
        },
    },
    Language {
        name: "go",
        main: "main.go",
        template: files! {
            "main.go": "go/template/main.go",
            "README.md": "go/template/README.md",
            "cases.toml": "template/cases.toml",
        },
        sdk: files! {
            "go.mod": "go/go.mod",
            "bridge/bridge.go": "go/bridge/bridge.go",
        },
    },
    Language {
        name: "assemblyscript",
        main: "assembly/transform.ts",
        template: files! {
            "assembly/transform.ts": "assemblyscript/template/transform.ts",
            "package.json": "assemblyscript/template/package.json",
            "README.md": "assemblyscript/template/README.md",
            "cases.toml": "template/cases.toml",
        },
        sdk: files! {
            "assembly/index.ts": "assemblyscript/index.ts",
            "assembly/bridge.ts": "assemblyscript/bridge.ts",
            "assembly/tsconfig.json": "assemblyscript/template/tsconfig.json",
        },
    },
    Language {
        name: "zig",
        main: "transform.zig",
        template: files! {
            "transform.zig": "zig/template/transform.zig",
            "README.md": "zig/template/README.md",
            "cases.toml": "template/cases.toml",
        },
        sdk: files! {
            "bridge.zig": "zig/bridge.zig",
        },
    },
];
