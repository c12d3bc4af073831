//! An observation that is not looked at.

#![deny(unused_must_use)]

async fn run(mut session: abyme_core::Session) -> abyme_core::Result<()> {
    session.run_code("1 / 0").await?;
    Ok(())
}

fn main() {}
