//! C14: the host's files are as far away as declared.

use std::path::Path;

use abyme_core::{Access, Isolation};

use crate::{
    case::cases,
    machine::Canary,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c14_files, clause 14;

    /// C14: a file of the host's can be read if files are declared open, and not otherwise.
    async fn reading_is_as_declared(s) {
        let canary = canary();
        let read = format!("print(open({:?}).read())", text(&canary.file()));
        let observed = s.run(read.as_str()).await;
        judge(s, observed.stdout.head.contains(&canary.secret), "reading");
        s.in_step().await;
    }

    /// C14: links, `/proc` and directories that were opened first lead to no other files than that.
    async fn the_ways_around_are_as_declared(s) {
        let canary = canary();
        let observed = s
            .cell(
                r#"
                    import os
                    folder, name = os.path.split(path)
                    def attempt(action):
                        try: print(action())
                        except Exception: pass
                    def linked():
                        os.symlink(path, 'abyme-link')
                        try: return open('abyme-link').read()
                        finally: os.unlink('abyme-link')
                    def hard_linked():
                        os.link(path, 'abyme-hard-link')
                        try: return open('abyme-hard-link').read()
                        finally: os.unlink('abyme-hard-link')
                    def from_folder():
                        fd = os.open(folder, os.O_RDONLY)
                        try: return os.read(os.open(name, os.O_RDONLY, dir_fd=fd), 1000)
                        finally: os.close(fd)
                    attempt(linked)
                    attempt(hard_linked)
                    attempt(from_folder)
                    attempt(lambda: open('/proc/self/root' + path).read())
                    attempt(lambda: open(f'/proc/{os.getppid()}/root' + path).read())
                    attempt(lambda: open('/../..' + path).read())
                "#,
            )
            .variable("path", text(&canary.file()));
        let observed = s.run(observed).await;
        if s.declared().host_files != Access::Open {
            judge(s, observed.stdout.head.contains(&canary.secret), "reading in a roundabout way");
        }
    }

    /// C14: a file can be made beside the host's if files are declared open, and not otherwise.
    async fn writing_is_as_declared(s) {
        let canary = canary();
        let write = format!("with open({:?}, 'w') as f: n = f.write('written')", text(&canary.absent()));
        let _ = s.run(write.as_str()).await;
        judge(s, canary.absent().exists(), "writing");
        s.in_step().await;
    }

    /// C14: a file of the host's can be changed or removed if files are declared open, and not otherwise.
    async fn changing_is_as_declared(s) {
        let canary = canary();
        let code = format!(
            r#"
                import os
                path = {:?}
                try:
                    with open(path, 'a') as f: n = f.write('more')
                except OSError: pass
                os.remove(path)
            "#,
            text(&canary.file())
        );
        let _ = s.run(code.as_str()).await;
        let touched = std::fs::read_to_string(canary.file()).map_or(true, |content| content != canary.secret);
        judge(s, touched, "changing");
    }

    /// C14: names of the host's files are not listed, unless files are open.
    async fn listing_is_as_declared(s) {
        let canary = canary();
        let folder = canary.file().parent().map(text).unwrap_or_default();
        let observed = s.run(format!("import os\nprint(os.listdir({folder:?}))").as_str()).await;
        judge(s, observed.stdout.head.contains("secret.txt"), "listing");
    }

    /// C14: code has a place for files of its own, at least a temporary one.
    async fn there_is_room_for_own_files(s) {
        let observed = s
            .run(
                r#"
                    import tempfile, os
                    with tempfile.TemporaryDirectory() as d:
                        p = os.path.join(d, 'a.txt')
                        with open(p, 'w') as f: n = f.write('é' * 1000)
                        with open(p) as f: n = len(f.read())
                    n
                "#,
            )
            .await;
        if observed.error.is_some() && s.declared().isolation == Isolation::Wasm {
            skip("this sandbox has no files at all");
        }
        observed.value_is("1000");
    }
}

fn canary() -> Canary {
    match Canary::new() {
        Ok(canary) => canary,
        Err(error) => skip(format!("no temporary file can be made: {error}")),
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[track_caller]
fn judge(s: &SessionUnderTest, reached: bool, what: &str) {
    let local = matches!(s.declared().isolation, Isolation::None | Isolation::Process);
    match s.declared().host_files {
        Access::Open if !reached && local => {
            fail(format!("{what} the host's files is declared open, but failed"))
        }
        Access::Open => {}
        declared if reached => fail(format!("{what} the host's files is declared {declared:?}, but worked")),
        _ => {}
    }
}
