//! Packages of the host in an isolated session. They need a virtual environment with pandas; without it the
//! tests show as ignored with the command that makes it, and with `pandas` in `ABYME_REQUIRE` they fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use abyme_conformance::{BackendTests, Harness};
use abyme_core::{Capabilities, Cell, CodeInterpreter, InterpreterFactory, NoHostFunctions};
use abyme_interpreter_subprocess::Subprocess;
use async_trait::async_trait;

fn main() -> std::process::ExitCode {
    BackendTests::new(Pandas(Subprocess::new()))
        .test("pandas_works_in_an_isolated_session", pandas_works_in_an_isolated_session)
        .main()
}

async fn pandas_works_in_an_isolated_session() {
    let mut session = Subprocess::new().python(python()).create().await.unwrap();
    let code = r#"
import io, numpy, pandas
table = pandas.read_csv(io.StringIO("plan,rate\na,0.25\nb,0.5\n"))
table["twice"] = numpy.multiply(table["rate"], 2)
table.to_csv("out.csv", index=False)
noise = numpy.random.default_rng(1).normal(size=(300, 300))
assert numpy.allclose(noise @ numpy.linalg.inv(noise), numpy.eye(300), atol=1e-6)
day = pandas.Timestamp("2026-07-01 12:00", tz="Europe/Zurich").utcoffset()
print(float(pandas.read_csv("out.csv")["twice"].sum()), day)
"#;
    let observation = session.execute(Cell::new(code), &NoHostFunctions).await.unwrap();
    assert_eq!(observation.stdout.to_string(), "1.5 2:00:00\n", "{observation:?}");
    session.shutdown().await.unwrap();
}

/// The environment with the package.
fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venvs").join("pandas")
}

fn python() -> PathBuf {
    environment().join("bin/python")
}

struct Pandas(Subprocess);

#[async_trait]
impl Harness for Pandas {
    type Guard = ();

    fn name(&self) -> &str {
        "pandas"
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn prerequisite(&self) -> Result<(), String> {
        let path = environment();
        let versions = path.join("lib").read_dir().into_iter().flatten().flatten();
        let is_there =
            versions.map(|version| version.path()).any(|lib| lib.join("site-packages/pandas").is_dir());
        let path = path.display();
        is_there.then_some(()).ok_or_else(|| {
            format!("not installed; `python3 -m venv {path} && {path}/bin/pip install pandas`")
        })
    }

    async fn session(&self) -> abyme_core::Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.0.create().await?))
    }
}
