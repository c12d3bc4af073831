//! `abyme prepare`. Preparing Python takes many seconds in a debug build: the one test here does it twice,
//! side by side.

use crate::support::{CommandEnd, TestDir};

#[test]
fn an_empty_cache_is_filled_and_one_that_cannot_be_is_a_failure() {
    let dir = TestDir::new();
    dir.write("file", "not a directory");
    let cache = dir.path("new/cache");
    let prepare = || dir.command(&["prepare"]).env("ABYME_CACHE_DIR", &cache).spawn().unwrap();
    let blocked = dir.command(&["prepare"]).env("ABYME_CACHE_DIR", dir.path("file/cache")).spawn().unwrap();
    // Two at once: one prepares, the other waits for it.
    let (first, second) = (prepare(), prepare());
    let [first, second, blocked] =
        [first, second, blocked].map(|child| CommandEnd::from(child.wait_with_output().unwrap()));

    for ended in [&first, &second] {
        assert_eq!(ended.code, 0, "{ended:?}");
        let (path, size) = path_and_size(&ended.stdout);
        assert!(
            path.starts_with(cache.to_str().unwrap()) && std::path::Path::new(path).is_dir(),
            "{ended:?}"
        );
        assert!(size > 10, "{ended:?}");
    }
    let did_prepare = |ended: &CommandEnd| ended.stderr.contains("abyme: preparing Python");
    assert!(did_prepare(&first) != did_prepare(&second), "{first:?} {second:?}");
    let again = CommandEnd::from(prepare().wait_with_output().unwrap());
    // Quick: nothing is prepared, so nothing is said of it.
    assert_eq!((again.code, again.stderr.as_str()), (0, ""), "{again:?}");
    assert_eq!(path_and_size(&again.stdout), path_and_size(&first.stdout));

    blocked.failed(1, &["cannot be kept", dir.path("file/cache").to_str().unwrap(), "Not a directory"]);
    assert!(did_prepare(&blocked), "{blocked:?}");
}

/// From `ready after 0.05 s: PATH (41 MB)`.
fn path_and_size(stdout: &str) -> (&str, u64) {
    let parts = stdout.strip_prefix("ready after ").and_then(|rest| rest.strip_suffix(" MB)\n"));
    let (_, rest) = parts.and_then(|rest| rest.split_once(" s: ")).unwrap_or_else(|| panic!("{stdout:?}"));
    let (path, size) = rest.rsplit_once(" (").unwrap();
    (path, size.parse().unwrap())
}
