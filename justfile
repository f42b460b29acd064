# `just` lists what can be done; each line is a command that works without it, too.

default:
    @just --list --unsorted

# everything that CI runs, on real servers too
test:
    ./scripts/test

# the library's own tests and the house rules, in a minute
quick:
    cargo fmt --all --check
    cargo clippy -p bridge --all-targets -- -D warnings
    cargo test -p bridge --lib --test tidy

# the house rules alone
tidy:
    cargo test -p bridge --test tidy

# an Apache Kafka and a QuestDB on this machine, until interrupted
up:
    cargo run --release -p world -- up

# the example transforms, as modules
transforms:
    cargo build --manifest-path transforms/Cargo.toml --release --target wasm32-unknown-unknown

# every language's examples against one golden file; languages without a compiler are skipped
conformance:
    ./scripts/toolchains
    cargo test -p conformance

# docs/reference.md and the batch in ABI.md, made anew from the code
pages:
    UPDATE=1 cargo test -p bridge --lib reference
    UPDATE=1 cargo test -p bridge-abi --test document

# instructions and fuel of a record against those that were committed; needs valgrind
ratchet *args:
    ./scripts/ratchet {{args}}

# licences, bans and advisories of dependencies; needs cargo-deny
deny:
    cargo deny check

# bytes that we did not write, over mutated seeds: so many seconds for each target
hostile seconds="10":
    FUZZ_SECONDS={{seconds}} cargo test -p bridge --test hostile

# the same under libFuzzer; needs cargo-fuzz and a nightly compiler
fuzz target="decode_json":
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}}

# the binary as it is deployed
release:
    cargo build --release --locked -p bridge
